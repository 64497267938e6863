"""What an account may hold: one guarded UPDATE claims everything that a call needs, or nothing."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, case, func, literal, select, update
from sqlalchemy.orm import Session

from manager.configuration import value
from manager.db import write
from manager.models import Account, ResourceLimit, ResourceUse

SETTINGS = {
    "vms": "max.account.user.vms",
    "cpus": "max.account.cpus",
    "memory": "max.account.memory",
    "volumes": "max.account.volumes",
    "primary_storage": "max.account.primary.storage",
    "networks": "max.account.networks",
    "public_addresses": "max.account.public.ips",
    "templates": "max.account.templates",
}
UNIT = {"memory": 2**20, "primary_storage": 2**30}
LABELS = {
    "vms": "virtual machines",
    "cpus": "CPUs",
    "memory": "MiB of memory",
    "volumes": "volumes",
    "primary_storage": "GiB of primary storage",
    "networks": "networks",
    "public_addresses": "public addresses",
    "templates": "templates",
}
UNLIMITED = -1
ENDLESS = literal(2**62, BigInteger())
ROOT_ADMIN = 1


class LimitReached(Exception):  # noqa: N818 - it names what happened
    """The account's limit does not allow it; the message names the limit, what is used and what was asked."""

    code = 535


def claim(session: Session, account: Account, **wanted: int) -> None:
    """Count `wanted` (memory and primary_storage in bytes) against the account.

    :raises LimitReached: a limit stands against it; nothing was counted
    """
    within = [getattr(ResourceUse, name) + amount <= _limit(session, account, name) for name, amount in wanted.items()]
    counted = write(
        session,
        update(ResourceUse)
        .where(ResourceUse.account_id == account.id, *within)
        .values({name: getattr(ResourceUse, name) + amount for name, amount in wanted.items()}),
    )
    if not counted:
        raise LimitReached(_explain(session, account, wanted))


def release(session: Session, account_id: str, **held: int) -> None:
    write(
        session,
        update(ResourceUse)
        .where(ResourceUse.account_id == account_id)
        .values({name: getattr(ResourceUse, name) - amount for name, amount in held.items()}),
    )


def _limit(session: Session, account: Account, name: str) -> Any:
    """The account's limit, its own or the general one, as SQL."""
    if account.type == ROOT_ADMIN:
        return ENDLESS
    own = select(case((ResourceLimit.maximum == UNLIMITED, ENDLESS), else_=ResourceLimit.maximum * _unit(name)))
    mine = own.where(ResourceLimit.account_id == account.id, ResourceLimit.resource == name)
    general = int(value(session, SETTINGS[name]))
    return func.coalesce(mine.scalar_subquery(), ENDLESS if general == UNLIMITED else general * _unit(name))


def _unit(name: str) -> int:
    return UNIT.get(name, 1)


def _explain(session: Session, account: Account, wanted: dict[str, int]) -> str:
    use = session.get(ResourceUse, account.id)
    query = select(ResourceLimit.resource, ResourceLimit.maximum).filter_by(account_id=account.id)
    own = {row.resource: row.maximum for row in session.execute(query)}
    for name, amount in wanted.items():
        used = getattr(use, name) if use else 0
        maximum = int(own.get(name, value(session, SETTINGS[name])))
        if maximum != UNLIMITED and used + amount > maximum * _unit(name):
            held, more = (f"{number / _unit(name):g}" for number in (used, amount))
            return f"Account {account.name} may hold {maximum} {LABELS[name]}; it holds {held}, asked for {more} more."
    return f"Account {account.name} holds as much as it may."
