"""Which values describe packets at all: whatever else gets no further than the wanted state it came with."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Network

from network.types import Traffic

PROTOCOL = re.compile(r"tcp|udp|icmp|all|[0-9]{1,3}", re.ASCII)
LARGEST_PORT, LARGEST_BYTE = 65535, 255
HAS_PORTS = ("tcp", "udp")


@lru_cache(maxsize=65536)
def check_traffic(traffic: Traffic) -> None:
    """:raises ValueError: names the value that is none of a packet; the bound of the cache is that of a large list"""
    if not PROTOCOL.fullmatch(traffic.protocol) or (
        traffic.protocol.isdecimal() and int(traffic.protocol) > LARGEST_BYTE
    ):
        raise ValueError(f"the protocol {traffic.protocol!r}")
    check_range("port", LARGEST_PORT, traffic.first_port, traffic.last_port)
    check_range("ICMP type", LARGEST_BYTE, traffic.icmp_type)
    check_range("ICMP code", LARGEST_BYTE, traffic.icmp_code)
    for network in (*traffic.sources, *traffic.destinations):
        IPv4Network(network)


def check_range(what: str, most: int, *values: int | None) -> None:
    """:raises ValueError: the values are not in order, or not in 0 to `most`"""
    numbers = [value for value in values if value is not None]
    if numbers != sorted(numbers) or any(not 0 <= number <= most for number in numbers):
        raise ValueError(f"the {what} {'-'.join(map(str, numbers))}")


def span(first: int, last: int) -> str:
    """A range of ports as nft and Junos write it."""
    return str(first) if first == last else f"{first}-{last}"
