"""Traffic of guests' NICs as their hosts count it, added up until it comes into usage records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from agents.contract import NicTraffic
from manager.db import write
from manager.models import Host, NetworkTraffic, Nic, UsageTraffic, Vm
from manager.placement.address import insert_or_nothing


def note(session: Session, agent_id: str, told: Iterable[NicTraffic]) -> None:
    """Add what passed since the host last told; a host speaks only for NICs that are placed on it.

    Counters begin at zero with each placement of a guest, and when a guest is defined anew in its place.
    """
    counters = {traffic.nic_id: traffic for traffic in told}
    if not counters:
        return
    query = (
        select(Nic.id, Nic.network_id, Vm.id.label("vm_id"), Vm.name, Vm.account_id, Vm.zone_id, Vm.generation,
               Host.id.label("host_id"))
        .join(Vm, Vm.id == Nic.vm_id)
        .join(Host, Host.id == Nic.host_id)
        .where(Host.agent_id == agent_id, Host.removed.is_(None), Nic.id.in_(counters))
    )  # fmt: skip
    nics = session.execute(query).all()
    known = select(UsageTraffic).where(UsageTraffic.nic_id.in_([nic.id for nic in nics])).with_for_update()
    held = {row.nic_id: row for row in session.scalars(known)}
    grown: dict[tuple[str, str], list[int]] = {}
    for nic in nics:
        grew = _add(held.get(nic.id) or _begin(session, nic), nic, counters[nic.id])
        so_far = grown.setdefault((nic.network_id, nic.account_id), [0, 0])
        grown[nic.network_id, nic.account_id] = [one + more for one, more in zip(so_far, grew, strict=True)]
    _add_to_networks(session, {key: both for key, both in sorted(grown.items()) if any(both)})


def _begin(session: Session, nic: Any) -> UsageTraffic:
    facts = {"name": nic.name, "vm_id": nic.vm_id, "network_id": nic.network_id}
    row = UsageTraffic(
        nic_id=nic.id,
        network_id=nic.network_id,
        account_id=nic.account_id,
        zone_id=nic.zone_id,
        facts=facts,
        placement="",
        last_received=0,
        last_sent=0,
        received=0,
        sent=0,
    )
    session.add(row)
    return row


def _add_to_networks(session: Session, grown: dict[tuple[str, str], list[int]]) -> None:
    """Add what networks, given with their accounts in order, received and sent; other hosts add to the same rows."""
    if not grown:
        return
    known = set(
        session.scalars(select(NetworkTraffic.network_id).where(NetworkTraffic.network_id.in_([k for k, _ in grown])))
    )
    for network_id, account_id in grown:
        if network_id not in known:
            values = {"network_id": network_id, "account_id": account_id, "received": 0, "sent": 0}
            write(session, insert_or_nothing(session, NetworkTraffic, values))
    table = NetworkTraffic
    growing = update(table).where(table.network_id == bindparam("network"))
    growing = growing.values(received=table.received + bindparam("more_in"), sent=table.sent + bindparam("more_out"))
    rows = [{"network": key[0], "more_in": received, "more_out": sent} for key, (received, sent) in grown.items()]
    session.connection().execute(growing, rows)


def _add(row: UsageTraffic, nic: Any, now: NicTraffic) -> tuple[int, int]:
    """What was received and sent since the last report."""
    placement = f"{nic.host_id}:{nic.generation}"
    anew = row.placement != placement or now.received < row.last_received or now.sent < row.last_sent
    received = now.received - (0 if anew else row.last_received)
    sent = now.sent - (0 if anew else row.last_sent)
    row.received += received
    row.sent += sent
    row.placement, row.last_received, row.last_sent = placement, now.received, now.sent
    return received, sent
