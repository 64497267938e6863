"""Rates of NICs as meters of OpenFlow: one for what a NIC sends, one for what reaches it. What exceeds them is dropped.

Policing by the kernel would not do: a userspace datapath sees a tap's frames before the kernel's traffic control.
"""

from __future__ import annotations

from collections.abc import Iterator

from network.flow_tables.layout import Place
from network.types import NicView

SENT, RECEIVED = 0, 1
KBPS = 1000
BURST_SECONDS = 0.1
LEAST_BURST = 500
"""Kilobit: a burst must hold some frames of full length, else nothing of full length ever passes."""


def _number(place: Place, nic: NicView, way: int) -> int:
    return 2 * place.numbers.nics[nic.id].zone + way


def metered(place: Place, nic: NicView, way: int) -> str:
    """The action that comes before all others; empty for a NIC without a rate."""
    return f"meter:{_number(place, nic, way)}," if nic.rate else ""


def meter_lines(place: Place) -> Iterator[str]:
    """The meters of one network's NICs on this host, as ovs-ofctl takes them."""
    for nic in place.local:
        if nic.rate:
            rate = nic.rate * KBPS
            burst = max(LEAST_BURST, int(rate * BURST_SECONDS))
            for way in (SENT, RECEIVED):
                yield f"meter={_number(place, nic, way)},kbps,burst,band=type=drop,rate={rate},burst_size={burst}"
