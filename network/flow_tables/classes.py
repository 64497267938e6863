"""Policy classes: what the rules of many guests are stored once for. A NIC carries the number of its class.

A class is a set of security groups in one network, or the ACL list of one network. Not over networks: the members of
a group are those of the network at hand, and views of two networks may be of different ages.
"""

from __future__ import annotations

from network.flow_tables.layout import CLASS_NUMBERS, Place
from network.types import ROUTER, NetworkView, NicView

ROUTER_CLASS, GUEST_OPEN, GUEST_CLOSED = 1, 2, 3
SHARED = {ROUTER_CLASS: "router", GUEST_OPEN: "guest-open", GUEST_CLOSED: "guest-closed"}


def class_name(view: NetworkView, nic: NicView) -> str:
    """What the host keeps the number of the NIC's class by; empty for classes that all networks share."""
    if nic.role == ROUTER:
        return ""
    if view.has_groups:
        return f"{view.id}/{','.join(sorted(nic.groups))}"
    return view.id if view.acl is not None else ""


def class_names(view: NetworkView) -> list[str]:
    """Of all NICs of the network, wherever they are: rules name the members of groups by their classes."""
    if view.acl is None and not view.has_groups:
        return []
    return sorted({class_name(view, nic) for nic in view.nics} - {""})


def class_number(place: Place, nic: NicView) -> int:
    if nic.role == ROUTER:
        return ROUTER_CLASS
    name = class_name(place.view, nic)
    if name:
        return CLASS_NUMBERS + place.numbers.classes[name]
    return GUEST_OPEN if place.view.egress_open else GUEST_CLOSED
