"""Random clouds and random questions: networks with equal addresses on three hosts, their routers and rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import IPv4Network
from random import Random

from network.balancing import Balancer, Member
from network.flow_trace.connections import Connections
from network.flow_trace.fabric import Fabric
from network.flows import FlowSet
from network.reachability.values import Place, Probe
from network.types import (
    Forwarding,
    GuestLeg,
    NetworkView,
    NicView,
    Opening,
    Peer,
    Policy,
    PolicyRule,
    PublicLeg,
    RouterSpec,
    StaticNat,
    Traffic,
)
from tests.unit.network.views import numbers

HOSTS = ("host-1", "host-2", "host-3")
OUTSIDE = ("198.51.100.1", "203.0.113.9", "203.0.113.70")
PORTS = (22, 53, 80, 443, 8080)
BROAD = ("0.0.0.0/0", "203.0.113.0/24", "203.0.113.9/32", "10.1.1.0/28", "10.1.1.0/24", "10.2.1.0/24")
TENANTS = "abc"


@dataclass
class World:
    places: list[Place]

    @property
    def views(self) -> list[NetworkView]:
        return [place.view for place in self.places]

    @cached_property
    def fabric(self) -> Fabric:
        return Fabric.of(self.views, {host: numbers(host, self.views) for host in HOSTS})

    def forget(self) -> None:
        """The switches know no connection any more."""
        for site in self.fabric.sites.values():
            site.connections = Connections()


def world(chance: Random) -> World:
    plain = [place(chance, tenant, *nics(chance, tenant)) for tenant in TENANTS[: chance.randint(1, 3)]]
    return World([*plain, *(vpc(chance) if chance.random() < 0.5 else ())])


def vpc(chance: Random) -> list[Place]:
    """Two tiers with ACL lists, on one router."""
    host, views, legs = chance.choice(HOSTS), [], []
    for tier in (1, 2):
        guests = [
            NicView(
                f"nic-v{tier}{last}", f"02:00:00:00:0{tier}:0{last}", f"10.2.{tier}.{10 + last}", chance.choice(HOSTS)
            )
            for last in range(1, chance.randint(1, 3) + 1)
        ]
        own = NicView(f"nic-v{tier}r", f"02:00:00:00:0{tier}:ff", f"10.2.{tier}.1", host, "router")
        acl = Policy(f"list-{tier}", rules(chance, denies=True)) if chance.random() < 0.8 else None
        held = sorted({one.host_id for one in (*guests, own)})
        views.append(NetworkView(
            f"net-v{tier}", 1010 + tier, 1, f"10.2.{tier}.0/24", own.address, 1458, (*guests, own),
            tuple(Peer(one, f"192.0.2.{one[-1]}") for one in held), acl=acl,
        ))  # fmt: skip
        legs.append(GuestLeg(f"net-v{tier}", own, f"10.2.{tier}.0/24", 1458, "v.example", closed=chance.random() < 0.1))
    public = PublicLeg("198.51.100.40", 24, OUTSIDE[0], "02:00:00:00:01:04", "br-public")
    led = [nic.address for view in views for nic in view.nics if nic.role == "guest"]
    owned = [public.address, "198.51.100.41", "198.51.100.42"]
    spec = RouterSpec(
        "router-v", 1, tuple(legs), "vpc", "10.2.0.0/16", public, addresses=("198.51.100.41", "198.51.100.42"),
        static_nats=(StaticNat("198.51.100.41", chance.choice(led)),),
        openings=tuple(Opening(one, traffic(chance, sources=some(chance, BROAD))) for one in owned),
        forwardings=(Forwarding("198.51.100.42", "tcp", 80, 80, chance.choice(led), 8080),),
        balancers=(
            Balancer("balancer", "198.51.100.42", 443, 8080, members=tuple(Member(one, one) for one in led[:2])),
        ),
    )  # fmt: skip
    return [Place(view, spec) for view in views]


def nics(chance: Random, tenant: str) -> tuple[list[NicView], NicView | None]:
    """Guests and, of most networks, a router's NIC, anywhere."""
    guests = [guest(tenant, last, chance.choice(HOSTS)) for last in range(1, chance.randint(1, 4) + 1)]
    if chance.random() < 0.3:
        guests[0] = replace(guests[0], further=("10.1.1.50",))
    return guests, leg(tenant, chance.choice(HOSTS)) if chance.random() < 0.8 else None


