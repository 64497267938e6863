"""What a virtual router lets out, where it leads what comes to a public address, and what it answers itself."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from network.balancing import Balancer
from network.hardware import BalancedNetwork
from network.reachability.policy import METADATA_ADDRESS, Decision, Direction, is_meant, is_within
from network.reachability.values import ECHO_REQUEST, ICMP, TCP, UDP, Probe, number_of
from network.types import Forwarding, GuestLeg, PrivateLeg, RouterSpec, StaticNat
from network.vpn import Vpn

LINK_LOCAL = "169.254.0.0/16"
SERVICES = {(UDP, 53): "DNS", (UDP, 67): "DHCP", (TCP, 53): "DNS", (TCP, 80): "metadata", (TCP, 8080): "passwords"}
METADATA_PORTS = (80, 8080)


@dataclass(frozen=True, slots=True)
class Led:
    """Where a public address leads: the guest's address and port, and the rule that says so."""

    guest: str
    port: int
    rule: Forwarding | StaticNat


def own_addresses(spec: RouterSpec) -> set[str]:
    """Its public addresses."""
    return {*spec.addresses, *((spec.public.address,) if spec.public else ())}


def legs_addresses(spec: RouterSpec) -> set[str]:
    """Its addresses in the tenant networks."""
    return {address for leg in spec.legs for address in (leg.nic.address, *leg.nic.further)}


def answers(spec: RouterSpec, leg: GuestLeg, probe: Probe) -> Decision:
    """Whether the router answers a guest that asks it itself."""
    is_ping = probe.protocol == ICMP and probe.icmp_type == ECHO_REQUEST
    service = SERVICES.get((probe.protocol, probe.target_port))
    if probe.target == METADATA_ADDRESS:
        serves = is_ping or (probe.protocol == TCP and probe.target_port in METADATA_PORTS)
    else:
        serves = is_ping or (service is not None and probe.target == leg.nic.address)
    if serves:
        reason = f"The router answers {'pings' if is_ping else service} of its guests."
        return Decision(True, "router's services", reason, "DomainRouter", spec.id)
    reason = f"The router offers its guests nothing by {probe.told()} at {probe.target}."
    return Decision(False, "router's services", reason, "DomainRouter", spec.id)


def leads(spec: RouterSpec, probe: Probe) -> Led | None:
    """Where connections to a public address go; None for the router itself."""
    for one in sorted(spec.forwardings, key=repr):
        is_its = (one.address, number_of(one.protocol)) == (probe.target, probe.protocol)
        if is_its and one.first_port <= probe.target_port <= one.last_port and is_within(probe.source, one.sources):
            return Led(one.guest, one.guest_port + probe.target_port - one.first_port, one)
    for nat in spec.static_nats:
        if nat.address == probe.target:
            return Led(nat.guest, probe.target_port, nat)
    return None


def balances(spec: RouterSpec | BalancedNetwork, probe: Probe) -> Balancer | None:
    """The load balancer that takes the probe."""
    for one in spec.balancers:
        is_its = (one.address, TCP, one.port) == (probe.target, probe.protocol, probe.target_port)
        if is_its and one.listens and is_within(probe.source, one.sources):
            return one
    return None


def inside_leg(spec: RouterSpec, address: str) -> GuestLeg | None:
    """The leg in whose network the router has the address for balancers."""
    return next((leg for leg in spec.legs if address in leg.nic.further), None)


def lets_inside(near: GuestLeg, target: GuestLeg, probe: Probe) -> Decision:
    """Whether a guest of the leg `near` reaches a balancer at an address of the router in `target`."""
    if near.network_id == target.network_id:
        reason = "Guests reach the balancers of their own network."
        return Decision(True, "network ACL", reason, "Network", target.network_id)
    items = target.acl.rules if target.acl is not None else ()
    rule = next((one for one in items if one.direction == "ingress" and is_meant(one.traffic, probe)), None)
    object_id = target.acl.id if target.acl is not None else ""
    if rule is None:
        reason = f"No ingress item of the ACL list fits {probe.told()}, and what none fits is denied."
        return Decision(False, "network ACL", reason, "NetworkACLList", object_id)
    reason = f"The first ingress item of the ACL list that fits {'allows' if rule.allow else 'denies'} {probe.told()}."
    return Decision(rule.allow, "network ACL", reason, "NetworkACLList", object_id, rule)


def next_hop(spec: RouterSpec, target: str) -> str:
    """Where the router sends what is for the address by a static route, or in a private gateway's network; "" else."""
    route = next((one for one in spec.routes if is_within(target, (one.cidr,))), None)
    if route is not None:
        return route.next_hop
    return target if private_leg(spec, target) is not None else ""


def private_leg(spec: RouterSpec, address: str) -> PrivateLeg | None:
    """The private gateway in whose network the address is."""
    mine = (leg for leg in spec.private_legs if is_within(address, (leg.network,)))
    return next(mine, None)


def goes_by(leg: PrivateLeg, direction: Direction, probe: Probe) -> Decision:
    """Whether what guests send leaves by a private gateway (egress), or what comes by it is let in (ingress)."""
    rule = next((one for one in leg.acl.rules if one.direction == direction and is_meant(one.traffic, probe)), None)
    whose = f"{direction} item of the private gateway's ACL list"
    if rule is None:
        reason = f"No {whose} fits {probe.told()}, and what none fits is denied."
        return Decision(False, "network ACL", reason, "NetworkACLList", leg.acl.id)
    reason = f"The first {whose} that fits {'allows' if rule.allow else 'denies'} {probe.told()}."
    return Decision(rule.allow, "network ACL", reason, "NetworkACLList", leg.acl.id, rule)


