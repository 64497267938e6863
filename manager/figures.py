"""What guests do as their hosts count it: what grew since the last report, and what it comes to in all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from agents.figures import GuestFigures
from manager.models import Host, Vm, VmFigures

COUNTERS = ("cpu_ns", "received", "sent", "read", "written", "reads", "writes")
GAUGES = ("memory", "memory_target", "memory_free")


def note(session: Session, agent_id: str, told: Iterable[GuestFigures]) -> None:
    """Keep what a host tells of the guests that are placed on it.

    Counters begin at zero with each placement of a guest, and when a guest is defined anew in its place.
    """
    guests = {guest.vm_id: guest for guest in told}
    if not guests:
        return
    query = (
        select(Vm.id, Vm.generation, Vm.host_id)
        .join(Host, Host.id == Vm.host_id)
        .where(Host.agent_id == agent_id, Host.removed.is_(None), Vm.id.in_(guests))
    )
    placed = session.execute(query).all()
    known = select(VmFigures).where(VmFigures.vm_id.in_([vm.id for vm in placed])).with_for_update()
    held = {row.vm_id: row for row in session.scalars(known)}
    for vm in placed:
        row = held.get(vm.id)
        if row is None:
            row = VmFigures(vm_id=vm.id, placement="", measured=0.0, counters={}, recent={}, totals={})
            session.add(row)
        _take(row, f"{vm.host_id}:{vm.generation}", guests[vm.id])


def _take(row: VmFigures, placement: str, now: GuestFigures) -> None:
    """`recent` has the seconds that passed as well, where the counters went on."""
    told = asdict(now)
    counters = {name: told[name] for name in COUNTERS}
    before = row.counters
    goes_on = row.placement == placement and all(counters[name] >= before.get(name, 0) for name in COUNTERS)
    recent: dict[str, Any] = {name: counters[name] - (before.get(name, 0) if goes_on else 0) for name in COUNTERS}
    row.totals = {name: row.totals.get(name, 0) + recent[name] for name in COUNTERS}
    passed = {"seconds": now.measured - row.measured} if goes_on else {}
    row.recent = {**recent, **passed, **{name: told[name] for name in GAUGES}}
    row.placement, row.measured, row.counters = placement, now.measured, counters
