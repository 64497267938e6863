"""The overlays that can carry tenant networks between hosts, all over IPv4 underlays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Overlay:
    """`name` is CloudStack's isolation method, `domain_type` its broadcast domain type, in lower case the scheme of its
    URIs. `overhead` is what is missing from the underlay's MTU inside, in bytes.
    """

    name: str
    domain_type: str
    largest_key: int
    overhead: int


OVERLAYS: Final[Mapping[str, Overlay]] = {
    # 14 of the guest's Ethernet header, 20 of IPv4, 8 of GRE with a key (RFC 2890).
    "gre": Overlay("GRE", "Gre", 2**32 - 1, 42),
    # 14, 20, 8 of UDP, 8 of VXLAN (RFC 7348, whose network identifiers have 24 bits).
    "vxlan": Overlay("VXLAN", "Vxlan", 2**24 - 1, 50),
}
"""By the type of Open vSwitch's interfaces for it (types.OverlayName); the one to take by default first."""


def overlay_named(method: str) -> str | None:
    """The overlay of CloudStack's isolation method, in any case."""
    return next((key for key, overlay in OVERLAYS.items() if overlay.name == method.upper()), None)


def uri(name: str, key: int) -> str:
    return f"{OVERLAYS[name].domain_type.lower()}://{key}"
