"""The fabric as an executable specification: three hosts, real packets, two tenants with the same addresses."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import time
from dataclasses import dataclass, replace

import pytest

from network.errors import SwitchRefusedError, SwitchUnreachableError
from network.names import tap_name
from network.types import NetworkView
from tests.unit.network import lab as lab_module
from tests.unit.network.lab import Lab, Wire, arp, ethernet, inside, ipv4, ping, reaches, sh, udp
from tests.unit.network.views import MACS, network, nic

ALL = "ff:ff:ff:ff:ff:ff"
A1, A2, A3, GATEWAY = (MACS[name] for name in ("1", "2", "3", "router"))
NOWHERE = "0.0.0.0"  # noqa: S104  (a source address, nothing binds to it)
FOREIGN = "02:00:00:00:00:99"


@dataclass
class Fabric:
    lab: Lab
    views: list[NetworkView]
    guests: dict[str, str]

    def apply(self, *views: NetworkView) -> None:
        self.lab.apply(list(views) or self.views)

    def changed(self, **options) -> list[NetworkView]:
        return [replace(self.views[0], **options), *self.views[1:]]


@pytest.fixture(scope="module")
def fabric(lab):
    views = []
    for tenant, key in (("a", 1001), ("b", 1002)):
        nics = [nic(tenant, "1", "host-1"), nic(tenant, "2", "host-2"), nic(tenant, "3", "host-1")]
        views.append(network(tenant, key, [*nics, nic(tenant, "router", "host-3", "router")]))
    guests = {one.id[4:]: lab.add_guest(one.id[4:], one) for view in views for one in view.nics}
    lab.apply(views)
    assert reaches(guests["a1"], "10.1.1.12")
    return Fabric(lab, views, guests)


@pytest.fixture(autouse=True)
def as_it_was(fabric):
    yield
    fabric.apply()


def deliver(fabric: Fabric, sender: str, frames: dict[str, bytes]) -> dict[str, set[str]]:
    """Which guests hear each frame. A frame holds its own name; a last one that is allowed tells that all went by."""
    wires = {name: Wire(ns) for name, ns in fabric.guests.items()}
    try:
        for frame in frames.values():
            wires[sender].send(frame)
        for target, address in ((A2, "10.1.1.12"), (A3, "10.1.1.13"), (GATEWAY, "10.1.1.1")):
            wires[sender].send(ethernet(target, A1, 0x0800, udp("10.1.1.11", address, (9, 9), b"the last one")))
        heard = {
            name: _frames(wire, b"the last one") for name, wire in wires.items() if name in ("a2", "a3", "arouter")
        }
        for name, wire in wires.items():
            heard[name] = heard.get(name, []) + _frames(wire, b"", 0.15)
    finally:
        for wire in wires.values():
            wire.close()
    assert all(any(b"the last one" in frame for frame in heard[name]) for name in ("a2", "a3", "arouter"))
    return {
        name: {
            listener
            for listener, frames in heard.items()
            if listener != sender and any(name.encode() in f for f in frames)
        }
        for name in frames
    }


def _frames(wire: Wire, last: bytes, within: float = 3.0) -> list[bytes]:
    """Frames that arrive until one holds `last`."""
    found, deadline = [], time.monotonic() + within
    while (left := deadline - time.monotonic()) > 0:
        wire.socket.settimeout(left)
        try:
            frame, (_, _, kind, _, _) = wire.socket.recvfrom(65535)
        except TimeoutError:
            break
        if kind != socket.PACKET_OUTGOING:
            found.append(frame)
            if last and last in frame:
                break
    return found


def datagram(
    mark: bytes, target: str = "10.1.1.12", source: str = "10.1.1.11", ports: tuple[int, int] = (9, 9)
) -> bytes:
    return udp(source, target, ports, mark)


def forged() -> dict[str, bytes]:
    """What a1 must not get through to anybody; each frame holds its name."""
    advertisement = bytes.fromhex(
        "60000000 00103aff fe800000000000000000000000000001 ff020000000000000000000000000001 86000000"
    )
    inner = ethernet(A2, A1, 0x0800, datagram(b"gre-to-host"))
    gre = struct.pack("!HHI", 0x2000, 0x6558, 1002) + inner
    return {
        "spoofed-mac": ethernet(A2, FOREIGN, 0x0800, datagram(b"spoofed-mac")),
        "mac-of-neighbour": ethernet(A2, A3, 0x0800, datagram(b"mac-of-neighbour")),
        "spoofed-ip": ethernet(A2, A1, 0x0800, datagram(b"spoofed-ip", source="10.1.1.13")),
        "ip-of-gateway": ethernet(A2, A1, 0x0800, datagram(b"ip-of-gateway", source="10.1.1.1")),
        "gratuitous-arp": ethernet(ALL, A1, 0x0806, arp(2, A1, "10.1.1.1", ALL, "10.1.1.1") + b"gratuitous-arp"),
        "arp-reply": ethernet(A2, A1, 0x0806, arp(2, A1, "10.1.1.13", A2, "10.1.1.12") + b"arp-reply"),
        "own-arp-reply": ethernet(A2, A1, 0x0806, arp(2, A1, "10.1.1.11", A2, "10.1.1.12") + b"own-arp-reply"),
        "rogue-dhcp": ethernet(ALL, A1, 0x0800, udp("10.1.1.11", "255.255.255.255", (67, 68), b"rogue-dhcp")),
        "rogue-dhcp-unicast": ethernet(A2, A1, 0x0800, datagram(b"rogue-dhcp-unicast", ports=(67, 68))),
        "router-advertisement": ethernet("33:33:00:00:00:01", A1, 0x86DD, advertisement + b"router-advertisement"),
        "ipv6": ethernet(A2, A1, 0x86DD, advertisement + b"ipv6"),
        "vlan-tag": ethernet(A2, A1, 0x0800, datagram(b"vlan-tag"), vlan=7),
        "vlan-priority-tag": ethernet(A2, A1, 0x0800, datagram(b"vlan-priority-tag"), vlan=0x2000),
        "ethertype": ethernet(A2, A1, 0x88B5, b"ethertype" + b"\0" * 50),
        "lldp": ethernet("01:80:c2:00:00:0e", A1, 0x88CC, b"lldp" + b"\0" * 50),
        "spanning-tree": ethernet("01:80:c2:00:00:00", A1, 0x0027, b"\x42\x42\3spanning-tree" + b"\0" * 30),
        "broadcast": ethernet(ALL, A1, 0x0800, datagram(b"broadcast", target="10.1.1.255")),
        "multicast": ethernet("01:00:5e:00:00:05", A1, 0x0800, datagram(b"multicast", target="224.0.0.5")),
        "unknown-mac": ethernet(FOREIGN, A1, 0x0800, datagram(b"unknown-mac")),
        "gre-to-host": ethernet(FOREIGN, A1, 0x0800, ipv4("10.1.1.11", "192.0.2.2", 47, gre)),
    }


def test_guests_of_one_tenant_reach_each_other_on_one_host_and_across(fabric):
    assert reaches(fabric.guests["a1"], "10.1.1.12")
    assert reaches(fabric.guests["a1"], "10.1.1.13")
    assert reaches(fabric.guests["b1"], "10.1.1.12")
    assert reaches(fabric.guests["a2"], "10.1.1.1")


def test_each_tenant_reaches_its_own_although_all_addresses_are_the_same(fabric):
    for sender, own in (("a1", "a2"), ("b1", "b2")):
        mark = f"from {sender}".encode()
        wires = {name: Wire(ns) for name, ns in fabric.guests.items()}
        wires[sender].send(ethernet(A2, A1, 0x0800, datagram(mark)))
        assert wires[own].heard(mark, 2)
        assert not [name for name, wire in wires.items() if name not in (sender, own) and wire.heard(mark, 0.1)]
        for wire in wires.values():
            wire.close()


def test_the_underlay_carries_gre_with_the_tenants_key(fabric):
    port = f"{lab_module.PREFIX}u2"
    for sender, key in (("a1", 1001), ("b1", 1002)):
        underlay, guest = Wire(fabric.lab.underlay, port), Wire(fabric.guests[sender])
        guest.send(ethernet(A2, A1, 0x0800, datagram(b"look inside")))
        frame = next(frame for frame in _frames(underlay, b"look inside") if b"look inside" in frame)
        assert frame[12:14] == b"\x08\x00"
        assert frame[14 + 9] == 47
        assert struct.unpack("!HHI", frame[34:42]) == (0x2000, 0x6558, key)
        underlay.close()
        guest.close()


def test_forged_frames_reach_nobody(fabric):
    heard = deliver(fabric, "a1", forged())
    assert {name: listeners for name, listeners in heard.items() if listeners} == {}


def test_honest_frames_reach_their_target_alone(fabric):
    frames = {
        "to-neighbour": ethernet(A3, A1, 0x0800, datagram(b"to-neighbour", target="10.1.1.13")),
        "to-other-host": ethernet(A2, A1, 0x0800, datagram(b"to-other-host")),
        "to-outside": ethernet(GATEWAY, A1, 0x0800, datagram(b"to-outside", target="203.0.113.9")),
        "to-metadata": ethernet(GATEWAY, A1, 0x0800, datagram(b"to-metadata", target="169.254.169.254")),
        "dhcp-request": ethernet(ALL, A1, 0x0800, udp(NOWHERE, "255.255.255.255", (68, 67), b"dhcp-request")),
        "gre-inside": ethernet(A2, A1, 0x0800, ipv4("10.1.1.11", "10.1.1.12", 47, b"gre-inside")),
    }
    heard = deliver(fabric, "a1", frames)
    assert heard == {
        "to-neighbour": {"a3"},
        "to-other-host": {"a2"},
        "to-outside": {"arouter"},
        "to-metadata": {"arouter"},
        "dhcp-request": {"arouter"},
        "gre-inside": {"a2"},
    }


def test_a_hole_is_seen(fabric):
    """The check of forged frames can fail: with one rule too many it says who heard what."""
    host = fabric.lab.hosts[0]
    number = host.switch.ports()["nic-a1"].ofport
    host.ofctl("add-flow", f"table=5,priority=200,in_port={number},actions=goto_table:20")
    heard = deliver(fabric, "a1", forged())
    with inside(host.ns):
        host.switch.apply(fabric.views, whole=True)
    assert heard["spoofed-ip"] == {"a2"}
    assert heard["spoofed-mac"] == {"a2"}
    assert deliver(fabric, "a1", forged())["spoofed-ip"] == set()


def test_a_router_sends_from_any_address_but_only_as_itself(fabric):
    wires = {name: Wire(ns) for name, ns in fabric.guests.items()}
    marks = {
        b"from-outside": ethernet(A1, GATEWAY, 0x0800, datagram(b"from-outside", "10.1.1.11", "203.0.113.9")),
        b"dhcp-answer": ethernet(ALL, GATEWAY, 0x0800, udp("10.1.1.1", "255.255.255.255", (67, 68), b"dhcp-answer")),
        b"other-mac": ethernet(A1, FOREIGN, 0x0800, datagram(b"other-mac", "10.1.1.11", "203.0.113.9")),
        b"other-arp": ethernet(A1, GATEWAY, 0x0806, arp(2, GATEWAY, "10.1.1.12", A1, "10.1.1.11") + b"other-arp"),
        b"other-dhcp": ethernet(ALL, GATEWAY, 0x0800, udp("10.1.1.9", "255.255.255.255", (67, 68), b"other-dhcp")),
    }
    for frame in marks.values():
        wires["arouter"].send(frame)
    frames = {name: _frames(wire, b"", 0.4) for name, wire in wires.items() if name != "arouter"}
    heard = {mark: {name for name, got in frames.items() if any(mark in frame for frame in got)} for mark in marks}
    for wire in wires.values():
        wire.close()
    assert heard == {
        b"from-outside": {"a1"},
        b"dhcp-answer": {"a1", "a2", "a3"},
        b"other-mac": set(),
        b"other-arp": set(),
        b"other-dhcp": set(),
    }


def test_arp_is_answered_on_the_host_for_neighbours_and_gateway_only(fabric):
    wire = Wire(fabric.guests["a1"])
    others = [Wire(fabric.guests[name]) for name in ("a2", "a3", "arouter", "b1")]
    for address, owner in (("10.1.1.12", A2), ("10.1.1.1", GATEWAY)):
        wire.send(ethernet(ALL, A1, 0x0806, arp(1, A1, "10.1.1.11", "00:00:00:00:00:00", address)))
        answer = arp(2, owner, address, A1, "10.1.1.11")[:28]
        assert wire.heard(ethernet(A1, owner, 0x0806, answer), 2)
    for address, source in (
        ("10.1.1.12", "10.1.1.13"),
        ("10.1.1.99", "10.1.1.11"),
        ("192.0.2.1", "10.1.1.11"),
        ("10.1.1.11", NOWHERE),
    ):
        wire.send(ethernet(ALL, A1, 0x0806, arp(1, A1, source, "00:00:00:00:00:00", address)))
    assert not wire.heard(b"\x08\x06", 0.3)
    assert not any(other.heard(b"\x08\x06", 0.05) for other in others)
    for one in (wire, *others):
        one.close()


def test_the_hosts_own_stack_does_not_answer_guests(fabric):
    """Also not a guest that knows the port's MAC address; without the rules it does, so this check can fail."""
    host, device = fabric.lab.hosts[0], tap_name("nic-a1")
    port_mac = sh("ip", "netns", "exec", host.ns, "cat", f"/sys/class/net/{device}/address").strip()
    sh("ip", "-n", host.ns, "route", "add", "10.1.1.11/32", "dev", device)
    sh("ip", "-n", host.ns, "neigh", "add", "10.1.1.11", "lladdr", A1, "dev", device)
    echo = struct.pack("!BBHHH", 8, 0, 0, 7, 1)
    echo = echo[:2] + struct.pack("!H", lab_module.checksum(echo)) + echo[4:]
    frame = ethernet(port_mac, A1, 0x0800, ipv4("10.1.1.11", "192.0.2.1", 1, echo))
    wire = Wire(fabric.guests["a1"])
    wire.send(frame)
    assert not wire.heard(socket.inet_aton("192.0.2.1"), 0.3)
    with inside(host.ns):
        sh("nft", "delete", "table", "inet", "pileus_ports")
        wire.send(frame)
        assert wire.heard(socket.inet_aton("192.0.2.1"), 2)
        host.switch.ensure_bridges()
    wire.send(frame)
    assert not wire.heard(socket.inet_aton("192.0.2.1"), 0.3)
    wire.close()
    sh("ip", "-n", host.ns, "route", "del", "10.1.1.11/32", "dev", device)


