"""Which traffic is allowed. Rules are stored once per policy class; a NIC carries its class in a register.

Both directions have the same shape: a table that sends tracked classes through conntrack in the NIC's own zone, and a
table of rules. Each rule is a pair: one flow for new connections, one for established ones, so that a rule taken away
also ends the connections it had allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from network.flow_tables.classes import GUEST_OPEN, ROUTER_CLASS, SHARED, class_name, class_number
from network.flow_tables.layout import (
    DHCP_REPLY,
    EGRESS,
    EGRESS_RULES,
    FORWARD,
    INGRESS,
    INGRESS_RULES,
    NETWORK_KIND,
    OUTPUT,
    POLICY_KIND,
    RULE_KIND,
    Flow,
    Place,
    cookie,
)
from network.flow_tables.matches import matches
from network.flow_tables.peers import members, peer_flows
from network.types import ROUTER, PolicyRule

METADATA_ADDRESS = "169.254.169.254"
INVALID, CUT, ANSWERS, ROUTER_ITSELF, FORGED, INSIDE = 65000, 64900, 64800, 60020, 60010, 60000
ORDERED, UNORDERED, DEFAULT, NO_LONGER_ALLOWED = 50000, 1000, 900, 1
"""Of ORDERED, an item of a list takes off its rank."""


@dataclass(frozen=True, slots=True)
class Direction:
    """The tables and registers of one direction, and the address that rules of it are held against."""

    name: str
    track: int
    rules: int
    after: int
    zone: str
    class_register: str
    peer_register: str
    field: str


OUTWARD = Direction("egress", EGRESS, EGRESS_RULES, FORWARD, "NXM_NX_REG1[0..15]", "reg2", "reg5", "nw_dst")
INWARD = Direction("ingress", INGRESS, INGRESS_RULES, OUTPUT, "NXM_NX_REG3[0..15]", "reg4", "reg6", "nw_src")
WAYS = (OUTWARD, INWARD)


def policy_flows(places: Iterable[Place]) -> Iterator[Flow]:
    """The rows of the classes that are present on the host, and those that every connection meets."""
    yield Flow(INGRESS, 200, DHCP_REPLY, f"goto_table:{OUTPUT}", cookie(POLICY_KIND, "dhcp"))
    for way in WAYS:
        yield from _connection_flows(way)
    tracked: dict[int, int] = {}
    for place in places:
        for nic in place.local:
            number = class_number(place, nic)
            tracked[number] = cookie(POLICY_KIND, SHARED.get(number) or class_name(place.view, nic))
    for number, mark in tracked.items():
        for way in WAYS:
            checked = f"ct(table={way.rules},zone={way.zone})"
            actions = f"goto_table:{way.after}" if number == ROUTER_CLASS else checked
            yield Flow(way.track, 50, f"ip,{way.class_register}={number:#x}", actions, mark)
    if GUEST_OPEN in tracked:
        match = f"{OUTWARD.class_register}={GUEST_OPEN:#x}"
        yield from _allow(OUTWARD, DEFAULT, "ip", match, tracked[GUEST_OPEN])


def network_flows(place: Place) -> Iterator[Flow]:
    """What the guests of one network may do: the rules of their classes, and what holds without a rule."""
    if place.view.bare:
        return
    if place.view.has_groups:
        yield from _router_alone(place)
        yield from _grouped(place)
    elif place.view.acl is not None:
        yield from _inside(place)
        yield from _router_itself(place)
        yield from _listed(place)
    else:
        yield from _inside(place)
        mark = cookie(NETWORK_KIND, place.view.id)
        if place.view.is_flat:
            yield from _allow(INWARD, INSIDE - 1, "ip", f"metadata={place.key}", mark)
        for router in place.routers:
            yield from _allow(INWARD, INSIDE, "ip", f"metadata={place.key},dl_src={router.mac}", mark)


def _inside(place: Place) -> Iterator[Flow]:
    """All inside the network is allowed, and so is its metadata address."""
    mark = cookie(NETWORK_KIND, place.view.id)
    here = f"metadata={place.key}"
    yield from _allow(OUTWARD, INSIDE, "ip", f"{here},nw_dst={place.view.cidr}", mark)
    yield from _allow(OUTWARD, INSIDE, "ip", f"{here},nw_dst={METADATA_ADDRESS}", mark)
    yield from _allow(INWARD, INSIDE, "ip", f"{here},nw_src={place.view.cidr}", mark)


def _router_itself(place: Place) -> Iterator[Flow]:
    """What a router says for itself comes in; what it forwards meets the list, and is from no address of the network.

    A datagram from outside may bear any source.
    """
    mark = cookie(NETWORK_KIND, place.view.id)
    for router in place.routers:
        sent = f"metadata={place.key},dl_src={router.mac}"
        for address in sorted({router.address, place.view.gateway}):
            yield from _allow(INWARD, ROUTER_ITSELF, "ip", f"{sent},nw_src={address}", mark)
        yield Flow(INWARD.rules, FORGED, f"ip,{sent},nw_src={place.view.cidr}", "drop")


def _router_alone(place: Place) -> Iterator[Flow]:
    """Guests may ask the router and its metadata address; all that comes to them without being asked needs a rule."""
    mark = cookie(NETWORK_KIND, place.view.id)
    for router in place.routers:
        for address in (*sorted({router.address, place.view.gateway}), METADATA_ADDRESS):
            match = f"metadata={place.key},dl_dst={router.mac},nw_dst={address}"
            yield from _allow(OUTWARD, INSIDE, "ip", match, mark)


def _listed(place: Place) -> Iterator[Flow]:
    """The items of the network's ACL list, of which the first that fits holds."""
    guest = next((nic for nic in place.local if nic.role != ROUTER), None)
    if guest is None or place.view.acl is None:
        return
    number = class_number(place, guest)
    for way in WAYS:
        items = [rule for rule in place.view.acl.rules if rule.direction == way.name]
        for rank, rule in enumerate(items):
            yield from _rule_flows(way, number, ORDERED - rank, rule, ())


