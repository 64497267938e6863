"""What can carry tenant networks between hosts: overlays over IPv4 underlays, and VLANs of the underlay itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

VLAN: Final = "vlan"


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
    # The tag (IEEE 802.1Q) is beside what an Ethernet MTU counts.
    VLAN: Overlay("VLAN", "Vlan", 4094, 0),
}
"""By types.OverlayName, which of tunnels is the type of Open vSwitch's interfaces; the one to take by default first."""


def overlay_named(method: str) -> str | None:
    """The overlay of CloudStack's isolation method, in any case."""
    return next((key for key, overlay in OVERLAYS.items() if overlay.name == method.upper()), None)


def uri(name: str, key: int) -> str:
    """Key 0 is the VLAN of frames without a tag."""
    return f"{OVERLAYS[name].domain_type.lower()}://{key or 'untagged'}"
