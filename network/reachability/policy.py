"""What holds a guest's NIC to its network's policy: security groups, an ACL list, or the network's default."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from network.reachability.values import ICMP, OPENS, TCP, UDP, Kind, Probe, number_of
from network.types import GUEST, ROUTER, NetworkView, NicView, Policy, PolicyRule, Traffic

METADATA_ADDRESS = "169.254.169.254"
Direction = Literal["ingress", "egress"]


@dataclass(frozen=True, slots=True)
class Decision:
    allowed: bool
    what: str
    reason: str
    kind: Kind = ""
    object_id: str = ""
    rule: object = None


def is_within(address: str, networks: tuple[str, ...]) -> bool:
    """Whether one of the networks holds the address; none stand for all."""
    return not networks or any(IPv4Address(address) in IPv4Network(network) for network in networks)


def is_meant(traffic: Traffic, probe: Probe) -> bool:
    """Whether the probe is such traffic."""
    number = None if traffic.protocol == "all" else number_of(traffic.protocol)
    meant = number in (None, probe.protocol)
    if number == ICMP:
        meant = meant and traffic.icmp_type in (None, probe.icmp_type) and traffic.icmp_code in (None, probe.icmp_code)
    elif number in (TCP, UDP) and traffic.first_port is not None:
        last = traffic.first_port if traffic.last_port is None else traffic.last_port
        meant = meant and traffic.first_port <= probe.target_port <= last
    return meant and is_within(probe.source, traffic.sources) and is_within(probe.target, traffic.destinations)


@dataclass(frozen=True, slots=True)
class Meeting:
    """A guest's NIC that sends the probe (egress) or is sent it (ingress), and the NIC at the other end."""

    view: NetworkView
    nic: NicView
    peer: NicView
    direction: Direction
    probe: Probe

    @property
    def remote(self) -> str:
        return self.probe.target if self.direction == "egress" else self.probe.source

    @property
    def is_inside(self) -> bool:
        return is_within(self.remote, (self.view.cidr,))

    @property
    def is_with_router(self) -> bool:
        """Whether the other end is the router itself, which forwards nothing here."""
        return self.peer.role == ROUTER and self.remote in (self.peer.address, self.view.gateway)

    def told(self) -> str:
        return f"{self.probe.told()} {'to' if self.direction == 'egress' else 'from'} {self.remote}"


def decide(one: Meeting) -> Decision:
    """Whether the guest's NIC may send, or be sent, the probe."""
    probe, view = one.probe, one.view
    if probe.protocol == ICMP and probe.icmp_type not in OPENS:
        reason = f"ICMP of type {probe.icmp_type} begins no exchange, so it passes only as a part of one."
        return Decision(False, "connection tracking", reason, "Nic", one.nic.id)
    if one.direction == "egress" and one.remote == METADATA_ADDRESS:
        return Decision(True, "metadata", "Guests may always ask for their metadata.", "Network", view.id)
    if view.has_groups:
        return _by_groups(one)
    return _by_default(one) if view.acl is None else _by_list(one, view.acl)


def _by_groups(one: Meeting) -> Decision:
    if one.direction == "egress" and one.is_with_router:
        reason = "Guests may always ask their router."
        return Decision(True, "security groups", reason, "Network", one.view.id)
    for group in one.view.groups:
        for rule in group.rules if group.id in one.nic.groups else ():
            if _fits(one, rule):
                reason = f"An {one.direction} rule of a security group allows {one.told()}."
                return Decision(True, "security groups", reason, "SecurityGroup", group.id, rule)
    reason = f"No {one.direction} rule of the security groups of {one.nic.address} allows {one.told()}."
    only = one.nic.groups[0] if len(one.nic.groups) == 1 else ""
    return Decision(False, "security groups", reason, "SecurityGroup" if only else "Nic", only or one.nic.id)


def _by_list(one: Meeting, acl: Policy) -> Decision:
    """A router speaks for itself inside the tier; what it forwards comes from elsewhere, whatever source it bears."""
    if one.is_inside and (one.peer.role != ROUTER or one.direction == "egress" or one.is_with_router):
        return Decision(True, "network ACL", "Inside a tier all is allowed.", "Network", one.view.id)
    if one.is_inside:
        reason = f"{one.remote} is an address of the tier, and comes from outside of it."
        return Decision(False, "source guard", reason, "Network", one.view.id)
    rule = next((rule for rule in acl.rules if _fits(one, rule)), None)
    if rule is None:
        reason = f"No {one.direction} item of the ACL list fits {one.told()}, and what none fits is denied."
        return Decision(False, "network ACL", reason, "NetworkACLList", acl.id)
    verb = "allows" if rule.allow else "denies"
    reason = f"The first {one.direction} item of the ACL list that fits {verb} {one.told()}."
    return Decision(rule.allow, "network ACL", reason, "NetworkACLList", acl.id, rule)


def _fits(one: Meeting, rule: PolicyRule) -> bool:
    if rule.group:
        peer = one.peer
        is_member = peer.role == GUEST and rule.group in peer.groups and one.remote in (peer.address, *peer.further)
        if not is_member:
            return False
    return rule.direction == one.direction and is_meant(rule.traffic, one.probe)


def _by_default(one: Meeting) -> Decision:
    """The guests' part of what the offering says; a router holds back what may not leave by it."""
    view = one.view
    if one.direction == "egress" and not one.is_inside and not view.egress_open:
        reason = f"The offering of the network lets nothing out of {view.cidr}."
        return Decision(False, "egress default", reason, "Network", view.id)
    reason = "Guests of one network may reach each other." if one.is_inside else "The network has no policy against it."
    return Decision(True, "network policy", reason, "Network", view.id)
