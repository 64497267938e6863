"""Devices cabled to a host by VLANs serve tenant networks on other hosts, with real packets and as an agent does it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from agents.contract import ApplyNetwork
from agents.host.host import Host
from agents.journal import Journal
from network.balancing import Balancer, HealthCheck, Member
from network.cables import Cable
from network.elements.devices import KINDS, Devices
from network.elements.simulator import MemoryRouter
from network.errors import DeviceRefusedError, SwitchRefusedError
from network.hardware import BalancedNetwork, Device, DevicePart
from network.names import cable_bridge, cable_ports
from network.probe import DeviceTrace
from network.reachability.values import Place
from network.types import Forwarding, NetworkView, NicView, Opening, Peer, StaticNat, Traffic
from tests.unit.network import netscaler_lab, srx_lab
from tests.unit.network.ears import Asked, Ears, mark_of
from tests.unit.network.lab import PREFIX, Lab, ethernet, inside, ping, reaches, sh, udp
from tests.unit.network.routers import OUTSIDE, router
from tests.unit.network.sites import PUBLIC
from tests.unit.network.test_router_reach import BEYOND, CASES, cases, judged
from tests.unit.network.test_router_rules import FIRST, SECOND, WEB, connected, serving, source_seen
from tests.unit.network.views import MACS, network, nic
from tests.unit.network.worlds import World, groups, policy
from tests.unit.network.worlds import router as random_rules

DHCP = 67
SRX, NETSCALER = f"{PREFIX}-srx", f"{PREFIX}-ns"
VLANS = {"a": 100, "b": 200}
HOME, BALANCED = "203.0.113", "198.51.100.41"


@dataclass
class Site:
    """Hosts 1 and 2 with guests of two tenants, host 3 with both devices, and a machine outside."""

    lab: Lab
    agent: Host
    devices: dict[str, Device]
    macs: dict[str, str]
    guests: dict[str, str] = field(default_factory=dict)
    generation: int = 0
    views: dict[str, NetworkView] = field(default_factory=dict)
    policies: dict[str, object] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What guests are held to, and by NIC the security groups that they are in."""

    def apply(self, tenant: str, *parts: DevicePart) -> None:
        """As the manager does: the view goes to all hosts, the parts to the one that has the devices."""
        self.generation += 1
        view = replace(self._view(tenant, parts), generation=self.generation)
        with inside(self.agent_ns):
            self.agent.hold((ApplyNetwork(view, devices=parts),))
        self.views[tenant] = view
        for host in self.lab.hosts[:2]:
            with inside(host.ns):
                host.switch.apply(list(self.views.values()))

    @property
    def agent_ns(self) -> str:
        return self.lab.hosts[2].ns

    def _view(self, tenant: str, parts: tuple[DevicePart, ...]) -> NetworkView:
        nics = [nic(tenant, number, f"host-{number}") for number in ("1", "2")]
        nics = [replace(one, groups=self.groups.get(one.id, ())) for one in nics]
        own = [
            NicView(
                part.nic_id, self.macs[part.device.id], "10.1.1.1" if part.router else "10.1.1.2", "host-3", "router"
            )
            for part in parts
        ]
        peers = tuple(Peer(host.id, host.address) for host in self.lab.hosts)
        return replace(network(tenant, 1000 + VLANS[tenant], [*nics, *own]), peers=peers, **self.policies)

    def firewall(self, tenant: str, **rules) -> DevicePart:
        spec = router(tenant, [nic(tenant, "1", "host-1")], vlan=VLANS[tenant], **rules)
        return DevicePart(self.devices["srx"], f"nic-{tenant}srx", "cable-srx", VLANS[tenant], router=spec)


