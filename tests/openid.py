"""An OpenID provider for tests, over HTTPS: authlib's server, which checks clients, codes, redirect URIs and PKCE."""

from __future__ import annotations

import datetime as dt
import threading
import time
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import requests
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import AuthorizationCodeMixin, OpenIDCode
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from flask import Flask, jsonify, request
from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server

CLIENT, SECRET = "pileus", "s3cret/with+signs"


def certify(folder: Path) -> tuple[Path, Path]:
    """Files with a certificate for 127.0.0.1 that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    builder = builder.add_extension(names, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate, private = folder / "server.pem", folder / "server.key"
    certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, private


@dataclass
class Given(AuthorizationCodeMixin):
    """A code, and the request for which it was given."""

    code: str
    redirect_uri: str
    scope: str
    nonce: str | None
    code_challenge: str | None
    code_challenge_method: str | None

    def get_redirect_uri(self):
        return self.redirect_uri

    def get_scope(self):
        return self.scope

    def get_nonce(self):
        return self.nonce


class Known(ClientMixin):
    def __init__(self, redirect_uri):
        self.client_id, self.redirect_uri = CLIENT, redirect_uri

    def get_client_id(self):
        return self.client_id

    def get_default_redirect_uri(self):
        return self.redirect_uri

    def get_allowed_scope(self, scope):
        return scope

    def check_redirect_uri(self, redirect_uri):
        return redirect_uri == self.redirect_uri

    def check_client_secret(self, client_secret):
        return client_secret == SECRET

    def check_endpoint_auth_method(self, method, _endpoint):
        return method == "client_secret_basic"

    def check_response_type(self, response_type):
        return response_type == "code"

    def check_grant_type(self, grant_type):
        return grant_type == "authorization_code"


@dataclass
class Provider:
    """What the provider says; a test changes it to have it lie. `sign` makes the token of header and claims."""

    url: str
    client: Known
    certificate: Path
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}))
    claims: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    user_info: dict[str, Any] = field(default_factory=dict)
    keys: list[dict[str, Any]] | None = None
    sign: Any = None
    codes: dict[str, Given] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def token(self, nonce: str | None) -> str:
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "sub": "u-1", "iat": now, "exp": now + 60, "email": "jo@example.org",
                  "email_verified": True} | ({"nonce": nonce} if nonce else {})  # fmt: skip
        claims = {name: value for name, value in (claims | self.claims).items() if value is not None}
        header = {"alg": "RS256", "kid": self.key.kid}
        return self.sign(header, claims) if self.sign else jwt.encode(header, claims, self.key)

    def code(self) -> str:
        """A code as a page gets it that sends the browser without state, nonce and PKCE."""
        return self.visit(f"{self.url}/authorize?" + urlencode({
            "response_type": "code", "client_id": CLIENT, "redirect_uri": self.client.redirect_uri,
            "scope": "openid email", "state": "its-own",
        }))["code"]  # fmt: skip

    def visit(self, url: str) -> dict[str, str]:
        """What the browser of a user who agrees brings back."""
        answer = requests.get(url, allow_redirects=False, timeout=10, verify=str(self.certificate))
        return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def application(provider: Provider) -> Flask:
    app = Flask("openid")
    server = AuthorizationServer(app, lambda client_id: provider.client if client_id == CLIENT else None, _forget)
    server.register_grant(_grant(provider), [_OpenId(provider), CodeChallenge(required=False)])

    @app.get("/.well-known/openid-configuration")
    def describe():
        provider.asked.append("configuration")
        paths = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys",
                 "userinfo_endpoint": "userinfo"}  # fmt: skip
        urls = {name: f"{provider.url}/{path}" for name, path in paths.items()}
        return jsonify({"issuer": provider.url, **urls, **provider.about})

    @app.get("/keys")
    def keys():
        own = [provider.key.as_dict(private=False)]
        return jsonify({"keys": own if provider.keys is None else provider.keys})

    @app.get("/authorize")
    def authorize():
        return server.create_authorization_response(grant=server.get_consent_grant(), grant_user="jo")

    @app.post("/token")
    def token():
        return server.create_token_response()

    @app.get("/userinfo")
    def userinfo():
        provider.asked.append(request.headers["Authorization"].split()[0])
        return jsonify(provider.user_info)

    return app


def _forget(token, request):
    """Tokens are good for nothing here."""


def _grant(provider: Provider) -> type[AuthorizationCodeGrant]:
    class Grant(AuthorizationCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)

        def save_authorization_code(self, code, request):
            asked = request.payload
            more = [asked.data.get(name) for name in ("nonce", "code_challenge", "code_challenge_method")]
            provider.codes[code] = Given(code, asked.redirect_uri, asked.scope, *more)

        def query_authorization_code(self, code, _client):
            return provider.codes.get(code)

        def delete_authorization_code(self, authorization_code):
            del provider.codes[authorization_code.code]

        def authenticate_user(self, _authorization_code):
            return "jo"

    return Grant


class _OpenId(OpenIDCode):
    def __init__(self, provider):
        super().__init__(require_nonce=False)
        self.provider = provider

    def exists_nonce(self, _nonce, _request):
        return False

    def encode_id_token(self, _token, request):
        return self.provider.token(request.authorization_code.nonce)


class Running:
    """The provider, served by a thread of its own."""

    def __init__(self, folder: Path) -> None:
        certificate, key = certify(folder)
        server = make_server("127.0.0.1", 0, _late, threaded=True, ssl_context=(str(certificate), str(key)))
        known = Known("https://cloud.example.org/none")
        self.provider = Provider(f"https://127.0.0.1:{server.server_port}", known, certificate)
        server.app = application(self.provider)
        self._server, self._thread = server, threading.Thread(target=server.serve_forever, args=(0.05,))

    def __enter__(self) -> Provider:
        self._thread.start()
        return self.provider

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _late(environ, start_response):
    raise RuntimeError("the application is set before the first request")
