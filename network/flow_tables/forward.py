"""Where a packet goes: to a port of this host, to the one host that has its MAC address, or nowhere."""

from __future__ import annotations

from collections.abc import Iterator

from network.flow_tables.classes import class_number
from network.flow_tables.layout import (
    DHCP_REPLY,
    FORWARD,
    INGRESS,
    INGRESS_PEER,
    NETWORK_KIND,
    NIC_KIND,
    OUTPUT,
    Flow,
    Place,
    cookie,
)
from network.flow_tables.meters import RECEIVED, metered
from network.types import ROUTER, NicView

BROADCAST = "dl_dst=ff:ff:ff:ff:ff:ff"
GROUP_ADDRESSED = "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00"
"""Broadcast and multicast (IEEE 802, the group bit of a MAC address)."""
OF_BRIDGES = "dl_dst=01:80:c2:00:00:00/ff:ff:ff:ff:ff:f0"
"""What no bridge forwards (IEEE 802.1Q, 8.6.3), such as spanning tree."""


def output_flow() -> Flow:
    return Flow(OUTPUT, 100, "", "output:NXM_NX_REG7[]", cookie(NETWORK_KIND, "output"))


def forward_flows(place: Place) -> Iterator[Flow]:
    for nic in place.local:
        if nic.rate:
            actions = f"{metered(place, nic, RECEIVED)}output:NXM_NX_REG7[]"
            match = f"reg7={place.numbers.nics[nic.id].ofport:#x}"
            yield Flow(OUTPUT, 110, match, actions, cookie(NIC_KIND, nic.id))
    for nic in place.view.nics:
        match = f"metadata={place.key},dl_dst={nic.mac}"
        if nic.host_id == place.host_id:
            actions = f"{_toward(place, nic)},goto_table:{_inward(place, nic)}"
            yield Flow(FORWARD, 100, match, actions, cookie(NIC_KIND, nic.id))
            if away := place.way(nic.also_on, onward=True):
                yield Flow(FORWARD, 110, f"reg0=0,{match}", f"{away},{actions}", cookie(NIC_KIND, nic.id))
        elif away := place.way((nic.host_id, *nic.also_on)):
            # reg0=0: what came from another host never leaves for one.
            yield Flow(FORWARD, 90, f"reg0=0,{match}", away, cookie(NIC_KIND, nic.id))
    yield from _broadcast_flows(place)


def group_lines(place: Place) -> Iterator[str]:
    """Copies to the members on this host; and to those plus one copy for each other host that holds the network."""
    if not _has_broadcast(place):
        return
    here = [f"bucket=actions={_toward(place, nic)},resubmit(,{_inward(place, nic)})" for nic in place.local]
    away = [f"bucket=actions={place.way((host_id,))}" for host_id in sorted(place.tunnels)]
    if place.trunk and (place.others or (place.view.bare and place.view.is_flat)):
        away = [f"bucket=actions={place.by_trunk}"]
    yield ",".join([f"group_id={place.local_group},type=all", *here])
    yield ",".join([f"group_id={place.whole_group},type=all", *here, *away])


def _broadcast_flows(place: Place) -> Iterator[Flow]:
    if not _has_broadcast(place):
        return
    kind = "ip" if place.view.broadcast else DHCP_REPLY
    match = f"{kind},metadata={place.key},{BROADCAST}"
    if place.view.bare:
        match = f"metadata={place.key},{GROUP_ADDRESSED}"
        yield Flow(FORWARD, 81, f"metadata={place.key},{OF_BRIDGES}", "drop")
    mark = cookie(NETWORK_KIND, place.view.id)
    yield Flow(FORWARD, 80, f"reg0=0,{match}", f"group:{place.whole_group}", mark)
    yield Flow(FORWARD, 80, f"reg0=1,{match}", f"group:{place.local_group}", mark)


def _has_broadcast(place: Place) -> bool:
    """A router needs it: DHCP clients may ask to be answered by broadcast. So do guests that address themselves."""
    return place.view.broadcast or place.view.bare or place.router is not None


def _toward(place: Place, nic: NicView) -> str:
    number = place.numbers.nics[nic.id]
    policy = class_number(place, nic)
    return f"set_field:{number.zone:#x}->reg3,set_field:{policy:#x}->reg4,set_field:{number.ofport:#x}->reg7"


def _inward(place: Place, nic: NicView) -> int:
    """The next table of what reaches the NIC; no policy is for a network of layer 2 alone."""
    if place.view.bare:
        return OUTPUT
    return INGRESS_PEER if place.view.has_groups and nic.role != ROUTER else INGRESS
