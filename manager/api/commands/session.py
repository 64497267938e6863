"""Login and logout."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import select

from manager.api import sessions
from manager.api.call import hours_from_utc
from manager.api.command import EVERYONE, Request, command
from manager.api.errors import CS_OTHER, ApiError, missing
from manager.api.fields import Text
from manager.api.opening import OpenCall
from manager.api.response import Int, Response, Str
from manager.models import Account, ApiKey, Domain, EventRow, User
from manager.secrets import hash_password, password_matches
from manager.servers import own_id

BAD_LOGIN = "Failed to authenticate user {} in domain {}; please provide valid credentials"


class LoginResponse(Response):
    username = Str("the user's name")
    userid = Str("the user's id")
    domainid = Str("the id of the user's domain")
    timeout = Int("seconds without a call after which the session ends")
    account = Str("the user's account")
    firstname = Str("the user's first name")
    lastname = Str("the user's last name")
    type = Str("the account's type: 0 user, 1 root administrator, 2 domain administrator")
    timezone = Str("the user's time zone")
    timezoneoffset = Str("hours from UTC to the user's time zone")
    registered = Str("whether the user has completed a registration")
    sessionkey = Str("the key that every call of the session carries as parameter sessionkey")
    is2faenabled = Str("whether the user has a second factor")
    is2faverified = Str("whether the second factor is verified")
    issuerfor2fa = Str("who issues the second factor")
    managementserverid = Str("the id of the management server that answered")


class LogoutResponse(Response):
    description = Str("success")


class Login(Request):
    username = Text("the user's name", required=True)
    password = Text("the password, in plain text", required=True)
    domain = Text("the path of the user's domain, such as /a/b; ROOT when absent")
    domainId = Text("the id of the user's domain, instead of its path")  # noqa: N815 - CloudStack's spelling


@cache
def _decoy() -> str:
    """A hash that takes as long to compare as a real one: unknown names answer no faster than wrong passwords."""
    return hash_password("no user has this")


@command("login", Login, LoginResponse, roles=EVERYONE, shape="flat", is_open=True)
def login(call: OpenCall) -> dict[str, Any]:
    """Open a session for a user's name and password."""
    names = call.request.names
    if call.request.method != "POST":
        raise ApiError(405, "The command login must be sent by POST.", CS_OTHER)
    for name in ("username", "password"):
        if not names.get(name):
            raise missing("login", name)
    path = "/" + names.get("domain", "").strip("/")
    row = _find(call, names["username"], path if path == "/" else path + "/")
    hashed = row[0].password_hash if row else _decoy()
    if not password_matches(hashed, names["password"]) or row is None:
        raise ApiError(531, BAD_LOGIN.format(names["username"], names.get("domainid", path)), 4290)
    user, account, domain = row
    token, key = sessions.open_session(call.session, user.id)
    call.session.add(
        EventRow(
            type="USER.LOGIN",
            description=f"login: User {user.id}",
            account_id=account.id,
            user_id=user.id,
            source=call.request.source,
            resource_type="User",
            resource_id=user.id,
        )
    )
    call.cookies.update(JSESSIONID=token, sessionkey=key)
    return _describe(user, account, domain, key, has_keys=_has_keys(call, user))


def _find(call: OpenCall, username: str, path: str) -> tuple[User, Account, Domain] | None:
    """The enabled user of that name in the domain of that id or path."""
    query = (
        select(User, Account, Domain)
        .join(Account, Account.id == User.account_id)
        .join(Domain, Domain.id == Account.domain_id)
        .where(User.username == username, User.removed.is_(None), User.state == "enabled")
        .where(Account.removed.is_(None), Account.state == "enabled", Domain.state == "Active")
    )
    domain_id = call.request.names.get("domainid")
    query = query.where(Domain.id == domain_id) if domain_id else query.where(Domain.path == path)
    found = call.session.execute(query).first()
    return None if found is None else (found[0], found[1], found[2])


def _has_keys(call: OpenCall, user: User) -> bool:
    return call.session.scalar(select(ApiKey.api_key).where(ApiKey.user_id == user.id).limit(1)) is not None


def _describe(user: User, account: Account, domain: Domain, key: str, *, has_keys: bool) -> dict[str, Any]:
    shown = {
        "username": user.username,
        "userid": user.id,
        "domainid": domain.id,
        "timeout": sessions.TIMEOUT_SECONDS,
        "account": account.name,
        "firstname": user.first_name,
        "lastname": user.last_name,
        "type": str(account.type),
        "timezone": user.timezone,
        "timezoneoffset": hours_from_utc(user.timezone),
        "registered": str(has_keys).lower(),
        "sessionkey": key,
        "is2faenabled": "false",
        "is2faverified": "true",
        "issuerfor2fa": "CloudStack",
        "managementserverid": own_id(),
    }
    return {name: value for name, value in shown.items() if value is not None}


@command("logout", Request, LogoutResponse, roles=EVERYONE, shape="flat", is_open=True)
def logout(call: OpenCall) -> dict[str, Any]:
    """End the session."""
    sessions.close(call.session, call.request.cookies.get("JSESSIONID", ""))
    call.cookies.update(JSESSIONID=None, sessionkey=None)
    return {"description": "success"}