def test_broadcast_goes_to_the_networks_own_members_when_it_is_on(fabric):
    frames = {
        "broadcast": forged()["broadcast"],
        "rogue-dhcp": forged()["rogue-dhcp"],
        "spoofed-ip": forged()["spoofed-ip"],
    }
    fabric.apply(*fabric.changed(broadcast=True))
    heard = deliver(fabric, "a1", frames)
    assert heard == {"broadcast": {"a2", "a3", "arouter"}, "rogue-dhcp": set(), "spoofed-ip": set()}


def test_closed_egress_leaves_the_network_and_its_metadata(fabric):
    frames = {
        "inside": ethernet(A2, A1, 0x0800, datagram(b"inside")),
        "outside": ethernet(GATEWAY, A1, 0x0800, datagram(b"outside", target="203.0.113.9")),
        "metadata": ethernet(GATEWAY, A1, 0x0800, datagram(b"metadata", target="169.254.169.254")),
    }
    assert deliver(fabric, "a1", frames)["outside"] == {"arouter"}
    fabric.apply(*fabric.changed(egress_open=False))
    assert deliver(fabric, "a1", frames) == {"inside": {"a2"}, "outside": set(), "metadata": {"arouter"}}


def test_a_network_taken_off_a_host_is_silent_there(fabric):
    fabric.apply(fabric.views[1])
    assert ping(fabric.guests["a1"], "10.1.1.13", wait=0.5) == 0
    assert reaches(fabric.guests["b1"], "10.1.1.12")
    host = fabric.lab.hosts[0]
    assert "1001" not in host.ofctl("dump-flows", "--no-stats", "table=1")
    assert host.switch.drift(fabric.views[1:]) == []


