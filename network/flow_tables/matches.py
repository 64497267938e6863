"""Matches of OpenFlow for the traffic of a rule: ranges become masks, lists become one match for each element."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Network, collapse_addresses

from network.traffic import HAS_PORTS, LARGEST_PORT
from network.types import Traffic

ICMP, TCP, UDP = "1", "6", "17"
NAMES = {ICMP: "icmp", TCP: "tcp", UDP: "udp"}


@lru_cache(maxsize=65536)
def matches(traffic: Traffic, field: str) -> tuple[tuple[str, str], ...]:
    """Pairs of the packet's kind and the rest of its match, without the states of connections.

    `field` is what the networks of the rule are held against, nw_src or nw_dst; a network that another one holds
    makes no match of its own.
    """
    protocol = NAMES.get(traffic.protocol, traffic.protocol)
    networks = _networks(traffic.sources or traffic.destinations, field)
    return tuple(
        (kind, f"{network}{rest}") for kind, rest in _kinds(protocol, traffic) for network in networks
    )  # fmt: skip


def _networks(texts: tuple[str, ...], field: str) -> list[str]:
    wide = list(collapse_addresses(map(IPv4Network, texts)))
    if not wide or wide[0].prefixlen == 0:
        return [""]
    return [f",{field}={network}" for network in wide]


def _kinds(protocol: str, traffic: Traffic) -> Iterator[tuple[str, str]]:
    if protocol == "all":
        yield "ip", ""
    elif protocol == "icmp":
        kind = "" if traffic.icmp_type is None else f",icmp_type={traffic.icmp_type}"
        code = "" if traffic.icmp_code is None else f",icmp_code={traffic.icmp_code}"
        yield "icmp", kind + code
    elif protocol in HAS_PORTS:
        first, last = traffic.first_port, traffic.last_port
        for ports in masks(0, LARGEST_PORT) if first is None else masks(first, first if last is None else last):
            yield protocol, ports
    else:
        yield "ip", f",nw_proto={int(protocol)}"


@lru_cache(maxsize=65536)
def masks(first: int, last: int) -> tuple[str, ...]:
    """Matches of the destination ports `first` to `last`: at most 30 for any range, none of which meets another."""
    found = []
    while first <= last:
        size = first & -first or LARGEST_PORT + 1
        while first + size - 1 > last:
            size //= 2
        found.append(_port(first, size))
        first += size
    return tuple(found)


def _port(first: int, size: int) -> str:
    if size > LARGEST_PORT:
        return ""
    return f",tp_dst={first}" if size == 1 else f",tp_dst={first:#x}/{LARGEST_PORT + 1 - size:#x}"
