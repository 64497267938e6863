"""Who calls: by signature or by login session, each in one statement."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from manager.api import sessions, signature
from manager.api.errors import unproven, unverified
from manager.models import Account, ApiKey, Domain, LoginSession, Role, SecondFactor, User


@dataclass(frozen=True)
class Caller:
    user: User
    account: Account
    domain: Domain
    role: Role
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


def by_signature(session: Session, raw: Mapping[str, str], names: Mapping[str, str]) -> Caller:
    """The caller that signed. `raw` has the parameters' names as sent, `names` in lower case.

    :raises ApiError: 401, the same for every cause
    """
    row = session.execute(_BY_KEY, {"key": names.get("apikey", "")}).first()
    if row is None:
        raise unverified(signed=True)
    key: ApiKey = row[0]
    if key.expires is not None and key.expires < dt.datetime.now(dt.UTC):
        raise unverified(signed=True)
    if not signature.matches(key.secret_key, raw, names["signature"]) or not signature.is_fresh(names):
        raise unverified(signed=True)
    return _enabled(row, signed=True)


def by_session(session: Session, names: Mapping[str, str], cookies: Mapping[str, str]) -> Caller:
    """The caller that logged in: its cookies, and the session key again as a parameter, which no other site knows.

    :raises ApiError: 401
    """
    key = names.get("sessionkey", "")
    if not key or key != cookies.get("sessionkey"):
        raise unverified(signed=False)
    row = session.execute(_BY_SESSION, sessions.proof(session, cookies.get("JSESSIONID", ""), key)).first()
    if row is None:
        raise unverified(signed=False)
    sessions.touch(session, row[0])
    return _enabled(row, signed=False)


def demand_verified(session: Session, login: LoginSession | None) -> None:
    """Keys, which need no login, prove all by themselves.

    :raises ApiError: 511, the login waits for the code of a second factor, or for one to be set up
    """
    if login is not None and not login.verified:
        query = select(SecondFactor.verified).where(SecondFactor.user_id == login.user_id)
        raise unproven(is_set_up=bool(session.scalar(query)))


def _enabled(row: Any, *, signed: bool) -> Caller:
    proven, user, account, domain, role = row
    removed = user.removed or account.removed or domain.removed
    if removed or user.state != "enabled" or account.state != "enabled" or domain.state != "Active":
        raise unverified(signed=signed)
    return Caller(user, account, domain, role, None if signed else proven)
