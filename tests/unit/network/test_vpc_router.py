"""A VPC's router with real packets: three tiers whose guests are on two hosts, beside a VPC with the same addresses."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest

from network import links
from network.balancing import Balancer, Member
from network.elements.virtual_router import VirtualRouter, VirtualRouterSettings
from network.names import router_guest_device, router_namespace
from network.types import (
    Forwarding,
    GuestLeg,
    NetworkView,
    NicView,
    Opening,
    Peer,
    Policy,
    PolicyRule,
    PrivateLeg,
    Route,
    RouterSpec,
    StaticNat,
    Traffic,
)
from tests.unit.network.lab import PREFIX, ROUTERS, inside, ping, reaches, sh
from tests.unit.network.routers import OUTSIDE, tier, vpc_router
from tests.unit.network.sites import CLIENT
from tests.unit.network.test_balancer import web
from tests.unit.network.test_router_rules import connected, flows, serving, source_seen

PUBLIC = f"{PREFIX}-vpcout"
PLACES = {"web": (1, "host-1"), "app": (2, "host-1"), "app2": (2, "host-2"), "db": (3, "host-2")}
FIRST, SECOND = "198.51.100.31", "198.51.100.32"
ALL_OUT = PolicyRule("out", "egress", Traffic("all"))
OPEN = Policy("open", (ALL_OUT, PolicyRule("in", "ingress", Traffic("all"))))
DENY = Policy("deny", ())


def address_of(guest: str) -> str:
    number = PLACES[guest][0]
    return f"10.0.{number}.{11 + (guest == 'app2')}"


@dataclass
class Shop:
    """Two VPCs, `v` and `w`; guests by name, those of the second with a w before it."""

    lab: object
    element: VirtualRouter
    guests: dict[str, str]
    nics: dict[str, list[NicView]]
    inside: tuple[str, ...] = ()
    """Further addresses of the first VPC's router in tier 2."""

    def legs(self, vpc: str = "v", **more) -> list[GuestLeg]:
        found = []
        for number in (1, 2, 3):
            mine = [one for one in self.nics[vpc] if one.address.startswith(f"10.0.{number}.")]
            leg = tier(number, mine, **more)
            nic = replace(
                leg.nic, id=f"nic-{vpc}-tier-{number}", mac=leg.nic.mac.replace(":02:0", f":{ord(vpc):02x}:0")
            )
            if (vpc, number) == ("v", 2):
                nic = replace(nic, further=self.inside)
            found.append(replace(leg, network_id=f"net-{vpc}-{number}", nic=nic))
        return found

    def spec(self, *legs: GuestLeg, **more) -> RouterSpec:
        return vpc_router(*(legs or self.legs()), **{"addresses": (FIRST, SECOND), **more})

    def views(self, vpc: str = "v", acls: dict[int, Policy] | None = None) -> list[NetworkView]:
        peers = tuple(Peer(f"host-{number}", f"192.0.2.{number}") for number in (1, 2, 3))
        found = []
        for number, leg in enumerate(self.legs(vpc), 1):
            nics = (leg.nic, *(one for one in self.nics[vpc] if one.address.startswith(f"10.0.{number}.")))
            acl = (acls or {}).get(number, OPEN)
            found.append(NetworkView(leg.network_id, 2000 + 10 * ord(vpc) + number, 1, leg.cidr, leg.nic.address, 1458,
                                     nics, peers, acl=acl))  # fmt: skip
        return found

    def apply(self, spec: RouterSpec, acls: dict[int, Policy] | None = None) -> None:
        with inside(self.lab.hosts[2].ns):
            self.element.apply(spec)
        for number, one in enumerate(self.nics["v"]):
            behind = tuple(route.cidr for route in spec.routes if route.next_hop == one.address)
            self.nics["v"][number] = replace(one, behind=behind)
        self.lab.apply([*self.views(acls=acls), *self.views("w")])

    def state(self, router: str = "vpc") -> str:
        with inside(self.lab.hosts[2].ns):
            return self.element.state(ROUTERS[router])


