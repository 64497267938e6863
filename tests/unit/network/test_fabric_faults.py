"""The fabric when hosts restart, daemons die, views disagree and the underlay carries what it should not."""

from __future__ import annotations

import os
import struct
import subprocess
import time
from dataclasses import replace

import pytest

from network.errors import SwitchUnreachableError
from tests.unit.network import lab as lab_module
from tests.unit.network.lab import Wire, ethernet, inside, ipv4, ping, reaches, sh, udp
from tests.unit.network.views import MACS, network, nic

OUTSIDE = "203.0.113.9"


@pytest.fixture(scope="module")
def views():
    nics = [nic("a", "1", "host-1"), nic("a", "2", "host-2"), nic("a", "router", "host-3", "router")]
    return [network("a", 1001, nics)]


@pytest.fixture(scope="module")
def guests(lab, views):
    """The router here is a namespace that also has an address outside."""
    found = {one.id[4:]: lab.add_guest(one.id[4:], one, "10.1.1.1") for one in views[0].nics[:2]}
    found["arouter"] = lab.add_guest("arouter", views[0].nics[2])
    sh("ip", "-n", found["arouter"], "address", "add", f"{OUTSIDE}/32", "dev", "lo")
    sh("ip", "netns", "exec", found["arouter"], "sysctl", "-qw", "net.ipv4.conf.all.arp_announce=2")
    return found


@pytest.fixture(autouse=True)
def applied(lab, views, guests):
    lab.apply(views)
    assert reaches(guests["a1"], "10.1.1.12")


def test_a_host_that_restarted_gets_its_fabric_back_from_its_own_record(lab, views, guests):
    host = lab.hosts[0]
    before = host.switch.ports()
    sh("ip", "-n", host.ns, "route", "add", "default", "via", "192.0.2.254")
    for program in ("ovs-vswitchd", "ovsdb-server"):
        host.kill(program)
    with inside(host.ns), pytest.raises(SwitchUnreachableError):
        host.switch.ensure_bridges()
    for device in ("br-phy", "br-int", "ovs-netdev"):
        sh("ip", "-n", host.ns, "link", "del", device, check=False)
    sh("ip", "-n", host.ns, "address", "add", f"{host.address}/24", "dev", "eth0")
    sh("ip", "-n", host.ns, "route", "add", "default", "via", "192.0.2.254")
    host.start_database()
    host.start_vswitchd()
    with inside(host.ns):
        host.switch.ensure_bridges()
        host.switch.apply(views)
    assert reaches(guests["a1"], "10.1.1.12")
    assert host.switch.ports() == before
    assert host.switch.drift(views) == []
    assert "default via 192.0.2.254 dev br-phy" in sh("ip", "-n", host.ns, "route")
    assert sh("ip", "-n", host.ns, "-4", "address", "show", "dev", "eth0") == ""
    sh("ip", "-n", host.ns, "route", "del", "default")


def test_ensuring_bridges_again_loses_no_packet(lab, guests):
    line = ("ping", "-n", "-q", "-i", "0.01", "-c", "60", "10.1.1.12")
    running = subprocess.Popen(["ip", "netns", "exec", guests["a1"], *line], stdout=subprocess.PIPE, text=True)
    while running.poll() is None:
        with inside(lab.hosts[0].ns):
            lab.hosts[0].switch.ensure_bridges()
    assert "60 packets transmitted, 60 received" in running.communicate()[0]


def test_what_came_from_a_tunnel_never_enters_another(lab, views, guests):
    """Also while one host has an older view and the guest has moved on."""
    moved = replace(views[0].nics[1], host_id="host-3")
    stale = [replace(views[0], nics=(views[0].nics[0], moved, replace(views[0].nics[2], host_id="host-2")))]
    with inside(lab.hosts[1].ns):
        lab.hosts[1].switch.apply(stale)
    wire = Wire(guests["a1"])
    second, third = (Wire(lab.hosts[number].ns) for number in (1, 2))
    wire.send(ethernet(MACS["2"], MACS["1"], 0x0800, udp("10.1.1.11", "10.1.1.12", (9, 9), b"one tunnel is enough")))
    assert second.heard(b"one tunnel is enough", 2)
    assert not third.heard(b"one tunnel is enough", 0.4)
    for one in (wire, second, third):
        one.close()


