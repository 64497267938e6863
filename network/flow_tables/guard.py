"""Who sends: identity comes from the port, and a NIC may only speak as itself."""

from __future__ import annotations

from collections.abc import Iterator

from network.flow_tables.classes import class_number
from network.flow_tables.layout import (
    ARP_ANSWER,
    CLASSIFY,
    DHCP,
    DHCP_REPLY,
    DHCP_REQUEST,
    EGRESS,
    EGRESS_PEER,
    FORWARD,
    HOST_KIND,
    NETWORK_KIND,
    NIC_KIND,
    SOURCE_GUARD,
    TUNNEL_IN,
    Flow,
    Place,
    cookie,
)
from network.flow_tables.meters import SENT, metered
from network.types import ROUTER, NicView

# `ip` also matches tagged frames; only this keeps a guest's own 802.1Q tag out.
UNTAGGED = "vlan_tci=0x0000/0x1000"


def tunnel_flows(peers: dict[int, str]) -> Iterator[Flow]:
    """What comes from the tunnels' ports, given with the hosts that they lead to."""
    for ofport, host_id in peers.items():
        actions = f"set_field:0x1->reg0,goto_table:{TUNNEL_IN}"
        yield Flow(CLASSIFY, 90, f"in_port={ofport},{UNTAGGED}", actions, cookie(HOST_KIND, host_id))


def guard_flows(place: Place) -> Iterator[Flow]:
    """Tables CLASSIFY, TUNNEL_IN and SOURCE_GUARD of one network."""
    if not place.trunk:
        known = f"set_field:{place.key}->metadata,goto_table:{FORWARD}"
        yield Flow(TUNNEL_IN, 90, f"tun_id={place.key}", known, cookie(NETWORK_KIND, place.view.id))
    for nic in place.local:
        number = place.numbers.nics[nic.id]
        actions = (
            f"{metered(place, nic, SENT)}set_field:{place.key}->metadata,set_field:{number.zone:#x}->reg1,"
            f"set_field:{class_number(place, nic):#x}->reg2,goto_table:{SOURCE_GUARD}"
        )
        yield Flow(CLASSIFY, 100, f"in_port={number.ofport},{UNTAGGED}", actions, cookie(NIC_KIND, nic.id))
        rows = _rows(place, nic)
        for priority, match, table in rows:
            here = f"{match},in_port={number.ofport}"
            if table:
                yield Flow(SOURCE_GUARD, priority, here, f"goto_table:{table}", cookie(NIC_KIND, nic.id))
            else:
                yield Flow(SOURCE_GUARD, priority, here, "drop")


def _rows(place: Place, nic: NicView) -> Iterator[tuple[int, str, int]]:
    """Priority, match, next table (0: drop)."""
    if place.view.bare:
        # Guests address themselves: whatever bears the NIC's own MAC.
        return iter([(90, f"dl_src={nic.mac}", FORWARD)])
    return _router_rows(nic) if nic.role == ROUTER else _guest_rows(nic, place)


def _guest_rows(nic: NicView, place: Place) -> Iterator[tuple[int, str, int]]:
    onward = EGRESS_PEER if place.view.has_groups else EGRESS
    yield 110, DHCP_REPLY, 0
    yield 105, f"{DHCP_REQUEST},dl_src={nic.mac},nw_src=0.0.0.0,nw_dst=255.255.255.255", DHCP
    yield 105, f"{DHCP_REQUEST},dl_src={nic.mac},nw_src={nic.address}", DHCP
    for address in (nic.address, *nic.further):
        yield 100, _own_arp(nic, address), ARP_ANSWER
        # Silence is the answer that the guest's own address is free.
        yield 100, f"arp,dl_src={nic.mac},arp_sha={nic.mac},arp_spa=0.0.0.0,arp_tpa={address}", 0
        yield 90, f"ip,dl_src={nic.mac},nw_src={address}", onward
    for network in nic.behind:
        yield 90, f"ip,dl_src={nic.mac},nw_src={network}", onward


def _router_rows(nic: NicView) -> Iterator[tuple[int, str, int]]:
    yield 105, f"{DHCP_REPLY},dl_src={nic.mac},nw_src={nic.address}", DHCP
    # Nobody behind the router, which forwards any source address, is a DHCP server here.
    yield 104, DHCP_REPLY, 0
    yield 100, _own_arp(nic, nic.address), ARP_ANSWER
    yield 90, f"ip,dl_src={nic.mac}", EGRESS


def _own_arp(nic: NicView, address: str) -> str:
    return f"arp,dl_src={nic.mac},arp_sha={nic.mac},arp_spa={address}"
