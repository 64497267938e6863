"""The virtual router with real packets: NAT, repair of what died or was lost, removal."""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from network import links
from network.elements.daemons import arguments_of
from network.elements.router_rules import GUEST_DEVICE, PUBLIC_DEVICE
from network.elements.virtual_router import VirtualRouter, VirtualRouterSettings
from network.errors import InvalidViewError, NetworkError
from network.names import router_guest_device, router_namespace
from tests.unit.network.lab import ROUTERS, end, inside, ping, reaches, sh
from tests.unit.network.routers import OUTSIDE, revised
from tests.unit.network.sites import PUBLIC
from tests.unit.network.views import MACS

pytestmark = pytest.mark.usefixtures("running")


def test_guests_leave_with_the_public_address(site, addressed):
    for guest, public in (("a1", "198.51.100.10"), ("b1", "198.51.100.20")):
        with inside(PUBLIC):
            server = socket.create_server((OUTSIDE, 8000 + ord(guest[0])))
        server.settimeout(5)
        with inside(site.guests[guest]), socket.create_connection((OUTSIDE, server.getsockname()[1]), 5) as client:
            accepted, (source, _) = server.accept()
            assert source == public
            sent = os.urandom(200_000)
            threading.Thread(target=accepted.sendall, args=(sent,)).start()
            received = b""
            while len(received) < len(sent) and (part := client.recv(65536)):
                received += part
            assert received == sent
            accepted.close()
        server.close()


def test_nothing_from_outside_comes_in(site, addressed):
    sh("ip", "-n", PUBLIC, "route", "replace", "10.1.1.0/24", "via", "198.51.100.10")
    assert ping(site.guests["a1"], OUTSIDE) == 1
    assert ping(PUBLIC, "10.1.1.11", wait=0.5) == 0
    assert ping(PUBLIC, "198.51.100.10", wait=0.5) == 0
    for port in (53, 80, 8080):
        with inside(PUBLIC), socket.socket() as client:
            client.settimeout(0.3)
            assert client.connect_ex(("198.51.100.10", port)) != 0
            assert client.connect_ex(("10.1.1.1", port)) != 0
    sh("ip", "-n", PUBLIC, "route", "del", "10.1.1.0/24")


def test_applying_again_changes_nothing(site):
    before = {tenant: site.daemons(ROUTERS[tenant]) for tenant in site.specs}
    site.apply(site.specs["a"])
    assert {tenant: site.daemons(ROUTERS[tenant]) for tenant in site.specs} == before
    assert set(before["a"]) == {"dnsmasq", "metadata"}
    assert site.element.list() == [ROUTERS["a"], ROUTERS["b"]]
    assert site.element.state(ROUTERS["a"]) == "running"


def test_new_leases_reach_dnsmasq_without_a_restart_and_settings_with_one(site, addressed):
    before = site.daemons(ROUTERS["a"])
    first, *others = site.specs["a"].legs[0].leases
    site.apply(revised(site.specs["a"], leases=(replace(first, hostname="renamed"), *others)))
    assert "Address: 10.1.1.11" in site.look_up("a2", "renamed.a.example")
    assert site.daemons(ROUTERS["a"]) == before
    site.apply(revised(site.specs["a"], domain="other.example"))
    assert "Address: 10.1.1.11" in site.look_up("a2", "host1.other.example")
    assert site.daemons(ROUTERS["a"])["dnsmasq"] != before["dnsmasq"]


@pytest.mark.parametrize("program", ["dnsmasq", "metadata"])
def test_a_dead_daemon_is_seen_and_comes_back(site, addressed, program):
    before = site.daemons(ROUTERS["a"])
    end(before[program])
    assert site.element.state(ROUTERS["a"]) == "degraded"
    site.apply(site.specs["a"])
    after = site.daemons(ROUTERS["a"])
    assert site.element.state(ROUTERS["a"]) == "running"
    assert {name for name in after if after[name] != before[name]} == {program}
    assert site.fetch("a1", "http://10.1.1.1/latest/meta-data/vm-id") == "200 vm-a1"
    assert "Address: 10.1.1.12" in site.look_up("a1", "host2.a.example")