def test_tunnels_follow_the_networks(fabric):
    host = fabric.lab.hosts[0]
    assert {name for name in _ports(host) if name.startswith("pg-")} == {
        tunnel.name for tunnel in host.switch._tunnels().values()
    }
    assert set(host.switch._tunnels()) == {"host-2", "host-3"}
    pair = [one for one in fabric.views[0].nics if one.host_id != "host-3"]
    fabric.apply(network("a", 1001, pair))
    assert set(host.switch._tunnels()) == {"host-2"}
    assert reaches(fabric.guests["a1"], "10.1.1.12")


def _ports(host) -> list[str]:
    return sh("ovs-vsctl", f"--db=unix:{host.dir}/db.sock", "list-ports", "br-int").split()


def test_all_flows_can_be_replaced_without_losing_a_packet(fabric):
    assert reaches(fabric.guests["a1"], "10.1.1.12")
    line = ("ping", "-n", "-q", "-i", "0.005", "-c", "500", "10.1.1.12")
    running = subprocess.Popen(["ip", "netns", "exec", fabric.guests["a1"], *line], stdout=subprocess.PIPE, text=True)
    changes = 0
    while running.poll() is None:
        for host in fabric.lab.hosts[:2]:
            with inside(host.ns):
                host.switch.apply(fabric.views, whole=True)
                host.switch.apply(fabric.changed(broadcast=changes % 2 == 0))
                changes += 1
    assert "500 packets transmitted, 500 received" in running.communicate()[0]
    assert changes > 10


