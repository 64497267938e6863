"""Remote access again, with real packets through an emulated SRX; and what only a device has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from vici.exception import CommandException

from manager.vpn_certificate import der_of, prove
from network.elements import srx_session
from network.elements.srx_names import name_of
from network.types import RouterSpec
from tests.unit.network import test_vpn
from tests.unit.network.lab import PREFIX, ROUTERS, inside, reaches, sh, sweep
from tests.unit.network.routers import OUTSIDE, router
from tests.unit.network.srx_lab import EmulatedSrx, emulated
from tests.unit.network.test_router_rules import connected, serving, source_seen
from tests.unit.network.test_srx_packets import DEVICE, GUESTS, VLANS, WIRES, wire
from tests.unit.network.test_vpn import (  # noqa: F401 - run here over this module's device
    test_a_closed_vpn_takes_whom_openings_let_in,
    test_a_guest_reaches_the_person,
    test_a_person_reaches_the_guests_and_nobody_sees_what_is_said,
    test_a_removed_user_is_cut_off_and_others_are_not,
)
from tests.unit.network.views import MACS, nic
from tests.unit.network.vpn_sites import CLIENT, END_B, Person, at_home, becomes, remote_access

GUEST = "10.1.1.11"


@dataclass
class VpnSite:
    """As `sites.Site`, of a device: two tenants with the same addresses on two of its VLANs."""

    device: EmulatedSrx
    lab: SimpleNamespace
    host: SimpleNamespace
    guests: dict[str, str]
    specs: dict[str, RouterSpec] = field(default_factory=dict)

    def apply(self, spec: RouterSpec) -> None:
        with inside(DEVICE):
            self.device.element.apply(spec)

    @property
    def element(self) -> VpnSite:
        return self

    def state(self, router_id: str) -> str:
        with inside(DEVICE):
            return self.device.element.state(router_id)


def plug(ns: str, device: str, bridge: str, port: str, mac: str = "") -> None:
    wire(ns, device, WIRES, port, mac)
    sh("ip", "-n", WIRES, "link", "set", port, "master", bridge)


@contextmanager
def wired() -> Iterator[dict[str, str]]:
    """Namespaces of the guests. The public network is a bridge, and so is each VLAN."""
    sweep()
    guests = {name: f"{PREFIX}-srx{name}" for name in GUESTS}
    try:
        for ns in (DEVICE, WIRES, *guests.values()):
            sh("ip", "netns", "add", ns)
            sh("ip", "-n", ns, "link", "set", "lo", "up")
        for bridge in ("br-public", *(f"vlan{vlan}" for vlan in VLANS.values())):
            sh("ip", "-n", WIRES, "link", "add", bridge, "type", "bridge")
            sh("ip", "-n", WIRES, "link", "set", bridge, "addrgenmode", "none", "up")
        sh("ip", "-n", WIRES, "address", "add", f"{OUTSIDE}/24", "dev", "br-public")
        plug(DEVICE, "ge-0-0-0.0", "br-public", "public")
        for tenant, vlan in VLANS.items():
            plug(DEVICE, f"ge-0-0-1.{vlan}", f"vlan{vlan}", f"srx{vlan}")
            for name in (name for name in GUESTS if name[0] == tenant):
                plug(guests[name], "eth0", f"vlan{vlan}", name, MACS[name[1]])
                sh("ip", "-n", guests[name], "address", "add", f"10.1.1.1{name[1]}/24", "dev", "eth0")
                sh("ip", "-n", guests[name], "route", "add", "default", "via", "10.1.1.1")
        yield guests
    finally:
        sweep()


def add_namespace(name: str) -> None:
    sh("ip", "netns", "add", name)
    sh("ip", "-n", name, "link", "set", "lo", "up")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    with wired() as guests, emulated(DEVICE, minute=5.0) as device:
        with inside(DEVICE):
            device.load_base()
        lab = SimpleNamespace(dir=Path(folder), add_namespace=add_namespace)
        built = VpnSite(device, lab, SimpleNamespace(ns=WIRES), guests)
        for tenant, vlan in VLANS.items():
            built.specs[tenant] = router(tenant, [nic(tenant, "1", "host-1"), nic(tenant, "2", "host-2")], vlan=vlan)
            built.apply(built.specs[tenant])
        assert reaches(guests["a1"], "10.1.1.1")
        yield built


@pytest.fixture
def give(pair):
    """A function that gives a tenant a VPN, which it has until another one is given: a change takes a second."""

    def apply(tenant, vpn, **options):
        pair.apply(replace(pair.specs[tenant], vpn=vpn, **options))

    return apply


@pytest.fixture(scope="module")
def other(pair) -> Person:
    """Somebody who comes to tenant b."""
    one = at_home(pair.lab, pair.host.ns, "other", "198.51.100.51", END_B)
    yield one
    one.daemon.end()


def charons(pair) -> list[int]:
    """Processes of the device's gateways."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if str(pair.device.home_password.parent).encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


def test_a_wrong_password_is_refused(pair, person, give):
    test_vpn.test_a_wrong_name_or_password_is_refused(pair, person, give, "ann", "wrong")


def test_two_tenants_with_equal_addresses_do_not_meet(pair, person, other, give):
    proof = prove(END_B, "VPN of b")
    own = {"address": END_B, "certificate": der_of(proof.certificate), "private_key": der_of(proof.private_key)}
    give("a", remote_access("ann"))
    give("b", remote_access("bob", **own))
    assert person.connect("ann", "ann-secret") == other.connect("bob", "bob-secret", proof.authority) == "10.9.0.2"
    assert becomes(lambda: reaches(person.ns, GUEST) and reaches(other.ns, GUEST), True, 30)
    with serving(pair.guests["a1"], 80) as a, serving(pair.guests["b1"], 80) as b:
        assert source_seen(a, person.ns, GUEST, 80) == source_seen(b, other.ns, GUEST, 80) == "10.9.0.2"
        with pytest.raises(CommandException):
            other.connect("ann", "ann-secret", proof.authority)
        assert source_seen(a, person.ns, GUEST, 80) == "10.9.0.2"
        assert connected(other.ns, GUEST, 80) is None


def test_what_is_not_committed_or_not_confirmed_lets_nobody_in(pair, person, give):
    give("a", None)
    give("b", None)
    found = []

    def killed(*_: object) -> None:
        found.append(len(charons(pair)))
        raise KeyboardInterrupt

    for call in ("commit", "confirm"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(srx_session.SrxSession, call, killed)
            with pytest.raises(KeyboardInterrupt):
                give("a", remote_access("ann"))
    assert found == [0, 1]
    assert becomes(lambda: charons(pair), [], 30)
    with pytest.raises(CommandException):
        person.connect("ann", "ann-secret", patience=2)


def test_the_device_has_its_vpn_again_after_its_restart(pair, person, give):
    give("a", remote_access("ann"))
    give("b", None)
    pair.device.stop()
    assert becomes(lambda: charons(pair), [], 30)
    pair.device.start()
    assert person.connect("ann", "ann-secret")
    assert becomes(lambda: reaches(CLIENT, GUEST), True, 30)
    pair.apply(pair.specs["a"])
    assert charons(pair) == []
    with inside(DEVICE), srx_session.conversation(pair.device.settings) as session:
        assert session.certificates(name_of(ROUTERS["a"])) == set()
