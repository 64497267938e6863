"""The parts of a router's wanted state that are made of rows alike for networks and VPCs."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from manager.models import Network, Nic, PublicAddress, VlanIpRange, Vpc, Zone
from network.types import GuestLeg, Lease, NicView, PublicLeg

PUBLIC_BRIDGE = "br-public"
TRUNK_BRIDGE = "br-phy"
PREFIX = 54
"""With a hyphen and 8 characters of an id it makes a label of 63 (RFC 1035)."""


def resolvers_of(network: Network | Vpc, zone: Zone) -> tuple[str, ...]:
    """The name servers that the router of the network or VPC asks: its own ones, else the zone's."""
    own = (network.dns1, network.dns2) if network.dns1 else (zone.dns1, zone.dns2)
    return tuple(server for server in own if server)


def public_leg(address: PublicAddress | None, span: VlanIpRange, label: str | None, mtu: int) -> PublicLeg | None:
    """`label` is the bridge of the public physical network, as its traffic type names it."""
    if address is None:
        return None
    prefix = ipaddress.IPv4Network(f"{span.gateway}/{span.netmask}", strict=False).prefixlen
    return PublicLeg(address.address, prefix, span.gateway, address.mac, label or PUBLIC_BRIDGE, mtu)


def guest_leg(network: Network, nic: NicView, rows: Sequence[Any], zone: Zone, **more: Any) -> GuestLeg:
    """`rows` are the network's NICs as `nics_query` gives them, `more` are fields of the leg that they do not tell.

    A tier without an ACL list is closed: what nobody allowed does not come in.
    """
    return GuestLeg(
        network_id=network.id,
        nic=nic,
        cidr=network.cidr,
        mtu=network.mtu,
        domain=network.network_domain,
        leases=_leases(rows, zone.name),
        closed=network.vpc_id is not None and network.acl_id is None,
        gateway=network.gateway if nic.address != network.gateway else "",
        **more,
    )


def _leases(rows: Sequence[Any], zone_name: str) -> tuple[Lease, ...]:
    """Of VMs of several accounts that have one name the oldest is known by it; each other by that and its id."""
    guests = [(nic, row) for nic, row in rows if nic.vm_id and nic.host_id]
    oldest: dict[str, int] = {}
    for _, row in guests:
        name = row.name.lower()
        oldest[name] = min(row.number, oldest.get(name, row.number))
    return tuple(_lease(nic, row, zone_name, _hostname(row, oldest)) for nic, row in guests)


def _hostname(row: Any, oldest: dict[str, int]) -> str:
    return row.name if oldest[row.name.lower()] == row.number else f"{row.name[:PREFIX]}-{row.id[:8]}"


def _lease(nic: Nic, row: Any, zone_name: str, hostname: str) -> Lease:
    return Lease(
        nic_id=nic.id,
        vm_id=row.id,
        mac=nic.mac,
        address=nic.address or "",
        hostname=hostname,
        instance_name=row.instance_name,
        service_offering=row.offering,
        zone_name=zone_name,
        public_keys=row.public_keys,
        user_data=row.user_data,
        password=row.password or "",
        leads_out=nic.is_default,
        metadata=row.user_data_details or {},
    )
