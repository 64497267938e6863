"""The packet rules of balancers at a router's addresses inside tenant networks, as lines and chains of its nft file."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from network.elements.nft_words import ports, within
from network.elements.route_rules import DeviceOf
from network.traffic import check_traffic
from network.types import GuestLeg, RouterSpec


def check_inside(spec: RouterSpec) -> set[IPv4Address]:
    """The router's further addresses in its networks.

    :raises ValueError: one is not of its network, or the router's or a guest's already
    """
    found: set[IPv4Address] = set()
    for leg in spec.legs:
        taken = {leg.nic.address, *(lease.address for lease in leg.leases)}
        for text in leg.nic.further:
            if text in taken or IPv4Address(text) not in IPv4Network(leg.cidr):
                raise ValueError(f"the address {text} in {leg.cidr}")
            found.add(IPv4Address(text))
        for rule in leg.acl.rules if leg.acl is not None else ():
            check_traffic(rule.traffic)
    return found


def leg_with(spec: RouterSpec, address: str) -> GuestLeg | None:
    """The leg that has the address as a further one."""
    return next((leg for leg in spec.legs if address in leg.nic.further), None)


def answers(spec: RouterSpec, device_of: DeviceOf) -> Iterator[str]:
    """Guests of the network itself come in, those of other legs as the ACL list of the network says; nobody else."""
    for one in sorted(spec.balancers, key=repr):
        leg = leg_with(spec, one.address)
        if leg is None or not one.listens:
            continue
        where = f"ip daddr {one.address} {within('saddr', one.sources)}tcp dport {one.port}"
        for other in spec.legs:
            verdict = "accept" if other is leg else f"goto inward-{device_of(spec, leg)}"
            yield f'iifname "{device_of(spec, other)}" ip saddr {other.cidr} {where} {verdict}'
        # Guests are let in to the same ports of the router's own services.
        yield f"ip daddr {one.address} tcp dport {one.port} drop"


def chains(spec: RouterSpec, device_of: DeviceOf) -> Iterator[str]:
    """What other legs may open to the further addresses of each leg: the first item that fits holds, none denies."""
    for leg in spec.legs:
        if leg.nic.further:
            rules = [rule for rule in (leg.acl.rules if leg.acl else ()) if rule.direction == "ingress"]
            lines = [
                f"    {within('saddr', rule.traffic.sources)}{ports(rule.traffic, 'th dport')}"
                f"{'accept' if rule.allow else 'drop'}\n"
                for rule in rules
            ]
            yield f"  chain inward-{device_of(spec, leg)} {{\n{''.join(lines)}    drop\n  }}\n"
