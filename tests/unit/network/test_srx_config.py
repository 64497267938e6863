"""The SRX driver's configuration as a pure function, and the driver against an emulated device without packets."""

from __future__ import annotations

from dataclasses import replace

import asyncssh
import pytest
from lxml import etree
from ncclient.operations import RPCError

from network.elements import srx_session
from network.elements.address_sets import common
from network.elements.srx import Srx
from network.elements.srx_config import SrxSettings, name_of, wanted
from network.elements.srx_session import conversation
from network.errors import DeviceBusyError, DeviceRefusedError, DeviceUnreachableError, InvalidViewError
from network.hardware import DeviceFacts
from network.types import Forwarding, Opening, StaticNat, Traffic
from tests.unit.network.routers import revised, router
from tests.unit.network.srx_lab import EmulatedSrx, emulated
from tests.unit.network.views import nic

FIRST, SECOND = "198.51.100.31", "198.51.100.32"
SETTINGS = SrxSettings("192.0.2.9", "u", "p")
SPEC = router("a", [nic("a", "1", "host-1")], vlan=100, addresses=(FIRST, SECOND))
OTHER = router("b", [nic("b", "1", "host-1")], vlan=200)
WEB = Traffic("tcp", 80, 80)
FULL = revised(
    SPEC,
    forwardings=(Forwarding(FIRST, "tcp", 80, 80, "10.1.1.11", 8080),),
    static_nats=(StaticNat(SECOND, "10.1.1.12"),),
    openings=(Opening(FIRST, WEB), Opening(SECOND, Traffic("icmp", icmp_type=8, sources=("198.51.100.0/24",)))),
    egress=(Traffic("tcp", 25, 25), Traffic("udp", destinations=("203.0.113.0/24",))),
)


@pytest.fixture(scope="module")
def running():
    with emulated(minute=2.0) as device:
        device.load_base()
        yield device


@pytest.fixture
def device(running) -> EmulatedSrx:
    yield running
    for spec in (SPEC, OTHER):
        running.element.remove(spec.id)


def text(device: EmulatedSrx) -> str:
    return etree.tostring(device.configured(), encoding="unicode")


def rules(spec) -> list[tuple]:
    """Sources, ports and target of each translation of destinations."""
    found, pools = [], {}
    for (_, key), element in wanted(spec, SETTINGS).items():
        if element.tag == "pool" and element.find("address/ipaddr") is not None:
            pools[key[0]] = (element.findtext("address/ipaddr"), element.findtext("address/port"))
    for element in wanted(spec, SETTINGS).values():
        match = element.find("dest-nat-rule-match")
        if match is not None:
            sources = [one.text for one in match.findall("source-address")]
            ports = match.findtext("destination-port/low"), match.findtext("destination-port/to/high")
            found.append((sources, *ports, *pools[element.findtext("then/destination-nat/pool/pool-name")]))
    return sorted(found, key=repr)


def test_an_opening_and_a_forwarding_meet():
    forwarding = Forwarding(FIRST, "tcp", 80, 90, "10.1.1.11", 80, sources=("10.0.0.0/8", "192.0.2.0/24"))
    opening = Opening(FIRST, Traffic("tcp", 85, 100, sources=("10.9.0.0/16", "192.0.0.0/16")))
    spec = revised(SPEC, forwardings=(forwarding,), openings=(opening,))
    assert rules(spec) == [(["10.9.0.0/16", "192.0.2.0/24"], "85", "90", "10.1.1.11/32", None)]
    for other in (Traffic("udp", 80, 90), Traffic("tcp", 91, 99), Traffic("tcp", 80, 90, sources=("172.16.0.0/12",))):
        assert rules(replace(spec, openings=(Opening(FIRST, other),))) == []
    assert rules(replace(spec, openings=(Opening(SECOND, opening.traffic),))) == []


def test_ports_that_become_others_are_single_rules():
    spec = replace(SPEC, forwardings=(Forwarding(FIRST, "udp", 100, 102, "10.1.1.11", 7000),),
                   openings=(Opening(FIRST, Traffic("all")),))  # fmt: skip
    assert [(low, port) for _, low, _, _, port in rules(spec)] == [("100", "7000"), ("101", "7001"), ("102", "7002")]
    with pytest.raises(InvalidViewError, match="at most 256 ports"):
        wanted(replace(spec, forwardings=(Forwarding(FIRST, "udp", 100, 400, "10.1.1.11", 7000),)), SETTINGS)