def test_after_a_crash_of_vswitchd_nothing_leaks_and_apply_brings_all_back(fabric):
    host = fabric.lab.hosts[0]
    pid = host.pids["ovs-vswitchd"]
    host.kill("ovs-vswitchd")
    with inside(host.ns), pytest.raises(SwitchUnreachableError):
        host.switch.apply(fabric.views)
    host.start_vswitchd()
    assert host.pids["ovs-vswitchd"] != pid
    wires = {name: Wire(ns) for name, ns in fabric.guests.items()}
    wires["a1"].send(ethernet(A3, A1, 0x0800, datagram(b"too early", target="10.1.1.13")))
    wires["a1"].send(ethernet(ALL, A1, 0x0800, datagram(b"too early", target="10.1.1.13")))
    assert [name for name, wire in wires.items() if wire.heard(b"too early", 0.1)] == []
    for wire in wires.values():
        wire.close()
    assert host.switch.drift(fabric.views) != []
    with inside(host.ns):
        host.switch.apply(fabric.views)
    assert host.switch.drift(fabric.views) == []
    assert reaches(fabric.guests["a1"], "10.1.1.13")
    assert reaches(fabric.guests["a1"], "10.1.1.12")


def test_drift_is_seen_and_repaired(fabric):
    host = fabric.lab.hosts[0]
    line = next(flow for flow in host.switch._store.applied().flows if "table=40,priority=90" in flow)
    host.ofctl("del-flows", "--strict", line.partition(",actions=")[0].partition(",")[2])
    host.ofctl("add-flow", "table=40,priority=7,cookie=0x5,actions=drop")
    host.ofctl("add-group", "group_id=77,type=all")
    drift = host.switch.drift(fabric.views)
    assert [line[0] for line in drift if "priority=90" in line] == ["-"]
    assert [line[0] for line in drift if "priority=7" in line] == ["+"]
    assert [line[0] for line in drift if "group_id=77" in line] == ["+"]
    assert len(drift) == 3
    with inside(host.ns):
        host.switch.apply(fabric.views, whole=True)
    assert host.switch.drift(fabric.views) == []


