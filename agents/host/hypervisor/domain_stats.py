"""What libvirt counts of all running domains, from its one call for that.

Source: libvirt, virConnectGetAllDomainStats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import libvirt

from agents.figures import GuestFigures
from agents.host.hypervisor.base import Measured

FIGURES = (
    libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK,
    libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT,
)
"""What is asked for, and how: a domain that is busy with another call tells what it can without waiting."""
DISK = {"read": "rd.bytes", "written": "wr.bytes", "reads": "rd.reqs", "writes": "wr.reqs"}


def measured(domains: Iterable[tuple[str, Mapping[str, Any]]], now: float) -> Measured:
    """`domains` are UUIDs with what libvirt tells of them, read at `now`.

    One that is busy with another call is left out of the guests: what it lacks would look like a new beginning.
    """
    taps: dict[str, tuple[int, int]] = {}
    guests = []
    for uuid, stats in domains:
        mine = dict(_taps(stats))
        taps |= mine
        disks = _disks(stats)
        if disks is None or "cpu.time" not in stats:
            continue
        guests.append(
            GuestFigures(
                vm_id=uuid,
                measured=now,
                cpu_ns=stats["cpu.time"],
                received=sum(received for received, _ in mine.values()),
                sent=sum(sent for _, sent in mine.values()),
                **disks,
                memory=stats.get("balloon.current", 0),
                memory_target=stats.get("balloon.maximum", 0),
                memory_free=stats.get("balloon.unused"),
            )
        )
    return Measured(taps, tuple(guests))


def _taps(stats: Mapping[str, Any]) -> Iterable[tuple[str, tuple[int, int]]]:
    """Names with bytes; libvirt counts as the guest sees it."""
    for number in range(stats.get("net.count", 0)):
        name, received, sent = (stats.get(f"net.{number}.{key}") for key in ("name", "rx.bytes", "tx.bytes"))
        if name is not None and received is not None and sent is not None:
            yield name, (received, sent)


def _disks(stats: Mapping[str, Any]) -> dict[str, int] | None:
    """The sums over all disks; None where libvirt could not ask."""
    numbers = range(stats.get("block.count", 0))
    asked = [number for number in numbers if f"block.{number}.rd.reqs" in stats]
    if numbers and not asked:
        return None
    return {name: sum(stats.get(f"block.{number}.{key}", 0) for number in asked) for name, key in DISK.items()}
