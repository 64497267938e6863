"""The static routes of a virtual router, in its namespace."""

from __future__ import annotations

from network import links
from network.elements.route_rules import device_to
from network.elements.router_rules import device_of
from network.types import RouterSpec

MARK = "static"
"""The origin that tells these routes from the kernel's own and from the default route (ip-route(8), protocol)."""


def ensure(spec: RouterSpec, namespace: str) -> None:
    """Make the static routes just those of `spec`. The kernel forgets those of a device that goes down."""
    wanted = {}
    for route in spec.routes:
        device = device_to(spec, route.next_hop, device_of)
        wanted[_plain(route.cidr)] = f"{route.cidr} via {route.next_hop} dev {device} proto {MARK}"
    gone = [found for found in links.routes_marked(MARK, namespace) if found not in wanted]
    lines = [f"route del {network} proto {MARK}" for network in gone]
    lines += [f"route replace {way}" for way in wanted.values()]
    if lines:
        links.change(lines, namespace)


def _plain(cidr: str) -> str:
    """As the kernel shows it: a single address without its prefix length."""
    return cidr.removesuffix("/32")
