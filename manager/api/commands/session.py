"""Login and logout."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import select

from manager import configuration
from manager.api import attempts, ldap_login, origin, second_factor, sessions
from manager.api.admission import domain_path, users_of
from manager.api.call import hours_from_utc
from manager.api.command import EVERYONE, Request, command
from manager.api.errors import CS_OTHER, ApiError, Kept, missing
from manager.api.fields import Text
from manager.api.opening import OpenCall
from manager.api.record import LONGEST_AGENT
from manager.api.response import Int, Response, Str
from manager.models import Account, ApiKey, Domain, EventRow, SecondFactor, User
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
    is2faenabled = Str("whether the user has a second factor, or must set one up now")
    is2faverified = Str("whether the second factor is verified")
    providerfor2fa = Str("the kind of the user's second factor; absent while it is still to be set up")
    issuerfor2fa = Str("who issues the second factor")
    managementserverid = Str("the id of the management server that answered")


class LogoutResponse(Response):
    description = Str("success")


class Login(Request):
    username = Text("the user's name", required=True)
    password = Text("the password, in plain text", required=True)
    domain = Text("the path of the user's domain, such as /a/b; ROOT when absent")
    domainId = Text("the id of the user's domain, instead of its path")  # noqa: N815 - CloudStack's spelling


@dataclass
class Found:
    """A user whose name was given, and what its login depends on."""

    user: User
    account: Account
    domain: Domain

    @property
    def may_enter(self) -> bool:
        open_ = self.user.state == self.account.state == "enabled"
        return open_ and self.account.removed is None and self.domain.state == "Active"


@cache
def _decoy() -> str:
    """A hash that takes as long to compare as a real one."""
    return hash_password("no user has this")


@command("login", Login, LoginResponse, roles=EVERYONE, shape="flat", is_open=True, ahead=ldap_login.proof)
def login(call: OpenCall) -> dict[str, Any]:
    """Open a session for a user's name and password.

    Unknown, locked and disabled users are answered as wrong passwords are, after the same work: one look for the
    user, one count of the attempt, one comparison of hashes, one event.
    """
    names = call.request.names
    if call.request.method != "POST":
        raise ApiError(405, "The command login must be sent by POST.", CS_OTHER)
    for name in ("username", "password"):
        if not names.get(name):
            raise missing("login", name)
    path = domain_path(names.get("domain", ""))
    proof: ldap_login.Proof | None = call.learned
    if proof is not None and proof.user_id is None:
        ldap_login.add_proven(call, proof)
    found = _find(call, names["username"], path)
    hashed = found.user.password_hash if found and _may_enter(call, found) else _decoy()
    most = attempts.most_passwords(call.session)
    claimed = attempts.claim(call.session, found.user.id if found else "", most, password_hash=hashed)
    matches = password_matches(hashed if claimed else _decoy(), names["password"])
    if found is None or not claimed or not (matches or _is_proven(proof, found)):
        _note(call, found, f"login: {_reason(call, found, claimed=claimed)}", level="ERROR")
        raise Kept(531, BAD_LOGIN.format(names["username"], names.get("domainid", path.rstrip("/") or "/")), 4290)
    shown = enter(call, found.user, found.account, found.domain)
    # while a second factor is awaited, the count of wrong attempts stays
    (attempts.forget if shown["is2faverified"] == "true" else attempts.take_back)(call.session, found.user.id)
    return shown


def _is_proven(proof: ldap_login.Proof | None, found: Found) -> bool:
    """Whether a directory, which keeps the password of the user, takes it."""
    return proof is not None and proof.user_id in (None, found.user.id)


def _may_enter(call: OpenCall, found: Found) -> bool:
    return found.may_enter and origin.may_call(call.session, found.account, call.request.source)


def enter(call: OpenCall, user: User, account: Account, domain: Domain) -> dict[str, Any]:
    """Open a session of the user, who is known by now, and describe it; it may await a second factor."""
    session, found = call.session, Found(user, account, domain)
    verified = SecondFactor.user_id == user.id, SecondFactor.verified
    provider = session.scalar(select(SecondFactor.provider).where(*verified))
    awaited = provider is not None or second_factor.rules_of(session, [domain])[domain.id].binds(user)
    token, key = sessions.open_session(session, user.id, verified=not awaited)
    _note(call, found, f"login: User {user.id}" + (", a second factor is awaited" if awaited else ""))
    call.cookies.update(JSESSIONID=token, sessionkey=key)
    shown = _describe(found, has_keys=_has_keys(call, user)) | {
        "timeout": sessions.timeout(session),
        "sessionkey": key,
        "is2faenabled": str(awaited).lower(),
        "is2faverified": str(not awaited).lower(),
        "providerfor2fa": provider,
        "issuerfor2fa": configuration.value(session, second_factor.ISSUER, domain),
    }
    return {name: value for name, value in shown.items() if value is not None}


def _reason(call: OpenCall, found: Found | None, *, claimed: bool) -> str:
    """Why nobody was let in: for the event, and never for who asked."""
    if found is None:
        return "unknown user"
    if not found.may_enter:
        return f"User {found.user.id} is not enabled"
    if not _may_enter(call, found):
        return f"User {found.user.id} may not call from this source"
    return f"User {found.user.id}, " + ("wrong password" if claimed else "too many wrong passwords or codes before")


def _note(call: OpenCall, found: Found | None, description: str, *, level: str = "INFO") -> None:
    """Leave an event. That of an unknown user does not tell its name: people type passwords there."""
    user_id = found.user.id if found else None
    call.session.add(
        EventRow(
            type="USER.LOGIN",
            level=level,
            description=description,
            account_id=found.account.id if found else None,
            user_id=user_id,
            source=call.request.source,
            user_agent=call.request.user_agent[:LONGEST_AGENT],
            resource_type="User",
            resource_id=user_id,
            resource_name=found.user.username if found else "",
        )
    )


def _find(call: OpenCall, username: str, path: str) -> Found | None:
    """The user of that name, whether it may enter or not, in the domain of that id or path."""
    query = users_of(path, call.request.names.get("domainid")).where(User.username == username)
    row = call.session.execute(query).first()
    return None if row is None else Found(*row)


def _has_keys(call: OpenCall, user: User) -> bool:
    return call.session.scalar(select(ApiKey.api_key).where(ApiKey.user_id == user.id).limit(1)) is not None


def _describe(found: Found, *, has_keys: bool) -> dict[str, Any]:
    user = found.user
    return {
        "username": user.username,
        "userid": user.id,
        "domainid": found.domain.id,
        "account": found.account.name,
        "firstname": user.first_name,
        "lastname": user.last_name,
        "type": str(found.account.type),
        "timezone": user.timezone,
        "timezoneoffset": hours_from_utc(user.timezone),
        "registered": str(has_keys).lower(),
        "managementserverid": own_id(),
    }


@command("logout", Request, LogoutResponse, roles=EVERYONE, shape="flat", is_open=True)
def logout(call: OpenCall) -> dict[str, Any]:
    """End the session."""
    sessions.close(call.session, call.request.cookies.get("JSESSIONID", ""))
    call.cookies.update(JSESSIONID=None, sessionkey=None)
    return {"description": "success"}