def by_vpn(spec: RouterSpec, guest: str, remote: str) -> Decision | None:
    """The private network that joins the two addresses, if one does."""
    vpn = spec.vpn or Vpn()
    for tunnel in vpn.tunnels:
        if is_within(guest, tunnel.near) and is_within(remote, tunnel.far):
            reason = f"A tunnel to {tunnel.peer} joins {guest} and {remote}, where that is up."
            return Decision(True, "VPN", reason, "DomainRouter", spec.id)
    one = vpn.remote
    if one is not None and is_within(guest, one.guests):
        first, last, own = (int(IPv4Address(text)) for text in (one.first, one.last, remote))
        if first <= own <= last:
            reason = f"{remote} is an address of those that come by the remote access VPN."
            return Decision(True, "VPN", reason, "DomainRouter", spec.id)
    return None


def ways_to(spec: RouterSpec, guest: str, probe: Probe) -> list[Probe]:
    """The probes for public addresses that lead to the guest's address, and to the port that `probe` is for."""
    found = [probe.to(nat.address, probe.target_port) for nat in spec.static_nats if nat.guest == guest]
    for one in sorted(spec.forwardings, key=repr):
        shift = probe.target_port - one.guest_port
        is_its = (one.guest, number_of(one.protocol)) == (guest, probe.protocol)
        if is_its and 0 <= shift <= one.last_port - one.first_port:
            found.append(probe.to(one.address, one.first_port + shift))
    return [*found, *balanced_ways(spec, guest, probe)]


def balanced_ways(spec: RouterSpec | BalancedNetwork, guest: str, probe: Probe) -> list[Probe]:
    """As `ways_to`, by load balancers."""
    return [
        probe.to(one.address, one.port)
        for one in (spec.balancers if probe.protocol == TCP else ())
        if one.member_port == probe.target_port and guest in {member.address for member in one.members}
    ]


def lets_in(spec: RouterSpec | BalancedNetwork, probe: Probe) -> Decision:
    """Whether the firewall of the public address that the probe is for lets it in."""
    for opening in spec.openings:
        if opening.address == probe.target and is_meant(opening.traffic, probe):
            reason = f"The firewall of {probe.target} lets {probe.told()} in from {probe.source}."
            return Decision(True, "firewall", reason, "PublicIpAddress", probe.target, opening)
    reason = f"No firewall rule of {probe.target} lets {probe.told()} in from {probe.source}."
    return Decision(False, "firewall", reason, "PublicIpAddress", probe.target)


def pings_back(spec: RouterSpec, probe: Probe) -> Decision:
    """Whether the router answers for a public address that leads nowhere: pings, where the firewall lets them in."""
    if probe.protocol != ICMP or probe.icmp_type != ECHO_REQUEST:
        reason = f"Nothing leads {probe.told()} of {probe.target} on: no port forwarding, no static NAT."
        return Decision(False, "NAT", reason, "PublicIpAddress", probe.target)
    return lets_in(spec, probe)


def leads_inside(target: GuestLeg) -> Decision:
    """Whether the router of a VPC leads from one tier to another."""
    if target.closed:
        reason = f"Nobody opens connections through the router to {target.cidr}."
        return Decision(False, "route", reason, "Network", target.network_id)
    reason = f"The router of the VPC leads to {target.cidr}; the ACL lists of the tiers say what passes."
    return Decision(True, "route", reason, "Network", target.network_id)


def lets_out(spec: RouterSpec, leg: GuestLeg, probe: Probe) -> Decision:
    """Whether what a guest sends to the outside leaves."""
    if is_within(probe.target, (LINK_LOCAL,)):
        reason = f"{probe.target} is a link-local address, which no router leads on."
        return Decision(False, "route", reason, "DomainRouter", spec.id)
    return by_egress(spec, leg, probe)


def by_egress(spec: RouterSpec, leg: GuestLeg, probe: Probe) -> Decision:
    """What the rules of the network say of what leaves it for the outside."""
    if spec.public is None:
        reason = "The router has no public address, so nothing leaves by it."
        return Decision(False, "route", reason, "Network", leg.network_id)
    if spec.inside and is_within(probe.target, (spec.inside,)):
        reason = f"No tier of the VPC has {probe.target}, and the range of the VPC is never outside."
        return Decision(False, "route", reason, "Network", leg.network_id)
    rule = next((one for one in leg.egress if is_meant(one, probe)), None)
    allowed = leg.egress_open == (rule is None)
    default = "allows" if leg.egress_open else "denies"
    if rule is None:
        reason = f"The network {default} what leaves it, and no egress rule says otherwise for {probe.told()}."
    else:
        reason = f"An egress rule {'allows' if allowed else 'denies'} {probe.told()} to {probe.target}."
    return Decision(allowed, "egress rules", reason, "Network", leg.network_id, rule)


def public_source(spec: RouterSpec, guest: str) -> str:
    """The address that the outside sees the guest by."""
    nat = next((nat.address for nat in spec.static_nats if nat.guest == guest), None)
    return nat or (spec.public.address if spec.public else guest)
