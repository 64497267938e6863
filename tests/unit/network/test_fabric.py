"""The fabric as an executable specification: three hosts, real packets, two tenants with the same addresses."""

from __future__ import annotations

import socket
import struct
import subprocess

import pytest

from network.errors import SwitchUnreachableError
from network.names import tap_name
from tests.unit.network import lab as lab_module
from tests.unit.network.fabric import A1, A2, A3, ALL, FOREIGN, GATEWAY, NOWHERE, datagram, deliver, forged, frames_of
from tests.unit.network.lab import Wire, arp, ethernet, inside, ipv4, ping, reaches, sh, udp
from tests.unit.network.views import network

pytestmark = pytest.mark.usefixtures("as_it_was")


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
        frame = next(frame for frame in frames_of(underlay, b"look inside") if b"look inside" in frame)
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
    frames = {name: frames_of(wire, b"", 0.4) for name, wire in wires.items() if name != "arouter"}
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
    assert changes > 4


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
