"""Remote access in the SRX driver's configuration, and the driver against an emulated device without packets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from devcloud.devices.junos import load, references
from devcloud.devices.junos.encrypted import plain
from devcloud.devices.junos.errors import RpcError
from devcloud.devices.junos.layout import layout_of
from devcloud.devices.junos.pki import Pki
from devcloud.devices.junos.remote_access import gateways_of
from manager.vpn_certificate import der_of, prove
from network.elements import srx_session
from network.elements.junos_secret import hidden
from network.elements.junos_tree import change
from network.elements.srx_config import held, wanted
from network.elements.srx_names import name_of
from network.errors import DeviceRefusedError, InvalidViewError
from network.types import Opening, RouterSpec, Traffic
from tests.unit.network.srx_lab import BASE, EmulatedSrx, emulated
from tests.unit.network.test_srx_config import OTHER, SETTINGS, SPEC, text
from tests.unit.network.vpn_sites import END_A, END_B, remote_access, tunnel

OPEN = replace(SPEC, vpn=remote_access("ann", "bob"))
NAME = name_of(SPEC.id)
PUBLIC_ZONE = """<security><zones><security-zone><name>untrust</name><interfaces><name>ge-0/0/0.0</name>{}
</interfaces></security-zone></zones></security>"""
IKE = "<host-inbound-traffic><system-services><name>ike</name></system-services></host-inbound-traffic>"


@pytest.fixture(scope="module")
def running():
    with emulated(minute=2.0) as device:
        device.load_base()
        yield device


@pytest.fixture
def device(running) -> EmulatedSrx:
    yield running
    running.element.remove(SPEC.id)


def certificates(device) -> set[str]:
    with srx_session.conversation(device.settings) as session:
        return session.certificates(NAME)


def put(device, inner: str) -> None:
    device.load(f"<configuration>{inner}</configuration>")


def test_a_device_is_told_once_and_forgets_all(device, monkeypatch):
    device.element.apply(SPEC)
    device.element.apply(OPEN)
    assert "-secret" not in text(device)
    assert len(certificates(device)) == 1
    monkeypatch.setattr(srx_session.SrxSession, "commit", lambda *_: pytest.fail("nothing differs"))
    device.element.apply(OPEN)
    monkeypatch.undo()
    proof = prove(END_A, "another one")
    renewed = {"certificate": der_of(proof.certificate), "private_key": der_of(proof.private_key)}
    device.element.apply(replace(SPEC, vpn=remote_access("ann", **renewed)))
    assert len(certificates(device)) == 1
    device.element.apply(SPEC)
    assert change(held(device.configured(), SPEC.id, SETTINGS), wanted(SPEC, SETTINGS)) is None
    assert not [word for word in ("<ipsec>", "<gateway>", "<profile>", "st0.") if word in text(device)]
    assert len(device.configured().findall("interfaces/interface/unit/family/inet/address")) == 2
    assert certificates(device) == set()


def test_a_driver_that_was_killed_leaves_no_certificate_for_ever(device, monkeypatch):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(srx_session.SrxSession, "load", killed)
    with pytest.raises(KeyboardInterrupt):
        device.element.apply(OPEN)
    monkeypatch.undo()
    assert len(certificates(device)) == 1
    device.element.apply(OPEN)
    monkeypatch.setattr(srx_session.SrxSession, "forget_certificate", killed)
    with pytest.raises(KeyboardInterrupt):
        device.element.remove(SPEC.id)
    monkeypatch.undo()
    device.element.remove(SPEC.id)
    assert certificates(device) == set()


def test_a_device_that_takes_no_ike_is_refused_and_left_alone(device):
    device.element.apply(SPEC)
    before = text(device)
    put(device, PUBLIC_ZONE.format('<host-inbound-traffic delete="delete"/>'))
    try:
        with pytest.raises(DeviceRefusedError, match=r"no system service ike in host-inbound-traffic of ge-0/0/0\.0"):
            device.element.apply(OPEN)
        with pytest.raises(DeviceRefusedError, match="no system service ike"):
            device.element.inspect()
    finally:
        put(device, PUBLIC_ZONE.format(IKE))
    assert sorted(before) == sorted(text(device))


def test_tunnels_to_sites_are_refused():
    with pytest.raises(InvalidViewError, match="a device has remote access alone"):
        wanted(replace(SPEC, vpn=tunnel("a")), SETTINGS)


def test_passwords_are_told_as_the_device_shows_them():
    assert plain("$9$LbHX-wg4Z") == "lc"
    for secret in ("x", "Ann-secret=1@+._", "a" * 32):
        assert plain(hidden(secret)) == secret
        assert hidden(secret) == hidden(secret)


def loaded(found: etree._Element, spec: RouterSpec) -> etree._Element:
    """The configuration of a device when it has taken the network's change."""
    edit = change(held(found, spec.id, SETTINGS), wanted(spec, SETTINGS))
    return load.load(found, edit, "replace")


