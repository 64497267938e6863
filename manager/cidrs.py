"""Lists of networks as people write them, CIDRs separated by commas, and whether an address is in one."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(maxsize=1024)
def networks_in(text: str) -> tuple[Network, ...]:
    """The networks that the text lists; what is none opens nothing."""
    found: list[Network] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(ipaddress.ip_network(part, strict=False))
        except ValueError:
            continue
    return tuple(found)


@lru_cache(maxsize=1024)
def demand_networks(text: str) -> None:
    """:raises ValueError: with a sentence, when the text lists what is not a network"""
    for part in text.split(","):
        try:
            ipaddress.ip_network(part.strip(), strict=False)
        except ValueError:
            raise ValueError(f"{part.strip() or 'An empty text'} is not a CIDR such as 192.0.2.0/24.") from None


def address_of(text: str) -> Address | None:
    """The address that the text is, an IPv4 one also where it stands in an IPv6 one; None for no address."""
    try:
        found = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def is_in(address: Address | None, text: str) -> bool:
    """Whether the address is in one of the networks that the text lists; no address is in none."""
    return address is not None and any(address in network for network in networks_in(text))
