"""Matches of nft for addresses, ports and protocols."""

from __future__ import annotations

from ipaddress import IPv4Network

from network.traffic import HAS_PORTS, span
from network.types import Traffic


def within(field: str, networks: tuple[str, ...]) -> str:
    """A match with a space behind it; nothing for all addresses."""
    wide = [IPv4Network(network) for network in networks]
    if not wide or any(network.prefixlen == 0 for network in wide):
        return ""
    return f"ip {field} {{ {', '.join(map(str, _disjoint(wide)))} }} "


def _disjoint(networks: list[IPv4Network]) -> list[IPv4Network]:
    """The networks without those that lie in others: the sets of nft hold no overlaps."""
    found: list[IPv4Network] = []
    for network in sorted(set(networks)):
        if not found or not network.subnet_of(found[-1]):
            found.append(network)
    return found


def ports(traffic: Traffic, field: str) -> str:
    """A match of protocol and ports, or of ICMP's type, with a space behind it; nothing for all protocols."""
    if traffic.protocol == "all":
        return ""
    if traffic.protocol == "icmp":
        kind = "" if traffic.icmp_type is None else f"icmp type {traffic.icmp_type} "
        code = "" if traffic.icmp_code is None else f"icmp code {traffic.icmp_code} "
        return f"meta l4proto icmp {kind}{code}"
    found = f"meta l4proto {traffic.protocol} "
    if traffic.protocol in HAS_PORTS and traffic.first_port is not None and traffic.last_port is not None:
        found += f"{field} {span(traffic.first_port, traffic.last_port)} "
    return found
