"""The behaviour of a virtual router again, with real packets through an emulated SRX; and what only a device has."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest

from network.elements import srx_session
from network.errors import DeviceRefusedError, DeviceUnreachableError
from network.types import Forwarding, Opening, RouterSpec, StaticNat, Traffic
from tests.unit.network.lab import PREFIX, inside, ping, reaches, sh, sweep
from tests.unit.network.routers import OUTSIDE, revised, router
from tests.unit.network.sites import PUBLIC
from tests.unit.network.srx_lab import EmulatedSrx, emulated
from tests.unit.network.test_router_rules import (  # noqa: F401 - run here over this module's device
    FIRST,
    SECOND,
    WEB,
    changed,
    connected,
    serving,
    source_seen,
    test_a_forwarded_port_is_closed_until_it_is_opened_and_after_it_is_revoked,
    test_a_forwarding_may_be_for_some_sources_only,
    test_an_address_that_moves_to_another_router_is_found_there_at_once,
    test_connections_survive_changes_and_end_with_the_rule_that_allowed_them,
    test_guests_may_leave_unless_a_rule_denies_it,
    test_guests_may_not_leave_unless_a_rule_allows_it,
    test_ports_of_a_range_keep_their_order,
    test_static_nat_holds_both_ways_until_it_is_taken_away,
)
from tests.unit.network.test_virtual_router import (  # noqa: F401 - as above
    test_another_address_is_the_source_nat,
    test_guests_leave_with_the_public_address,
    test_nothing_from_outside_comes_in,
)
from tests.unit.network.views import MACS, nic

pytestmark = pytest.mark.usefixtures("running")

DEVICE, WIRES = f"{PREFIX}-srx", f"{PREFIX}-srxwires"
VLANS = {"a": 100, "b": 200}
GUESTS = ("a1", "a2", "b1")


@dataclass
class SrxSite:
    """A device, two tenants with the same addresses on two of its VLANs, and one host outside."""

    device: EmulatedSrx
    guests: dict[str, str]
    specs: dict[str, RouterSpec] = field(default_factory=dict)

    def apply(self, spec: RouterSpec) -> None:
        with inside(DEVICE):
            self.device.element.apply(spec)

    def remove(self, router_id: str) -> None:
        with inside(DEVICE):
            self.device.element.remove(router_id)


def wire(ns: str, device: str, other: str, port: str, mac: str = "") -> None:
    address = ["address", mac] if mac else []
    sh("ip", "-n", ns, "link", "add", device, *address, "type", "veth", "peer", "name", port, "netns", other)
    for where, end in ((ns, device), (other, port)):
        sh("ip", "-n", where, "link", "set", end, "addrgenmode", "none", "up")


@contextmanager
def wired() -> Iterator[dict[str, str]]:
    """Namespaces of the guests. Each VLAN is a bridge, and a device of its own at the SRX."""
    sweep()
    guests = {name: f"{PREFIX}-srx{name}" for name in GUESTS}
    try:
        for ns in (DEVICE, WIRES, PUBLIC, *guests.values()):
            sh("ip", "netns", "add", ns)
            sh("ip", "-n", ns, "link", "set", "lo", "up")
        wire(DEVICE, "ge-0-0-0.0", PUBLIC, "eth0")
        for address in (f"{OUTSIDE}/24", "198.51.100.200/24"):
            sh("ip", "-n", PUBLIC, "address", "add", address, "dev", "eth0")
        for tenant, vlan in VLANS.items():
            sh("ip", "-n", WIRES, "link", "add", f"vlan{vlan}", "type", "bridge")
            sh("ip", "-n", WIRES, "link", "set", f"vlan{vlan}", "up")
            wire(DEVICE, f"ge-0-0-1.{vlan}", WIRES, f"srx{vlan}")
            sh("ip", "-n", WIRES, "link", "set", f"srx{vlan}", "master", f"vlan{vlan}")
            for name in (name for name in GUESTS if name[0] == tenant):
                wire(guests[name], "eth0", WIRES, name, MACS[name[1]])
                sh("ip", "-n", WIRES, "link", "set", name, "master", f"vlan{vlan}")
        yield guests
    finally:
        sweep()


@pytest.fixture(scope="module")
def site():
    with wired() as guests, emulated(DEVICE, minute=3.0) as device:
        # Connections are made from the namespace of the device.
        with inside(DEVICE):
            device.load_base()
        built = SrxSite(device, guests)
        for tenant, vlan in VLANS.items():
            built.specs[tenant] = router(tenant, [nic(tenant, "1", "host-1"), nic(tenant, "2", "host-2")], vlan=vlan)
        yield built


def test_equal_addresses_of_two_tenants_do_not_meet(site, addressed):
    site.apply(replace(site.specs["b"], addresses=(SECOND,), static_nats=(StaticNat(SECOND, "10.1.1.11"),),
                       openings=(Opening(SECOND, WEB),)))  # fmt: skip
    changed_a = replace(site.specs["a"], addresses=(FIRST,), static_nats=(StaticNat(FIRST, "10.1.1.11"),),
                        openings=(Opening(FIRST, WEB),))  # fmt: skip
    site.apply(changed_a)
    with serving(addressed["a1"], 80) as a, serving(addressed["b1"], 80) as b, serving(PUBLIC, 9500) as outside:
        assert source_seen(a, PUBLIC, FIRST, 80) == OUTSIDE
        assert source_seen(b, PUBLIC, SECOND, 80) == OUTSIDE
        assert source_seen(outside, addressed["a1"], OUTSIDE, 9500) == FIRST
        assert source_seen(outside, addressed["b1"], OUTSIDE, 9500) == SECOND
        # The same ports of the same address at the same time.
        with inside(addressed["a1"]):
            one = socket.socket()
            one.bind(("10.1.1.11", 40000))
            one.connect((OUTSIDE, 9500))
        with inside(addressed["b1"]):
            other = socket.socket()
            other.bind(("10.1.1.11", 40000))
            other.connect((OUTSIDE, 9500))
        accepted = [outside.accept() for _ in range(2)]
        assert {source for _, (source, _) in accepted} == {FIRST, SECOND}
        for each in (one, other, *(served for served, _ in accepted)):
            each.close()
    assert connected(addressed["b1"], "10.1.1.12", 80) is None
    assert connected(PUBLIC, "10.1.1.11", 80) is None


def test_two_addresses_of_one_guest_keep_their_own_openings(site, addressed):
    forwardings = tuple(Forwarding(address, "tcp", 80, 80, "10.1.1.11", 8080) for address in (FIRST, SECOND))
    narrow = replace(WEB, sources=("198.51.100.200/32",))
    changed(site, forwardings=forwardings, openings=(Opening(FIRST, WEB), Opening(SECOND, narrow)))
    with serving(addressed["a1"], 8080) as server:
        assert source_seen(server, PUBLIC, FIRST, 80) == OUTSIDE
        assert source_seen(server, PUBLIC, SECOND, 80) == ""


def test_an_icmp_type_is_let_in_alone(site, addressed):
    nats = (StaticNat(SECOND, "10.1.1.11"),)
    changed(site, static_nats=nats, openings=(Opening(SECOND, Traffic("icmp", icmp_type=13)),))
    assert ping(PUBLIC, SECOND, wait=0.3) == 0
    changed(site, static_nats=nats, openings=(Opening(SECOND, Traffic("icmp", icmp_type=8, icmp_code=0)),))
    assert reaches(PUBLIC, SECOND)


def test_guests_reach_their_own_gateway_only(site, addressed):
    other = revised(site.specs["b"], nic=replace(site.specs["b"].legs[0].nic, address="10.1.1.254"))
    site.apply(other)
    try:
        assert reaches(addressed["a1"], "10.1.1.1")
        assert ping(addressed["a1"], "10.1.1.254", wait=0.3) == 0
    finally:
        site.apply(site.specs["b"])


def test_bytes_are_counted_both_ways(site, addressed):
    site.apply(site.specs["a"])
    assert reaches(addressed["a1"], OUTSIDE)
    with inside(DEVICE):
        before = site.device.element.traffic(site.specs["a"].id)
    assert ping(addressed["a1"], OUTSIDE, count=5, size=1000) == 5
    changed(site)
    with inside(DEVICE):
        after = site.device.element.traffic(site.specs["a"].id)
    assert [5 * 1028 <= new - old < 5 * 1028 + 2000 for old, new in zip(before, after, strict=True)] == [True, True]


def test_a_change_that_nobody_confirms_is_taken_back(site, addressed):
    """As when the driver is killed between its two commits."""
    with serving(addressed["a1"], 80) as server:
        site.apply(site.specs["a"])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(srx_session.SrxSession, "confirm", killed)
            with pytest.raises(KeyboardInterrupt):
                changed(site, static_nats=(StaticNat(FIRST, "10.1.1.11"),), openings=(Opening(FIRST, WEB),))
        assert source_seen(server, PUBLIC, FIRST, 80) == OUTSIDE
        time.sleep(3.5)
        assert source_seen(server, PUBLIC, FIRST, 80) == ""
    assert reaches(addressed["a1"], OUTSIDE)


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_refused_change_forwards_as_before(site, addressed):
    changed(site, static_nats=(StaticNat(FIRST, "10.1.1.11"),), openings=(Opening(FIRST, WEB),))
    other = replace(site.specs["b"], addresses=(FIRST,), static_nats=(StaticNat(FIRST, "10.1.1.11"),),
                    openings=(Opening(FIRST, WEB),))  # fmt: skip
    with pytest.raises(DeviceRefusedError, match=f"{FIRST} leads to two routing instances"):
        site.apply(other)
    with serving(addressed["a1"], 80) as server:
        assert source_seen(server, PUBLIC, FIRST, 80) == OUTSIDE


def test_what_a_network_has_otherwise_is_told(site, addressed):
    spec = changed(site, static_nats=(StaticNat(FIRST, "10.1.1.11"),), openings=(Opening(FIRST, WEB),))
    other = revised(spec, openings=(), static_nats=(StaticNat(SECOND, "10.1.1.11"),))
    with inside(DEVICE):
        assert site.device.element.differences(spec) == ()
        found = site.device.element.differences(other)
        assert site.device.element.differences(spec) == ()
    assert {line[0] for line in found} >= {"+", "-"}


def test_a_removed_network_is_cut_off_and_spares_the_neighbour(site, addressed):
    changed(site, static_nats=(StaticNat(FIRST, "10.1.1.11"),), openings=(Opening(FIRST, WEB),))
    site.remove(site.specs["a"].id)
    site.remove(site.specs["a"].id)
    with serving(addressed["a1"], 80) as server:
        assert source_seen(server, PUBLIC, FIRST, 80) == ""
    assert ping(addressed["a1"], OUTSIDE, wait=0.3) == 0
    assert ping(addressed["a1"], "10.1.1.1", wait=0.3) == 0
    assert reaches(addressed["b1"], OUTSIDE)
    with inside(DEVICE):
        assert site.device.element.list() == [site.specs["b"].id]


def test_the_device_forwards_as_before_after_its_restart(site, addressed):
    changed(site, static_nats=(StaticNat(FIRST, "10.1.1.11"),), openings=(Opening(FIRST, WEB),))
    site.device.stop()
    with pytest.raises(DeviceUnreachableError) as caught:
        site.apply(site.specs["a"])
    assert caught.value.retryable
    site.device.start()
    with serving(addressed["a1"], 80) as server:
        assert source_seen(server, PUBLIC, FIRST, 80) == OUTSIDE