@pytest.fixture(scope="module")
def shop(lab) -> Shop:
    host = lab.hosts[2]
    sh("ip", "-n", host.ns, "link", "add", "br-public", "type", "bridge")
    sh("ip", "-n", host.ns, "link", "set", "br-public", "up")
    lab.add_namespace(PUBLIC)
    sh("ip", "-n", host.ns, "link", "add", "public", "type", "veth", "peer", "name", "eth0", "netns", PUBLIC)
    sh("ip", "-n", host.ns, "link", "set", "public", "master", "br-public", "up")
    sh("ip", "-n", PUBLIC, "link", "set", "eth0", "up")
    sh("ip", "-n", PUBLIC, "address", "add", f"{OUTSIDE}/24", "dev", "eth0")
    element = VirtualRouter(VirtualRouterSettings(lab.dir / "routers"), host.switch)
    nics: dict[str, list[NicView]] = {"v": [], "w": []}
    for vpc, names in (("v", list(PLACES)), ("w", ["web", "db"])):
        for place, name in enumerate(names, 1):
            mac = f"02:00:00:01:{ord(vpc):02x}:{place:02x}"
            nics[vpc].append(NicView(f"nic-{vpc}-{name}", mac, address_of(name), PLACES[name][1]))
    built = Shop(lab, element, {}, nics)
    for held in nics.values():
        for one in held:
            name = one.id.removeprefix("nic-").replace("v-", "").replace("w-", "w")
            gateway = one.address.rpartition(".")[0] + ".1"
            built.guests[name] = lab.add_guest(f"v{name}", one, gateway)
    other = vpc_router(*built.legs("w"), id=ROUTERS["vpc2"], vpc_id="vpc-2")
    public = replace(other.public, address="198.51.100.40", mac="02:00:00:00:01:08")
    built.apply(built.spec())
    with inside(host.ns):
        element.apply(replace(other, public=public))
    for vpc, held in nics.items():
        for one in held:
            ns = built.guests[one.id.removeprefix("nic-").replace("v-", "").replace("w-", "w")]
            assert reaches(ns, one.address.rpartition(".")[0] + ".1"), f"{one.id} of {vpc}"
    return built


@pytest.fixture
def as_it_was(shop):
    shop.apply(shop.spec())


def up(ns: str, guest: str, port: int) -> bool:
    """Whether a TCP connection from the namespace to the guest's port is answered."""
    client = connected(ns, address_of(guest), port)
    if client is None:
        return False
    client.close()
    return True


def test_each_tier_has_dhcp_names_and_metadata_of_its_own(shop, as_it_was):
    script = shop.lab.dir / "client"
    script.write_text(CLIENT)
    script.chmod(0o755)
    line = ("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-s", str(script), "-t", "4", "-T", "2", "-O", "mtu",
            "-O", "hostname", "-O", "domain")  # fmt: skip
    for guest, (number, _) in PLACES.items():
        ns, gateway = shop.guests[guest], f"10.0.{number}.1"
        said = sh("ip", "netns", "exec", ns, *line, check=False)
        assert f"ip={address_of(guest)} mask=24 router={gateway} dns={gateway} mtu=1458" in said
        assert f"domain=vpc.example hostname=v-{guest}" in said
        assert "10.0.3.11" in sh("ip", "netns", "exec", ns, "busybox", "nslookup", "v-db.vpc.example", gateway,
                             check=False)  # fmt: skip
        own = sh("ip", "netns", "exec", ns, "busybox", "nslookup", "data-server.vpc.example", gateway,
                 check=False)  # fmt: skip
        assert own.count("10.0.") == own.count(gateway)
        told = sh(
            "ip", "netns", "exec", ns, "curl", "-s", "-m", "5", "http://169.254.169.254/latest/meta-data/local-ipv4"
        )
        assert told == address_of(guest)


