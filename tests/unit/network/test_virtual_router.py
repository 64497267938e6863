"""The virtual router with real clients: DHCP, DNS, metadata, passwords and NAT through the fabric."""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from network.elements.daemons import arguments_of
from network.elements.virtual_router import VirtualRouter, VirtualRouterSettings
from network.errors import InvalidViewError, NetworkError
from network.names import router_guest_device, router_namespace
from network.types import RouterSpec
from tests.unit.network.lab import PREFIX, ROUTERS, Host, Lab, end, inside, ping, reaches, sh
from tests.unit.network.routers import OUTSIDE, lease, router
from tests.unit.network.views import MACS, network, nic

CLIENT = """#!/bin/sh
echo "event=$1 ip=$ip mask=$mask router=$router dns=$dns mtu=$mtu domain=$domain hostname=$hostname"
echo "routes=$staticroutes"
[ "$1" = bound ] || exit 0
ip address flush dev $interface
ip address add $ip/$mask dev $interface
ip route replace default via $router
"""
PUBLIC = f"{PREFIX}-outside"


@dataclass
class Site:
    lab: Lab
    host: Host
    element: VirtualRouter
    guests: dict[str, str]
    specs: dict[str, RouterSpec]

    def apply(self, spec: RouterSpec) -> None:
        with inside(self.host.ns):
            self.element.apply(spec)

    def remove(self, router_id: str) -> None:
        with inside(self.host.ns):
            self.element.remove(router_id)

    def daemons(self, router_id: str) -> dict[str, int]:
        """Process id by program."""
        found = {}
        for pid in sh("ip", "netns", "pids", router_namespace(router_id)).split():
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            found["dnsmasq" if words[0] == "dnsmasq" else "metadata"] = int(pid)
        return found

    def ask_dhcp(self, guest: str, *options: str) -> str:
        script = self.lab.dir / "client"
        script.write_text(CLIENT)
        script.chmod(0o755)
        line = ("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-s", str(script), "-t", "4", "-T", "2")
        wanted = ("-O", "mtu", "-O", "staticroutes", "-O", "hostname", "-O", "domain")
        return sh("ip", "netns", "exec", self.guests[guest], *line, *wanted, *options, check=False)

    def fetch(self, guest: str, url: str, *options: str) -> str:
        """Status and body."""
        line = ("curl", "-s", "-m", "5", "-w", " %{http_code}", *options, url)
        body, _, status = sh("ip", "netns", "exec", self.guests[guest], *line, check=False).rpartition(" ")
        return f"{status} {body}"

    def password(self, guest: str, request: str) -> str:
        return self.fetch(guest, "http://10.1.1.1:8080/", "-H", f"DomU_Request: {request}")

    def look_up(self, guest: str, name: str) -> str:
        return sh("ip", "netns", "exec", self.guests[guest], "busybox", "nslookup", name, "10.1.1.1", check=False)


@pytest.fixture(scope="module")
def site(lab):
    """Two tenants with the same addresses, both routers on host-3; a public network with one host on it."""
    host = lab.hosts[2]
    sh("ip", "-n", host.ns, "link", "add", "br-public", "type", "bridge")
    sh("ip", "-n", host.ns, "link", "set", "br-public", "up")
    lab.add_namespace(PUBLIC)
    sh("ip", "-n", host.ns, "link", "add", "public", "type", "veth", "peer", "name", "eth0", "netns", PUBLIC)
    sh("ip", "-n", host.ns, "link", "set", "public", "master", "br-public", "up")
    sh("ip", "-n", PUBLIC, "link", "set", "eth0", "up")
    sh("ip", "-n", PUBLIC, "address", "add", f"{OUTSIDE}/24", "dev", "eth0")
    element = VirtualRouter(VirtualRouterSettings(lab.dir / "routers"), host.switch)
    built = Site(lab, host, element, {}, {})
    views = []
    for tenant, key in (("a", 1001), ("b", 1002)):
        nics = [nic(tenant, "1", "host-1"), nic(tenant, "2", "host-2")]
        built.specs[tenant] = router(tenant, nics)
        views.append(network(tenant, key, [*nics, built.specs[tenant].nic]))
        for one in nics:
            built.guests[one.id[4:]] = lab.add_guest(one.id[4:], one, configured=False)
    lab.apply(views)
    return built


@pytest.fixture(autouse=True)
def running(site):
    for spec in site.specs.values():
        site.apply(spec)


