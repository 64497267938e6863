"""Rows of network ACL lists, as workflows and API calls change them. Whoever changes items locks their list first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from manager.db import write
from manager.models import Network, NetworkAclItem, NetworkAclList, utcnow
from manager.models.states import IllegalMove
from network.types import EVERYTHING_LEAVES, Policy, PolicyRule, Traffic

WANTED = ("Add", "Active")


def next_change(session: Session, list_id: str) -> int:
    """The number of the change of the list's items that this transaction makes; others wait until it ends.

    :raises IllegalMove: the list has been removed
    """
    living = update(NetworkAclList).where(NetworkAclList.id == list_id, NetworkAclList.removed.is_(None))
    if not write(session, living.values(items_wanted=NetworkAclList.items_wanted + 1)):
        raise IllegalMove(f"The network ACL list {list_id} has been removed.")
    return int(session.scalars(select(NetworkAclList.items_wanted).where(NetworkAclList.id == list_id)).one())


def items_of(session: Session, list_id: str) -> list[NetworkAclItem]:
    """The living items in their order."""
    query = select(NetworkAclItem).where(NetworkAclItem.list_id == list_id, NetworkAclItem.removed.is_(None))
    fresh = query.order_by(NetworkAclItem.number, NetworkAclItem.id).execution_options(populate_existing=True)
    return list(session.scalars(fresh))


def tiers_of(session: Session, list_id: str, *, lock: bool = False) -> Sequence[Network]:
    query = select(Network).where(Network.acl_id == list_id, Network.removed.is_(None)).order_by(Network.id)
    return session.scalars(query.with_for_update() if lock else query).all()


def live_of(list_id: str, number: int) -> str:
    return f"{list_id}/{number}"


def renumber(session: Session, list_id: str, numbers: Mapping[str, int]) -> None:
    """Give items, by their ids, other numbers; one whose number another item has keeps that which it had.

    The list is locked by the caller.
    """
    items = items_of(session, list_id)
    moving = {item: numbers[item.id] for item in items if numbers.get(item.id, item.number) != item.number}
    taken = {item.number for item in items if item not in moving}
    while blocked := [item for item, number in moving.items() if number in taken]:
        for item in blocked:
            taken.add(item.number)
            del moving[item]
    for item in moving:
        item.live = None
    session.flush()  # a number is free for one item only once the other has left it
    for item, number in moving.items():
        item.number, item.live = number, live_of(list_id, number)
    session.flush()


def policy_of(session: Session, list_id: str | None) -> Policy | None:
    """What hosts must know of the list; networks without one cost no statement.

    As in CloudStack, all may leave until an item says what may.
    """
    if list_id is None:
        return None
    rules = [_rule(item) for item in items_of(session, list_id) if item.state in WANTED]
    if not any(rule.direction == "egress" for rule in rules):
        rules.append(EVERYTHING_LEAVES)
    return Policy(list_id, tuple(rules))


def _rule(item: NetworkAclItem) -> PolicyRule:
    networks = tuple(item.networks)
    sources, destinations = (networks, ()) if item.direction == "ingress" else ((), networks)
    ports = (item.first_port, item.last_port)
    traffic = Traffic(item.protocol, *ports, item.icmp_type, item.icmp_code, sources, destinations)
    return PolicyRule(item.id, cast("Any", item.direction), traffic, item.allow)


def forget_lists(session: Session, *which: ColumnElement[bool]) -> None:
    """Lists that no tier has any more are removed, with their items."""
    gone = {"removed": utcnow(), "live": None}
    lists = select(NetworkAclList.id).where(NetworkAclList.removed.is_(None), *which)
    items = update(NetworkAclItem).where(NetworkAclItem.removed.is_(None), NetworkAclItem.list_id.in_(lists))
    write(session, items.values(**gone))
    write(session, update(NetworkAclList).where(NetworkAclList.removed.is_(None), *which).values(**gone))
