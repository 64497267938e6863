"""What the model says of static routes, private gateways and balancers inside a VPC."""

from __future__ import annotations

from dataclasses import replace

from network.balancing import Balancer, Member
from network.reachability.values import TCP, Place, Probe, Trail
from network.reachability.walk import from_nic, from_outside_to
from network.types import NetworkView, NicView, Policy, PolicyRule, PrivateLeg, Route, RouterSpec, Traffic
from network.vpn import RemoteAccess, Tunnel, Vpn
from tests.unit.network.routers import tier, vpc_router

ALL = (PolicyRule("in", "ingress", Traffic("all")), PolicyRule("out", "egress", Traffic("all")))
OPEN, DENY = Policy("open", ALL), Policy("deny", ())
GUESTS = [NicView(f"nic-{number}", f"02:00:00:00:05:{number:02x}", f"10.0.{number}.11", "host-1") for number in (1, 2)]
PRIVATE = PrivateLeg("gateway", "172.16.0.2", 24, "172.16.0.1", "02:00:00:00:03:01", 100, OPEN)


def walked(target: str, spec: RouterSpec, second: Policy = OPEN) -> Trail:
    """From the guest of the first of two tiers, to port 80 of the address. `second` is the list of the other tier."""
    places = []
    for number, leg in enumerate(spec.legs, 1):
        view = NetworkView(leg.network_id, number, 1, leg.cidr, leg.nic.address, 1458, (leg.nic, GUESTS[number - 1]),
                           acl=second if number == 2 else OPEN)  # fmt: skip
        places.append(Place(view, spec))
    return from_nic(places, "nic-1", Probe("10.0.1.11", target, TCP, 80))


def arrived(source: str, spec: RouterSpec) -> Trail:
    """From the address, beside the VPC, to port 80 of the guest of its only tier."""
    (leg,) = spec.legs
    view = NetworkView(leg.network_id, 1, 1, leg.cidr, leg.nic.address, 1458, (leg.nic, GUESTS[0]), acl=OPEN)
    return from_outside_to([Place(view, spec)], "nic-1", Probe(source, "", TCP, 80))


def told(trail: Trail) -> str:
    return " ".join(step.reason for step in trail.steps)


def test_a_static_route_leads_to_its_next_hop_as_the_list_of_that_tier_says():
    legs = tier(1, GUESTS[:1]), tier(2, GUESTS[1:])
    spec = vpc_router(*legs, routes=(Route("10.9.0.0/24", "10.0.2.11"),))
    trail = walked("10.9.0.5", spec)
    assert (trail.reachable, trail.receiver) == (True, GUESTS[1])
    assert not walked("10.9.0.5", spec, second=DENY).reachable
    lost = walked("10.9.0.5", replace(spec, routes=(Route("10.9.0.0/24", "10.0.2.12"),)))
    assert not lost.reachable
    assert "no running virtual machine has that" in told(lost)
    near = walked("10.9.0.5", replace(spec, routes=(Route("10.9.0.0/24", "10.0.1.11"),)))
    assert near.legs[-1].frame.source == "10.0.1.1"


def test_a_private_gateway_lets_out_what_its_list_allows():
    legs = tier(1, GUESTS[:1]), tier(2, GUESTS[1:])
    spec = vpc_router(*legs, routes=(Route("10.77.0.0/16", "172.16.0.1"),), private_legs=(PRIVATE,))
    for target in ("10.77.0.5", "172.16.0.9"):
        trail = walked(target, spec)
        assert trail.reachable
        assert "behind a private gateway" in told(trail)
        shut = walked(target, replace(spec, private_legs=(replace(PRIVATE, acl=DENY),)))
        assert not shut.reachable
        assert shut.steps[-1].object_id == "deny"


def test_a_balancer_inside_is_reached_as_the_list_of_its_tier_says():
    own = tier(2, GUESTS[1:], acl=OPEN)
    own = replace(own, nic=replace(own.nic, further=("10.0.2.100",)))
    one = Balancer("balancer", "10.0.2.100", 80, 8080, members=(Member("member", "10.0.2.11"),))
    spec = vpc_router(tier(1, GUESTS[:1]), own, balancers=(one,))
    trail = walked("10.0.2.100", spec)
    assert (trail.reachable, trail.receiver) == (True, GUESTS[1])
    assert not walked("10.0.2.100", replace(spec, legs=(spec.legs[0], replace(own, acl=DENY)))).reachable
    assert not walked("10.0.2.100", replace(spec, balancers=())).reachable


def test_who_is_behind_a_private_gateway_comes_in_as_its_list_says():
    legs = (tier(1, GUESTS[:1]),)
    spec = vpc_router(*legs, routes=(Route("10.77.0.0/16", "172.16.0.1"),), private_legs=(PRIVATE,))
    for source in ("10.77.0.5", "172.16.0.9"):
        trail = arrived(source, spec)
        assert (trail.reachable, trail.receiver) == (True, GUESTS[0])
        shut = arrived(source, replace(spec, private_legs=(replace(PRIVATE, acl=DENY),)))
        assert (shut.reachable, shut.steps[-1].object_id) == (False, "deny")
        assert "Nobody opens" in told(arrived(source, replace(spec, legs=(replace(legs[0], closed=True),))))
    assert "No public address leads" in told(arrived("10.78.0.5", spec))


def test_private_networks_join_both_sides():
    tunnel = Tunnel("t", "198.51.100.30", "203.0.113.1", ("10.0.0.0/16",), ("10.88.0.0/16",), "s", "", "")
    people = RemoteAccess("p", "198.51.100.30", "10.99.0.1", "10.99.0.9", ("10.0.1.0/24",), "", "")
    spec = vpc_router(tier(1, GUESTS[:1]), vpn=Vpn(people, (tunnel,)))
    for remote, said in (("10.88.0.5", "A tunnel to 203.0.113.1 joins"), ("10.99.0.9", "remote access VPN")):
        out, back = walked(remote, spec), arrived(remote, spec)
        assert (out.reachable, back.reachable, back.receiver) == (True, True, GUESTS[0])
        assert said in told(out)
        assert said in told(back)
        assert "source NAT" not in [step.what for step in out.steps]
    assert "source NAT" in [step.what for step in walked("10.99.0.10", spec).steps]