@pytest.mark.parametrize(
    ("source", "key", "is_heard"),
    [("192.0.2.1", 1001, True), ("192.0.2.77", 1001, False), ("192.0.2.1", 1002, False), ("192.0.2.1", None, False)],
)
def test_tunnels_are_pinned_to_peers_and_keys(lab, source, key, is_heard, guests):
    """GRE itself has no authentication: who can send as a peer is believed, so the underlay must be private."""
    inner = ethernet(MACS["2"], MACS["1"], 0x0800, udp("10.1.1.11", "10.1.1.12", (9, 9), b"through the tunnel"))
    head = struct.pack("!HHI", 0x2000, 0x6558, key) if key else struct.pack("!HH", 0, 0x6558)
    underlay, guest = Wire(lab.underlay, f"{lab_module.PREFIX}u2"), Wire(guests["a2"])
    # Open vSwitch also learns its neighbours from what tunnels bring, so the sender is the peer's own MAC address.
    sender, target = (
        sh("ip", "netns", "exec", host.ns, "cat", "/sys/class/net/br-phy/address").strip() for host in lab.hosts[:2]
    )
    underlay.send(ethernet(target, sender, 0x0800, ipv4(source, "192.0.2.2", 47, head + inner)))
    assert guest.heard(b"through the tunnel", 1 if is_heard else 0.4) == is_heard
    underlay.close()
    guest.close()


def test_closing_egress_also_ends_open_connections(lab, views, guests):
    line = ("ping", "-n", "-q", "-i", "0.1", "-c", "20", OUTSIDE)
    assert reaches(guests["a1"], OUTSIDE)
    running = subprocess.Popen(["ip", "netns", "exec", guests["a1"], *line], stdout=subprocess.PIPE, text=True)
    time.sleep(0.8)
    lab.apply([replace(views[0], egress_open=False)])
    received = int(running.communicate()[0].partition(" received")[0].rpartition(" ")[2])
    assert 4 <= received <= 14
    assert reaches(guests["a1"], "10.1.1.1")
    lab.apply(views)
    assert reaches(guests["a1"], OUTSIDE)


def test_large_packets_pass_up_to_the_guests_mtu(guests):
    assert ping(guests["a1"], "10.1.1.12", size=1430) == 1
    assert ping(guests["a1"], "10.1.1.12", size=6000) == 1


def test_peers_may_change_and_exchange_their_addresses(lab, views, guests):
    """Two tunnels never may have the same ends, also not for a moment."""
    host, (own, second, third) = lab.hosts[0], views[0].peers

    def ends() -> dict[str, str]:
        return {peer: tunnel.remote_address for peer, tunnel in host.switch._tunnels().items()}

    crossed = (
        own,
        replace(second, underlay_address=third.underlay_address),
        replace(third, underlay_address=second.underlay_address),
    )
    moved = (own, replace(second, underlay_address="192.0.2.99"), third)
    for peers in (crossed, moved, views[0].peers):
        with inside(host.ns):
            host.switch.apply([replace(views[0], peers=peers)])
        assert ends() == {peer.host_id: peer.underlay_address for peer in peers[1:]}
    assert reaches(guests["a1"], "10.1.1.12")


def test_a_bare_agent_process_continues_where_another_stopped(lab, views):
    """Two agents' processes share one record: neither sends everything again."""
    host = lab.hosts[0]
    changed = [replace(views[0], broadcast=True)]
    child = os.fork()
    if child == 0:
        with inside(host.ns):
            type(host.switch)(host.switch.settings).apply(changed)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert host.switch.drift(changed) == []
    host.ofctl("add-flow", "table=40,priority=7,actions=drop")
    with inside(host.ns):
        host.switch.apply(views)
    assert len(host.switch.drift(views)) == 1  # a difference was sent, so the foreign flow is still there
    with inside(host.ns):
        host.switch.apply(views, whole=True)
    assert host.switch.drift(views) == []
