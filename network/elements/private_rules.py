"""The packet rules of a VPC router's private gateways, as lines and chains of its nft file.

Replies pass before these rules; what opens or goes on with a connection is held against the gateway's ACL list.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from network.elements.nft_words import ports, within
from network.elements.route_rules import DeviceOf, behind
from network.names import private_device
from network.traffic import check_traffic
from network.types import PrivateLeg, RouterSpec

LARGEST_VLAN = 4094


def check_private_legs(spec: RouterSpec) -> None:
    """:raises ValueError: an address or VLAN is none, or networks overlap"""
    taken = [IPv4Network(leg.cidr) for leg in spec.legs]
    taken += [IPv4Network(spec.inside)] if spec.inside else []
    for leg in spec.private_legs:
        network = IPv4Network(leg.network)
        if any(network.overlaps(other) for other in taken) or IPv4Address(leg.gateway) not in network:
            raise ValueError(f"the private gateway {leg.id} in {network} overlaps a network, or leads to none of it")
        if not 1 <= leg.vlan <= LARGEST_VLAN:
            raise ValueError(f"the private gateway {leg.id} has the VLAN {leg.vlan}")
        taken.append(network)
        for rule in leg.acl.rules:
            check_traffic(rule.traffic)


def answers(spec: RouterSpec) -> Iterator[str]:
    """The router answers pings of its neighbours."""
    for leg in spec.private_legs:
        where = f'iifname "{private_device(leg.id)}" ip saddr {leg.network} ip daddr {leg.address}'
        yield f"{where} icmp type echo-request accept"


def passed(spec: RouterSpec, device_of: DeviceOf) -> Iterator[str]:
    """Between the tiers, with what is behind their guests, and the private network; nobody comes in as one of them."""
    for private in spec.private_legs:
        gateway = private_device(private.id)
        for leg in spec.legs:
            device, own = device_of(spec, leg), (leg.cidr, *behind(spec, leg))
            forged = f"ip saddr != {spec.inside} " if spec.inside else ""
            yield f'iifname "{device}" oifname "{gateway}" {within("saddr", own)}goto leaving-{gateway}'
            yield f'iifname "{gateway}" oifname "{device}" {forged}{within("daddr", own)}goto arriving-{gateway}'


def chains(spec: RouterSpec) -> Iterator[str]:
    """The ACL list of each gateway: of the items of a direction the first that fits holds, and none denies."""
    for leg in spec.private_legs:
        for name, direction in (("leaving", "egress"), ("arriving", "ingress")):
            lines = [_line(leg, rank) for rank, rule in enumerate(leg.acl.rules) if rule.direction == direction]
            body = "".join(f"    {line}\n" for line in (*lines, "drop"))
            yield f"  chain {name}-{private_device(leg.id)} {{\n{body}  }}\n"


def _line(leg: PrivateLeg, rank: int) -> str:
    rule = leg.acl.rules[rank]
    where = f"{within('saddr', rule.traffic.sources)}{within('daddr', rule.traffic.destinations)}"
    return f"{where}{ports(rule.traffic, 'th dport')}{'accept' if rule.allow else 'drop'}"


def translated(spec: RouterSpec) -> Iterator[str]:
    """What leaves by a gateway with source NAT bears its address; answers to who came in by it bear their own."""
    for leg in spec.private_legs:
        if leg.source_nat:
            yield f'oifname "{private_device(leg.id)}" snat ip to {leg.address}'