@contextmanager
def cabled(lab: Lab, namespace: str, guest_port: str, public_port: str, number: int) -> Iterator[None]:
    """A namespace for a device: its guest port at host 3, its public port outside, and a way for the agent to it."""
    host, name = lab.hosts[2], namespace.rpartition("-")[2]
    lab.add_namespace(namespace)
    wires = (
        (f"cable-{name}", host.ns, guest_port, f"02:00:00:00:0{number}:01"),
        (f"home-{name}", host.ns, "fxp0", ""),
        (f"public-{name}", PUBLIC, public_port, ""),
    )
    for near, where, far, mac in wires:
        address = ["address", mac] if mac else []
        sh("ip", "-n", where, "link", "add", near, "type", "veth", "peer", "name", far, *address, "netns", namespace)
        for ns, end in ((where, near), (namespace, far)):
            sh("ip", "netns", "exec", ns, "ethtool", "-K", end, "tx", "off")
            sh("ip", "-n", ns, "link", "set", end, "addrgenmode", "none", "mtu", "1600", "up")
    sh("ip", "-n", host.ns, "address", "add", f"{HOME}.{number * 4 + 1}/30", "dev", f"home-{name}")
    sh("ip", "-n", namespace, "address", "add", f"{HOME}.{number * 4 + 2}/30", "dev", "fxp0")
    sh("ip", "-n", PUBLIC, "link", "set", f"public-{name}", "master", "public")
    yield


@pytest.fixture(scope="module")
def site(lab, tmp_path_factory):
    lab.add_namespace(PUBLIC)
    sh("ip", "-n", PUBLIC, "link", "add", "public", "type", "bridge")
    sh("ip", "-n", PUBLIC, "link", "set", "public", "up")
    sh("ip", "-n", PUBLIC, "address", "add", f"{OUTSIDE}/24", "dev", "public")
    home = tmp_path_factory.mktemp("agent")
    host = lab.hosts[2]
    agent = Host("host-3", Journal(home / "j.db"), host.switch, MemoryRouter(), None, None, Devices())
    with (
        cabled(lab, SRX, "ge-0-0-1", "ge-0-0-0.0", 1),
        cabled(lab, NETSCALER, "1-2", "public", 2),
        srx_lab.emulated(SRX, listen=f"{HOME}.6") as srx,
        netscaler_lab.emulated(NETSCALER, listen=f"{HOME}.10") as netscaler,
    ):
        with inside(host.ns):
            srx.load_base()
            with netscaler.conversation() as nitro:
                nitro.add("nsip", {"ipaddress": "198.51.100.3", "netmask": "255.255.255.0", "type": "SNIP"})
        one, other = srx.settings, netscaler.settings
        devices = {
            "srx": Device("srx", "srx", one.host, one.port, one.user, one.password, "ge-0/0/1", "ge-0/0/0.0",
                          "untrust"),
            "ns": Device("ns", "netscaler", other.host, other.port, other.user, other.password, "1/2",
                         host_key=other.fingerprint),
        }  # fmt: skip
        with inside(host.ns):
            macs = {name: agent.devices.inspect(device, f"cable-{name}").mac for name, device in devices.items()}
        built = Site(lab, agent, devices, macs)
        for tenant in VLANS:
            for number in ("1", "2"):
                guest = nic(tenant, number, f"host-{number}")
                built.guests[f"{tenant}{number}"] = lab.add_guest(f"{tenant}{number}", guest, "10.1.1.1")
            built.apply(tenant, built.firewall(tenant))
        assert reaches(built.guests["a1"], OUTSIDE)
        yield built


def test_facts_are_those_of_the_device(site):
    with inside(site.agent_ns):
        facts = site.agent.devices.inspect(site.devices["srx"], "cable-srx")
        assert (facts.mac, facts.name, facts.model) == ("02:00:00:00:01:01", "srx-1", "vsrx")
        assert site.agent.devices.inspect(site.devices["ns"], "cable-ns").mac == "02:00:00:00:02:01"
        for wrong, said in (
            ({"password": "x"}, "refuses the login"),
            ({"guest_port": "ge-0/0/7"}, "no interface ge-0/0/7 with vlan-tagging"),
            ({"public_zone": "dmz"}, "no security zone dmz"),
            ({"public_interface": "ge-0/0/5.0"}, "no interface ge-0/0/5.0 in its security zone untrust"),
        ):
            with pytest.raises(DeviceRefusedError, match=said):
                site.agent.devices.inspect(replace(site.devices["srx"], **wrong), "cable-srx")
        for cable, said in (("eth9", "no interface eth9"), ("home-srx", "has the address"), ("eth0", "other hosts")):
            with pytest.raises(SwitchRefusedError, match=said):
                site.agent.devices.inspect(site.devices["srx"], cable)
        with pytest.raises(SwitchRefusedError, match="MTU 1600; its network needs 9000"):
            site.agent.switch.plug_cable("nic-big", Cable("cable-srx", 300, 9000))


