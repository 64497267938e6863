"""What DevCloud's hardware starts with, judged by the emulators and by what Pileus asks of an operator."""

import pytest

from devcloud import hardware
from devcloud.devices.junos.device import Device, Idle
from devcloud.devices.junos.references import check
from devcloud.devices.nitro.server import Idle as Unplugged
from devcloud.devices.nitro.store import Store
from devcloud.paths import Site
from network.elements.srx_config import SrxSettings, lacking


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path, "plt")
    for one in hardware.APPLIANCES:
        hardware._first_start(site, one)
    return site


def test_a_cloud_may_use_them_at_once(site):
    srx, netscaler = (one.state(site) for one in hardware.APPLIANCES)
    committed = Device(srx, Idle()).committed
    check(committed)
    assert lacking(committed, SrxSettings("192.0.2.5", "pileus", "x")) == ""
    held = Store(netscaler, Unplugged()).running
    assert [entry["ipaddress"] for entry in held["nsip"].values()] == [hardware.NETSCALER_PUBLIC]
    assert [entry["gateway"] for entry in held["route"].values()] == ["198.51.100.1"]


def test_passwords_and_keys_stay_and_are_nobody_elses(site):
    def known() -> list[tuple[str, str]]:
        return [(one.password_file(site).read_text(), one.key(site)) for one in hardware.APPLIANCES]

    before = known()
    for one, (password, _) in zip(hardware.APPLIANCES, before, strict=True):
        hardware._first_start(site, one)
        assert password not in " ".join(one.process(site).argv)
        assert one.password_file(site).stat().st_mode & 0o077 == 0
    assert known() == before
    assert len({word for pair in before for word in pair}) == 4


def test_each_has_a_cable_of_its_own():
    assert [one.cable for one in hardware.APPLIANCES] == [2, 3]
    assert len({(one.address, one.mac) for one in hardware.APPLIANCES}) == 2
