"""Hardware devices through the API: looked at before they are there, and let go when nothing is on them."""

from __future__ import annotations

import base64

import pytest

from manager.models import AgentCommandRow, DeviceNetwork, Host, NetscalerLoadBalancer, Network, SrxFirewall
from tests.client import Refused
from tests.unit.api.live_cloud import change, run
from tests.unit.api.live_cloud import rows as rows_of
from tests.unit.workflows.hardware import MACS, SILENT, STRICT, play_devices

KEY = base64.b64encode(bytes(51)).decode()
SRX = {"networkdevicetype": "JuniperSRXFirewall", "username": "root", "password": "secret", "hostkey": KEY}
NETSCALER = {"networkdevicetype": "NetscalerVPXLoadBalancer", "username": "nsroot", "password": "secret"}


@pytest.fixture
def place(api, cloud, monkeypatch):
    """What says where a device is, on a physical network that has the providers."""
    play_devices(monkeypatch)
    for name in ("JuniperSRX", "Netscaler"):
        run(api, cloud, None, "addNetworkServiceProvider", physicalnetworkid=cloud.physical_id, name=name)
    return {"physicalnetworkid": cloud.physical_id, "hostid": cloud.hosts[0], "hostinterface": "eth1"}


def test_life_of_a_firewall(api, cloud, factory, place):
    url = "https://192.0.2.9:8830?publicInterface=ge-0/0/5.0&fwdevicecapacity=3&numretries=2&timeout=20"
    shown = run(api, cloud, None, "addSrxFirewall", url=url, vlan="100-199", **SRX, **place)["srxfirewall"]
    assert shown["fwdevicename"] == "srx-1"
    assert (shown["ipaddress"], shown["publicinterface"], shown["privateinterface"], shown["publiczone"]) == (
        "192.0.2.9", "ge-0/0/5.0", "ge-0/0/1", "untrust",
    )  # fmt: skip
    assert (shown["fwdevicecapacity"], shown["timeout"], shown["vlan"]) == (3, "20", "100-199")
    (row,) = rows_of(factory, SrxFirewall)
    assert (row.mac, row.port, row.password, row.zone_id) == (MACS["srx"], 8830, "secret", cloud.zone_id)
    assert api("listSrxFirewalls", physicalnetworkid=cloud.physical_id)["srxfirewall"][0] == {
        key: value for key, value in shown.items() if key not in ("jobid", "jobstatus")
    }
    one = {"fwdeviceid": shown["fwdeviceid"]}
    changed = run(api, cloud, None, "configureSrxFirewall", fwdevicecapacity=9, **one)["srxfirewall"]
    assert changed["fwdevicecapacity"] == 9
    network = factory(Network, name="netted", account_id=cloud.account_id)
    factory(DeviceNetwork, device_id=row.id, network_id=network.id, kind="srx", vlan=100)
    change(factory, SrxFirewall, row.id, used=2)
    (served,) = api("listSrxFirewallNetworks", **one)["network"]
    assert served["name"] == "netted"
    with pytest.raises(Refused, match=r"431 The device srx-1 serves 2 networks; its capacity cannot be 1"):
        api("configureSrxFirewall", fwdevicecapacity=1, **one)
    with pytest.raises(Refused, match=r"431 The device srx-1 cannot be removed: it serves 2 networks"):
        api("deleteSrxFirewall", **one)
    for command, what in (
        ("deletePhysicalNetwork", {"id": cloud.physical_id}), ("deleteHost", {"id": cloud.hosts[0]}),
    ):  # fmt: skip
        with pytest.raises(Refused, match=r"431 .* cannot be removed"):
            api(command, **what)
    change(factory, SrxFirewall, row.id, used=0)
    assert run(api, cloud, None, "deleteSrxFirewall", **one) == {"success": True}
    assert api("listSrxFirewalls") == {}