def test_guests_of_both_hosts_leave_by_the_device_and_tenants_stay_apart(site):
    site.apply("a", site.firewall("a"))
    site.apply("b", site.firewall("b"))
    with serving(PUBLIC, 9500) as outside:
        for guest in ("a1", "a2"):
            assert source_seen(outside, site.guests[guest], OUTSIDE, 9500) == "198.51.100.10"
        for guest in ("b1", "b2"):
            assert source_seen(outside, site.guests[guest], OUTSIDE, 9500) == "198.51.100.20"
    assert reaches(site.guests["a1"], "10.1.1.12")
    # The largest packet of a guest passes the cable with its tag.
    assert ping(site.guests["a1"], OUTSIDE, count=2, size=1458 - 28) == 2


def test_port_forwarding_and_static_nat_reach_guests(site):
    rules = {
        "addresses": (FIRST, SECOND),
        "forwardings": (Forwarding(FIRST, "tcp", 80, 80, "10.1.1.12", 8080),),
        "static_nats": (StaticNat(SECOND, "10.1.1.11"),),
        "openings": (Opening(FIRST, WEB), Opening(SECOND, Traffic("all"))),
    }
    site.apply("a", site.firewall("a", **rules))
    with serving(site.guests["a2"], 8080) as forwarded, serving(site.guests["a1"], 7000) as static:
        assert source_seen(forwarded, PUBLIC, FIRST, 80) == OUTSIDE
        assert source_seen(static, PUBLIC, SECOND, 7000) == OUTSIDE
    with serving(site.guests["b2"], 8080) as other:
        assert source_seen(other, PUBLIC, FIRST, 80) == ""
    site.apply("a", site.firewall("a"))
    with serving(site.guests["a2"], 8080) as forwarded:
        assert source_seen(forwarded, PUBLIC, FIRST, 80) == ""


def test_real_packets_pass_the_device_as_the_model_says(site):
    """PILEUS_REAL_CASES is how many questions are put."""
    chance, asked, passed = Random(21), 0, 0
    names = {f"nic-{guest}": ns for guest, ns in site.guests.items()}
    with Ears(names | {BEYOND: PUBLIC}, {BEYOND: "public"}) as ears:
        while asked < CASES // 2:
            one_round = cases(chance, World([furnished(chance, site, tenant) for tenant in VLANS]), 10000 + asked)
            passed += judged(ears, one_round)
            asked += len(one_round)
    assert asked / 10 < passed < asked
    site.policies, site.groups = {}, {}
    for tenant in VLANS:
        site.apply(tenant, site.firewall(tenant))


def furnished(chance: Random, site: Site, tenant: str) -> Place:
    """The tenant's network with random rules, on the device."""
    guests = [nic(tenant, number, f"host-{number}") for number in ("1", "2")]
    there = site.firewall(tenant)
    site.policies = policy(chance)
    site.groups |= {one.id: groups(chance, site.policies) for one in guests}
    rules = random_rules(chance, tenant, there.router.legs[0].nic, guests, is_open=chance.random() < 0.6)
    own = replace(there.router.legs[0].nic, id=there.nic_id, mac=site.macs["srx"])
    leg = replace(there.router.legs[0], nic=own, egress=rules.legs[0].egress, egress_open=rules.legs[0].egress_open)
    (link,) = json.loads(sh("ip", "-n", SRX, "-json", "link", "show", "ge-0-0-0.0"))
    more = {name: getattr(rules, name) for name in ("addresses", "openings", "forwardings", "static_nats")}
    public = replace(there.router.public, mac=link["address"])
    part = replace(there, router=replace(there.router, legs=(leg,), public=public, **more))
    site.apply(tenant, part)
    return Place(site.views[tenant], None, (part,))