def test_tiers_open_to_one_another_what_their_acl_lists_say_and_no_more(shop, as_it_was):
    web, app, db = (shop.guests[name] for name in ("web", "app", "db"))
    to_app = Policy("app", (ALL_OUT, PolicyRule("1", "ingress", Traffic("tcp", 80, 80, sources=("10.0.1.0/24",)))))
    to_db = Policy("db", (PolicyRule("1", "ingress", Traffic("tcp", 80, 80, sources=("10.0.2.0/24",))),))
    with serving(app, 80), serving(db, 80), serving(db, 81), serving(shop.guests["app2"], 80):
        assert up(web, "db", 80)
        shop.apply(shop.spec(), {2: to_app, 3: to_db})
        assert up(web, "app", 80)
        assert up(web, "app2", 80)
        assert up(app, "db", 80)
        assert not up(web, "db", 80)
        assert not up(app, "db", 81)
        assert not up(db, "app", 80)
        assert not reaches(web, "10.0.2.11", within=1)
        assert reaches(app, "10.0.2.12"), "inside a tier all is allowed"
        shop.apply(shop.spec(), {2: DENY, 3: to_db})
        assert not up(web, "app", 80)
        assert not up(app, "db", 80)


def test_a_closed_leg_lets_nothing_in_that_its_guests_did_not_open(shop, as_it_was):
    web, app, db = (shop.guests[name] for name in ("web", "app", "db"))
    first, second, third = shop.legs()
    forwardings = (Forwarding(FIRST, "tcp", 80, 80, "10.0.3.11", 80),)
    opened = {"forwardings": forwardings, "openings": (Opening(FIRST, Traffic("tcp", 80, 80)),)}
    with serving(db, 80) as server, serving(app, 80):
        shop.apply(shop.spec(**opened))
        assert source_seen(server, PUBLIC, FIRST, 80) == OUTSIDE
        shop.apply(shop.spec(first, second, replace(third, closed=True), **opened))
        assert source_seen(server, PUBLIC, FIRST, 80) == ""
        assert not up(web, "db", 80)
        assert up(db, "app", 80)
        assert reaches(db, OUTSIDE)


def test_guests_leave_with_the_vpcs_address_and_its_own_range_never_does(shop, as_it_was):
    with serving(PUBLIC, 7000) as server:
        for guest in ("web", "app2", "db"):
            assert source_seen(server, shop.guests[guest], OUTSIDE, 7000) == "198.51.100.30"
        assert source_seen(server, shop.guests["wdb"], OUTSIDE, 7000) == "198.51.100.40"
    sh("ip", "-n", PUBLIC, "address", "add", "10.0.9.9/32", "dev", "lo")
    assert ping(shop.guests["web"], "10.0.9.9", wait=0.5) == 0
    sh("ip", "-n", PUBLIC, "address", "del", "10.0.9.9/32", "dev", "lo")
    sh("ip", "-n", PUBLIC, "route", "add", "10.0.0.0/16", "via", "198.51.100.30")
    assert ping(PUBLIC, "10.0.1.11", wait=0.5) == 0
    sh("ip", "-n", PUBLIC, "route", "del", "10.0.0.0/16")


def test_public_addresses_lead_into_any_tier(shop, as_it_was):
    rules = {
        "forwardings": (Forwarding(FIRST, "tcp", 80, 80, "10.0.1.11", 8080),),
        "static_nats": (StaticNat(SECOND, "10.0.3.11"),),
        "openings": (Opening(FIRST, Traffic("tcp", 80, 80)), Opening(SECOND, Traffic("all"))),
    }
    shop.apply(shop.spec(**rules))
    with serving(shop.guests["web"], 8080) as web, serving(shop.guests["db"], 22) as db:
        assert source_seen(web, PUBLIC, FIRST, 80) == OUTSIDE
        assert source_seen(db, PUBLIC, SECOND, 22) == OUTSIDE
        assert source_seen(web, shop.guests["app"], FIRST, 80) == "10.0.2.11"
    with serving(PUBLIC, 7001) as server:
        assert source_seen(server, shop.guests["db"], OUTSIDE, 7001) == SECOND