def test_a_refused_bundle_changes_nothing(fabric):
    host = fabric.lab.hosts[0]
    lines = "group add_or_mod group_id=2,type=all\nflow delete\nflow add table=0,actions=resubmit(,300)\n"
    with pytest.raises(SwitchRefusedError):
        host.switch._ofctl("bundle", "-", stdin=lines)
    assert host.switch.drift(fabric.views) == []


def test_a_controller_is_taken_away(fabric):
    host = fabric.lab.hosts[0]
    sh("ovs-vsctl", f"--db=unix:{host.dir}/db.sock", "set-controller", "br-int", "tcp:127.0.0.1:1")
    with inside(host.ns):
        host.switch.ensure_bridges()
        host.switch.apply(fabric.views)
    assert sh("ovs-vsctl", f"--db=unix:{host.dir}/db.sock", "get-controller", "br-int") == ""
    assert host.switch.drift(fabric.views) == []
    assert reaches(fabric.guests["a1"], "10.1.1.12")


def test_versions_name_switch_and_datapath(fabric):
    found = fabric.lab.hosts[0].switch.versions()
    assert found["datapath"] == "netdev"
    assert found["openvswitch"][0].isdigit()


class Tap:
    """What QEMU is to a tap: the process behind it."""

    def __init__(self, ns: str, name: str) -> None:
        with inside(ns):
            self.file = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(self.file, 0x400454CA, struct.pack("16sH", name.encode(), 0x1002))

    def asks(self, address: str, own: str, own_mac: str) -> bool:
        """Whether an ARP request is answered."""
        os.write(self.file, ethernet(ALL, own_mac, 0x0806, arp(1, own_mac, own, "00:00:00:00:00:00", address)))
        os.set_blocking(self.file, False)
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            try:
                if os.read(self.file, 2000)[12:14] == b"\x08\x06":
                    return True
            except BlockingIOError:
                time.sleep(0.01)
        return False


