"""Redundant routers of a VPC with real packets: all tiers' gateways move together, and connections go on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from network.elements.virtual_router import VirtualRouter, VirtualRouterSettings
from network.names import router_namespace
from network.redundancy import FIRST, SECOND
from network.types import (
    Forwarding,
    NetworkView,
    NicView,
    Opening,
    Pair,
    Peer,
    Policy,
    PolicyRule,
    RouterSpec,
    Traffic,
)
from tests.unit.network.lab import ROUTERS, Lab, Wire, ethernet, inside, ipv4, ping, reaches, sh, udp
from tests.unit.network.pairs import HOSTS, PUBLIC, build_public
from tests.unit.network.routers import OUTSIDE, tier, vpc_router
from tests.unit.network.streams import Stream
from tests.unit.network.vpn_sites import becomes

OWN = "198.51.100.30"
IDS = {"first": ROUTERS["vpc"], "second": ROUTERS["vpc2"]}
OPEN = Policy("open", (PolicyRule("out", "egress", Traffic("all")), PolicyRule("in", "ingress", Traffic("all"))))
ENDS = tuple(
    NicView(f"line-{half}", f"02:00:00:00:06:0{number}", f"169.254.251.{number}", HOSTS[half], "router")
    for number, half in enumerate(HOSTS, 1)
)
WITHIN = 40.0
LONGEST_GAP = 10.0
"""Seconds. It is below 3 where the machine itself does not stall."""


@dataclass
class VpcPair:
    """A VPC of two tiers: web in the first is on a host without router, db in the second beside the second router."""

    lab: Lab
    elements: dict[str, VirtualRouter]
    spec: RouterSpec
    nics: dict[str, NicView]
    guests: dict[str, str]

    def spec_of(self, half: str) -> RouterSpec:
        number = list(HOSTS).index(half)
        legs = tuple(replace(leg, nic=replace(leg.nic, host_id=HOSTS[half])) for leg in self.spec.legs)
        pair = Pair(ENDS[number], ENDS[1 - number], (FIRST, SECOND)[number])
        return replace(self.spec, id=IDS[half], legs=legs, pair=pair)

    def views(self, host_id: str) -> list[NetworkView]:
        """The tiers, and where a router is, the line between the two."""
        one, other = (HOSTS["second"], HOSTS["first"]) if host_id == HOSTS["second"] else HOSTS.values()
        peers = tuple(Peer(host.id, host.address) for host in self.lab.hosts if host.id != host_id)
        found = []
        for number, (leg, nic) in enumerate(zip(self.spec.legs, self.nics.values(), strict=True)):
            gateway = replace(leg.nic, host_id=one, also_on=(other,))
            found.append(NetworkView(leg.network_id, 3001 + number, 1, leg.cidr, leg.nic.address, 1458,
                                     (gateway, nic), peers, acl=OPEN))  # fmt: skip
        if host_id in HOSTS.values():
            line = [peer for peer in peers if peer.host_id in HOSTS.values()]
            found.append(NetworkView("line", 3000, 1, "169.254.251.0/24", "169.254.251.254", 1400, (), tuple(line),
                                     pair=ENDS))  # fmt: skip
        return found

    def apply(self, half: str) -> None:
        host = self.lab.host(HOSTS[half])
        with inside(host.ns):
            self.elements[half].apply(self.spec_of(half))
            host.switch.apply(self.views(host.id))
            self.elements[half].join(self.spec_of(half))

    def remove(self, half: str) -> None:
        with inside(self.lab.host(HOSTS[half]).ns):
            self.elements[half].remove(IDS[half])

    def become(self, *roles: str | None) -> bool:
        return becomes(lambda: tuple(self.elements[half].role(IDS[half]) for half in HOSTS), roles, WITHIN)

    def cut_off(self, half: str, way: str) -> None:
        for port in ("eth0", "public"):
            sh("ip", "-n", self.lab.host(HOSTS[half]).ns, "link", "set", port, way)


@pytest.fixture(scope="module")
def built(lab) -> VpcPair:
    build_public(lab)
    nics = {name: NicView(f"nic-{name}", f"02:00:00:00:07:0{number}", f"10.0.{number}.11", f"host-{number}")
            for number, name in enumerate(("web", "db"), 1)}  # fmt: skip
    legs = [tier(number, [nic]) for number, nic in enumerate(nics.values(), 1)]
    openings = (Opening(OWN, Traffic("tcp", 2222, 2222)), Opening(OWN, Traffic("icmp")))
    spec = vpc_router(*legs, forwardings=(Forwarding(OWN, "tcp", 2222, 2222, "10.0.2.11", 22),), openings=openings)
    elements = {
        half: VirtualRouter(VirtualRouterSettings(lab.dir / f"routers-{half}"), lab.host(host_id).switch)
        for half, host_id in HOSTS.items()
    }
    guests = {name: lab.add_guest(f"w{name}", nic, nic.address.rpartition(".")[0] + ".1") for name, nic in nics.items()}
    return VpcPair(lab, elements, spec, nics, guests)


@pytest.fixture
def both(built) -> VpcPair:
    """Both run, and the first is primary."""
    for half in HOSTS:
        built.apply(half)
    for host in built.lab.hosts:
        with inside(host.ns):
            host.switch.apply(built.views(host.id))
    if not becomes(lambda: built.elements["first"].role(IDS["first"]), "PRIMARY", 3):
        built.remove("second")
        assert built.become("PRIMARY", None)
        built.apply("second")
    assert built.become("PRIMARY", "BACKUP")
    for name in built.guests:
        assert becomes(lambda ns=built.guests[name]: reaches(ns, OUTSIDE), True, WITHIN), name
    return built


@pytest.fixture
def streams(both) -> Iterator[list[Stream]]:
    """From tier to tier, to the outside and from there, whose states the waiting router has."""
    web, db = both.guests.values()
    assert becomes(lambda: ping(web, "10.0.2.11", wait=0.5), 1, WITHIN)
    made = [
        Stream(web, db, ("10.0.2.11", 8440), ("10.0.2.11", 8440)),
        Stream(web, PUBLIC, (OUTSIDE, 8441), (OUTSIDE, 8441)),
        Stream(PUBLIC, db, ("10.0.2.11", 22), (OWN, 2222)),
    ]
    assert becomes(lambda: all(_has_state("second", port) for port in (8440, 8441, 2222)), True, WITHIN)
    yield made
    for stream in made:
        stream.close()


def _has_state(half: str, port: int) -> bool:
    told = sh("ip", "netns", "exec", router_namespace(IDS[half]), "cat", "/proc/net/nf_conntrack")
    return any("ESTABLISHED" in line and f"dport={port} " in line for line in told.splitlines())


def survive(streams: list[Stream]) -> None:
    assert all(stream.goes_on(WITHIN) for stream in streams)
    assert max(stream.gap for stream in streams) < LONGEST_GAP, [stream.gap for stream in streams]


def test_all_tiers_go_on_when_the_primary_falls_silent(both, streams):
    sh("ip", "-n", router_namespace(IDS["first"]), "link", "set", "pair0", "down")
    assert both.become("FAULT", "PRIMARY")
    survive(streams)


def test_each_is_made_anew_in_turn_and_tiers_go_on(both, streams):
    for half, meanwhile, after in (
        ("second", ("PRIMARY", None), ("PRIMARY", "BACKUP")),
        ("first", (None, "PRIMARY"), ("BACKUP", "PRIMARY")),
    ):
        both.remove(half)
        assert both.become(*meanwhile)
        both.apply(half)
        assert both.become(*after)
    survive(streams)


def test_one_that_was_primary_beside_another_tells_again_who_it_is(both, streams):
    """Meanwhile the outside knows the other one; the one that stays has nothing else to say by itself."""
    both.cut_off("first", "down")
    try:
        assert both.become("PRIMARY", "PRIMARY")
        survive(streams)
    finally:
        for stream in streams:
            stream.close()  # or what guests send would tell the outside as well
        both.cut_off("first", "up")
    assert both.become("PRIMARY", "BACKUP")
    assert becomes(lambda: ping(PUBLIC, OWN, wait=0.5), 1, WITHIN)


def test_guests_reach_neither_end_of_the_line(both):
    """Whatever a guest sends, as itself or in the name of the other end: VRRP or states."""
    target, peer = ENDS
    wire = Wire(router_namespace(IDS["first"]), "pair0")
    guest, own = Wire(both.guests["web"]), both.nics["web"]
    mark = b"planted-frame"
    for source, mac in ((own.address, own.mac), (peer.address, peer.mac), (peer.address, own.mac)):
        guest.send(ethernet(target.mac, mac, 0x0800, ipv4(source, target.address, 112, mark + b"\0")))
        guest.send(ethernet(target.mac, mac, 0x0800, udp(source, target.address, (3780, 3780), mark + b"\0")))
    assert not wire.heard(mark, 0.7)
    wire.close()
    guest.close()


def test_both_are_whole(both):
    for half in HOSTS:
        with inside(both.lab.host(HOSTS[half]).ns):
            checks = both.elements[half].check(both.spec_of(half))
        assert [one.name for one in checks if one.name == "redundancy" and one.success] == ["redundancy"]