def test_a_public_address_is_balanced_over_guests_of_a_tier(shop, as_it_was):
    members = tuple(Member(f"member-{number}", f"10.0.2.1{number}") for number in (1, 2))
    one = Balancer("balancer-1", FIRST, 80, 8080, members=members, sources=("198.51.100.0/24",))
    with web(shop.guests["app"], "app"), web(shop.guests["app2"], "app2"):
        shop.apply(shop.spec(balancers=(one,), openings=(Opening(FIRST, Traffic("tcp", 80, 80)),)), {2: DENY})
        assert sorted(asked(PUBLIC, FIRST) for _ in range(4)) == ["app", "app", "app2", "app2"]
        assert asked(shop.guests["db"], FIRST) == "", "for its sources alone"
        assert asked(PUBLIC, SECOND) == ""


def test_a_balancer_inside_is_for_its_tier_and_for_others_as_its_list_says(shop, as_it_was):
    members = tuple(Member(f"member-{number}", f"10.0.2.1{number}") for number in (1, 2))
    one = Balancer("balancer-2", "10.0.2.100", 80, 8080, members=members)
    shop.inside = ("10.0.2.100",)
    try:
        first, second, third = shop.legs()
        with web(shop.guests["app"], "app"), web(shop.guests["app2"], "app2"):
            shop.apply(shop.spec(first, replace(second, acl=OPEN), third, balancers=(one,)))
            for guest in ("app", "app2", "web"):
                assert sorted(asked(shop.guests[guest], "10.0.2.100") for _ in range(2)) == ["app", "app2"], guest
            assert ping(shop.guests["web"], "10.0.2.11"), "the tier itself goes on"
            sh("ip", "-n", PUBLIC, "route", "add", "10.0.2.100", "via", "198.51.100.30")
            assert asked(PUBLIC, "10.0.2.100") == "", "nobody outside"
            sh("ip", "-n", PUBLIC, "route", "del", "10.0.2.100")
            assert asked(shop.guests["wweb"], "10.0.2.100") == "", "nor in another VPC"
            from_db = Policy("db", (PolicyRule("1", "ingress", Traffic("tcp", 80, 80, sources=("10.0.3.0/24",))),))
            shop.apply(shop.spec(first, replace(second, acl=from_db), third, balancers=(one,)), {2: from_db})
            assert asked(shop.guests["web"], "10.0.2.100") == ""
            assert asked(shop.guests["db"], "10.0.2.100") in ("app", "app2")
            assert asked(shop.guests["app"], "10.0.2.100") in ("app", "app2")
    finally:
        shop.inside = ()


def asked(ns: str, address: str) -> str:
    """The name of the guest that answers a request at the address; "" for nobody."""
    return sh("ip", "netns", "exec", ns, "curl", "-s", "-m", "2", f"http://{address}/", check=False).partition(" ")[0]


def test_vpcs_with_the_same_addresses_do_not_meet(shop, as_it_was):
    with serving(shop.guests["db"], 80) as ours, serving(shop.guests["wdb"], 80) as theirs:
        for guest, mine, other in (("web", ours, theirs), ("wweb", theirs, ours)):
            assert source_seen(mine, shop.guests[guest], "10.0.3.11", 80) == "10.0.1.11"
            other.settimeout(0.3)
            with pytest.raises(TimeoutError):
                other.accept()
    assert ping(shop.guests["wweb"], "10.0.2.11", wait=0.5) == 0