def test_a_tap_is_plugged_once_used_and_unplugged(fabric):
    host = fabric.lab.hosts[0]
    fresh = replace(nic("a", "1", "host-1"), id="nic-tap", mac=FOREIGN, address="10.1.1.40")
    views = fabric.changed(nics=(*fabric.views[0].nics, fresh))
    with inside(host.ns):
        host.switch.apply(views)
        assert host.switch.plug(fresh.id, fresh.mac)
        assert not host.switch.plug(fresh.id, fresh.mac)
    port = host.switch.ports()[fresh.id]
    assert port.name == tap_name(fresh.id)
    tap = Tap(host.ns, port.name)
    assert tap.asks("10.1.1.12", fresh.address, fresh.mac)
    os.close(tap.file)
    with inside(host.ns):
        # A restart of the host takes taps away and leaves ports in the database.
        sh("ip", "link", "del", "dev", port.name)
        assert host.switch.plug(fresh.id, fresh.mac)
    tap = Tap(host.ns, port.name)
    assert tap.asks("10.1.1.12", fresh.address, fresh.mac)
    os.close(tap.file)
    with inside(host.ns):
        host.switch.unplug(fresh.id)
        host.switch.unplug(fresh.id)
        assert port.name not in sh("ip", "link")
    assert fresh.id not in host.switch.ports()


def test_a_zone_is_not_given_on_while_a_view_still_names_its_nic(fabric):
    host = fabric.lab.hosts[0]
    fresh = replace(nic("a", "1", "host-1"), id="nic-zone", mac=FOREIGN, address="10.1.1.41")
    with inside(host.ns):
        host.switch.apply(fabric.changed(nics=(*fabric.views[0].nics, fresh)))
        host.switch.plug(fresh.id, fresh.mac)
        host.switch.unplug(fresh.id)
        with host.switch._store.locked() as record:
            assert fresh.id in record.nics.given
        host.switch.apply(fabric.views)
        with host.switch._store.locked() as record:
            assert fresh.id not in record.nics.given


def test_connections_of_an_unplugged_nic_are_forgotten(fabric):
    host, device = fabric.lab.hosts[0], tap_name("nic-a3")
    assert reaches(fabric.guests["a3"], "10.1.1.12")
    with host.switch._store.locked() as record:
        zone = record.nic("nic-a3").zone

    def known() -> bool:
        return f"zone={zone}" in sh("ovs-appctl", "-t", f"{host.dir}/vsw.ctl", "dpctl/dump-conntrack")

    assert known()
    with inside(host.ns):
        sh("ip", "link", "set", "dev", device, "name", "kept")  # unplug would delete what has a tap's name
        host.switch.unplug("nic-a3")
        assert not known()
        sh("ip", "link", "set", "dev", "kept", "name", device, "up")
        assert host.switch.plug_device("nic-a3", device)
    assert reaches(fabric.guests["a3"], "10.1.1.12")


def test_a_device_that_is_missing_is_refused(fabric):
    host = fabric.lab.hosts[0]
    with inside(host.ns), pytest.raises(SwitchRefusedError, match="nic-none"):
        host.switch.plug_device("nic-none", "missing0")
