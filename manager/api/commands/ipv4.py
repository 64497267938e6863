"""IPv4 addresses, subnets and ranges as parameters of commands: read, and refused with the reason."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from manager.api.errors import Invalid

LARGEST_RANGE = 2**16
ALL_ONES = 2**32 - 1


@dataclass(frozen=True)
class Span:
    """The addresses from `first` to `last`, both in it, of a subnet whose `gateway` is not in it."""

    subnet: IPv4Network
    gateway: IPv4Address
    first: IPv4Address
    last: IPv4Address

    def __len__(self) -> int:
        return int(self.last) - int(self.first) + 1

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    def addresses(self) -> list[str]:
        return [str(IPv4Address(number)) for number in range(int(self.first), int(self.last) + 1)]

    def overlaps(self, first: str, last: str) -> bool:
        """Whether an address from `first` to `last` is in it."""
        return IPv4Address(first) <= self.last and self.first <= IPv4Address(last)


def address(name: str, text: str | None) -> IPv4Address:
    """The address given as parameter `name`.

    :raises Invalid: it is absent, or not one
    """
    if not text:
        raise Invalid(f"The parameter {name} is missing; an IPv4 address is needed.")
    try:
        return IPv4Address(text)
    except ValueError as error:
        raise Invalid(f"The {name} {text} is not an IPv4 address.") from error


def optional_address(name: str, text: str | None) -> str | None:
    """As `address`, as text; None for an absent or empty one."""
    return str(address(name, text)) if text else None


def cidr(name: str, text: str) -> str:
    """The network given as parameter `name`, as address/prefix.

    :raises Invalid: it is not one, or has bits of a host
    """
    try:
        network = IPv4Network(text)
    except ValueError as error:
        raise Invalid(f"The {name} {text} is not an IPv4 network such as 10.1.1.0/24.") from error
    if "/" not in text:
        raise Invalid(f"The {name} {text} has no prefix length; an IPv4 network such as 10.1.1.0/24 is needed.")
    return str(network)


def subnet(gateway: IPv4Address, netmask: str | None) -> IPv4Network:
    """The subnet of `netmask` that `gateway` is a host of.

    :raises Invalid: the mask is none, or the gateway is the subnet's own or broadcast address
    """
    inverted = ALL_ONES ^ int(address("netmask", netmask))
    if inverted & (inverted + 1):
        raise Invalid(f"The netmask {netmask} is not one: its ones must stand before its zeros.")
    network = ipaddress.IPv4Network((gateway, 32 - inverted.bit_length()), strict=False)
    if not _is_host(network, gateway):
        raise Invalid(
            f"The gateway {gateway} is no host address of {network}, which the netmask {netmask} makes it in."
        )
    return network


def span(gateway: str | None, netmask: str | None, first: str | None, last: str | None) -> Span:
    """The range from startip to endip; to the subnet's last host address without endip.

    :raises Invalid: any of these is none, or they do not fit together
    """
    router = address("gateway", gateway)
    network = subnet(router, netmask)
    start = address("startip", first)
    end = address("endip", last) if last else network.broadcast_address - 1
    found = Span(network, router, start, end)
    for name, limit in (("startip", start), ("endip", end)):
        if not _is_host(network, limit):
            raise Invalid(f"The {name} {limit} is no host address of {network}, the subnet of gateway {router}.")
    if end < start:
        raise Invalid(f"The endip {end} lies before the startip {start}.")
    if start <= router <= end:
        raise Invalid(f"The gateway {router} lies within the range {found}; it cannot be given to anything else.")
    if len(found) > LARGEST_RANGE:
        raise Invalid(f"The range {found} has {len(found)} addresses; at most {LARGEST_RANGE} are possible.")
    return found


def _is_host(network: IPv4Network, one: IPv4Address) -> bool:
    return one in network and one not in (network.network_address, network.broadcast_address)