def test_a_leg_comes_and_goes_while_connections_of_the_others_live_on(shop, as_it_was):
    first, second, third = shop.legs()
    namespace = router_namespace(ROUTERS["vpc"])
    with serving(shop.guests["app"], 80) as server:
        client = connected(shop.guests["web"], "10.0.2.11", 80)
        accepted, _ = server.accept()
        shop.apply(shop.spec(first, second))
        assert flows(client, accepted)
        assert not reaches(shop.guests["web"], "10.0.3.11", within=1)
        with inside(shop.lab.hosts[2].ns):
            assert router_guest_device(third.nic.id) not in links.links()
        assert shop.state() == "running"
        shop.apply(shop.spec(first, second, third))
        assert reaches(shop.guests["web"], "10.0.3.11")
        assert flows(client, accepted)
        client.close()
        accepted.close()
    assert len([name for name in links.links(namespace) if name.startswith("tr-")]) == 3


def test_a_static_route_leads_to_what_is_behind_a_guest_and_back(shop, as_it_was):
    """The guest app2 on another host holds 10.9.0.5; web is in another tier, app in its own."""
    web, app, hop = (shop.guests[name] for name in ("web", "app", "app2"))
    sh("ip", "-n", hop, "address", "add", "10.9.0.5/32", "dev", "lo")
    routed = shop.spec(routes=(Route("10.9.0.0/24", "10.0.2.12"),))
    with serving(hop, 9000) as server:
        assert source_seen(server, web, "10.9.0.5", 9000) == ""
        shop.apply(routed)
        assert source_seen(server, web, "10.9.0.5", 9000) == "10.0.1.11"
        client = connected(app, "10.9.0.5", 9000)
        accepted, _ = server.accept()
        assert flows(accepted, client)
        client.close()
        accepted.close()
        assert ping(shop.guests["wweb"], "10.9.0.5", wait=0.5) == 0, "another VPC has no such route"
        line = ("ip", "netns", "exec", hop, "ping", "-n", "-q", "-c", "1", "-W", "1", "-I")
        assert " 0% packet loss" in sh(*line, "10.9.0.5", "10.0.1.11", check=False)
        shop.apply(routed, {1: DENY})
        assert " 0% packet loss" not in sh(*line, "10.9.0.5", "10.0.1.11", check=False), "the ACL list of the tier"
        shop.apply(routed)
        namespace = router_namespace(ROUTERS["vpc"])
        sh("ip", "-n", namespace, "route", "flush", "proto", "static")
        assert source_seen(server, web, "10.9.0.5", 9000) == ""
        shop.apply(routed)
        assert source_seen(server, web, "10.9.0.5", 9000) == "10.0.1.11"
        shop.apply(shop.spec())
        assert source_seen(server, web, "10.9.0.5", 9000) == ""
        assert " 0% packet loss" not in sh(*line, "10.9.0.5", "10.0.1.11", check=False), "its source is forged again"
    sh("ip", "-n", hop, "address", "del", "10.9.0.5/32", "dev", "lo")


@pytest.fixture
def partner(shop):
    """A namespace at 172.16.0.1 in VLAN 100 of the underlay, behind the first host, that has 10.77.0.5 as well."""
    ns, switch, host = f"{PREFIX}-partner", shop.lab.hosts[0].switch, shop.lab.hosts[0]
    shop.lab.add_namespace(ns)
    sh("ip", "link", "add", "partner", "netns", host.ns, "type", "veth", "peer", "name", "eth0", "netns", ns)
    for where, device in ((host.ns, "partner"), (ns, "eth0")):
        sh("ip", "netns", "exec", where, "ethtool", "-K", device, "tx", "off")
    with inside(host.ns):
        switch.plug_tagged("partner", "br-phy", 100)
    sh("ip", "-n", ns, "link", "set", "eth0", "up")
    for device, address in (("eth0", "172.16.0.1/24"), ("lo", "10.77.0.5/32")):
        sh("ip", "-n", ns, "address", "add", address, "dev", device)
    sh("ip", "-n", ns, "route", "add", "10.0.0.0/16", "via", "172.16.0.2")
    yield ns
    with inside(host.ns):
        switch.unplug_tagged("partner")


