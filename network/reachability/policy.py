"""What holds a guest's NIC to its network's policy: security groups, an ACL list, or the network's default."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from network.reachability.values import ICMP, OPENS, Kind, Probe, number_of
from network.types import NetworkView, NicView, PolicyRule, Traffic

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
    meant = True
    if traffic.protocol == "icmp":
        meant = traffic.icmp_type in (None, probe.icmp_type) and traffic.icmp_code in (None, probe.icmp_code)
    elif traffic.protocol in ("tcp", "udp") and traffic.first_port is not None and traffic.last_port is not None:
        meant = traffic.first_port <= probe.target_port <= traffic.last_port
    if traffic.protocol != "all":
        meant = meant and number_of(traffic.protocol) == probe.protocol
    return meant and is_within(probe.source, traffic.sources) and is_within(probe.target, traffic.destinations)


def decide(view: NetworkView, nic: NicView, direction: Direction, probe: Probe) -> Decision:
    """Whether the guest's NIC may send, or be sent, the probe."""
    if probe.protocol == ICMP and probe.icmp_type not in OPENS:
        reason = f"ICMP of type {probe.icmp_type} begins no exchange, so it passes only as a part of one."
        return Decision(False, "connection tracking", reason, "Nic", nic.id)
    remote = probe.target if direction == "egress" else probe.source
    inside = is_within(remote, (view.cidr,))
    if direction == "egress" and remote == METADATA_ADDRESS:
        return Decision(True, "metadata", "Guests may always ask for their metadata.", "Network", view.id)
    if view.has_groups:
        return _by_groups(view, nic, direction, probe)
    if view.acl is not None:
        return _by_list(view, direction, probe, inside=inside)
    return _by_default(view, direction, inside=inside)


def _by_groups(view: NetworkView, nic: NicView, direction: Direction, probe: Probe) -> Decision:
    for group in view.groups:
        for rule in group.rules if group.id in nic.groups else ():
            if rule.direction == direction and _is_for(view, rule, probe):
                reason = f"An {direction} rule of a security group allows {probe.told()}."
                return Decision(True, "security groups", reason, "SecurityGroup", group.id, rule)
    way = f"to {probe.target}" if direction == "egress" else f"from {probe.source}"
    reason = f"No {direction} rule of the security groups of {nic.address} allows {probe.told()} {way}."
    only = nic.groups[0] if len(nic.groups) == 1 else ""
    return Decision(False, "security groups", reason, "SecurityGroup" if only else "Nic", only or nic.id)


def _by_list(view: NetworkView, direction: Direction, probe: Probe, *, inside: bool) -> Decision:
    if view.acl is None or inside:
        return Decision(True, "network ACL", "Inside a tier all is allowed.", "Network", view.id)
    rule = next((one for one in view.acl.rules if one.direction == direction and _is_for(view, one, probe)), None)
    way = f"to {probe.target}" if direction == "egress" else f"from {probe.source}"
    if rule is None:
        reason = f"No {direction} item of the ACL list fits {probe.told()} {way}, and what none fits is denied."
        return Decision(False, "network ACL", reason, "NetworkACLList", view.acl.id)
    verb = "allows" if rule.allow else "denies"
    reason = f"The first {direction} item of the ACL list that fits {verb} {probe.told()} {way}."
    return Decision(rule.allow, "network ACL", reason, "NetworkACLList", view.acl.id, rule)


def _is_for(view: NetworkView, rule: PolicyRule, probe: Probe) -> bool:
    if rule.group:
        remote = probe.source if rule.direction == "ingress" else probe.target
        members = (nic for nic in view.nics if rule.group in nic.groups)
        if not any(remote in (nic.address, *nic.further) for nic in members):
            return False
    return is_meant(rule.traffic, probe)


def _by_default(view: NetworkView, direction: Direction, *, inside: bool) -> Decision:
    """The guests' part of what the offering says; a router holds back what may not leave by it."""
    if direction == "egress" and not inside and not view.egress_open:
        reason = f"The offering of the network lets nothing out of {view.cidr}."
        return Decision(False, "egress default", reason, "Network", view.id)
    reason = "Guests of one network may reach each other." if inside else "The network has no policy against it."
    return Decision(True, "network policy", reason, "Network", view.id)
