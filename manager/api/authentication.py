"""Who calls: by signature or by login session, each in one statement."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from manager.api import origin, sessions, signature
from manager.api.errors import unproven, unverified
from manager.api.wire import Incoming
from manager.configuration import value
from manager.models import Account, ApiKey, Domain, LoginSession, Role, SecondFactor, User
from manager.models.identity import INHERIT, KEYS_ENABLED


@dataclass(frozen=True)
class Caller:
    """Who calls; `key` signed, None in a login session."""

    user: User
    account: Account
    domain: Domain
    role: Role
    key: ApiKey | None = None
    login: LoginSession | None = None


def _with_owner(query: Any, user_id: Any) -> Any:
    return (
        query.join(User, User.id == user_id)
        .join(Account, Account.id == User.account_id)
        .join(Domain, Domain.id == Account.domain_id)
        .join(Role, Role.id == Account.role_id)
    )


_BY_KEY = _with_owner(select(ApiKey, User, Account, Domain, Role), ApiKey.user_id).where(
    ApiKey.api_key == bindparam("key")
)
_BY_SESSION = sessions.living(_with_owner(select(LoginSession, User, Account, Domain, Role), LoginSession.user_id))


def by_signature(session: Session, request: Incoming) -> Caller:
    """The caller that signed.

    :raises ApiError: 401, the same for every cause
    """
    given = request.names.get("apikey", "")
    # PostgreSQL takes no text with a NUL.
    row = session.execute(_BY_KEY, {"key": given}).first() if "\0" not in given else None
    if row is None:
        raise unverified(signed=True)
    key: ApiKey = row[0]
    if not is_in_force(key) or not signature.matches(key.secret_key, request.raw, request.names["signature"]):
        raise unverified(signed=True)
    if not signature.is_fresh(request.names):
        raise unverified(signed=True)
    caller = _enabled(row, request, key, session)
    if not signs(session, caller.user, caller.account, caller.domain):
        raise unverified(signed=True)
    return caller


def is_in_force(key: ApiKey) -> bool:
    now = dt.datetime.now(dt.UTC)
    return (key.starts is None or key.starts <= now) and (key.expires is None or now <= key.expires)


def signs(session: Session, user: User, account: Account, domain: Domain) -> bool:
    """Whether keys sign for the user: its own word goes before its account's, and this before the setting."""
    for word in (user.api_key_access, account.api_key_access):
        if word != INHERIT:
            return word == KEYS_ENABLED
    return bool(value(session, "api.key.access", domain))


def by_session(session: Session, request: Incoming) -> Caller:
    """The caller that logged in: its cookies, and the session key again as a parameter, which no other site knows.

    :raises ApiError: 401
    """
    key = request.names.get("sessionkey", "")
    if not key or key != request.cookies.get("sessionkey"):
        raise unverified(signed=False)
    row = session.execute(_BY_SESSION, sessions.proof(session, request.cookies.get("JSESSIONID", ""), key)).first()
    if row is None:
        raise unverified(signed=False)
    caller = _enabled(row, request, None, session)
    sessions.touch(session, row[0])
    return caller


def demand_verified(session: Session, login: LoginSession | None) -> None:
    """Keys, which need no login, prove all by themselves.

    :raises ApiError: 511, the login waits for the code of a second factor, or for one to be set up
    """
    if login is not None and not login.verified:
        query = select(SecondFactor.verified).where(SecondFactor.user_id == login.user_id)
        raise unproven(is_set_up=bool(session.scalar(query)))


def _enabled(row: Any, request: Incoming, key: ApiKey | None, session: Session) -> Caller:
    """The caller of the row, when nothing keeps it out and it may call from where it is."""
    proven, user, account, domain, role = row
    removed = user.removed or account.removed or domain.removed
    if removed or user.state != "enabled" or account.state != "enabled" or domain.state != "Active":
        raise unverified(signed=key is not None)
    if not origin.may_call(session, account, request.source, key.allowed_cidrs if key else ()):
        raise unverified(signed=key is not None)
    return Caller(user, account, domain, role, key, None if key else proven)