def test_a_private_gateway_leads_into_its_vlan_as_its_list_says(shop, as_it_was, partner):
    web, db = shop.guests["web"], shop.guests["db"]
    leg = PrivateLeg("private-1", "172.16.0.2", 24, "172.16.0.1", "02:00:00:00:03:01", 100, OPEN)
    way = Route("10.77.0.0/16", "172.16.0.1")
    with serving(partner, 7000) as far, serving(db, 80) as near:
        assert source_seen(far, web, "10.77.0.5", 7000) == ""
        shop.apply(shop.spec(private_legs=(leg,), routes=(way,)))
        assert reaches(partner, "172.16.0.2")
        assert source_seen(far, web, "10.77.0.5", 7000) == "10.0.1.11"
        assert source_seen(near, partner, "10.0.3.11", 80) == "172.16.0.1"
        shop.apply(shop.spec(private_legs=(replace(leg, acl=Policy("out", (ALL_OUT,))),), routes=(way,)))
        assert source_seen(near, partner, "10.0.3.11", 80) == ""
        client = connected(web, "10.77.0.5", 7000)
        accepted, _ = far.accept()
        assert flows(client, accepted)
        shop.apply(shop.spec(private_legs=(replace(leg, acl=DENY),), routes=(way,)))
        assert not flows(client, accepted), "a connection that the list does not allow any more ends"
        client.close()
        accepted.close()
        shop.apply(shop.spec(private_legs=(replace(leg, source_nat=True),), routes=(way,)))
        assert source_seen(far, web, "10.77.0.5", 7000) == "172.16.0.2"
        assert source_seen(near, partner, "10.0.3.11", 80) == "172.16.0.1"
        sh("ip", "-n", partner, "address", "add", "10.0.1.99/32", "dev", "lo")
        forged = ("ip", "netns", "exec", partner, "ping", "-c", "1", "-W", "1", "-I", "10.0.1.99", "10.0.3.11")
        shop.apply(shop.spec(private_legs=(leg,), routes=(way,)))
        assert "1 received" not in sh(*forged, check=False)
        shop.apply(shop.spec(private_legs=(replace(leg, vlan=101),), routes=(way,)))
        assert not reaches(partner, "172.16.0.2", within=1), "another VLAN"
        shop.apply(shop.spec())
        assert source_seen(far, web, "10.77.0.5", 7000) == ""
    with inside(shop.lab.hosts[2].ns):
        assert router_guest_device(leg.id) not in links.links()
        assert router_guest_device(leg.id) not in shop.lab.hosts[2].switch._vsctl("list-ports", "br-phy")


def test_without_a_leg_it_runs_without_daemons_and_removal_leaves_nothing(shop):
    with inside(shop.lab.hosts[2].ns):
        shop.element.apply(vpc_router(addresses=(FIRST,)))
    assert sh("ip", "netns", "pids", router_namespace(ROUTERS["vpc"])).split() == []
    assert shop.state() == "running"
    assert ping(PUBLIC, "198.51.100.30", wait=0.5) == 0
    with inside(shop.lab.hosts[2].ns):
        shop.element.apply(shop.spec())
        assert shop.state() == "running"
        shop.element.remove(ROUTERS["vpc"])
        left = links.links()
    assert not [leg for leg in shop.legs() if router_guest_device(leg.nic.id) in left]
    assert router_namespace(ROUTERS["vpc"]) not in sh("ip", "netns", "list")
    assert shop.element.list() == [ROUTERS["vpc2"]]
    assert json.loads(sh("ip", "-n", router_namespace(ROUTERS["vpc2"]), "-j", "link"))