def test_who_is_not_let_in_any_more_is_shut_out_by_what_stands_last():
    """The device puts new rules last, and the first that fits holds."""
    closed = replace(SPEC, vpn=remote_access("ann", open_to_all=False))
    configuration = load.load(load.empty(), etree.fromstring(BASE))
    for sources in (("192.0.2.1/32",), ("192.0.2.1/32", "192.0.2.2/32"), ("192.0.2.2/32",), ()):
        ports = [Traffic("udp", 500, 4500, sources=(one,)) for one in sources]
        openings = tuple(Opening(END_A, traffic) for traffic in ports)
        configuration = loaded(configuration, replace(closed, openings=openings))
        references.check(configuration)
        found = [
            (rule.findtext("dest-nat-rule-match/source-address"), rule.find("then/destination-nat/off") is not None)
            for rule in configuration.findall("security/nat/destination/rule-set/rule")
        ]
        assert sorted(found[:-2], key=str) == sorted([(one, True) for one in sources] * 2, key=str)
        assert found[-2:] == [(None, False)] * 2


WRONG = [
    ("security/ike/gateway/ike-policy", "nothing", "IKE policy nothing is not defined"),
    ("security/ike/gateway/aaa/access-profile/name", "nothing", "Access profile nothing is not defined"),
    ("security/ike/gateway/local-address", "198.51.100.77", "198.51.100.77 is not configured on ge-0/0/0.0"),
    ("security/ike/gateway/external-interface", "ge-0/0/7.0", "ge-0/0/7.0 must be configured under interfaces"),
    ("security/ike/policy/certificate/local-certificate", "other", "Local certificate other is not loaded"),
    ("security/ike/policy/proposals", "nothing", "Proposal nothing is not defined"),
    ("security/ipsec/vpn/ike/gateway", "nothing", "gateway nothing is not defined"),
    ("security/ipsec/vpn/bind-interface", "st0.9", "Tunnel interface st0.9 must be configured"),
    ("access/profile/address-assignment/pool", "nothing", "Address pool nothing is not defined"),
]


@pytest.mark.parametrize(("path", "value", "reason"), WRONG)
def test_what_refers_to_nothing_is_refused_at_commit(tmp_path, path, value, reason):
    configuration = loaded(load.load(load.empty(), etree.fromstring(BASE)), OPEN)
    references.check(configuration)
    configuration.find(path).text = value
    with pytest.raises(RpcError, match=reason):
        check(configuration, tmp_path)


def check(configuration: etree._Element, folder: Path) -> None:
    """As a commit looks at it."""
    references.check(configuration)
    Pki(folder).check(configuration)


@pytest.mark.parametrize(
    ("path", "value"),
    [("security/ike/proposal/dh-group", "group9"), ("access/profile/client/firewall-user/password", "$9$x")],
)
def test_values_that_do_not_fit_are_refused(path, value):
    configuration = loaded(load.empty(), OPEN)
    configuration.find(path).text = value
    with pytest.raises(RpcError, match="invalid value"):
        load.load(load.empty(), configuration)


def test_two_networks_have_vpns_beside_each_other():
    base = load.load(load.empty(), etree.fromstring(BASE))
    both = loaded(loaded(base, OPEN), replace(OTHER, vpn=remote_access("eve", address=END_B)))
    references.check(both)
    assert len(gateways_of(both, layout_of(both))) == 2
    alone = load.load(both, change(held(both, SPEC.id, SETTINGS), {}), "replace")
    references.check(alone)
    (left,) = gateways_of(alone, layout_of(alone))
    assert (left.address, left.users, left.near) == (END_B, (("eve", "eve-secret"),), ("10.1.1.0/24",))
    assert (left.first, left.last, left.is_open) == ("10.9.0.2", "10.9.0.9", True)
    assert left.ike[0] == "aes256-sha256-modp2048"
    assert left.esp == ("aes256gcm16", "aes128gcm16", "aes256-sha256", "aes256-sha1")