@pytest.mark.parametrize(
    ("some", "others", "both"),
    [
        ((), (), ()),
        ((), ("10.0.0.0/8",), ("10.0.0.0/8",)),
        (("0.0.0.0/0",), ("10.0.0.0/8", "0.0.0.0/0"), ()),
        (("10.0.0.0/8",), ("10.1.0.0/16", "11.0.0.0/8"), ("10.1.0.0/16",)),
        (("10.0.0.0/8",), ("11.0.0.0/8",), None),
    ],
)
def test_networks_that_lie_in_both(some, others, both):
    assert common(some, others) == common(others, some) == both


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"vlan": 0}, "no VLAN"),
        ({"domain": "a\nb"}, "control character"),
        ({"static_nats": (StaticNat(FIRST, "10.1.1.12"),),
          "forwardings": (Forwarding(FIRST, "tcp", 80, 80, "10.1.1.11", 80),)}, "both a static NAT and forwarded"),
        ({"openings": (Opening("203.0.113.9", WEB),)}, "not one of its addresses"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_the_device_is_asked(change, reason):
    with pytest.raises(InvalidViewError, match=reason):
        Srx(SETTINGS).apply(revised(SPEC, **change))


def test_a_network_comes_and_goes_without_a_trace(device):
    before = text(device)
    device.element.apply(FULL)
    assert (device.element.list(), device.element.state(SPEC.id)) == ([SPEC.id], "running")
    device.element.remove(SPEC.id)
    device.element.remove(SPEC.id)
    assert (device.element.list(), device.element.state(SPEC.id)) == ([], "absent")
    assert text(device) == before


def test_applying_again_commits_nothing(device, monkeypatch):
    device.element.apply(FULL)
    monkeypatch.setattr(srx_session.SrxSession, "commit", None)
    device.element.apply(FULL)


def test_each_state_is_reached_from_each(device):
    device.element.apply(OTHER)
    device.element.apply(SPEC)
    plain = sorted(device.configured().xpath("//*[starts-with(local-name(), 'name')]/text()"))
    for spec in (
        FULL,
        revised(FULL, egress_open=False),
        revised(FULL, static_nats=(), openings=FULL.openings[:1]),
        SPEC,
    ):
        device.element.apply(spec)
    assert sorted(device.configured().xpath("//*[starts-with(local-name(), 'name')]/text()")) == plain


def test_what_others_configured_is_left_alone(device):
    zone = "<security><zones><security-zone><name>office</name></security-zone></zones></security>"
    own = f"<configuration>{zone}</configuration>"
    device.load(own)
    device.element.apply(FULL)
    device.element.remove(SPEC.id)
    assert "<name>office</name>" in text(device)
    device.load(own.replace("<security-zone>", '<security-zone delete="delete">'))


def test_a_vlan_that_somebody_has_is_refused(device):
    device.element.apply(SPEC)
    with pytest.raises(InvalidViewError, match="VLAN 100"):
        device.element.apply(revised(OTHER, vlan=100))
    assert device.element.list() == [SPEC.id]


def test_a_refused_commit_changes_nothing_and_tells_the_devices_reason(device):
    before = text(device)
    elsewhere = Srx(replace(device.settings, public_zone="nowhere"))
    with pytest.raises(DeviceRefusedError, match="Zone nowhere is not defined"):
        elsewhere.apply(SPEC)
    assert text(device) == before


def test_a_locked_device_is_busy(device):
    with srx_session.conversation(device.settings) as other:
        other._ask(etree.fromstring("<lock-configuration/>"))
        with pytest.raises(DeviceBusyError) as caught:
            device.element.apply(SPEC)
    assert caught.value.retryable
    device.element.apply(SPEC)


@pytest.mark.parametrize("call", ["load", "commit"])
def test_a_driver_that_is_killed_leaves_the_device_as_it_was(device, monkeypatch, call):
    before = text(device)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(srx_session.SrxSession, call, killed)
    with pytest.raises(KeyboardInterrupt):
        device.element.apply(FULL)
    monkeypatch.undo()
    assert text(device) == before


def test_a_wrong_login_and_a_device_that_is_away(running):
    with pytest.raises(DeviceRefusedError, match="refuses the login of pileus"):
        Srx(replace(running.settings, password="wrong")).list()
    with pytest.raises(DeviceUnreachableError) as caught:
        Srx(replace(running.settings, port=1)).list()
    assert caught.value.retryable


def test_a_pinned_host_key_is_the_only_one_believed(running):
    own, other = asyncssh.read_private_key(str(running.key_file)), asyncssh.generate_private_key("ssh-ed25519")
    pinned = [replace(running.settings, host_key=key.export_public_key().decode().split()[1]) for key in (own, other)]
    assert Srx(pinned[0]).system()["os-name"] == "junos"
    with pytest.raises(DeviceUnreachableError):
        Srx(pinned[1]).system()


def test_a_device_is_inspected_with_what_its_operator_configured(running):
    facts = running.element.inspect()
    assert facts == DeviceFacts("4c:96:14:00:00:01", "srx-1", "vsrx", "25.4R1.12")
    for wrong, said in (
        ({"guest_port": "ge-0/0/0"}, "has no interface ge-0/0/0 with vlan-tagging"),
        ({"public_zone": "dmz"}, "has no security zone dmz"),
        ({"public_interface": "ge-0/0/5.0"}, "has no interface ge-0/0/5.0 in its security zone untrust"),
    ):
        with pytest.raises(DeviceRefusedError, match=said):
            Srx(replace(running.settings, **wrong)).inspect()
    with conversation(running.settings) as session, pytest.raises(RPCError, match="ge-0/0/9 not found"):
        session.interface("ge-0/0/9")


def test_names_fit_the_device():
    assert len(name_of(SPEC.id)) == 15
    assert all(
        len(part) <= 31 for (place, key) in wanted(FULL, SETTINGS) for part in key if place.tag in ("pool", "rule")
    )
    assert "'p'" not in repr(SETTINGS)
