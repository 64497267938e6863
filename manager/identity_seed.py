"""What identity a new cloud starts with: the ROOT domain, the default roles, and the accounts system and admin."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from manager.models import Account, ApiKey, Counter, Domain, ResourceUse, Role, User
from manager.models.identity import ROOT_ADMIN
from manager.roles import DEFAULT_ROLES, ROOT_ADMIN_ROLE, changed
from manager.secrets import hash_password

SYSTEM_NUMBER, ADMIN_NUMBER = 1, 2
SERIES = {"account": ADMIN_NUMBER, "vm": 0, "router": 0}
"""The numbers shown to people, and the last that the seed gives out of each series."""
KEY_BYTES = 64
PASSWORD_BYTES = 18


@dataclass(frozen=True)
class Seeded:
    """The administrator; `password` only when this call made it."""

    admin: User
    password: str | None


def seed(session: Session, *, password: str | None = None) -> Seeded:
    """Make what is missing. The admin's password is `password`, or random; an existing admin keeps its own."""
    root = session.scalar(select(Domain).where(Domain.parent_id.is_(None), Domain.removed.is_(None)))
    if root is None:
        root = Domain(name="ROOT", path="/", level=0, live="/")
        session.add(root)
    for role in DEFAULT_ROLES.values():
        live = role.name.lower()
        if session.scalar(select(Role).where(Role.live == live)) is None:
            made = Role(name=role.name, type=role.type, description=role.description, is_default=True, live=live)
            session.add(made)
            changed(session)
    for series, last in SERIES.items():
        if session.get(Counter, series) is None:
            session.add(Counter(name=series, last=last))
    session.flush()
    _account(session, root, "system", SYSTEM_NUMBER)
    account = _account(session, root, "admin", ADMIN_NUMBER)
    admin = session.scalar(select(User).where(User.account_id == account.id, User.username == "admin"))
    if admin is not None:
        return Seeded(admin, None)
    chosen = password or secrets.token_urlsafe(PASSWORD_BYTES)
    admin = User(
        account_id=account.id,
        username="admin",
        password_hash=hash_password(chosen),
        first_name="Admin",
        last_name="User",
        email="admin@localhost",
        live=f"{root.id}/admin",
    )
    session.add(admin)
    session.flush()
    return Seeded(admin, chosen)


def _account(session: Session, root: Domain, name: str, number: int) -> Account:
    live = f"{root.id}/{name}"
    account = session.scalar(select(Account).where(Account.live == live))
    if account is None:
        role = session.scalars(select(Role).where(Role.live == ROOT_ADMIN_ROLE.lower())).one()
        account = Account(
            number=number, name=name, domain_id=root.id, type=ROOT_ADMIN, role_id=role.id,
            live=live,
        )  # fmt: skip
        session.add(account)
        session.flush()
        session.add(ResourceUse(account_id=account.id))
        session.flush()
    return account


def keys_of(session: Session, user: User) -> ApiKey:
    """The user's keys without a name; new ones when it has none."""
    key = session.scalar(select(ApiKey).where(ApiKey.user_id == user.id, ApiKey.name == ""))
    return key or new_keys(session, user)


def new_keys(session: Session, user: User, **bounds: Any) -> ApiKey:
    """`bounds` are the other columns of ApiKey; without a name a user has one pair."""
    key = ApiKey(
        api_key=secrets.token_urlsafe(KEY_BYTES),
        user_id=user.id,
        secret_key=secrets.token_urlsafe(KEY_BYTES),
        **bounds,
    )
    session.add(key)
    return key