def test_an_apply_killed_half_way_is_finished_by_the_next(site, addressed):
    for delay in range(0, 200, 20):
        site.remove(ROUTERS["a"])
        child = os.fork()
        if child == 0:
            site.apply(site.specs["a"])
            os._exit(0)
        time.sleep(delay / 1000)
        end(child)
        os.waitpid(child, 0)
        site.apply(site.specs["a"])
        assert site.element.state(ROUTERS["a"]) == "running", delay
        assert reaches(site.guests["a1"], OUTSIDE), delay
    assert site.fetch("a1", "http://169.254.169.254/latest/meta-data/vm-id") == "200 vm-a1"
    assert "event=bound" in site.ask_dhcp("a1")


def test_daemons_of_an_agent_with_another_state_folder_are_taken_over(site, addressed):
    before = site.daemons(ROUTERS["a"])
    moved = VirtualRouter(VirtualRouterSettings(site.lab.dir / "moved"), site.host.switch)
    with inside(site.host.ns):
        moved.apply(site.specs["a"])
    after = site.daemons(ROUTERS["a"])
    assert moved.state(ROUTERS["a"]) == "running"
    assert not set(before.values()) & set(after.values())
    assert site.element.state(ROUTERS["a"]) == "degraded"


@pytest.mark.parametrize("lost", ["namespace", "guest leg", "public leg", "stale name", "addresses", "rules"])
def test_what_was_lost_comes_back(site, addressed, lost):
    ns = router_namespace(ROUTERS["a"])
    if lost in ("namespace", "stale name"):
        for pid in site.daemons(ROUTERS["a"]).values():
            end(pid)
        sh("ip", "netns", "delete", ns)
        if lost == "stale name":
            Path(f"/run/netns/{ns}").touch()  # what is left on disk when the host restarts
    elif lost == "guest leg":
        sh("ip", "-n", site.host.ns, "link", "del", router_guest_device("nic-arouter"))
    elif lost == "public leg":
        sh("ip", "-n", ns, "link", "del", "eth1")
    elif lost == "addresses":
        sh("ip", "-n", ns, "address", "flush", "dev", "eth0")
        sh("ip", "-n", ns, "link", "set", "eth1", "down")
    else:
        sh("ip", "netns", "exec", ns, "nft", "flush", "ruleset")
        assert ping(site.guests["a1"], OUTSIDE, wait=0.3) == 0
    site.apply(site.specs["a"])
    assert reaches(site.guests["a1"], OUTSIDE)
    assert site.fetch("a1", "http://169.254.169.254/latest/meta-data/vm-id") == "200 vm-a1"
    assert "event=bound" in site.ask_dhcp("a1")
    assert site.element.state(ROUTERS["a"]) == "running"


def test_the_public_leg_can_change_and_go(site, addressed):
    moved = replace(site.specs["a"].public, address="198.51.100.11", mac="02:00:00:00:01:77")
    site.apply(revised(site.specs["a"], public=moved))
    assert reaches(site.guests["a1"], OUTSIDE)
    assert "198.51.100.11 " in sh("ip", "-n", PUBLIC, "neigh")
    site.apply(revised(site.specs["a"], public=None))
    assert ping(site.guests["a1"], OUTSIDE, wait=0.3) == 0
    assert ping(site.guests["a1"], "10.1.1.1") == 1


def test_mtus_and_name_servers_can_change(site, addressed):
    before = site.daemons(ROUTERS["a"])
    public = replace(site.specs["a"].public, mtu=1400)
    site.apply(revised(site.specs["a"], public=public, mtu=1300, nameservers=("192.0.2.53",)))
    namespace = router_namespace(ROUTERS["a"])
    devices = links.links(namespace)
    assert (devices[GUEST_DEVICE].mtu, devices[PUBLIC_DEVICE].mtu) == (1300, 1400)
    assert "mtu=1300" in site.ask_dhcp("a1")
    assert ping(site.guests["a1"], OUTSIDE) == 1
    assert site.daemons(ROUTERS["a"])["dnsmasq"] != before["dnsmasq"]
    site.apply(site.specs["a"])
    assert links.links(namespace)[PUBLIC_DEVICE].mtu == 1500