@pytest.fixture
def addressed(site):
    for guest, ns in site.guests.items():
        sh("ip", "-n", ns, "address", "flush", "dev", "eth0")
        sh("ip", "-n", ns, "address", "add", f"10.1.1.1{guest[1]}/24", "dev", "eth0")
        sh("ip", "-n", ns, "route", "replace", "default", "via", "10.1.1.1")
    assert reaches(site.guests["a1"], "10.1.1.1")
    return site.guests


@pytest.mark.parametrize(("guest", "options"), [("a1", ()), ("a2", ("-B",)), ("b1", ())])
def test_a_real_client_gets_its_lease(site, guest, options):
    """With -B the client asks to be answered by broadcast."""
    said = site.ask_dhcp(guest, *options)
    tenant, number = guest
    assert f"event=bound ip=10.1.1.1{number} mask=24 router=10.1.1.1 dns=10.1.1.1 mtu=1458" in said
    assert f"domain={tenant}.example hostname=host{number}" in said
    assert "routes=169.254.169.254/32 10.1.1.1 0.0.0.0/0 10.1.1.1" in said
    assert reaches(site.guests[guest], "10.1.1.1")


def test_a_client_that_is_not_in_the_wanted_state_gets_nothing(site):
    site.apply(replace(site.specs["a"], leases=site.specs["a"].leases[1:]))
    assert "event=bound" not in site.ask_dhcp("a1", "-t", "2", "-T", "1")
    assert "event=bound" in site.ask_dhcp("a2")


def test_an_address_goes_on_to_the_next_guest(site):
    """Although dnsmasq still holds a lease of the first one for hours."""
    first = site.specs["a"].leases[0]
    assert "event=bound ip=10.1.1.11" in site.ask_dhcp("a1")
    heir = lease("a", replace(nic("a", "2", "host-2"), address=first.address))
    site.apply(replace(site.specs["a"], leases=(heir,)))
    assert f"ip={first.address} " in site.ask_dhcp("a2")


def test_names_resolve_both_ways_within_the_tenant(site, addressed):
    assert "Address: 10.1.1.12" in site.look_up("a1", "host2.a.example")
    assert "Address: 10.1.1.1" in site.look_up("a1", "data-server.a.example")
    assert "name = host2.a.example" in site.look_up("a1", "10.1.1.12")
    site.apply(replace(site.specs["b"], nameservers=()))
    assert "Address: 10.1.1.12" in site.look_up("b1", "host2.b.example")
    assert "Address: 10.1.1.12" not in site.look_up("b1", "host2.a.example")


def test_other_names_are_asked_from_the_nameserver(site, addressed):
    with inside(PUBLIC):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((OUTSIDE, 53))
    server.settimeout(5)
    asked = threading.Thread(target=site.look_up, args=("a1", "www.elsewhere.example"))
    asked.start()
    while asked.is_alive():
        question, source = server.recvfrom(512)
        assert b"elsewhere" in question
        assert source[0] == "198.51.100.10"
        server.sendto(question[:2] + b"\x81\x83" + question[4:], source)  # no such name
        asked.join(0.2)
    server.close()


def test_metadata_is_by_source_address(site, addressed):
    base = "http://169.254.169.254/latest/meta-data"
    assert site.fetch("a1", f"{base}/instance-id") == "200 vm-a1"
    assert site.fetch("b1", f"{base}/instance-id") == "200 vm-b1"
    assert site.fetch("a2", "http://10.1.1.1/1.0/meta-data/vm-id") == "200 vm-a2"
    headers = ("-H", "X-Forwarded-For: 10.1.1.12", "-H", "X-Instance-ID: vm-a2", "-H", "Forwarded: for=10.1.1.12")
    assert site.fetch("a1", f"{base}/instance-id", *headers) == "200 vm-a1"


def test_metadata_comes_also_while_the_router_has_forgotten_its_neighbours(site, addressed):
    """It must not ask for them by ARP from the metadata address, which the switch would take for forged."""
    sh("ip", "-n", router_namespace(ROUTERS["a"]), "neigh", "flush", "dev", "eth0")
    assert site.fetch("a1", "http://169.254.169.254/latest/meta-data/vm-id") == "200 vm-a1"


