"""OAuth providers, and login by them: OpenID Connect with any issuer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, select

from manager import configuration
from manager.api import oauth_login
from manager.api.admission import domain_path
from manager.api.call import Call
from manager.api.command import EVERYONE, ROOT, Given, Request, SuccessResponse, command
from manager.api.commands.session import LoginResponse, enter
from manager.api.errors import CS_OTHER, ApiError, Invalid, missing
from manager.api.fields import Flag, Ref, Text
from manager.api.opening import OpenCall
from manager.api.response import Bool, Response, Shown, Str
from manager.api.wire import Incoming
from manager.models import OauthProvider
from storage.addresses import URL_LIMIT, split_url
from storage.errors import SourceRefused

ISSUERS = {"google": "https://accounts.google.com"}
"""The issuers of providers that are known by name."""
SPEAKS_NO_OPENID = frozenset({"github"})
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class OauthProviderResponse(Response):
    object_key = "oauthprovider"
    shows = OauthProvider
    id = Str("the provider's id")
    provider = Str("its name, which logins give")
    name = Str("its name")
    description = Str("what people see of it")
    clientid = Str("what the provider knows this cloud by")
    redirecturi = Str("where the provider sends browsers back to")
    enabled = Bool("whether users may log in by it")
    issuerurl = Str("the issuer of its ID tokens")

    @classmethod
    def render(cls, call: Call, rows: Sequence[OauthProvider]) -> list[Shown]:
        enabled = configuration.value(call.session, "oauth2.enabled")
        return [_describe(row, enabled=enabled) for row in rows]


def _describe(row: OauthProvider, *, enabled: bool) -> Shown:
    return {
        "id": row.id,
        "provider": row.name,
        "name": row.name,
        "description": row.description,
        "clientid": row.client_id,
        "redirecturi": row.redirect_uri,
        "enabled": enabled and row.is_enabled,
        "issuerurl": row.issuer,
    }


class RegisterOauthProvider(Request):
    provider = Text("its name: google, or any other with its issuerurl", max_length=32, required=True)
    description = Text("what people see of it", max_length=1024, required=True)
    clientid = Text("what the provider knows this cloud by", required=True)
    secretkey = Text("the secret that the provider gave this cloud", max_length=1024, required=True)
    redirecturi = Text(
        "where the provider sends browsers back to: https://<this cloud>/client/oauth/<provider>/callback, or a page "
        "that gives the code to oauthlogin",
        max_length=URL_LIMIT,
        required=True,
    )
    issuerurl = Text("the issuer of its ID tokens: https, without /.well-known", max_length=URL_LIMIT)


class UpdateOauthProvider(Request):
    id = Ref(OauthProvider, "the provider", required=True)
    description = Text("what people see of it", max_length=1024)
    clientid = Text("what the provider knows this cloud by")
    secretkey = Text("the secret that the provider gave this cloud", max_length=1024)
    redirecturi = Text("where the provider sends browsers back to", max_length=URL_LIMIT)
    issuerurl = Text("the issuer of its ID tokens", max_length=URL_LIMIT)
    enabled = Flag("whether users may log in by it")


class DeleteOauthProvider(Request):
    id = Ref(OauthProvider, "the provider", required=True)


@command(
    "registerOauthProvider",
    RegisterOauthProvider,
    OauthProviderResponse,
    creates=True,
    roles=ROOT,
    event="OAUTH.PROVIDER.REGISTER",
)
def register_oauth_provider(call: Call, given: Given) -> OauthProvider:
    """Have users log in by a provider of OpenID Connect."""
    if not configuration.value(call.session, "oauth2.enabled"):
        raise Invalid("OAuth is not enabled; set oauth2.enabled to true first.")
    name = given.provider.strip().lower()
    if not NAME.fullmatch(name):
        raise Invalid("The name of a provider has letters, digits and hyphens, at most 32.")
    if name in SPEAKS_NO_OPENID:
        raise Invalid(f"The provider {name} gives no ID tokens, and only those prove a user's address.")
    issuer = given.issuerurl or ISSUERS.get(name)
    if issuer is None:
        raise Invalid(f"The provider {name} needs its issuerurl.")
    provider = OauthProvider(
        name=name,
        description=given.description,
        issuer=_url("issuerurl", issuer),
        client_id=given.clientid.strip(),
        secret_key=given.secretkey.strip(),
        redirect_uri=_url("redirecturi", given.redirecturi.strip(), ("https", "http")),
        live=name,
    )
    stored: OauthProvider = call.add(provider, taken=f"The provider {name} is registered already.")
    return stored


def _url(name: str, text: str, schemes: tuple[str, ...] = ("https",)) -> str:
    """:raises Invalid: it is of another scheme, or holds what is no part of an issuer or a redirect URI"""
    try:
        parts = split_url(text)
    except SourceRefused as error:
        raise Invalid(f"The parameter {name} cannot be used. {error}") from error
    if parts.scheme not in schemes:
        raise Invalid(f"The parameter {name} must be {' or '.join(schemes)}.")
    if parts.fragment or (parts.query and name == "issuerurl"):
        raise Invalid(f"The parameter {name} has a query or a fragment, which it must not have.")
    return text


@command("updateOauthProvider", UpdateOauthProvider, OauthProviderResponse, roles=ROOT, event="OAUTH.PROVIDER.UPDATE")
def update_oauth_provider(
    call: Call,  # noqa: ARG001 - handlers get the call
    id: OauthProvider,
    **changes: Any,
) -> OauthProvider:
    """Change a provider of OpenID Connect."""
    for name, attribute in (("description", "description"), ("clientid", "client_id"), ("secretkey", "secret_key")):
        if changes[name]:
            setattr(id, attribute, changes[name].strip())
    if changes["redirecturi"]:
        id.redirect_uri = _url("redirecturi", changes["redirecturi"].strip(), ("https", "http"))
    if changes["issuerurl"]:
        id.issuer = _url("issuerurl", changes["issuerurl"])
    if changes["enabled"] is not None:
        id.is_enabled = changes["enabled"]
    return id


@command("deleteOauthProvider", DeleteOauthProvider, SuccessResponse, roles=ROOT, event="OAUTH.PROVIDER.DELETE")
def delete_oauth_provider(call: Call, id: OauthProvider) -> bool:  # noqa: ARG001 - handlers get the call
    """Have nobody log in by a provider any more."""
    id.remove()
    return True


class ListOauthProvider(Request):
    id = Ref(OauthProvider, "only this provider")
    provider = Text("only the provider of this name")


@command("listOauthProvider", ListOauthProvider, OauthProviderResponse, roles=EVERYONE, is_open=True)
def list_oauth_provider(call: OpenCall) -> dict[str, Any]:
    """List providers of OpenID Connect, to whoever is about to log in."""
    query = select(OauthProvider).where(OauthProvider.removed.is_(None)).order_by(OauthProvider.name)
    if wanted := call.request.names.get("id"):
        query = query.where(OauthProvider.id == wanted)
    if wanted := call.request.names.get("provider"):
        query = query.where(OauthProvider.live == wanted.lower())
    enabled = configuration.value(call.session, "oauth2.enabled")
    rows = [_describe(row, enabled=enabled) for row in call.session.scalars(query)]
    return {"count": len(rows), "oauthprovider": rows} if rows else {}


class Code(Request):
    provider = Text("the provider's name", required=True)
    secretcode = Text("the code that the provider gave the browser", max_length=4096)


class OauthEmailResponse(Response):
    object_key = "oauthemail"
    email = Str("the verified e-mail address that the provider tells")


def _email(request: Incoming, engine: Engine | None) -> str:
    """What the provider of the request proves for its code.

    :raises ApiError: 431, one of the two is missing; 531 and 534 as `oauth_login.email_of`
    """
    names = request.names
    for name in ("provider", "secretcode"):
        if not names.get(name):
            raise missing(names["command"], name)
    return oauth_login.email_of(engine, names["provider"], names["secretcode"])


@command(
    "verifyOAuthCodeAndGetUser",
    Code,
    OauthEmailResponse,
    roles=EVERYONE,
    shape="object",
    is_open=True,
    ahead=_email,
)
def verify_oauth_code_and_get_user(call: OpenCall) -> dict[str, Any]:
    """Give the e-mail address that a provider's code stands for; one login may then use the code."""
    names = call.request.names
    provider = oauth_login.named(call.session, names["provider"])
    oauth_login.keep(call.session, provider, names["secretcode"], call.learned)
    return {"oauthemail": {"email": call.learned}}