def test_a_device_that_is_not_as_it_should_be_is_told(site):
    """By whom it was changed: an operator, or one who pulled the cable."""
    part = site.firewall("a")
    site.apply("a", part)
    database = f"--db=unix:{site.lab.hosts[2].dir}/db.sock"
    _, outer = cable_ports(part.nic_id)
    with inside(site.agent_ns):
        assert site.agent.devices.trace(part) == DeviceTrace()
        opened = replace(part.router, static_nats=(StaticNat(FIRST, "10.1.1.11"),), addresses=(FIRST,))
        assert "It lacks " in site.agent.devices.trace(replace(part, router=opened)).device
        KINDS["srx"].driver(part.device).apply(opened)
        assert "otherwise than wanted" in site.agent.devices.trace(part).device
        KINDS["srx"].driver(part.device).apply(part.router)
        assert site.agent.devices.trace(part) == DeviceTrace()
        silent = replace(part, device=replace(part.device, password="x"))
        assert "refuses the login" in site.agent.devices.trace(silent).silent
        for wrong, right, said in (
            (("set", "port", outer, "tag=7"), ("set", "port", outer, "tag=100"), "has the VLAN 7; 100 is wanted"),
            (("del-port", "cable-srx"), ("add-port", cable_bridge("cable-srx"), "cable-srx"), "no port cable-srx"),
        ):
            sh("ovs-vsctl", database, *wrong)
            try:
                assert said in site.agent.devices.trace(part).cable
            finally:
                sh("ovs-vsctl", database, *right)
        assert site.agent.devices.trace(part) == DeviceTrace()
    assert reaches(site.guests["a1"], OUTSIDE, within=20)


def test_frames_of_no_network_pass_the_cable_neither_way(site):
    """S-28: whatever is tagged otherwise, or is not what the device or the guest is."""
    for tenant in VLANS:
        site.apply(tenant, site.firewall(tenant))
    device, (one, other) = site.macs["srx"], (MACS["1"], MACS["2"])
    names = {f"nic-{guest}": ns for guest, ns in site.guests.items()} | {"srx": SRX, "cable": site.agent_ns}

    def sent(by: str, ends: tuple[str, str], address: str, number: int, vlan: int = 0, port: int = 9) -> Asked:
        payload = udp(address, "10.1.1.11", (port, port + (port == DHCP)), mark_of(number) + b"\0")
        return Asked(by, ethernet(*ends, 0x0800, payload, vlan=vlan))

    forged = [
        sent("srx", (one, device), "10.1.1.1", 1),  # without a tag
        sent("srx", (one, device), "10.1.1.1", 2, 300),  # of no network
        sent("srx", (one, "02:00:00:00:00:99"), "10.1.1.1", 3, 100),  # not the device's own address
        sent("srx", (one, other), "10.1.1.12", 4, 100),
        sent("srx", (one, device), "203.0.113.9", 5, 100, DHCP),  # a DHCP server behind the device
        sent("nic-a1", (device, one), "10.1.1.11", 6, 200),  # a guest's own tags: another tenant's, and its own
        sent("nic-a1", (device, one), "10.1.1.11", 7, 100),
        sent("nic-a1", (device, other), "10.1.1.12", 8),
        sent("nic-a1", (other, device), "10.1.1.1", 9),  # as the gateway
        sent("nic-a1", (device, device), "10.1.1.1", 10),
        sent("nic-a1", ("01:80:c2:00:00:00", one), "10.1.1.11", 11),
    ]
    with Ears(names, {"srx": "ge-0-0-1", "cable": "cable-srx"}) as ears:
        heard = [found - {"cable"} if one.sender == "srx" else found for one, found in
                 zip(forged, ears.put(forged), strict=True)]  # fmt: skip
        assert heard == [set()] * len(forged)
        # Each tenant's VLAN leads to its own guest of that address, and to nobody else.
        honest = [
            sent("srx", (one, device), "10.1.1.1", 20 + number, vlan) for number, vlan in enumerate(VLANS.values())
        ]
        for asked, tenant in zip(honest, VLANS, strict=True):
            asked.wanted = {f"nic-{tenant}1"}
        # An error that quotes the packet comes back to the device.
        assert [found - {"cable", "srx"} for found in ears.put(honest)] == [one.wanted for one in honest]