def test_metadata_has_cloudstacks_layout(site, addressed):
    base = "http://169.254.169.254"
    values = {
        "availability-zone": "zone one",
        "cloud-identifier": "CloudStack-{net-a}",
        "instance-id": "vm-a1",
        "local-hostname": "host1",
        "local-ipv4": "10.1.1.11",
        "public-hostname": "198.51.100.10",
        "public-ipv4": "198.51.100.10",
        "public-keys": "key 1\nkey 2",
        "service-offering": "",
        "vm-id": "vm-a1",
    }
    assert site.fetch("a1", f"{base}/latest/meta-data/").split() == ["200", *values]
    for name, value in values.items():
        assert site.fetch("a1", f"{base}/latest/meta-data/{name}") == f"200 {value}"
    assert site.fetch("a1", f"{base}/latest/user-data") == "200 #!/bin/sh\necho a1\n"
    assert site.fetch("a1", f"{base}/latest/").split() == ["200", "meta-data", "user-data"]
    assert site.fetch("a1", f"{base}/").split() == ["200", "latest"]
    assert site.fetch("a1", f"{base}/latest/meta-data/none").startswith("404")
    assert site.fetch("a1", f"{base}/latest/meta-data/../../metadata.json", "--path-as-is").startswith("404")


def test_metadata_follows_the_wanted_state_without_a_restart(site, addressed):
    before = site.daemons(ROUTERS["a"])
    first, *others = site.specs["a"].leases
    site.apply(replace(site.specs["a"], leases=(replace(first, vm_id="vm-new"), *others)))
    assert site.fetch("a1", "http://10.1.1.1/latest/meta-data/vm-id") == "200 vm-new"
    site.apply(replace(site.specs["a"], leases=tuple(others)))
    assert site.fetch("a1", "http://10.1.1.1/latest/meta-data/vm-id").startswith("404")
    assert site.daemons(ROUTERS["a"]) == before


def test_a_password_is_given_until_the_guest_has_saved_it(site, addressed):
    assert site.password("a1", "send_my_password") == "200 secret-a1"
    assert site.password("a1", "send_my_password") == "200 secret-a1"
    assert site.password("a1", "anything") == "200 bad_request"
    assert site.fetch("a1", "http://10.1.1.1:8080/") == "200 bad_request"
    assert site.password("a1", "saved_password") == "200 saved_password"
    assert site.password("a1", "send_my_password") == "200 saved_password"
    assert site.password("a2", "send_my_password") == "200 secret-a2"
    end(site.daemons(ROUTERS["a"])["metadata"])
    site.apply(site.specs["a"])
    assert site.password("a1", "send_my_password") == "200 saved_password"
    first, *others = site.specs["a"].leases
    site.apply(replace(site.specs["a"], leases=(replace(first, password="the next"), *others)))
    assert site.password("a1", "send_my_password") == "200 the next"


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
    first, *others = site.specs["a"].leases
    site.apply(replace(site.specs["a"], leases=(replace(first, hostname="renamed"), *others)))
    assert "Address: 10.1.1.11" in site.look_up("a2", "renamed.a.example")
    assert site.daemons(ROUTERS["a"]) == before
    site.apply(replace(site.specs["a"], domain="other.example"))
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
        sh("ip", "-n", site.host.ns, "link", "del", router_guest_device(ROUTERS["a"]))
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
    site.apply(replace(site.specs["a"], public=moved))
    assert reaches(site.guests["a1"], OUTSIDE)
    assert "198.51.100.11 " in sh("ip", "-n", PUBLIC, "neigh")
    site.apply(replace(site.specs["a"], public=None))
    assert ping(site.guests["a1"], OUTSIDE, wait=0.3) == 0
    assert ping(site.guests["a1"], "10.1.1.1") == 1


def test_a_bad_value_changes_nothing(site, addressed):
    before = site.daemons(ROUTERS["a"])
    with pytest.raises(InvalidViewError):
        site.apply(replace(site.specs["a"], domain="a\nserver=192.0.2.66"))
    assert site.daemons(ROUTERS["a"]) == before
    assert "Address: 10.1.1.12" in site.look_up("a1", "host2.a.example")


def test_a_missing_public_bridge_is_told_and_repaired_by_the_next_apply(site):
    elsewhere = replace(site.specs["a"].public, bridge="br-none")
    with pytest.raises(NetworkError, match="br-none"):
        site.apply(replace(site.specs["a"], public=elsewhere))
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
    assert router_guest_device(ROUTERS["a"]) not in devices
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
