"""What an account may hold: one guarded UPDATE claims everything that a call needs, or nothing."""

from __future__ import annotations

from sqlalchemy import select, update
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
UNLIMITED = -1
ROOT_ADMIN = 1


class LimitReached(Exception):  # noqa: N818 - it names what happened
    """The account's limit does not allow it; the message names the limit, what is used and what was asked."""

    code = 535


def claim(session: Session, account: Account, **wanted: int) -> None:
    """Count `wanted` (memory and primary_storage in bytes) against the account.

    :raises LimitReached: a limit stands against it; nothing was counted
    """
    limits = _limits(session, account, list(wanted))
    within = [
        getattr(ResourceUse, name) + amount <= limits[name]
        for name, amount in wanted.items()
        if limits[name] != UNLIMITED
    ]
    counted = write(
        session,
        update(ResourceUse)
        .where(ResourceUse.account_id == account.id, *within)
        .values({name: getattr(ResourceUse, name) + amount for name, amount in wanted.items()}),
    )
    if not counted:
        raise LimitReached(_explain(session, account, wanted, limits))


def release(session: Session, account_id: str, **held: int) -> None:
    write(
        session,
        update(ResourceUse)
        .where(ResourceUse.account_id == account_id)
        .values({name: getattr(ResourceUse, name) - amount for name, amount in held.items()}),
    )


def _limits(session: Session, account: Account, names: list[str]) -> dict[str, int]:
    if account.type == ROOT_ADMIN:
        return dict.fromkeys(names, UNLIMITED)
    query = select(ResourceLimit.resource, ResourceLimit.maximum).filter_by(account_id=account.id)
    own = {row.resource: row.maximum for row in session.execute(query)}
    limits = {}
    for name in names:
        maximum = int(own.get(name, value(session, SETTINGS[name])))
        limits[name] = maximum if maximum == UNLIMITED else maximum * UNIT.get(name, 1)
    return limits


def _explain(session: Session, account: Account, wanted: dict[str, int], limits: dict[str, int]) -> str:
    use = session.get(ResourceUse, account.id)
    for name, amount in wanted.items():
        used = getattr(use, name) if use else 0
        if limits[name] != UNLIMITED and used + amount > limits[name]:
            label = name.replace("_", " ")
            return (
                f"Account {account.name} may hold {limits[name]} {label}; it holds {used} and asked for {amount} more."
            )
    return f"Account {account.name} holds as much as it may."