class OauthLogin(Request):
    provider = Text("the provider's name", required=True)
    email = Text("the user's e-mail address at the provider", required=True)
    domain = Text("the path of the user's domain, such as /a/b; ROOT when absent")
    domainId = Text("the id of the user's domain, instead of its path")  # noqa: N815 - CloudStack's spelling
    secretcode = Text("the code that the provider gave the browser", max_length=4096)


def _login_email(request: Incoming, engine: Engine | None) -> str:
    """As `_email`, of a call that may log in."""
    if request.method != "POST":
        raise ApiError(405, "The command oauthlogin must be sent by POST.", CS_OTHER)
    if not request.names.get("email"):
        raise missing("oauthlogin", "email")
    return _email(request, engine)


@command("oauthlogin", OauthLogin, LoginResponse, roles=EVERYONE, shape="flat", is_open=True, ahead=_login_email)
def oauth_login_(call: OpenCall) -> dict[str, Any]:
    """Open a session for the user with the e-mail address that a provider proves."""
    names = call.request.names
    if call.learned.lower() != names["email"].lower():
        raise oauth_login.refused(names["provider"], "the provider tells another e-mail address")
    path, domain_id = domain_path(names.get("domain", "")), names.get("domainid")
    return enter(call, *oauth_login.user_of(call, names["provider"], call.learned, path, domain_id))
