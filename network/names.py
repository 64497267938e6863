"""Names of host devices and namespaces, derived from identifiers only, so that undo needs no record of them."""

from __future__ import annotations

import hashlib
from uuid import UUID

RANDOM_UUID = 4
TAP_PREFIX = "pt-"
ROUTER_GUEST_PREFIX = "pr-"
TIER_PREFIX = "tr-"
PRIVATE_PREFIX = "gw-"
ROUTER_PUBLIC_PREFIX = "pp-"
TUNNEL_PREFIX = "pg-"
CABLE_PREFIX = "pc-"
CABLE_NIC_PREFIX = "pd-"
CABLE_VLAN_PREFIX = "pv-"
TRUNK_PREFIX = "pk-"
TRUNK_END_PREFIX = "pl-"
NAMESPACE_PREFIX = "vr-"


def digits(identifier: str, count: int) -> str:
    """`count` hexadecimal digits that stand for `identifier`: the first of a random UUID, else of its digest.

    Only version 4 has its randomness in front; identifiers made in one millisecond share the start of version 7.
    """
    try:
        uuid = UUID(identifier)
    except ValueError:
        uuid = None
    if uuid is not None and uuid.version == RANDOM_UUID:
        return uuid.hex[:count]
    return hashlib.sha256(identifier.encode()).hexdigest()[:count]


def tap_name(nic_id: str) -> str:
    return TAP_PREFIX + digits(nic_id, 12)


def tunnel_name(tunnel_id: str) -> str:
    return TUNNEL_PREFIX + digits(tunnel_id, 12)


def cable_bridge(cable: str) -> str:
    """The bridge that a cable to a hardware device is a port of."""
    return CABLE_PREFIX + digits(cable, 12)


def cable_ports(nic_id: str) -> tuple[str, str]:
    """The two ends of the wire between the switch and a cable's bridge, for the NIC of a hardware device."""
    return CABLE_NIC_PREFIX + digits(nic_id, 12), CABLE_VLAN_PREFIX + digits(nic_id, 12)


def trunk_ports(bridge: str) -> tuple[str, str]:
    """The two ends of the wire between the switch and a bridge of the underlay that leads to VLANs."""
    return TRUNK_PREFIX + digits(bridge, 12), TRUNK_END_PREFIX + digits(bridge, 12)


def router_namespace(router_id: str) -> str:
    return NAMESPACE_PREFIX + digits(router_id, 12)


def router_guest_device(nic_id: str) -> str:
    """The end of a router's guest veth that is a port of the switch; each leg has one, by its NIC."""
    return ROUTER_GUEST_PREFIX + digits(nic_id, 12)


def tier_device(nic_id: str) -> str:
    """The other end of such a veth, in the namespace of a router with several legs."""
    return TIER_PREFIX + digits(nic_id, 12)


def private_device(gateway_id: str) -> str:
    """The end of a private gateway's veth that is in the router's namespace; the other is a `router_guest_device`."""
    return PRIVATE_PREFIX + digits(gateway_id, 12)


def router_public_device(router_id: str) -> str:
    """The end of the router's public veth that is in the public bridge."""
    return ROUTER_PUBLIC_PREFIX + digits(router_id, 12)