def _grouped(place: Place) -> Iterator[Flow]:
    """The rules of all groups of each class. One that says what another says already adds nothing."""
    classes = {class_number(place, nic): nic.groups for nic in place.local if nic.role != ROUTER}
    policies, classes_of = {group.id: group for group in place.view.groups}, members(place)
    named: dict[str, set[str]] = {way.name: set() for way in WAYS}
    for number, groups in classes.items():
        rules = sorted((rule for group in set(groups) for rule in policies[group].rules), key=lambda rule: rule.id)
        for way in WAYS:
            there = set()
            for rule in rules:
                if rule.direction == way.name:
                    named[way.name].add(rule.group)
                    for flow in _rule_flows(way, number, UNORDERED, rule, classes_of.get(rule.group, ())):
                        if flow.match not in there:
                            there.add(flow.match)
                            yield flow
    yield from peer_flows(place, named)


def _rule_flows(
    way: Direction, number: int, priority: int, rule: PolicyRule, peers: Iterable[int]
) -> Iterator[Flow]:  # fmt: skip
    """The pairs of one rule; `peers` are the classes that have the group it names, if it names one."""
    mark = cookie(RULE_KIND, rule.id)
    member = f"{way.class_register}={number:#x}"
    ends = [f"{member},{way.peer_register}={peer:#x}" for peer in peers] if rule.group else [member]
    for kind, match in matches(rule.traffic, way.field):
        for end in ends:
            yield from (_allow if rule.allow else _deny)(way, priority, kind, f"{end}{match}", mark)


def _allow(way: Direction, priority: int, kind: str, match: str, mark: int) -> Iterator[Flow]:
    opened = f"ct(commit,zone={way.zone}),goto_table:{way.after}"
    yield Flow(way.rules, priority, f"{kind},ct_state=+trk+new-rel-rpl,{match}", opened, mark)
    yield Flow(way.rules, priority, f"{kind},ct_state=+trk+est-rpl,{match}", f"goto_table:{way.after}", mark)


def _deny(way: Direction, priority: int, kind: str, match: str, mark: int) -> Iterator[Flow]:
    yield Flow(way.rules, priority, f"{kind},ct_state=+trk+new-rel-rpl,{match}", "drop", mark)
    yield Flow(way.rules, priority, f"{kind},ct_state=+trk+est-rpl,{match}", _cut(way), mark)


def _cut(way: Direction) -> str:
    """Ends an established connection: from now on it is dropped both ways."""
    return f"ct(commit,zone={way.zone},exec(set_field:0x1/0x1->ct_mark))"


def _connection_flows(way: Direction) -> Iterator[Flow]:
    mark = cookie(POLICY_KIND, "connections")
    onward = f"goto_table:{way.after}"
    yield Flow(way.rules, INVALID, "ip,ct_state=+trk+inv", "drop")
    yield Flow(way.rules, CUT, "ip,ct_state=+trk+est,ct_mark=0x1/0x1", "drop")
    yield Flow(way.rules, ANSWERS, "ip,ct_state=+trk+est+rpl,ct_mark=0x0/0x1", onward, mark)
    yield Flow(way.rules, ANSWERS, "ip,ct_state=+trk+rel,ct_mark=0x0/0x1", onward, mark)
    yield Flow(way.rules, NO_LONGER_ALLOWED, "ip,ct_state=+trk+est-rpl", _cut(way), mark)
