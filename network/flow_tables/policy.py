"""Which traffic is allowed. Rules are stored once per policy class; a NIC carries its class in a register.

Both directions have the same shape: a table that sends tracked classes through conntrack in the NIC's own zone, and a
table of rules. Each rule is a pair: one flow for new connections, one for established ones, so that a rule taken away
also ends the connections it had allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

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
    Flow,
    Place,
    cookie,
)
from network.types import ROUTER, NetworkView, NicView

METADATA_ADDRESS = "169.254.169.254"
INVALID, CUT, ANSWERS, INSIDE, DEFAULT, NO_LONGER_ALLOWED = 65000, 64900, 64800, 60000, 900, 1


@dataclass(frozen=True, slots=True)
class Rule:
    """Traffic to allow: a match without `ip`, conntrack state and class, and where it stands among the others."""

    priority: int
    match: str = ""


@dataclass(frozen=True, slots=True)
class PolicyClass:
    """A set of rules that many NICs share. An untracked class passes everything: its NIC filters for itself."""

    id: int
    name: str
    tracked: bool = True
    egress: tuple[Rule, ...] = ()
    ingress: tuple[Rule, ...] = ()


ROUTER_CLASS = PolicyClass(1, "router", tracked=False)
GUEST_OPEN = PolicyClass(2, "guest-open", egress=(Rule(DEFAULT),))
GUEST_CLOSED = PolicyClass(3, "guest-closed")


def class_of(view: NetworkView, nic: NicView) -> PolicyClass:
    if nic.role == ROUTER:
        return ROUTER_CLASS
    return GUEST_OPEN if view.egress_open else GUEST_CLOSED


@dataclass(frozen=True, slots=True)
class Direction:
    """The tables and registers of one direction."""

    track: int
    rules: int
    after: int
    zone: str
    class_register: str


OUTWARD = Direction(EGRESS, EGRESS_RULES, FORWARD, "NXM_NX_REG1[0..15]", "reg2")
INWARD = Direction(INGRESS, INGRESS_RULES, OUTPUT, "NXM_NX_REG3[0..15]", "reg4")


def policy_flows(classes: Iterable[PolicyClass]) -> Iterator[Flow]:
    """The rows of the classes that are present on the host, and those that every connection meets."""
    yield Flow(INGRESS, 200, DHCP_REPLY, f"goto_table:{OUTPUT}", cookie(POLICY_KIND, "dhcp"))
    yield from _connection_flows(OUTWARD)
    yield from _connection_flows(INWARD)
    for policy in classes:
        yield from _class_flows(OUTWARD, policy, policy.egress)
        yield from _class_flows(INWARD, policy, policy.ingress)


def network_flows(place: Place) -> Iterator[Flow]:
    """Rules of every tracked class of the network: all inside it, its metadata address, what its router lets in."""
    if place.view.bare:
        return
    mark = cookie(NETWORK_KIND, place.view.id)
    here = f"metadata={place.key}"
    yield from _allow(OUTWARD, Rule(INSIDE, f"{here},nw_dst={place.view.cidr}"), mark)
    yield from _allow(OUTWARD, Rule(INSIDE, f"{here},nw_dst={METADATA_ADDRESS}"), mark)
    yield from _allow(INWARD, Rule(INSIDE, f"{here},nw_src={place.view.cidr}"), mark)
    if place.router is not None:
        yield from _allow(INWARD, Rule(INSIDE, f"{here},dl_src={place.router.mac}"), mark)


def _class_flows(way: Direction, policy: PolicyClass, rules: tuple[Rule, ...]) -> Iterator[Flow]:
    mark = cookie(POLICY_KIND, policy.name)
    member = f"{way.class_register}={policy.id:#x}"
    actions = f"ct(table={way.rules},zone={way.zone})" if policy.tracked else f"goto_table:{way.after}"
    yield Flow(way.track, 50, f"ip,{member}", actions, mark)
    for rule in rules:
        match = f"{rule.match},{member}" if rule.match else member
        yield from _allow(way, Rule(rule.priority, match), mark)


def _allow(way: Direction, rule: Rule, mark: int) -> Iterator[Flow]:
    opened = f"ct(commit,zone={way.zone}),goto_table:{way.after}"
    yield Flow(way.rules, rule.priority, f"ip,ct_state=+trk+new-rel-rpl,{rule.match}", opened, mark)
    kept = f"ip,ct_state=+trk+est-rpl,{rule.match}"
    yield Flow(way.rules, rule.priority, kept, f"goto_table:{way.after}", mark)


def _connection_flows(way: Direction) -> Iterator[Flow]:
    mark = cookie(POLICY_KIND, "connections")
    onward = f"goto_table:{way.after}"
    yield Flow(way.rules, INVALID, "ip,ct_state=+trk+inv", "drop")
    yield Flow(way.rules, CUT, "ip,ct_state=+trk+est,ct_mark=0x1/0x1", "drop")
    yield Flow(way.rules, ANSWERS, "ip,ct_state=+trk+est+rpl,ct_mark=0x0/0x1", onward, mark)
    yield Flow(way.rules, ANSWERS, "ip,ct_state=+trk+rel,ct_mark=0x0/0x1", onward, mark)
    cut = f"ct(commit,zone={way.zone},exec(set_field:0x1/0x1->ct_mark))"
    yield Flow(way.rules, NO_LONGER_ALLOWED, "ip,ct_state=+trk+est-rpl", cut, mark)
