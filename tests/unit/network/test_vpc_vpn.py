"""VPNs of VPCs with real packets: people reach tiers, and two VPCs each other, as the tiers' ACL lists say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from manager.vpn_certificate import der_of, prove
from network.elements.virtual_router import VirtualRouter, VirtualRouterSettings
from network.types import GuestLeg, NetworkView, NicView, Peer, Policy, PolicyRule, RouterSpec, Traffic
from network.vpn import RemoteAccess, Tunnel, Vpn, VpnUser
from tests.unit.network.lab import ROUTERS, Lab, inside, ping, reaches, sh
from tests.unit.network.routers import tier, vpc_router
from tests.unit.network.test_router_rules import connected, serving
from tests.unit.network.vpn_sites import CLIENT, Ear, Person, at_home, becomes

END_V, END_W = "198.51.100.30", "198.51.100.40"
RANGE_V, RANGE_W = "10.0.0.0/16", "10.20.0.0/16"
PEOPLE = "10.9.0.0/24"
WEB, DB, FAR = "10.0.1.11", "10.0.2.11", "10.20.1.11"
PROOF = prove(END_V, "VPN of v")
OUT = PolicyRule("out", "egress", Traffic("all"))
OPEN = Policy("open", (OUT, PolicyRule("in", "ingress", Traffic("all"))))
WITHIN = 40.0


def takes(port: int, source: str) -> Policy:
    return Policy("some", (OUT, PolicyRule("1", "ingress", Traffic("tcp", port, port, sources=(source,)))))


@dataclass
class World:
    """VPC v with the tiers of web and db, and w with that of far; each guest is on another host than its router."""

    lab: Lab
    element: VirtualRouter
    specs: dict[str, RouterSpec]
    nics: dict[str, NicView]
    guests: dict[str, str] = field(default_factory=dict)

    def open(self, **acls: Policy) -> None:
        """Give tiers their ACL lists, by guest; those of others are open."""
        peers = tuple(Peer(f"host-{number}", f"192.0.2.{number}") for number in (1, 2, 3))
        views = []
        for number, (name, nic) in enumerate(self.nics.items(), 1):
            leg = next(leg for spec in self.specs.values() for leg in spec.legs if leg.network_id == f"net-{name}")
            views.append(NetworkView(leg.network_id, 2500 + number, 1, leg.cidr, leg.nic.address, 1458,
                                     (leg.nic, nic), peers, acl=acls.get(name, OPEN)))  # fmt: skip
        self.lab.apply(views)

    def give(self, vpc: str, vpn: Vpn | None) -> None:
        with inside(self.lab.hosts[2].ns):
            self.element.apply(replace(self.specs[vpc], vpn=vpn))

    def tunnel_is(self, vpc: str) -> str | None:
        return self.element.tunnels(ROUTERS["vpc" if vpc == "v" else "vpc2"]).get("s2s")


def leg_of(name: str, nic: NicView) -> GuestLeg:
    plain = tier(1, [nic])
    network = nic.address.rpartition(".")[0]
    own = replace(plain.nic, id=f"nic-leg-{name}", mac=nic.mac.replace(":05:", ":04:"), address=f"{network}.1")
    return replace(plain, network_id=f"net-{name}", nic=own, cidr=f"{network}.0/24")


@pytest.fixture(scope="module")
def world(lab) -> World:
    host = lab.hosts[2]
    sh("ip", "-n", host.ns, "link", "add", "br-public", "type", "bridge")
    sh("ip", "-n", host.ns, "link", "set", "br-public", "up")
    nics = {
        name: NicView(f"nic-{name}", f"02:00:00:00:05:{number:02x}", address, f"host-{1 + (name == 'db')}")
        for number, (name, address) in enumerate((("web", WEB), ("db", DB), ("far", FAR)), 1)
    }
    own = vpc_router(leg_of("web", nics["web"]), leg_of("db", nics["db"]))
    public = replace(own.public, address=END_W, mac="02:00:00:00:01:08")
    other = replace(vpc_router(leg_of("far", nics["far"])), id=ROUTERS["vpc2"], vpc_id="vpc-2", inside=RANGE_W,
                    public=public)  # fmt: skip
    element = VirtualRouter(VirtualRouterSettings(lab.dir / "routers"), host.switch)
    built = World(lab, element, {"v": own, "w": other}, nics)
    for name, nic in nics.items():
        built.guests[name] = lab.add_guest(f"s{name}", nic, nic.address.rpartition(".")[0] + ".1")
    built.give("v", None)
    built.give("w", None)
    built.open()
    for name, nic in nics.items():
        assert becomes(lambda ns=built.guests[name], to=nic.address: reaches(ns, to.rpartition(".")[0] + ".1"), True,
                       WITHIN), name  # fmt: skip
    return built


@pytest.fixture
def ear(world) -> Iterator[Ear]:
    one = Ear(world.lab.hosts[2].ns, "br-public")
    yield one
    one.close()


@pytest.fixture(scope="module")
def person(world) -> Iterator[Person]:
    one = at_home(world.lab, world.lab.hosts[2].ns)
    yield one
    one.daemon.end()


def opens(namespace: str, address: str, port: int) -> bool:
    client = connected(namespace, address, port)
    if client is not None:
        client.close()
    return client is not None


def at_last(namespace: str, address: str, port: int) -> bool:
    """Whether a connection is answered; the first packets by a cold tunnel may be lost."""
    return becomes(lambda: opens(namespace, address, port), True, WITHIN)


def test_people_reach_every_tier_as_its_acl_list_lets_them(world, person, ear):
    people = (VpnUser("ann", "ann-secret"),)
    access = RemoteAccess("access", END_V, "10.9.0.2", "10.9.0.9", (RANGE_V,), der_of(PROOF.certificate),
                          der_of(PROOF.private_key), people)  # fmt: skip
    web, db = world.guests["web"], world.guests["db"]
    world.give("v", Vpn(access))
    try:
        given = person.connect("ann", "ann-secret", PROOF.authority, end=END_V, inner=RANGE_V)
        assert given == "10.9.0.2"
        with serving(web, 80), serving(db, 80), serving(db, 81):
            for address in (WEB, DB):
                assert at_last(CLIENT, address, 80), address
            world.open(db=takes(80, PEOPLE))
            assert at_last(CLIENT, DB, 80)
            assert not opens(CLIENT, DB, 81), "its list allows the port 80 alone"
            assert not opens(web, DB, 80), "its list allows people alone"
            assert ping(CLIENT, DB, wait=0.5) == 0
            world.open(db=takes(80, "10.0.1.0/24"))
            assert at_last(web, DB, 80)
            assert not opens(CLIENT, DB, 80), "its list allows the other tier alone"
            assert at_last(CLIENT, WEB, 80), "the other tier's list is another"
        assert becomes(lambda: reaches(web, given), True, WITHIN), "guests reach people"
        assert ping(CLIENT, FAR, wait=0.5) == 0, "another VPC"
        assert ear.heard()["clear"] == 0
    finally:
        world.open()
        world.give("v", None)
    assert ping(CLIENT, WEB, wait=0.5) == 0


def test_two_vpcs_reach_each_other_as_the_acl_lists_behind_the_tunnel_say(world, ear):
    policy = "aes256-sha256;modp2048"
    there = Tunnel("s2s", END_V, END_W, (RANGE_V,), (RANGE_W,), "agreed", policy, policy)
    back = replace(there, address=END_W, peer=END_V, near=(RANGE_W,), far=(RANGE_V,), passive=True)
    web, db, far = (world.guests[name] for name in ("web", "db", "far"))
    world.give("w", Vpn(tunnels=(back,)))
    world.give("v", Vpn(tunnels=(there,)))
    try:
        assert becomes(lambda: (world.tunnel_is("v"), world.tunnel_is("w")), ("Connected", "Connected"), WITHIN)
        with serving(web, 80), serving(db, 80), serving(far, 80), serving(far, 81):
            for ns, address in ((web, FAR), (db, FAR), (far, WEB), (far, DB)):
                assert at_last(ns, address, 80), address
            world.open(db=takes(80, "10.0.1.0/24"), far=takes(80, "10.0.1.0/24"))
            assert at_last(web, FAR, 80)
            assert not opens(web, FAR, 81), "the list of the far tier allows the port 80 alone"
            assert not opens(db, FAR, 80), "and of one tier alone"
            assert not opens(far, DB, 80), "the list of db allows its neighbour tier alone"
            assert at_last(far, WEB, 80)
            world.open(web=Policy("in", OPEN.rules[1:]))
            assert at_last(far, WEB, 80)
            assert not opens(web, FAR, 80), "nothing may leave the tier of web"
        assert ear.heard()["clear"] == 0
    finally:
        world.open()
        world.give("v", None)
        world.give("w", None)
    assert ping(web, FAR, wait=0.5) == 0
