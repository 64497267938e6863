"""Login by browsers at an OAuth provider: /client/oauth/<provider>/start sends them there, /callback lets them in.

What binds the two is a cookie that only this cloud can make and read; the provider's answer counts in the browser that
was sent, and for a few minutes.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
from cryptography.exceptions import InvalidTag
from flask import Blueprint, request
from sqlalchemy import Engine
from werkzeug.utils import redirect
from werkzeug.wrappers import Response

from manager import configuration, oidc
from manager.api import cookies, oauth_login, origin, wire
from manager.api.admission import domain_path
from manager.api.commands.session import enter
from manager.api.errors import PERMISSION, ApiError
from manager.api.opening import OpenCall
from manager.db import transaction
from manager.secrets import seal, unseal

COOKIE = "pileus_oauth"
PATH = "/client/oauth"
FLOW_SECONDS = 600
UNAUTHORIZED, UNAVAILABLE = 401, 503
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Begun(msgspec.Struct, frozen=True):
    """A login that a browser has begun, as its cookie holds it; `until` in seconds since 1970."""

    provider: str
    domain: str
    until: float
    flow: oidc.Flow


def blueprint(engine: Engine | None) -> Blueprint:
    site = Blueprint("oauth", __name__)
    site.add_url_rule(f"{PATH}/<name>/start", "start", lambda name: _answered(name, _start, engine))
    site.add_url_rule(f"{PATH}/<name>/callback", "callback", lambda name: _answered(name, _callback, engine))
    return site


def _answered(name: str, handle: Callable[[str, Engine | None], Response], engine: Engine | None) -> Response:
    try:
        response = handle(name.lower(), engine)
    except ApiError as error:
        status = UNAUTHORIZED if error.code == PERMISSION else UNAVAILABLE
        response = Response(error.text + "\n", status, mimetype="text/plain")
        response.delete_cookie(COOKIE, path=PATH, httponly=True, samesite="Lax")
    response.headers.update(_HEADERS)
    return response


def _start(name: str, engine: Engine | None) -> Response:
    with transaction(engine) as session:
        client = oauth_login.client_of(session, oauth_login.named(session, name))
    if not urlsplit(client.redirect_uri).path.endswith(f"{PATH}/{name}/callback"):
        raise oauth_login.unreachable(name, f"its redirecturi does not end with {PATH}/{name}/callback")
    flow = oidc.Flow.new()
    try:
        url = oidc.authorize_url(client, flow)
    except oidc.Unreachable as error:
        raise oauth_login.unreachable(name, str(error)) from error
    begun = Begun(name, request.args.get("domain", ""), time.time() + FLOW_SECONDS, flow)
    response = redirect(url, 303)
    sealed = seal(msgspec.json.encode(begun).decode())
    response.set_cookie(
        COOKIE, sealed, FLOW_SECONDS, path=PATH, httponly=True, samesite="Lax", secure=request.is_secure
    )
    return response


def _callback(name: str, engine: Engine | None) -> Response:
    begun = _begun(name)
    with transaction(engine) as session:
        client = oauth_login.client_of(session, oauth_login.named(session, name))
        page = configuration.value(session, "oauth2.login.page")
    _demand_answer(name, client)
    email = oauth_login.email_of(engine, name, request.args["code"], begun.flow)
    incoming = wire.Incoming(request.method, {}, {}, {}, *wire.sender(request))
    with transaction(engine) as session:
        call = OpenCall(session, origin.located(session, incoming))
        user = oauth_login.user_of(call, name, email, domain_path(begun.domain), None)
        entered = enter(call, *user)
    response = _let_in(entered, page)
    cookies.put(response, call.cookies, secure=request.is_secure)
    response.delete_cookie(COOKIE, path=PATH, httponly=True, samesite="Lax")
    return response


def _begun(name: str) -> Begun:
    """What this browser began with this provider.

    :raises ApiError: it began nothing, too long ago, or another login than the one that is answered
    """
    try:
        begun = msgspec.json.decode(unseal(request.cookies.get(COOKIE, "")), type=Begun)
    except (InvalidTag, ValueError, msgspec.DecodeError) as error:
        raise oauth_login.refused(name, "the browser began no login here") from error
    state = request.args.get("state", "")
    if not hmac.compare_digest(state.encode(), begun.flow.state.encode()):
        raise oauth_login.refused(name, "the answer is that of another login")
    if begun.provider != name or begun.until < time.time():
        raise oauth_login.refused(name, "the login was begun with another provider, or too long ago")
    return begun


def _demand_answer(name: str, client: oidc.Client) -> None:
    """:raises ApiError: the provider let nobody in, or another issuer answers"""
    try:
        oidc.demand_sender(client, request.args.get("iss"))
    except oidc.Unproven as error:
        raise oauth_login.refused(name, str(error)) from error
    except oidc.Unreachable as error:
        raise oauth_login.unreachable(name, str(error)) from error
    if "error" in request.args or not request.args.get("code"):
        raise oauth_login.refused(name, f"the provider answers {request.args.get('error', 'without a code')}")


def _let_in(entered: dict[str, Any], page: str) -> Response:
    """The page of the portal, which reads the session key behind the #; without one, the answer of a login."""
    if page:
        return redirect(f"{page}#{urlencode({'sessionkey': entered['sessionkey']})}", 303)
    return Response(wire.to_json({"oauthloginresponse": entered}), content_type=wire.JSON_TYPE)