def test_life_of_a_load_balancer(api, cloud, factory, place):
    given = {"url": "https://ns.example?lbdevicededicated=true", "hostkey": "AB:" * 31 + "CD"}
    shown = run(api, cloud, None, "addNetscalerLoadBalancer", **given, **NETSCALER, **place)["netscalerloadbalancer"]
    assert (shown["lbdevicecapacity"], shown["lbdevicededicated"], shown["vlan"]) == (50, True, "2-4094")
    (row,) = rows_of(factory, NetscalerLoadBalancer)
    assert (row.port, row.host_key, row.guest_port) == (443, "ab" * 31 + "cd", "1/2")
    one = {"lbdeviceid": row.id}
    changed = run(
        api, cloud, None, "configureNetscalerLoadBalancer", lbdevicededicated=False, lbdevicecapacity=7, **one
    )
    assert changed["netscalerloadbalancer"]["lbdevicededicated"] is False
    for number in (1, 2):
        network = factory(Network, account_id=factory.account(f"a{number}").id)
        factory(DeviceNetwork, device_id=row.id, network_id=network.id, kind="netscaler", vlan=number)
    with pytest.raises(Refused, match=r"431 .* serves networks of 2 accounts; it cannot be dedicated"):
        api("configureNetscalerLoadBalancer", lbdevicededicated=True, **one)
    assert api("listNetscalerLoadBalancerNetworks", **one)["count"] == 2
    assert run(api, cloud, None, "deleteNetscalerLoadBalancer", **one) == {"success": True}
    assert api("listNetscalerLoadBalancers", **one) == {}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"url": "http://192.0.2.9"}, "is not that of a device, such as https://192.0.2.9:830"),
        ({"url": "https://192.0.2.9?publicinterfce=x"}, "has the option publicinterfce; there are fwdevicecapacity"),
        (
            {"url": "https://192.0.2.9?fwdevicecapacity=0"},
            "The fwdevicecapacity 0 of the device is not a number from 1",
        ),
        ({"url": "https://192.0.2.9?publiczone=a%20b"}, "The publiczone a b is not a name of letters"),
        ({"hostinterface": "eth1;reboot"}, "is not the name of an interface"),
        ({"vlan": "200-100"}, "The vlan 200-100 is not a range of VLANs from 2 to 4094"),
        ({"hostkey": "ssh-rsa AAAA"}, "The hostkey is not a public SSH key in base64"),
        ({"networkdevicetype": "Other"}, "Other is none of JuniperSRXFirewall"),
    ],
)
def test_what_cannot_be_a_firewall_is_refused(api, place, given, reason):
    with pytest.raises(Refused, match=f"431 .*{reason}"):
        api("addSrxFirewall", **{"url": "https://192.0.2.9", **SRX, **place, **given})


def test_a_device_that_is_not_as_was_said_leaves_nothing(api, cloud, factory, place):
    for address, reason in ((SILENT, "does not answer on port 830"), (STRICT, "refuses the login of root")):
        job = api("addSrxFirewall", url=f"https://{address}", **SRX, **place)["jobid"]
        cloud.settle()
        ended = api("queryAsyncJobResult", jobid=job)
        assert ended["jobstatus"] == 2
        assert reason in ended["jobresult"]["errortext"]
    assert rows_of(factory, SrxFirewall) == []
    run(api, cloud, None, "addSrxFirewall", url="https://192.0.2.9", **SRX, **place)
    for given, reason in (
        ({"hostinterface": "eth2"}, "The device 192.0.2.9 with port 830 is there already"),
        ({"url": "https://192.0.2.8"}, "Another device is cabled to eth1 of the host h1"),
    ):
        job = api("addSrxFirewall", **{"url": "https://192.0.2.9", **SRX, **place, **given})["jobid"]
        cloud.settle()
        assert reason in api("queryAsyncJobResult", jobid=job)["jobresult"]["errortext"]
    assert len(rows_of(factory, SrxFirewall)) == 1
    assert len(rows_of(factory, AgentCommandRow, name="device.inspect")) == 5


def test_provider_and_host_must_be_ready(api, cloud, factory, place):
    (provider,) = api("listNetworkServiceProviders", name="JuniperSRX")["networkserviceprovider"]
    asked = {"url": "https://192.0.2.9", **SRX, **place}
    run(api, cloud, None, "updateNetworkServiceProvider", id=provider["id"], state="Disabled")
    with pytest.raises(Refused, match=r"431 The provider JuniperSRX of the physical network ph1 is Disabled"):
        api("addSrxFirewall", **asked)
    run(api, cloud, None, "deleteNetworkServiceProvider", id=provider["id"])
    with pytest.raises(Refused, match=r"431 .* has no provider JuniperSRX; addNetworkServiceProvider gives it one"):
        api("addSrxFirewall", **asked)
    run(api, cloud, None, "addNetworkServiceProvider", physicalnetworkid=cloud.physical_id, name="JuniperSRX")
    change(factory, Host, cloud.hosts[0], state="Down")
    with pytest.raises(Refused, match=r"431 The host h1 is Down; it must be Up to look at the device"):
        api("addSrxFirewall", **asked)
