"""The switch of one host: drift, ports, numbers."""

from __future__ import annotations

import fcntl
import os
import struct
import time
from dataclasses import replace

import pytest

from network import links
from network.errors import SwitchRefusedError
from network.names import tap_name
from tests.unit.network.fabric import ALL, FOREIGN
from tests.unit.network.lab import arp, ethernet, inside, reaches, sh
from tests.unit.network.views import nic

RACES = 400

pytestmark = pytest.mark.usefixtures("as_it_was")


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
        """Whether an ARP request is answered; the kernel drops an answer while the tap's link comes up."""
        os.set_blocking(self.file, False)
        for _ in range(20):
            os.write(self.file, ethernet(ALL, own_mac, 0x0806, arp(1, own_mac, own, "00:00:00:00:00:00", address)))
            time.sleep(0.1)
            while (frame := self._read()) is not None:
                if frame[12:14] == b"\x08\x06":
                    return True
        return False

    def _read(self) -> bytes | None:
        try:
            return os.read(self.file, 2000)
        except BlockingIOError:
            return None


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


def test_taps_have_the_mtu_of_their_network_by_now(fabric):
    host = fabric.lab.hosts[0]
    fresh = replace(nic("a", "1", "host-1"), id="nic-tap", mac=FOREIGN, address="10.1.1.40")
    nics = (*fabric.views[0].nics, fresh)
    with inside(host.ns):
        for mtu in (1458, 1400, 1450):
            host.switch.apply(fabric.changed(nics=nics, mtu=mtu))
            host.switch.plug(fresh.id, fresh.mac)
            assert links.links()[tap_name(fresh.id)].mtu == mtu
        sh("ip", "link", "del", "dev", tap_name(fresh.id))
        host.switch.apply(fabric.changed(nics=nics, mtu=1300))
        assert host.switch.plug(fresh.id, fresh.mac)
        assert links.links()[tap_name(fresh.id)].mtu == 1300
        host.switch.unplug(fresh.id)


def test_a_tap_made_anew_under_its_old_index_works(fabric):
    host = fabric.lab.hosts[0]
    fresh = replace(nic("a", "1", "host-1"), id="nic-again", mac=FOREIGN, address="10.1.1.42")
    device = tap_name(fresh.id)
    with inside(host.ns):
        host.switch.apply(fabric.changed(nics=(*fabric.views[0].nics, fresh)))
        host.switch.plug(fresh.id, fresh.mac)
        index = links.links()[device].ifindex
        # A restart of the host takes the tap away; an "up" of the new one may be lost while vswitchd takes it up.
        sh("ip", "link", "del", "dev", device)
        sh("ip", "link", "add", "name", device, "index", str(index), "type", "veth", "peer", "again")
        assert host.switch.plug(fresh.id, fresh.mac)
        assert links.links()[device].up
        host.switch.unplug(fresh.id)
        host.switch.apply(fabric.views)


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
        return f"zone={zone}" in host.appctl("dpctl/dump-conntrack")

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
