"""What comes from a VLAN of the underlay, and what leaves for things in it that are no NICs of the network."""

from __future__ import annotations

from collections.abc import Iterator

from network.flow_tables.answer import answer
from network.flow_tables.guard import UNTAGGED
from network.flow_tables.layout import (
    ARP_ANSWER,
    ARP_KIND,
    CLASSIFY,
    DHCP_REPLY,
    FORWARD,
    NETWORK_KIND,
    NIC_KIND,
    OUTPUT,
    Flow,
    Place,
    cookie,
)
from network.types import NicView

FROM_HOST, FROM_OUTSIDE = 1, 3
UNICAST = "dl_dst=00:00:00:00:00:00/01:00:00:00:00:00"
RESERVED = ("udp,tp_dst=0x0/0xfc00", "tcp,tp_dst=0x0/0xfc00", "tcp,tp_dst=8080")
"""The ports that a router serves its guests at: all below 1024, and that of passwords."""


def trunk_flows(place: Place) -> Iterator[Flow]:
    """The rows of a network that is a VLAN; none for one of tunnels."""
    if not place.trunk:
        return
    yield from _known_senders(place)
    if not place.view.bare:
        yield from _dhcp(place)
        yield from _moved_router(place)
    if place.view.is_flat:
        yield from _outside(place)


def _arriving(place: Place) -> str:
    tag = f"dl_vlan={place.view.key}" if place.view.key else UNTAGGED
    return f"in_port={place.trunk},{tag}"


def _known(place: Place, source: int) -> str:
    """Takes the tag off and says where the packet is from."""
    tag = "pop_vlan," if place.view.key else ""
    return f"{tag}set_field:{source:#x}->reg0,set_field:{place.key}->metadata"


def _taken(place: Place, source: int) -> str:
    return f"{_known(place, source)},goto_table:{FORWARD}"


def _is_elsewhere(place: Place, nic: NicView) -> bool:
    return nic.host_id != place.host_id or bool(nic.also_on)


def _known_senders(place: Place) -> Iterator[Flow]:
    """What NICs of other hosts send. A NIC of this host is not heard from there."""
    for nic in (*place.view.nics, *place.view.pair):
        match, mark = f"{_arriving(place)},dl_src={nic.mac}", cookie(NIC_KIND, nic.id)
        if _is_elsewhere(place, nic):
            yield Flow(CLASSIFY, 92, match, _taken(place, FROM_HOST), mark)
        elif place.view.is_flat:
            yield Flow(CLASSIFY, 92, match, "drop")


def _dhcp(place: Place) -> Iterator[Flow]:
    """Nobody in the VLAN but the router is a DHCP server."""
    yield Flow(CLASSIFY, 95, f"{DHCP_REPLY},{_arriving(place)}", "drop")
    for router in place.routers:
        if _is_elsewhere(place, router):
            match = f"{DHCP_REPLY},{_arriving(place)},dl_src={router.mac}"
            yield Flow(CLASSIFY, 96, match, _taken(place, FROM_HOST), cookie(NIC_KIND, router.id))


def _moved_router(place: Place) -> Iterator[Flow]:
    """A router of a pair tells by ARP that it forwards from now on, and bridges of the underlay learn where it is."""
    for nic in place.routers:
        if nic.also_on:
            told = f"arp,metadata={place.key},dl_src={nic.mac},arp_spa={nic.address},arp_tpa={nic.address}"
            yield Flow(ARP_ANSWER, 110, told, place.by_trunk, cookie(NIC_KIND, nic.id))


def _outside(place: Place) -> Iterator[Flow]:
    """Between guests and things in the VLAN that are no NICs: policies hold for all but ARP."""
    mark = cookie(NETWORK_KIND, place.view.id)
    unknown = f"reg0=0,metadata={place.key},{UNICAST}"
    if place.view.bare:
        yield Flow(CLASSIFY, 90, _arriving(place), _taken(place, FROM_HOST), mark)
        yield Flow(FORWARD, 70, unknown, place.by_trunk, mark)
        return
    yield Flow(CLASSIFY, 90, f"ip,{_arriving(place)}", _taken(place, FROM_OUTSIDE), mark)
    yield Flow(FORWARD, 70, f"ip,{unknown}", place.by_trunk, mark)
    for router in place.routers:
        for ports in RESERVED:
            match = f"{ports},reg0={FROM_OUTSIDE:#x},metadata={place.key},dl_dst={router.mac}"
            yield Flow(FORWARD, 120, match, "drop")
    yield from _arp(place)


def _arp(place: Place) -> Iterator[Flow]:
    """Questions of guests leave, and answers come in; things outside are answered by the host that has the NIC."""
    mark = cookie(NETWORK_KIND, place.view.id)
    arriving = _arriving(place)
    yield Flow(ARP_ANSWER, 50, f"arp,metadata={place.key},arp_op=1", place.by_trunk, mark)
    yield Flow(CLASSIFY, 95, f"arp,{arriving}", "drop")
    for nic in place.view.nics:
        for address in (nic.address, *nic.further):
            # Nobody else speaks for an address of the network: hosts answer for those by themselves.
            yield Flow(CLASSIFY, 98, f"arp,{arriving},arp_spa={address}", "drop")
    for nic in place.local:
        number = place.numbers.nics[nic.id]
        for address in (nic.address, *nic.further):
            asked = f"arp,{arriving},arp_op=1,arp_tpa={address}"
            yield Flow(CLASSIFY, 97, asked, answer(nic.mac, address), cookie(ARP_KIND, nic.id))
            told = f"arp,{arriving},arp_op=2,dl_dst={nic.mac},arp_tpa={address}"
            inward = f"{_known(place, FROM_OUTSIDE)},set_field:{number.ofport:#x}->reg7,goto_table:{OUTPUT}"
            yield Flow(CLASSIFY, 97, told, inward, cookie(NIC_KIND, nic.id))