def test_switch_and_device_come_back_as_they_were(site):
    host = site.lab.hosts[2]
    host.kill("ovs-vswitchd")
    host.start_vswitchd()
    with inside(host.ns):
        site.agent.resume()
    assert reaches(site.guests["a1"], OUTSIDE, within=10)


def test_what_is_taken_away_leaves_nothing_behind(site):
    members = tuple(Member(n, f"10.1.1.1{n}") for n in "12")
    check = HealthCheck("", interval=1, timeout=1, unhealthy=2, healthy=1)
    web = Balancer("lb-web", BALANCED, 80, 8080, members=members, check=check)
    opened = (Opening(BALANCED, WEB),)
    balanced = BalancedNetwork("net-a", 7, "10.1.1.2", "10.1.1.0/24", (web,), opened)
    balancer = DevicePart(site.devices["ns"], "nic-ans", "cable-ns", 7, balanced=balanced)
    site.apply("a", site.firewall("a"), balancer)
    with serving(site.guests["a1"], 8080) as one, serving(site.guests["a2"], 8080) as other:
        seen, deadline = set(), time.monotonic() + 15
        # A member is asked for nothing until its first checks have passed.
        while seen != {one, other} and time.monotonic() < deadline:
            seen.add(heard(one, other))
        assert seen == {one, other}
    site.apply("a")
    assert ping(site.guests["a1"], OUTSIDE, wait=0.3) == 0
    assert reaches(site.guests["b1"], OUTSIDE)
    assert set(site.agent.switch.ports()) == {"nic-bsrx"}
    with inside(site.agent_ns):
        assert site.agent.switch.drift(site.agent.views()) == []
    bridges = sh("ovs-vsctl", f"--db=unix:{site.lab.hosts[2].dir}/db.sock", "list-br").split()
    assert (cable_bridge("cable-srx") in bridges, cable_bridge("cable-ns") in bridges) == (True, False)
    site.apply("b")
    bridges = sh("ovs-vsctl", f"--db=unix:{site.lab.hosts[2].dir}/db.sock", "list-br").split()
    assert bridges == ["br-int", "br-phy"]
    shown = [json.loads(sh("ip", "-n", ns, "-json", "link")) for ns in (SRX, NETSCALER)]
    names = {link["ifname"] for links in shown for link in links}
    assert not {name for name in names if "." in name} - {"ge-0-0-0.0"}
    assert not {name for name in names if name.startswith("vlan")}
    with inside(site.agent_ns):
        assert KINDS["srx"].driver(site.devices["srx"]).list() == []


def heard(*servers: socket.socket) -> socket.socket:
    """The server that answers at the balanced address, before long; each probe of the balancer is one connection."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        client = connected(PUBLIC, BALANCED, 80)
        if client is None:
            time.sleep(0.2)
            continue
        with closing(client):
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            for server in servers * 4:
                with suppress(TimeoutError), closing(accepted(server)) as taken:
                    if taken.recv(3) == b"GET":
                        return server
    raise AssertionError("Nobody answers at the balanced address.")


def accepted(server: socket.socket) -> socket.socket:
    server.settimeout(0.2)
    taken, _ = server.accept()
    taken.settimeout(0.2)
    return taken
