"""What items of network ACL lists have decided, as hosts count it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from agents.contract import RuleHits
from manager.models import Host, Network, NetworkAclHits, NetworkAclItem, Nic

MOST_TOLD = 10_000
"""Of one report; as many as a list may have items."""


def note(session: Session, agent_id: str, told: Iterable[RuleHits]) -> None:
    """Add what was decided since the host last told; a host speaks only for the lists of tiers that it holds.

    Counters begin at zero where a switch was started anew or the item's flows were made anew.
    """
    counted = {hits.rule_id: hits.packets for hits in islice(told, MOST_TOLD)}
    if not counted:
        return
    query = (
        select(NetworkAclItem.id, Host.id)
        .join(Network, Network.acl_id == NetworkAclItem.list_id)
        .join(Nic, Nic.network_id == Network.id)
        .join(Host, Host.id == Nic.host_id)
        .where(Host.agent_id == agent_id, Host.removed.is_(None), NetworkAclItem.removed.is_(None))
        .where(NetworkAclItem.id.in_(counted))
        .distinct()
        .order_by(NetworkAclItem.id)
    )
    places = session.execute(query).all()
    known = select(NetworkAclHits).where(NetworkAclHits.item_id.in_([item_id for item_id, _ in places]))
    held = {(row.item_id, row.host_id): row for row in session.scalars(known.with_for_update())}
    for item_id, host_id in places:
        row = held.get((item_id, host_id))
        if row is None:
            row = NetworkAclHits(item_id=item_id, host_id=host_id, packets=0, last=0)
            session.add(row)
        now = counted[item_id]
        row.packets += now - (row.last if now >= row.last else 0)
        row.last = now


def hits_of(session: Session, item_ids: Iterable[str]) -> dict[str, int]:
    """By item: the packets that it has decided on all hosts; none for 0."""
    total = func.sum(NetworkAclHits.packets)
    query = select(NetworkAclHits.item_id, total).where(NetworkAclHits.item_id.in_(list(item_ids)))
    return {item_id: int(packets) for item_id, packets in session.execute(query.group_by(NetworkAclHits.item_id))}
