"""The NetScaler driver against an emulated device, without packets; and the device by its own protocol."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from network.balancing import Balancer, Certificate, HealthCheck, Member, Stickiness
from network.elements import netscaler
from network.elements.netscaler import Netscaler
from network.elements.netscaler_config import KINDS, server_of, wanted
from network.elements.nitro import Nitro, NitroRefusedError, conversation
from network.errors import DeviceRefusedError, DeviceUnreachableError, InvalidViewError
from network.hardware import BalancedNetwork
from network.types import Opening, Traffic
from tests.unit.network.netscaler_lab import PASSWORD, emulated

VIP = "198.51.100.31"
MEMBERS = (Member("m1", "10.1.1.11"), Member("m2", "10.1.1.12"))
WEB = Balancer("lb-web", VIP, 80, 8080, members=MEMBERS)
CERTIFICATE = Certificate("c-1", "CERTIFICATE", "KEY", "CHAIN")
SECURE = Balancer("lb-tls", VIP, 443, 8080, protocol="ssl", members=MEMBERS, certificate=CERTIFICATE)
ALL = (Opening(VIP, Traffic("tcp", 1, 65535)),)
NETWORK = BalancedNetwork("net-a", 100, "10.1.1.2", "10.1.1.0/24", (WEB, SECURE), ALL)
OTHER = BalancedNetwork("net-b", 200, "10.1.1.2", "10.1.1.0/24")

SAME = replace(NETWORK, id="net-c", vlan=300, balancers=tuple(
    replace(one, id=f"{one.id}-c", address="198.51.100.32") for one in (WEB, SECURE)
), openings=(Opening("198.51.100.32", Traffic("tcp", 1, 65535)),))  # fmt: skip


@pytest.fixture(scope="module")
def running():
    with emulated() as device:
        yield device


@pytest.fixture
def device(running):
    yield running
    for network in (NETWORK, OTHER, SAME):
        running.element.remove(network.id)


def resources(device) -> dict[str, list]:
    """All that the device has, whoever made it."""
    kinds = (
        "vlan",
        "nsip",
        "nstrafficdomain",
        "nstrafficdomain_vlan_binding",
        "vlan_nsip_binding",
        "server",
        "service",
        "lbmonitor",
        "lbvserver",
        "sslcertkey",
        "systemfile",
    )
    kinds += (
        "rewriteaction",
        "rewritepolicy",
        "lbvserver_rewritepolicy_binding",
        "lbvserver_service_binding",
        "service_lbmonitor_binding",
        "sslvserver_sslcertkey_binding",
    )
    with conversation(device.settings) as nitro:
        return {kind: sorted(json.dumps(one, sort_keys=True) for one in nitro.every(kind)) for kind in kinds}


def counts(device) -> dict[str, int]:
    return {kind: len(found) for kind, found in resources(device).items() if found}


class Recorder(Nitro):
    """Counts what changes the device, and refuses from the given call on."""

    calls: tuple[str, ...] = ()
    refuses_at = -1

    def _call(self, method, path, content=None):
        if method != "GET" and "log" not in path:
            if len(Recorder.calls) == Recorder.refuses_at:
                Recorder.refuses_at = -1
                raise NitroRefusedError("The device refused: out of memory.", 4)
            Recorder.calls += (f"{method} {path}",)
        return super()._call(method, path, content)


@pytest.fixture
def recorded(monkeypatch):
    monkeypatch.setattr("network.elements.nitro.Nitro", Recorder)
    Recorder.calls, Recorder.refuses_at = (), -1
    return Recorder


def test_a_network_is_made_changed_and_removed(device):
    before = resources(device)
    device.element.apply(NETWORK)
    assert counts(device) == {
        "vlan": 1, "nsip": 1, "nstrafficdomain": 1, "nstrafficdomain_vlan_binding": 1, "vlan_nsip_binding": 1,
        "rewriteaction": 2, "rewritepolicy": 2, "lbvserver_rewritepolicy_binding": 2,
        "server": 2, "service": 2, "lbmonitor": 1, "lbvserver": 2, "sslcertkey": 1,
        "systemfile": 2,
        "lbvserver_service_binding": 4, "service_lbmonitor_binding": 2, "sslvserver_sslcertkey_binding": 1,
    }  # fmt: skip
    device.element.apply(replace(NETWORK, balancers=(replace(WEB, members=MEMBERS[:1]),)))
    assert counts(device) == {
        "vlan": 1, "nsip": 1, "nstrafficdomain": 1, "nstrafficdomain_vlan_binding": 1, "vlan_nsip_binding": 1,
        "server": 1, "service": 1, "lbmonitor": 1, "lbvserver": 1,
        "lbvserver_service_binding": 1, "service_lbmonitor_binding": 1,
    }  # fmt: skip
    device.element.remove(NETWORK.id)
    device.element.remove(NETWORK.id)
    assert resources(device) == before


def test_applying_again_changes_nothing(device, recorded):
    device.element.apply(NETWORK)
    assert recorded.calls
    recorded.calls = ()
    device.element.apply(NETWORK)
    assert recorded.calls == ()


def test_what_can_be_updated_is_not_made_anew(device, recorded):
    device.element.apply(NETWORK)
    recorded.calls = ()
    narrow = (Opening(VIP, Traffic("tcp", 80, 80, sources=("203.0.113.0/24",))), *ALL[1:])
    changed = replace(WEB, algorithm="leastconn", stickiness=Stickiness("SourceBased", expiry=600))
    device.element.apply(replace(NETWORK, balancers=(changed,), openings=narrow))
    assert "PUT config/lbvserver" in recorded.calls
    assert "POST config/lbvserver" not in recorded.calls
    with conversation(device.settings) as nitro:
        (found,) = nitro.every("lbvserver")
    assert (found["lbmethod"], found["persistencetype"], found["timeout"]) == ("LEASTCONNECTION", "SOURCEIP", 10)
    assert found["listenpolicy"] == "CLIENT.IP.SRC.IN_SUBNET(203.0.113.0/24)"


def test_another_port_makes_a_new_server_with_all_its_members(device):
    device.element.apply(NETWORK)
    device.element.apply(replace(NETWORK, balancers=(replace(WEB, port=81), SECURE)))
    with conversation(device.settings) as nitro:
        name = server_of(NETWORK.id, WEB.id)
        assert len([one for one in nitro.every("lbvserver_service_binding") if one["name"] == name]) == 2
        assert {one["port"] for one in nitro.every("lbvserver")} == {81, 443}


@pytest.mark.parametrize("call", [0, 9, 13, 15])
def test_a_refusal_anywhere_puts_all_back(device, recorded, call):
    device.element.apply(replace(NETWORK, balancers=(replace(WEB, port=81),)))
    before = resources(device)
    recorded.calls, recorded.refuses_at = (), call
    with pytest.raises(DeviceRefusedError, match="out of memory"):
        device.element.apply(NETWORK)
    assert resources(device) == before


def test_a_refused_change_of_a_certificate_keeps_the_old_one(device, recorded):
    device.element.apply(NETWORK)
    before = resources(device)
    recorded.calls, recorded.refuses_at = (), 4
    with pytest.raises(DeviceRefusedError, match="out of memory"):
        device.element.apply(replace(NETWORK, balancers=(replace(SECURE, certificate=replace(CERTIFICATE, key="K2")),)))
    assert resources(device) == before


@pytest.mark.parametrize("kinds", [3, 5, 7, 14])
def test_what_a_killed_driver_left_is_completed(device, monkeypatch, kinds):
    whole, reached = netscaler._make, {kind.name for kind in KINDS[:kinds]}

    def killed(nitro, held, resources):
        whole(nitro, held, {key: content for key, content in resources.items() if key[0] in reached})
        raise KeyboardInterrupt

    monkeypatch.setattr(netscaler, "_make", killed)
    with pytest.raises(KeyboardInterrupt):
        device.element.apply(NETWORK)
    monkeypatch.undo()
    device.element.apply(NETWORK)
    assert counts(device)["lbvserver_service_binding"] == 4


def test_neighbours_with_the_same_addresses_are_spared(device):
    before = resources(device)
    device.element.apply(NETWORK)
    alone = resources(device)
    device.element.apply(SAME)
    assert counts(device)["service"] == 4
    assert len(device.element.list()) == 2
    device.element.remove(SAME.id)
    assert resources(device) == alone
    device.element.apply(OTHER)
    device.element.remove(NETWORK.id)
    assert len(device.element.list()) == 1
    with pytest.raises(InvalidViewError, match="VLAN 200"):
        device.element.apply(replace(NETWORK, vlan=200))
    device.element.remove(OTHER.id)
    assert resources(device) == before


def test_what_somebody_changed_is_told_and_left(device):
    assert {line[0] for line in device.element.differences(NETWORK)} == {"-"}
    device.element.apply(NETWORK)
    assert device.element.differences(NETWORK) == ()
    name = server_of(NETWORK.id, WEB.id)
    with conversation(device.settings) as nitro:
        nitro.add("server", {"name": f"{name}-x", "ipaddress": "10.1.1.99", "td": 100})
        nitro.update("lbvserver", {"name": name, "lbmethod": "LEASTCONNECTION"})
        (bound, *_) = [one for one in nitro.every("lbvserver_service_binding") if one["name"] == name]
        nitro.delete("lbvserver_service_binding", name, {"servicename": bound["servicename"]})
    changed = resources(device)
    assert device.element.differences(NETWORK) == (
        f"+server {name}-x",
        f"-lbvserver_service_binding {name} {bound['servicename']}",
        f"~lbvserver {name}",
    )
    assert resources(device) == changed


def test_a_traffic_domain_of_somebody_else_is_not_taken(device):
    with conversation(device.settings) as nitro:
        nitro.add("nstrafficdomain", {"td": 100, "aliasname": "operator"})
        before = resources(device)
        with pytest.raises(InvalidViewError, match="The traffic domain 100 of network net-a is already used"):
            device.element.apply(NETWORK)
        assert resources(device) == before
        nitro.delete("nstrafficdomain", "100")


def test_a_network_without_a_traffic_domain_is_brought_into_its_own(device):
    """As a device holds it that was configured before networks were traffic domains."""
    device.element.apply(NETWORK)
    whole = resources(device)
    device.element.remove(NETWORK.id)
    with conversation(device.settings) as nitro:
        for (kind, _), content in wanted(NETWORK, "1/2").items():
            if not kind.startswith("nstrafficdomain"):
                nitro.add(kind, {name: value for name, value in content.items() if name != "td"})
    assert {json.loads(one)["td"] for kind in ("nsip", "server", "service") for one in resources(device)[kind]} == {0}
    device.element.apply(NETWORK)
    assert resources(device) == whole


def test_the_device_keeps_traffic_domains_apart(device):
    with conversation(device.settings) as nitro:

        def refused(kind: str, content: dict, code: int) -> None:
            with pytest.raises(NitroRefusedError) as caught:
                nitro.add(kind, content) if content else nitro.delete(*kind.split())
            assert caught.value.code == code

        nitro.add("vlan", {"id": 300})
        refused("nstrafficdomain_vlan_binding", {"td": 3, "vlan": 300}, 258)
        for td in (3, 4):
            nitro.add("nstrafficdomain", {"td": td})
        nitro.add("nstrafficdomain_vlan_binding", {"td": 3, "vlan": 300})
        refused("nstrafficdomain_vlan_binding", {"td": 4, "vlan": 300}, 257)
        leg = {"ipaddress": "10.1.1.2", "netmask": "255.255.255.0"}
        for td in (3, 4):
            nitro.add("nsip", {**leg, "td": td})
        refused("nsip", {**leg, "td": 5}, 258)
        refused("vlan_nsip_binding", {**leg, "id": 300, "td": 4}, 257)
        refused("vlan_nsip_binding", {**leg, "id": 300}, 258)
        nitro.add("vlan_nsip_binding", {**leg, "id": 300, "td": 3})
        refused("nstrafficdomain 3", {}, 257)
        nitro.add("server", {"name": "s", "ipaddress": "10.1.1.11", "td": 3})
        refused("service", {"name": "v", "servername": "s", "servicetype": "TCP", "port": 80}, 257)
        for td in (3, 4):
            nitro.add("service", {"name": f"v{td}", "ip": "10.1.1.11", "servicetype": "TCP", "port": 80, "td": td})
        nitro.add("lbvserver", {"name": "l", "servicetype": "TCP", "ipv46": VIP, "port": 80})
        nitro.add("lbvserver_service_binding", {"name": "l", "servicename": "v3"})
        refused("lbvserver_service_binding", {"name": "l", "servicename": "v4"}, 257)
        for kind, name in (("lbvserver", "l"), ("service", "v3"), ("service", "v4"), ("server", "s")):
            nitro.delete(kind, name)
        nitro.delete("nsip", "10.1.1.2")
        assert sorted(one["td"] for one in nitro.every("nsip")) == [3, 4]
        nitro.delete("nsip", "10.1.1.2", {"td": "4"})
        with pytest.raises(NitroRefusedError):
            nitro.delete("nsip", "10.1.1.2", {"td": "3"})
        nitro.delete("vlan_nsip_binding", "300", {"ipaddress": "10.1.1.2", "td": "3"})
        nitro.delete("nsip", "10.1.1.2", {"td": "3"})
        for td in ("3", "4"):
            nitro.delete("nstrafficdomain", td)
        nitro.delete("vlan", "300")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"vlan": 0}, "no VLAN"),
        ({"address": "10.9.9.9"}, "is not in the network"),
        ({"balancers": (replace(WEB, protocol="tcp-proxy"),)}, "PROXY"),
        ({"balancers": (replace(WEB, stickiness=Stickiness("LbCookie", "a", mode="rewrite")),)}, "own cookie"),
        ({"balancers": (WEB, replace(SECURE, id="x", port=81, check=HealthCheck("/alive")))}, "in two ways"),
    ],
)
def test_what_the_device_cannot_do_is_refused(change, reason):
    with pytest.raises(InvalidViewError, match=reason):
        wanted(replace(NETWORK, **change), "1/2")


@pytest.mark.parametrize(
    ("openings", "policy"),
    [
        ((), None),
        ((Opening(VIP, Traffic("udp", 80, 80)),), None),
        ((Opening("198.51.100.32", Traffic("all")),), None),
        ((Opening(VIP, Traffic("tcp", 81, 90)),), None),
        ((Opening(VIP, Traffic("all")),), "NONE"),
        ((Opening(VIP, Traffic("tcp", 80, 80, sources=("192.0.2.0/24", "10.0.0.0/8"))),),
         "CLIENT.IP.SRC.IN_SUBNET(10.0.0.0/8) || CLIENT.IP.SRC.IN_SUBNET(192.0.2.0/24)"),
    ],
)  # fmt: skip
def test_a_server_listens_only_to_what_is_opened(openings, policy):
    found = wanted(replace(NETWORK, balancers=(WEB,), openings=openings), "1/2")
    policies = [content["listenpolicy"] for (kind, _), content in found.items() if kind == "lbvserver"]
    assert policies == ([] if policy is None else [policy])


def test_a_wrong_login_or_certificate_and_a_device_that_is_away(running):
    with pytest.raises(DeviceRefusedError, match="refuses the login"):
        Netscaler(replace(running.settings, password="wrong")).system()
    for settings in (replace(running.settings, fingerprint="00" * 32), replace(running.settings, port=1)):
        with pytest.raises(DeviceUnreachableError) as caught:
            Netscaler(settings).system()
        assert caught.value.retryable


def test_a_device_is_inspected(running):
    facts = running.element.inspect()
    assert (facts.mac, facts.name) == ("00:e0:ed:00:00:02", "netscaler")
    assert facts.version.startswith("NetScaler NS13.1")
    with pytest.raises(DeviceRefusedError, match="has no interface 1/7"):
        Netscaler(replace(running.settings, interface="1/7")).inspect()


def test_the_device_refuses_what_is_not_defined(device):
    said = {"X-NITRO-USER": "nsroot", "X-NITRO-PASS": PASSWORD}
    base = f"https://127.0.0.1:{device.settings.port}/nitro/v1/config"
    with conversation(device.settings) as nitro:
        session = nitro._session

        def post(kind, content, method="POST", headers=said):
            answer = session.request(method, f"{base}/{kind}", json={kind: content}, headers=headers).json()
            return answer["errorcode"]

        assert post("server", {"name": "s", "ipaddress": "10.0.0.1"}) == 0
        assert post("server", {"name": "s", "ipaddress": "10.0.0.1"}) == 273
        assert post("server", {"name": "t", "ipaddress": "10.0.0.1", "colour": "red"}) == 278
        assert post("server", {"name": "t"}) == 1095
        assert post("server", {"name": "t", "ipaddress": "10.0.0"}) == 1097
        assert post("colour", {"name": "t"}) == 278
        service = {"name": "v", "servername": "s", "servicetype": "TCP", "port": 80}
        assert post("service", {**service, "servername": "none"}) == 258
        assert post("service", service) == 0
        assert post("service", {**service, "name": "w"}) == 273
        assert post("service", {"name": "v", "port": 81}, "PUT") == 278
        assert post("lbvserver_service_binding", {"name": "none", "servicename": "v"}, "PUT") == 258
        assert session.delete(f"{base}/server/s", headers=said).json()["errorcode"] == 257
        assert session.delete(f"{base}/service/none", headers=said).json()["errorcode"] == 344
        nitro.delete("service", "v")
        nitro.delete("server", "s")
        session.cookies.clear()
        assert post("server", {"name": "t", "ipaddress": "10.0.0.1"}, headers={}) == 354


def test_what_is_saved_outlives_a_restart():
    with emulated() as device:
        device.element.apply(NETWORK)
        with conversation(device.settings) as nitro:
            nitro.add("server", {"name": "unsaved", "ipaddress": "10.0.0.9"})
        device.stop()
        device.start()
        found = resources(device)
    assert (len(found["lbvserver"]), any("unsaved" in one for one in found["server"])) == (2, False)


def test_no_password_is_shown():
    with emulated() as device:
        assert PASSWORD not in repr(device.settings)
