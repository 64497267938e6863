"""Who is at the other end: rules that name a security group hold for the classes of guests that have it.

Each address of such a guest costs one flow of the host and each rule one more match for every class, so members times
rules never occurs, each rule keeps flows of its own to be counted by, and a rule is added without touching members.
Conjunctions of OpenFlow would count all rules of a group together, or change every member with each rule.
"""

from __future__ import annotations

from collections.abc import Iterator

from network.flow_tables.classes import class_number
from network.flow_tables.layout import (
    EGRESS,
    EGRESS_PEER,
    INGRESS,
    INGRESS_PEER,
    NETWORK_KIND,
    NIC_KIND,
    Flow,
    Place,
    cookie,
)
from network.types import GUEST


def peer_flows(place: Place, named: dict[str, set[str]]) -> Iterator[Flow]:
    """Tables EGRESS_PEER and INGRESS_PEER; `named` are the groups that rules of this host name, by direction."""
    if not place.view.has_groups:
        return
    mark = cookie(NETWORK_KIND, place.view.id)
    for table, onward in ((EGRESS_PEER, EGRESS), (INGRESS_PEER, INGRESS)):
        yield Flow(table, 10, f"ip,metadata={place.key}", f"goto_table:{onward}", mark)
    for nic in place.view.nics:
        if nic.role != GUEST:
            continue
        number = class_number(place, nic)
        for address in (nic.address, *nic.further):
            if not named["egress"].isdisjoint(nic.groups):
                match = f"ip,metadata={place.key},dl_dst={nic.mac},nw_dst={address}"
                actions = f"set_field:{number:#x}->reg5,goto_table:{EGRESS}"
                yield Flow(EGRESS_PEER, 100, match, actions, cookie(NIC_KIND, nic.id))
            if not named["ingress"].isdisjoint(nic.groups):
                # With the MAC address: a router forwards from any address, and is none of the group.
                match = f"ip,metadata={place.key},dl_src={nic.mac},nw_src={address}"
                actions = f"set_field:{number:#x}->reg6,goto_table:{INGRESS}"
                yield Flow(INGRESS_PEER, 100, match, actions, cookie(NIC_KIND, nic.id))


def members(place: Place) -> dict[str, list[int]]:
    """By security group: the numbers of the classes of guests, wherever they are, that have it."""
    found: dict[str, set[int]] = {}
    for nic in place.view.nics:
        if nic.role == GUEST:
            for group in nic.groups:
                found.setdefault(group, set()).add(class_number(place, nic))
    return {group: sorted(numbers) for group, numbers in found.items()}