def place(chance: Random, tenant: str, guests: list[NicView], own: NicView | None) -> Place:
    """A network with random rules; `own` is its router's NIC."""
    policies = policy(chance)
    guests = [replace(one, groups=groups(chance, policies)) for one in guests]
    every = (*guests, own) if own else tuple(guests)
    is_open = chance.random() < 0.6
    view = NetworkView(
        f"net-{tenant}", 1001 + TENANTS.index(tenant), 1, "10.1.1.0/24", "10.1.1.1", 1458, every,
        tuple(Peer(host, f"192.0.2.{host[-1]}") for host in sorted({one.host_id for one in every})),
        egress_open=own is not None or is_open, **policies,
    )  # fmt: skip
    found = Place(view, router(chance, tenant, own, guests, is_open=is_open) if own else None)
    return apart(found) if own and chance.random() < 0.15 else found


def apart(one: Place) -> Place:
    """The network with a gateway that is not its router, which has no public side then."""
    (side,) = one.router.legs
    own = replace(side.nic, address="10.1.1.200")
    others = tuple(nic for nic in one.view.nics if nic.role != "router")
    spec = RouterSpec(one.router.id, 1, (replace(side, nic=own, gateway="10.1.1.1"),))
    return Place(replace(one.view, nics=(*others, own), gateway_outside=True), spec)


def leg(tenant: str, host: str) -> NicView:
    return NicView(f"nic-{tenant}r", "02:00:00:00:00:ff", "10.1.1.1", host, "router")


def guest(tenant: str, last: int, host: str) -> NicView:
    """The same addresses in all networks."""
    return NicView(f"nic-{tenant}{last}", f"02:00:00:00:00:{last:02x}", f"10.1.1.{10 + last}", host)


def policy(chance: Random) -> dict[str, object]:
    """No policy, an ACL list, or security groups."""
    match chance.choice(("none", "list", "groups")):
        case "list":
            return {"acl": Policy("list", rules(chance, denies=True))}
        case "groups":
            known = tuple(f"group-{number}" for number in range(chance.randint(1, 3)))
            return {"has_groups": True, "groups": tuple(Policy(one, rules(chance, known)) for one in known)}
    return {}


def groups(chance: Random, policies: dict[str, object]) -> tuple[str, ...]:
    known = [one.id for one in policies.get("groups", ())]
    return tuple(sorted(chance.sample(known, chance.randint(1, len(known))))) if known else ()


def rules(chance: Random, group_ids: tuple[str, ...] = (), *, denies: bool = False) -> tuple[PolicyRule, ...]:
    """Some rules for both directions; with `denies`, also such that deny."""
    found = []
    for _ in range(chance.randint(0, 6)):
        direction = chance.choice(("ingress", "egress"))
        remote = {"sources" if direction == "ingress" else "destinations": some(chance, BROAD)}
        group = chance.choice(group_ids) if group_ids and chance.random() < 0.4 else ""
        wanted = traffic(chance, **({} if group else remote))
        allow = not denies or chance.random() < 0.6
        found.append(PolicyRule(f"rule-{chance.random()}", direction, wanted, allow, group))
    if denies:  # as lists often end: what nobody denied is allowed
        ways = [way for way in ("ingress", "egress") if chance.random() < 0.6]
        found += [PolicyRule(f"rest-{way}-{chance.random()}", way, Traffic("all")) for way in ways]
    return tuple(found)


