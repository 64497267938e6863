"""OpenID Connect as the relying party: the authorization code flow with PKCE, and what an ID token must prove.

Sources: OpenID Connect Core 1.0, sections 3.1 and 5.1; OpenID Connect Discovery 1.0, section 4; RFC 7636; RFC 9207.
"""

from __future__ import annotations

import base64
import http.client
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlencode

import msgspec
from authlib.common.errors import AuthlibBaseError
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from storage.addresses import Network, split_url
from storage.errors import StorageError
from storage.pinned import Bounds, Message, answer_of

ALGORITHMS = {
    "RS256": RSAKey, "RS384": RSAKey, "RS512": RSAKey, "PS256": RSAKey, "PS384": RSAKey, "PS512": RSAKey,
    "ES256": ECKey, "ES384": ECKey, "ES512": ECKey, "Ed25519": OKPKey, "EdDSA": OKPKey,
}  # fmt: skip
"""What an ID token may be signed with, and the kind of key for it: no `none`, and no secret that is a public key."""
KINDS: Mapping[str, type[RSAKey | ECKey | OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
SCOPE = "openid email"
SECONDS = 5.0
MOST_BYTES = 2**20
CACHE_SECONDS = 300.0
LEEWAY_SECONDS = 60
LONGEST_EMAIL = 255

Key = RSAKey | ECKey | OKPKey


class Unproven(Exception):  # noqa: N818 - it names what happened
    """The provider did not prove who the user is; the text is for operators, never for the user."""


class Unreachable(Exception):  # noqa: N818 - it names what happened
    """The provider cannot be asked, or answers what none answers; the text is for operators."""


@dataclass(frozen=True, slots=True)
class Client:
    """What the provider knows us by, and the networks besides public ones in which it may be."""

    issuer: str
    client_id: str
    secret: str
    redirect_uri: str
    networks: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Flow:
    """What one login by a browser is bound to; the provider sees `state`, `nonce` and a hash of `verifier`."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def new(cls) -> Flow:
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))


@dataclass(frozen=True, slots=True)
class Issuer:
    """A provider's description of itself, its keys, and until when (monotonic) they count."""

    facts: Mapping[str, Any]
    keys: tuple[tuple[Mapping[str, Any], Key], ...]
    until: float

    def url(self, name: str) -> str:
        found = self.facts.get(name)
        if not isinstance(found, str):
            raise Unreachable(f"the issuer names no {name}")
        return found


_issuers: dict[tuple[str, tuple[Network, ...]], Issuer] = {}


def forget() -> None:
    """Have the next login ask the issuers again for their descriptions and keys."""
    _issuers.clear()


def authorize_url(client: Client, flow: Flow) -> str:
    """Where the browser goes to log in.

    :raises Unreachable: the issuer does not describe itself
    """
    url: str = prepare_grant_uri(
        _issuer(client).url("authorization_endpoint"),
        client.client_id,
        "code",
        redirect_uri=client.redirect_uri,
        scope=SCOPE,
        state=flow.state,
        nonce=flow.nonce,
        code_challenge=create_s256_code_challenge(flow.verifier),
        code_challenge_method="S256",
    )
    return url


def demand_sender(client: Client, named: str | None) -> None:
    """Refuse an answer that another issuer sent, where issuers name themselves in it.

    :raises Unproven: `named`, the answer's iss, is not the client's issuer
    Source: RFC 9207, section 2.4.
    """
    expected = bool(_issuer(client).facts.get("authorization_response_iss_parameter_supported"))
    if named != client.issuer and (named is not None or expected):
        raise Unproven(f"the answer is that of the issuer {named}")


def email_of(client: Client, code: str, flow: Flow | None = None) -> str:
    """The verified e-mail address of the user for whom the provider gave `code`, in a login bound to `flow`, if any.

    :raises Unproven: the code or what was given for it proves nothing
    :raises Unreachable: the provider cannot be asked
    """
    answer = _redeem(client, code, flow)
    claims = _checked(client, answer, flow)
    if "email" not in claims:
        claims = _user_info(client, answer, claims["sub"])
    email = claims.get("email")
    if claims.get("email_verified") is not True:
        raise Unproven("the e-mail address is not verified")
    if not isinstance(email, str) or not email.isascii() or "@" not in email or len(email) > LONGEST_EMAIL:
        raise Unproven("the e-mail address is none in ASCII")
    return email


def _issuer(client: Client, *, anew: bool = False) -> Issuer:
    """:raises Unreachable: it does not describe itself, or as another one"""
    key = (client.issuer, client.networks)
    known = _issuers.get(key)
    if known is not None and time.monotonic() < known.until and not anew:
        return known
    facts = _object(client, client.issuer.rstrip("/") + "/.well-known/openid-configuration")
    if facts.get("issuer") != client.issuer:
        raise Unreachable(f"the issuer {client.issuer} calls itself {facts.get('issuer')}")
    if not isinstance(facts.get("jwks_uri"), str):
        raise Unreachable("the issuer names no jwks_uri")
    found = _object(client, facts["jwks_uri"]).get("keys")
    keys = tuple(pair for pair in map(_key, found if isinstance(found, list) else ()) if pair is not None)
    _issuers[key] = Issuer(facts, keys, time.monotonic() + CACHE_SECONDS)
    return _issuers[key]


def _key(entry: Any) -> tuple[Mapping[str, Any], Key] | None:
    """A key that signs, with what was said of it; None for others, and kinds that are not known here."""
    if not isinstance(entry, dict) or entry.get("kty") not in KINDS or entry.get("use", "sig") != "sig":
        return None
    public = {name: value for name, value in entry.items() if name != "key_ops"}
    try:
        return public, KINDS[entry["kty"]].import_key(public)
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _redeem(client: Client, code: str, flow: Flow | None) -> dict[str, Any]:
    """The provider's answer for the code.

    :raises Unproven: it takes the code for none, or gives no ID token
    """
    issuer = _issuer(client)
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": client.redirect_uri}
    if flow is not None:
        form["code_verifier"] = flow.verifier
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    ways = issuer.facts.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    if "client_secret_basic" in ways:
        pair = f"{quote_plus(client.client_id)}:{quote_plus(client.secret)}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    else:
        form |= {"client_id": client.client_id, "client_secret": client.secret}
    status, body = _fetch(client, issuer.url("token_endpoint"), Message("POST", headers, urlencode(form).encode()))
    answer = _decoded(body)
    if status in (400, 401, 403):
        raise Unproven(f"the provider refuses the code: {(answer or {}).get('error')}")
    if status != http.client.OK or answer is None:
        raise Unreachable(f"the provider answers a code with status {status}")
    if not isinstance(answer.get("id_token"), str):
        raise Unproven("the provider gives no ID token")
    return answer


def _checked(client: Client, answer: Mapping[str, Any], flow: Flow | None) -> Mapping[str, Any]:
    """The claims of the ID token.

    :raises Unproven: it is not signed by the issuer, or not for this client and login, or not valid now
    """
    try:
        token = jwt.decode(answer["id_token"], _key_for(client, answer["id_token"]), algorithms=list(ALGORITHMS))
        options = {
            "iss": {"essential": True, "value": client.issuer},
            "aud": {"essential": True, "value": client.client_id},
            "sub": {"essential": True},
        }
        given = {
            "client_id": client.client_id,
            "nonce": flow.nonce if flow else None,
            "access_token": answer.get("access_token"),
        }
        claims = CodeIDToken(token.claims, token.header, options, given)
        claims.validate(leeway=LEEWAY_SECONDS)
    except (JoseError, AuthlibBaseError, ValueError, TypeError) as error:
        raise Unproven(f"the ID token is refused: {error}") from error
    return dict(claims)


def _key_for(client: Client, token: str) -> Key:
    """The one key of the issuer that the token's header names; an issuer that has it not is asked again once.

    :raises Unproven: there is no such key, or the header names no algorithm that counts
    """
    header = jws.extract_compact(token.encode()).headers()
    kind = ALGORITHMS.get(str(header.get("alg")))
    if kind is None:
        raise Unproven(f"the ID token is signed by {header.get('alg')}")
    for anew in (False, True):
        fitting = [
            key for said, key in _issuer(client, anew=anew).keys if isinstance(key, kind) and _fits(header, said)
        ]
        if len(fitting) == 1:
            return fitting[0]
    raise Unproven(f"{len(fitting)} keys fit the ID token's key {header.get('kid')}")


def _fits(header: Mapping[str, Any], said: Mapping[str, Any]) -> bool:
    kid, algorithm = header.get("kid"), header["alg"]
    return kid in (None, said.get("kid")) and algorithm == said.get("alg", algorithm)


def _user_info(client: Client, answer: Mapping[str, Any], subject: str) -> Mapping[str, Any]:
    """What the provider tells besides the ID token, for which it may keep the e-mail address."""
    url, token = _issuer(client).facts.get("userinfo_endpoint"), answer.get("access_token")
    if not isinstance(url, str) or not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise Unproven("the ID token tells no e-mail address")
    found = _object(client, url, {"Authorization": f"Bearer {token}"})
    if found.get("sub") != subject:
        raise Unproven("the provider tells of another user than the ID token")
    return found


def _object(client: Client, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    status, body = _fetch(client, url, Message(headers={"Accept": "application/json", **(headers or {})}))
    found = _decoded(body)
    if status != http.client.OK or found is None:
        raise Unreachable(f"{url} answers with status {status}, and not with an object")
    return found


def _decoded(body: bytes) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    return found if isinstance(found, dict) else None


def _fetch(client: Client, url: str, message: Message) -> tuple[int, bytes]:
    """Status and body. Redirects are not followed: secrets go to the provider's own endpoints only."""
    try:
        parts = split_url(url)
        if parts.scheme != "https":
            raise Unreachable(f"{url} is not https")
        bounds = Bounds(client.networks, time.monotonic() + SECONDS, SECONDS)
        with answer_of(parts, bounds, message) as answer:
            body = answer.read(MOST_BYTES + 1)
            if len(body) > MOST_BYTES:
                raise Unreachable(f"{url} answers with more than {MOST_BYTES} bytes")
            return answer.status, body
    except (StorageError, OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable(f"{url} cannot be asked: {error or type(error).__name__}") from error
