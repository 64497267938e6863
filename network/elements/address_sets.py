"""Sets of IPv4 networks as rules give them: () stands for everywhere."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network


def common(some: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...] | None:
    """The networks that lie in both; () for everywhere, None for nowhere."""
    if is_everywhere(some) or is_everywhere(others):
        inner = others if is_everywhere(some) else some
        return () if is_everywhere(inner) else canonical(inner)
    pairs = [(IPv4Network(one), IPv4Network(other)) for one in some for other in others]
    found = [str(a if a.subnet_of(b) else b) for a, b in pairs if a.overlaps(b)]
    return canonical(found) or None


def is_everywhere(networks: tuple[str, ...]) -> bool:
    return not networks or any(IPv4Network(one).prefixlen == 0 for one in networks)


def canonical(networks: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(str, sorted({IPv4Network(one) for one in networks})))