def traffic(chance: Random, **remote: tuple[str, ...]) -> Traffic:
    protocol = chance.choice(("tcp", "tcp", "udp", "icmp", "all", "47"))
    if protocol == "icmp":
        kind = chance.choice((None, 8, 13))
        return Traffic(protocol, icmp_type=kind, icmp_code=0 if kind and chance.random() < 0.5 else None, **remote)
    if protocol in ("tcp", "udp") and chance.random() < 0.9:
        first = chance.choice(PORTS)
        return Traffic(protocol, first, chance.choice([port for port in PORTS if port >= first]), **remote)
    return Traffic(protocol, **remote)


def some(chance: Random, choices: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(chance.sample(choices, chance.choice((0, 0, 1, 2))))


def router(chance: Random, tenant: str, leg: NicView, guests: list[NicView], *, is_open: bool) -> RouterSpec:
    number = TENANTS.index(tenant) + 1
    public = PublicLeg(f"198.51.100.{10 * number}", 24, OUTSIDE[0], f"02:00:00:00:01:{number:02x}", "br-public")
    more = [f"198.51.100.{10 * number + further}" for further in range(1, chance.randint(1, 4))]
    nats = [StaticNat(more.pop(), one.address) for one in guests[:2] if more and chance.random() < 0.5]
    own = [public.address, *more]
    spec = RouterSpec(
        id=f"router-{tenant}", generation=1, public=public, static_nats=tuple(nats),
        addresses=tuple(sorted([*more, *(nat.address for nat in nats)])),
    )  # fmt: skip
    every = [*own, *(nat.address for nat in nats)]
    egress = tuple(
        traffic(chance, destinations=some(chance, BROAD), sources=some(chance, BROAD))
        for _ in range(chance.randint(0, 2))
    )
    side = GuestLeg(f"net-{tenant}", leg, "10.1.1.0/24", 1458, f"{tenant}.example", egress=egress, egress_open=is_open)
    return replace(
        spec,
        legs=(side,),
        openings=tuple(
            Opening(chance.choice(every), traffic(chance, sources=some(chance, BROAD))) for _ in
            range(chance.randint(0, 4))
        ),
        forwardings=tuple(forwardings(chance, own, guests)),
    )  # fmt: skip


def forwardings(chance: Random, addresses: list[str], guests: list[NicView]) -> Iterator[Forwarding]:
    """At most one for a port of an address."""
    taken = set()
    for _ in range(chance.randint(0, 3)):
        address, port, protocol = chance.choice(addresses), chance.choice(PORTS), chance.choice(("tcp", "udp"))
        if (address, port, protocol) not in taken:
            taken.add((address, port, protocol))
            guest_ = chance.choice(guests).address
            yield Forwarding(address, protocol, port, port, guest_, chance.choice(PORTS), some(chance, BROAD))


def probe(chance: Random, source: str, target: str) -> Probe:
    protocol = chance.choice((6, 6, 17, 1, 47))
    port = chance.choice(PORTS) if protocol in (6, 17) else 0
    return Probe(source, target, protocol, port, icmp_type=chance.choice((8, 8, 8, 13, 3)))


def targets(places: list[Place]) -> list[str]:
    """Addresses of guests, of the router, of nobody, public ones and others outside."""
    specs = [one.gateway for one in places if one.gateway and one.gateway.public]
    public = [address for spec in specs for address in (*spec.addresses, spec.public.address)]
    routed = [str(IPv4Network(route.cidr)[5]) for spec in specs for route in spec.routes]
    inside = ["10.1.1.1", *(f"10.1.1.{last}" for last in (11, 12, 13, 14, 50, 77, 200))]
    tiers = [nic.address for p in places if p.router and p.router.vpc_id for nic in p.view.nics]
    return [*inside, *inside, *tiers, *routed, *public, *OUTSIDE, "169.254.169.254", "169.254.1.1"]


def replaced(fabric: Fabric, views: list[NetworkView], edit) -> None:
    """Give each host the flows that `edit` makes of its own."""
    from network.flow_trace.bridge import Bridge
    from network.flows import desired

    for host, site in fabric.sites.items():
        own = desired(host, views, numbers(host, views))
        site.bridge = Bridge(FlowSet(tuple(edit(own.flows)), own.groups, own.meters))