def test_another_address_is_the_source_nat(site, addressed):
    own = site.specs["a"].public
    other = replace(own, address="198.51.100.11", mac="02:00:00:00:01:77")
    site.apply(revised(site.specs["a"], addresses=(other.address,)))
    for public, further in ((other, own), (own, other)):
        site.apply(revised(site.specs["a"], public=public, addresses=(further.address,)))
        assert reaches(site.guests["a1"], OUTSIDE)
        with inside(PUBLIC):
            server = socket.create_server((OUTSIDE, 0))
        server.settimeout(5)
        with inside(site.guests["a1"]), socket.create_connection((OUTSIDE, server.getsockname()[1]), 5):
            accepted, (source, _) = server.accept()
            accepted.close()
        server.close()
        assert source == public.address


def test_a_bad_value_changes_nothing(site, addressed):
    before = site.daemons(ROUTERS["a"])
    with pytest.raises(InvalidViewError):
        site.apply(revised(site.specs["a"], domain="a\nserver=192.0.2.66"))
    assert site.daemons(ROUTERS["a"]) == before
    assert "Address: 10.1.1.12" in site.look_up("a1", "host2.a.example")


def test_a_missing_public_bridge_is_told_and_repaired_by_the_next_apply(site):
    elsewhere = replace(site.specs["a"].public, bridge="br-none")
    with pytest.raises(NetworkError, match="br-none"):
        site.apply(revised(site.specs["a"], public=elsewhere))
    site.apply(site.specs["a"])
    assert site.element.state(ROUTERS["a"]) == "running"


def test_a_state_folder_that_dnsmasq_cannot_read_is_refused(site, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o700)
    with pytest.raises(NetworkError, match="closed"):
        VirtualRouter(VirtualRouterSettings(tmp_path / "closed"), site.host.switch)


def test_secrets_are_for_root_only(site):
    for path in (site.lab.dir / "routers").rglob("*"):
        if path.is_file() and "secret-a1" in path.read_text():
            assert path.name == "metadata.json"
        if path.name in ("metadata.json", "passwords.json"):
            assert path.stat().st_mode & 0o077 == 0


def test_removal_leaves_nothing_and_spares_the_neighbour(site, addressed):
    neighbour = site.daemons(ROUTERS["b"])
    own = site.daemons(ROUTERS["a"]).values()
    site.remove(ROUTERS["a"])
    site.remove(ROUTERS["a"])
    assert not [pid for pid in own if arguments_of(pid)]
    assert router_namespace(ROUTERS["a"]) not in sh("ip", "netns")
    devices = sh("ip", "-n", site.host.ns, "link")
    assert router_guest_device("nic-arouter") not in devices
    assert len([line for line in devices.splitlines() if ": pp-" in line]) == 1
    assert "nic-arouter" not in site.host.switch.ports()
    left = {path.name.partition(".")[0] for path in (site.lab.dir / "routers" / "routers").iterdir()}
    assert left == {router_namespace(ROUTERS["b"])}
    assert (site.element.list(), site.element.state(ROUTERS["a"])) == ([ROUTERS["b"]], "absent")
    assert site.daemons(ROUTERS["b"]) == neighbour
    assert site.fetch("b1", "http://10.1.1.1/latest/meta-data/vm-id") == "200 vm-b1"


def test_a_neighbours_mac_is_not_enough(site, addressed):
    """A guest that takes the other's address and MAC is silenced by the switch before it reaches the router."""
    ns = site.guests["a2"]
    sh("ip", "-n", ns, "link", "set", "eth0", "address", MACS["1"])
    sh("ip", "-n", ns, "address", "flush", "dev", "eth0")
    sh("ip", "-n", ns, "address", "add", "10.1.1.11/24", "dev", "eth0")
    sh("ip", "-n", ns, "neigh", "replace", "10.1.1.1", "lladdr", MACS["router"], "dev", "eth0")
    assert site.fetch("a2", "http://10.1.1.1:8080/", "-m", "1", "-H", "DomU_Request: send_my_password").startswith(
        "000"
    )
    sh("ip", "-n", ns, "neigh", "del", "10.1.1.1", "dev", "eth0")
    sh("ip", "-n", ns, "link", "set", "eth0", "address", MACS["2"])
    sh("ip", "-n", ns, "address", "flush", "dev", "eth0")
