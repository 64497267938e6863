"""The packet rules of a router's private networks, as lines for the chains of its nft file."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, collapse_addresses

from network.types import RouterSpec
from network.vpn import RemoteAccess, Tunnel, Vpn, proposals

TUNNEL_DEVICE = "ipsec0"
ENCAPSULATED = 4500
PORTS = (500, ENCAPSULATED)
LARGEST_PORT = 65535
TUNNEL_MSS = 1360
"""Bytes of TCP in a packet that fits the tunnel device, whose MTU is 1400."""


def check_vpn(spec: RouterSpec) -> None:
    """:raises ValueError: something is malformed, not an address of the router, or would catch its guests' traffic"""
    own = {*spec.addresses, *((spec.public.address,) if spec.public is not None else ())}
    vpn = spec.vpn or Vpn()
    for one in (*vpn.tunnels, *((vpn.remote,) if vpn.remote is not None else ())):
        if one.address not in own:
            raise ValueError(f"the VPN {one.id} ends at {one.address}, which is not one of its addresses")
    if vpn.remote is not None:
        _check_remote_access(vpn.remote)
    for tunnel in vpn.tunnels:
        _check_tunnel(tunnel)


def _check_remote_access(one: RemoteAccess) -> None:
    first, last = IPv4Address(one.first), IPv4Address(one.last)
    inside = [IPv4Network(guests) for guests in one.guests]
    if first > last or any(first <= network[-1] and network[0] <= last for network in inside):
        raise ValueError(f"the range {first}-{last} of the VPN {one.id} is empty, or among its guests")
    for text in (one.certificate, one.private_key):
        base64.b64decode(text, validate=True)


def _check_tunnel(one: Tunnel) -> None:
    peer = IPv4Network(one.peer)
    near, far = [[IPv4Network(text) for text in side] for side in (one.near, one.far)]
    if not near or not far or any(here.overlaps(there) for here in (*near, peer) for there in far):
        raise ValueError(f"the VPN {one.id} does not join two sides")
    proposals(one.ike_policy, with_group=True)
    proposals(one.esp_policy)


def received(spec: RouterSpec, public: str, *, kernel_esp: bool) -> Iterator[str]:
    """What the router itself takes from outside."""
    vpn = spec.vpn or Vpn()
    ends = [(tunnel.address, f"ip saddr {tunnel.peer} ", port) for tunnel in vpn.tunnels for port in PORTS]
    if vpn.remote is not None and vpn.remote.open_to_all:
        ends += [(vpn.remote.address, "", port) for port in PORTS]
    elif vpn.remote is not None:
        ends += [(vpn.remote.address, sources, port) for sources, port in _admitted(spec, vpn.remote.address)]
    for address, sources, port in sorted(set(ends)):
        where = f'iifname "{public}" ip daddr {address} {sources}'
        yield f"{where}udp dport {port} accept"
        if kernel_esp and port == ENCAPSULATED:
            yield f"{where}meta l4proto esp accept"
    if spec.vpn is not None:
        # Who was let in before and is not any more does not go on.
        yield f'iifname "{public}" udp dport {{ {", ".join(map(str, PORTS))} }} ct direction original drop'


def _admitted(spec: RouterSpec, address: str) -> Iterator[tuple[str, int]]:
    """(match of sources, port) of what openings let in."""
    for opening in spec.openings:
        traffic = opening.traffic
        if opening.address == address and traffic.protocol in ("udp", "all"):
            sources = f"ip saddr {_set(traffic.sources)} " if traffic.sources else ""
            first, last = traffic.first_port or 0, traffic.last_port or LARGEST_PORT
            yield from ((sources, port) for port in PORTS if first <= port <= last)


def _set(texts: Iterable[str]) -> str:
    """Networks and ranges as nft writes a set, which holds no overlaps."""
    ranges = [text for text in texts if "-" in text]
    networks = collapse_addresses(IPv4Network(text) for text in texts if "-" not in text)
    return f"{{ {', '.join([*ranges, *map(str, networks)])} }}"


def hidden(vpn: Vpn | None, public: str, *, kernel_esp: bool) -> Iterator[str]:
    """What goes between guests and the other side goes by the tunnel or not at all: nobody sees it in clear."""
    arriving, leaving = ("meta ipsec missing ", "rt ipsec missing ") if kernel_esp else ("", "")
    for _, far in sorted((vpn or Vpn()).pairs()):
        yield f'iifname "{public}" ip saddr {_set(far)} {arriving}drop'
        yield f'oifname "{public}" ip daddr {_set(far)} {leaving}drop'


def passed(vpn: Vpn | None, public: str, *, kernel_esp: bool) -> Iterator[str]:
    """What may go by tunnels: both ways, between their two sides."""
    inward, outward = f'iifname "{TUNNEL_DEVICE}"', f'oifname "{TUNNEL_DEVICE}"'
    if kernel_esp:
        inward, outward = f'iifname "{public}" meta ipsec exists', f'oifname "{public}" rt ipsec exists'
    for near, far in sorted((vpn or Vpn()).pairs()):
        guests, others = _set(near), _set(far)
        for where in (
            f"{inward} ip saddr {others} ip daddr {guests}",
            f"{outward} ip saddr {guests} ip daddr {others}",
        ):
            yield f"{where} tcp flags syn tcp option maxseg size set {TUNNEL_MSS}"
            yield f"{where} accept"


def kept(vpn: Vpn | None) -> Iterator[str]:
    """Guests are known to the other side by their own addresses."""
    for near, far in sorted((vpn or Vpn()).pairs()):
        yield f"ip saddr {_set(near)} ip daddr {_set(far)} accept"
