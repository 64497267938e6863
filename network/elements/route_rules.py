"""The packet rules of a VPC router's static routes, as lines for the chains of its nft file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network

from network.names import private_device
from network.types import GuestLeg, RouterSpec

DeviceOf = Callable[[RouterSpec, GuestLeg], str]
"""Gives the device of a leg in the router's namespace."""


def check_routes(spec: RouterSpec) -> None:
    """:raises ValueError: a route would catch what belongs to the router itself, or leads to none of its legs"""
    own = {*(leg.nic.address for leg in spec.legs), *(leg.address for leg in spec.private_legs)}
    taken = [IPv4Network(leg.cidr) for leg in spec.legs] + [IPv4Network(leg.network) for leg in spec.private_legs]
    taken += [IPv4Network(spec.inside)] if spec.inside else []
    for route in spec.routes:
        network = IPv4Network(route.cidr)
        if any(network.overlaps(other) for other in taken):
            raise ValueError(f"the route to {route.cidr} overlaps another network of it")
        taken.append(network)
        if route.next_hop in own or not device_to(spec, route.next_hop, lambda _, leg: leg.nic.id):
            raise ValueError(f"the route to {route.cidr} goes by {route.next_hop}, which is in no network of it")


def device_to(spec: RouterSpec, address: str, device_of: DeviceOf) -> str:
    """The device of the router in whose network the address is; "" for none."""
    hop = IPv4Address(address)
    found = [device_of(spec, leg) for leg in spec.legs if hop in IPv4Network(leg.cidr)]
    found += [private_device(leg.id) for leg in spec.private_legs if hop in IPv4Network(leg.network)]
    return found[0] if found else ""


def behind(spec: RouterSpec, leg: GuestLeg) -> list[str]:
    """The networks that routes reach by next hops in the leg's network."""
    inside = IPv4Network(leg.cidr)
    return sorted(route.cidr for route in spec.routes if IPv4Address(route.next_hop) in inside)


def passed(spec: RouterSpec, device_of: DeviceOf) -> Iterator[str]:
    """Between what is behind next hops and the guests of the legs; the policies of these say what passes."""
    for leg in spec.legs:
        for network in behind(spec, leg):
            here = f'ifname "{device_of(spec, leg)}"'
            for other in spec.legs:
                there = f'ifname "{device_of(spec, other)}"'
                yield f"i{there} o{here} ip saddr {other.cidr} ip daddr {network} accept"
                if other is not leg:
                    yield f"i{here} o{there} ip saddr {network} ip daddr {other.cidr} accept"


def translated(spec: RouterSpec, device_of: DeviceOf) -> Iterator[str]:
    """Guests in the next hop's own network go on with the router's address, so that answers come by the router too."""
    for leg in spec.legs:
        for network in behind(spec, leg):
            where = f'oifname "{device_of(spec, leg)}" ip saddr {leg.cidr} ip daddr {network}'
            yield f"{where} snat ip to {leg.nic.address}"
