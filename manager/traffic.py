"""Traffic of guests' NICs as their hosts count it, added up until it comes into usage records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from agents.contract import NicTraffic
from manager.models import Host, Nic, UsageTraffic, Vm


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
    for nic in nics:
        _add(held.get(nic.id) or _begin(session, nic), nic, counters[nic.id])


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


def _add(row: UsageTraffic, nic: Any, now: NicTraffic) -> None:
    placement = f"{nic.host_id}:{nic.generation}"
    anew = row.placement != placement or now.received < row.last_received or now.sent < row.last_sent
    row.received += now.received - (0 if anew else row.last_received)
    row.sent += now.sent - (0 if anew else row.last_sent)
    row.placement, row.last_received, row.last_sent = placement, now.received, now.sent
