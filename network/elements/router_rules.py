"""The packet rules of a virtual router as one nft file: a pure function of its wanted state.

Replies pass by themselves. What opens or goes on with a connection is held against the rules of this moment, packet
by packet: a connection that is still allowed survives every change, one that is not any more ends with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network
from itertools import chain

from network.elements import inside_rules, private_rules, route_rules, vpn_rules
from network.elements.balancer_files import check_balancers
from network.elements.nft_words import ports, within
from network.elements.pair_files import DEVICE as PAIR_DEVICE
from network.errors import InvalidViewError
from network.names import tier_device
from network.traffic import HAS_PORTS, LARGEST_PORT, check_range, check_traffic, span
from network.types import Forwarding, GuestLeg, Opening, RouterSpec

GUEST_DEVICE = "eth0"
PUBLIC_DEVICE = "eth1"
ECHO_REQUEST = 8


def device_of(spec: RouterSpec, leg: GuestLeg) -> str:
    """The leg's device in the router's namespace. That of a tier stays the same while other tiers come and go."""
    return tier_device(leg.nic.id) if spec.vpc_id else GUEST_DEVICE


def check_rules(spec: RouterSpec) -> None:
    """Refuse what must not reach the rules, or would lead to addresses that the router does not serve.

    :raises InvalidViewError: names the router and the value
    """
    try:
        guests = [IPv4Network(leg.cidr) for leg in spec.legs]
        own = {IPv4Address(address) for address in spec.addresses}
        if spec.public is not None:
            own.add(IPv4Address(spec.public.address))
        led = [(nat.address, nat.guest) for nat in spec.static_nats]
        led += [(forwarding.address, forwarding.guest) for forwarding in spec.forwardings]
        strange = [address for address, _ in led if IPv4Address(address) not in own]
        strange += [opening.address for opening in spec.openings if IPv4Address(opening.address) not in own]
        strange += [guest for _, guest in led if not any(IPv4Address(guest) in network for network in guests)]
        if strange:
            raise ValueError(f"{strange[0]} is not one of its addresses, or no guest of it")
        for traffic in chain(*(leg.egress for leg in spec.legs), (opening.traffic for opening in spec.openings)):
            check_traffic(traffic)
        for forwarding in spec.forwardings:
            _check_forwarding(forwarding)
        check_balancers(spec.balancers, own | inside_rules.check_inside(spec), guests)
        vpn_rules.check_vpn(spec)
        private_rules.check_private_legs(spec)
        route_rules.check_routes(spec)
    except ValueError as error:
        raise InvalidViewError(f"Router {spec.id} has a wrong rule: {error}.") from error


def _check_forwarding(one: Forwarding) -> None:
    if one.protocol not in HAS_PORTS:
        raise ValueError(f"ports of the protocol {one.protocol!r}")
    check_range("port", LARGEST_PORT, one.first_port, one.last_port)
    check_range("port", LARGEST_PORT, one.guest_port, one.guest_port + one.last_port - one.first_port)
    for network in one.sources:
        IPv4Network(network)


def nft_rules(spec: RouterSpec, *, kernel_esp: bool = False) -> str:
    """One file that replaces all rules at once. Nothing that comes from outside is let in but answers and openings.

    With `kernel_esp` the kernel encrypts, and what goes by a VPN has no device of its own.
    """
    return NFT.format(
        answers=_lines(
            chain(
                inside_rules.answers(spec, device_of),
                _balanced(spec),
                _served(spec),
                private_rules.answers(spec),
                _answers(spec),
            )
        ),
        key_exchange=_lines(vpn_rules.received(spec, PUBLIC_DEVICE, kernel_esp=kernel_esp)),
        hidden=_lines(vpn_rules.hidden(spec.vpn, PUBLIC_DEVICE, kernel_esp=kernel_esp)),
        closed=_lines(chain(_closed(spec), _half_known(spec))),
        by_vpn=_lines(vpn_rules.passed(spec.vpn, PUBLIC_DEVICE, kernel_esp=kernel_esp)),
        leave=_lines(chain(_leaving(spec), route_rules.passed(spec, device_of), private_rules.passed(spec, device_of))),
        outward="".join(
            chain(
                (_outward(spec, leg) for leg in spec.legs),
                private_rules.chains(spec),
                inside_rules.chains(spec, device_of),
            )
        ),
        published=_lines(_published(spec)),
        opened=_lines(_opened(spec)),
        arriving=_lines(_arriving(spec)),
        translated=_lines(
            chain(
                vpn_rules.kept(spec.vpn),
                route_rules.translated(spec, device_of),
                private_rules.translated(spec),
                _translated(spec),
            )
        ),
    )


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"    {line}\n" for line in lines)


def _answers(spec: RouterSpec) -> Iterator[str]:
    """The router itself answers pings of its public addresses where an opening lets them in."""
    for opening in _ordered(spec):
        traffic = opening.traffic
        if traffic.protocol in ("icmp", "all") and traffic.icmp_type in (None, ECHO_REQUEST):
            where = f'iifname "{PUBLIC_DEVICE}" ip daddr {opening.address} {within("saddr", traffic.sources)}'
            yield f"{where}icmp type echo-request accept"


def _served(spec: RouterSpec) -> Iterator[str]:
    """What guests ask of the router itself, and its other half, with which nobody else can speak."""
    if spec.pair is not None:
        yield f'iifname "{PAIR_DEVICE}" ip saddr {spec.pair.peer.address} accept'
    for leg in spec.legs:
        where = f'iifname "{device_of(spec, leg)}"'
        yield f"{where} udp dport {{ 53, 67 }} accept"
        yield f"{where} tcp dport {{ 53, 80, 8080 }} accept"
        yield f"{where} icmp type echo-request accept"


def _closed(spec: RouterSpec) -> Iterator[str]:
    for leg in spec.legs:
        if leg.closed:
            yield f'oifname "{device_of(spec, leg)}" drop'


def _half_known(spec: RouterSpec) -> Iterator[str]:
    """What a guest answers to a connection that was forwarded to it, and whose state is lost, waits for the other side.

    From the guest alone nobody can tell which port it came by; with another one the other side would end it.
    """
    for one in sorted(spec.forwardings, key=repr):
        if one.protocol == "tcp":
            opened = span(one.guest_port, one.guest_port + one.last_port - one.first_port)
            yield f"ct state new ip saddr {one.guest} tcp sport {opened} tcp flags & (syn | ack) != syn drop"


def _balanced(spec: RouterSpec) -> Iterator[str]:
    """What the router itself takes for its guests: to a public address and port, where an opening lets it in."""
    for one in sorted(spec.balancers, key=repr):
        if one.listens and inside_rules.leg_with(spec, one.address) is None:
            yield f"ip daddr {one.address} {within('saddr', one.sources)}tcp dport {one.port} goto opened"
            if one.sources:  # guests are let in to the same ports of the router's own services
                yield f"ip daddr {one.address} tcp dport {one.port} drop"


def _leaving(spec: RouterSpec) -> Iterator[str]:
    """From each leg to the others, and to the outside."""
    for leg in spec.legs:
        where = f'iifname "{device_of(spec, leg)}"'
        for other in spec.legs:
            if other is not leg and not other.closed:
                yield f'{where} oifname "{device_of(spec, other)}" ip saddr {leg.cidr} ip daddr {other.cidr} accept'
        if spec.public is not None:
            beyond = f"ip daddr != {spec.inside} " if spec.inside else ""
            out = f'oifname "{PUBLIC_DEVICE}" ip saddr {leg.cidr} {beyond}'
            yield f"{where} {out}goto {_outward_chain(spec, leg)}"


def _outward_chain(spec: RouterSpec, leg: GuestLeg) -> str:
    return f"outward-{device_of(spec, leg)}"


def _outward(spec: RouterSpec, leg: GuestLeg) -> str:
    """A chain of its own for what leaves from the leg."""
    verdict = "drop" if leg.egress_open else "accept"
    lines = [
        f"{within('saddr', traffic.sources)}{within('daddr', traffic.destinations)}"
        f"{ports(traffic, 'th dport')}{verdict}"
        for traffic in sorted(leg.egress, key=repr)
    ]
    if leg.egress_open:
        lines.append("accept")
    return f"  chain {_outward_chain(spec, leg)} {{\n{_lines(lines)}  }}\n"


def _published(spec: RouterSpec) -> Iterator[str]:
    """Connections to public addresses that still lead where they led when they were opened."""
    for nat in sorted(spec.static_nats, key=repr):
        yield f"ct original ip daddr {nat.address} ip daddr {nat.guest} goto opened"
    for one in sorted(spec.forwardings, key=repr):
        served = f"meta l4proto {one.protocol} ct original proto-dst {span(one.first_port, one.last_port)}"
        where = f"ct original ip daddr {one.address} ip daddr {one.guest} {within('saddr', one.sources)}"
        yield f"{where}{served} goto opened"


def _opened(spec: RouterSpec) -> Iterator[str]:
    for opening in _ordered(spec):
        traffic = opening.traffic
        where = f"{within('saddr', traffic.sources)}{ports(traffic, 'ct original proto-dst')}"
        yield f"ct original ip daddr {opening.address} {where}accept"


def _arriving(spec: RouterSpec) -> Iterator[str]:
    for one in sorted(spec.forwardings, key=repr):
        where = f"ip daddr {one.address} {within('saddr', one.sources)}"
        yield f"{where}{one.protocol} dport {span(one.first_port, one.last_port)} dnat ip to {_target(one)}"
    for nat in sorted(spec.static_nats, key=repr):
        yield f"ip daddr {nat.address} dnat ip to {nat.guest}"


def _target(one: Forwarding) -> str:
    if one.first_port == one.guest_port:
        return one.guest
    if one.first_port == one.last_port:
        return f"{one.guest}:{one.guest_port}"
    # nft knows no offset between ranges; only a map keeps their order.
    shift = one.guest_port - one.first_port
    pairs = ", ".join(f"{port} : {port + shift}" for port in range(one.first_port, one.last_port + 1))
    return f"{one.guest} : {one.protocol} dport map {{ {pairs} }}"


def _translated(spec: RouterSpec) -> Iterator[str]:
    """Sources of what leaves. A guest that reaches another by a public address must get its answers by the router."""
    if spec.public is None:
        return
    if spec.static_nats or spec.forwardings:
        for leg in spec.legs:
            where = f'oifname "{device_of(spec, leg)}" ct status dnat ip saddr {leg.cidr}'
            yield f"{where} snat ip to {leg.nic.address}"
    for nat in sorted(spec.static_nats, key=repr):
        yield f'oifname "{PUBLIC_DEVICE}" ip saddr {nat.guest} snat ip to {nat.address}'
    for leg in spec.legs:
        yield f'oifname "{PUBLIC_DEVICE}" ip saddr {leg.cidr} snat ip to {spec.public.address}'


def _ordered(spec: RouterSpec) -> list[Opening]:
    return sorted(spec.openings, key=repr)


NFT = """table inet pileus
delete table inet pileus
table inet pileus {{
{outward}  chain opened {{
{opened}  }}
  chain published {{
{published}  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    iif lo accept
    ct state invalid drop
{key_exchange}    ct state related accept
    ct direction reply accept
{answers}  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    ct state invalid drop
    ip daddr 169.254.0.0/16 drop
{hidden}    ct state related accept
    ct direction reply accept
{closed}{by_vpn}    ct status dnat goto published
{leave}  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
{arriving}  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
{translated}  }}
}}
"""
