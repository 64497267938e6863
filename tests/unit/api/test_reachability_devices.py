"""explainReachability by hardware devices and redundant routers, through the API with the in-process cloud."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.inquiry import TraceFlows
from agents.runner import HANDLERS
from manager.models import NetworkOffering, Router
from network.elements.simulator import MemoryDevices
from network.errors import SwitchRefusedError
from network.simulator_switch import SimulatedSwitch
from tests.unit.api.live_cloud import change, rows, run
from tests.unit.workflows.hardware import add_devices

OUTSIDE = "203.0.113.9"


@pytest.fixture
def site(api, cloud, user, factory):
    """The cloud, its user, and a VM in a network on devices."""
    add_devices(cloud)
    (offering,) = rows(factory, NetworkOffering, name="platinum")
    given = {"zoneid": cloud.zone_id, "name": "platinum", "networkofferingid": offering.id}
    network = api("createNetwork", user, **given)["network"]["id"]
    vm = cloud.deploy("vm", network)
    cloud.settle()
    return cloud, user, network, vm


def explained(api, cloud, caller, **given):
    return run(api, cloud, caller, "explainReachability", **given)["reachability"]


def decided(answer) -> list[tuple[str, str]]:
    return [(step["what"], step["verdict"]) for step in answer["steps"]]


def roles(answer) -> list[tuple[str, bool | None]]:
    return [(stop["role"], stop.get("agrees")) for stop in answer["stops"]]


def test_out_by_the_firewall_as_its_rules_say(api, site):
    cloud, user, network, vm = site
    ask = {"virtualmachineid": vm, "toipaddress": OUTSIDE, "protocol": "udp", "port": 53}
    answer = explained(api, cloud, user, **ask)
    assert (answer["reachable"], answer["agrees"]) == (True, True)
    assert decided(answer)[-3:] == [("egress rules", "allow"), ("source NAT", "allow"), ("outside", "allow")]
    assert roles(answer)[-1] == ("device", True)
    assert "deviceid" not in answer["stops"][-1]
    rule = run(api, cloud, user, "createEgressFirewallRule", networkid=network, protocol="udp", startport=53)
    answer = explained(api, cloud, user, **ask)
    assert (answer["reachable"], answer["steps"][-1]["ruleid"]) == (False, rule["firewallrule"]["id"])
    gateway = {"virtualmachineid": vm, "toipaddress": "10.1.1.1"}
    assert explained(api, cloud, user, **gateway, protocol="icmp")["reachable"]
    answer = explained(api, cloud, user, **gateway, protocol="udp", port=53)
    assert answer["reason"] == "The device offers guests nothing by udp to port 53 at 10.1.1.1."
    assert "objectid" not in answer["steps"][-1]
    # User data stay with the virtual router.
    metadata = {**ask, "toipaddress": "169.254.169.254", "protocol": "tcp", "port": 80}
    answer = explained(api, cloud, user, **metadata)
    assert (answer["reachable"], answer["agrees"]) == (True, True)
    assert "device" not in dict(roles(answer))


def test_in_by_the_firewall_and_by_the_balancer(api, site):
    cloud, user, network, vm = site
    nat, balanced = (run(api, cloud, user, "associateIpAddress", networkid=network)["ipaddress"] for _ in range(2))
    api("enableStaticNat", user, ipaddressid=nat["id"], virtualmachineid=vm)
    ask = {"sourceipaddress": OUTSIDE, "toipaddress": nat["ipaddress"], "protocol": "tcp", "port": 22}
    assert decided(explained(api, cloud, user, **ask))[-1] == ("firewall", "deny")
    opening = run(api, cloud, user, "createFirewallRule", ipaddressid=nat["id"], protocol="tcp", startport=22)
    answer = explained(api, cloud, user, **ask)
    assert (answer["reachable"], answer["agrees"]) == (True, True)
    assert opening["firewallrule"]["id"] in [step.get("ruleid") for step in answer["steps"]]
    by_vm = {"sourceipaddress": OUTSIDE, "tovirtualmachineid": vm, "protocol": "tcp", "port": 22}
    assert explained(api, cloud, user, **by_vm)["reachable"]
    back = explained(api, cloud, user, virtualmachineid=vm, toipaddress=nat["ipaddress"], protocol="tcp", port=22)
    assert "does not lead guests back inside" in back["reason"]
    web = run(api, cloud, user, "createLoadBalancerRule", publicipid=balanced["id"], name="web", publicport=80,
              privateport=8080, algorithm="roundrobin")["loadbalancer"]["id"]  # fmt: skip
    run(api, cloud, user, "assignToLoadBalancerRule", id=web, virtualmachineids=vm)
    for source in ({"sourceipaddress": OUTSIDE}, {"virtualmachineid": vm}):
        asked = {**source, "toipaddress": balanced["ipaddress"], "protocol": "tcp", "port": 80}
        answer = explained(api, cloud, user, **asked)
        assert (answer["reachable"], answer["agrees"]) == (True, True)
        assert web in [step.get("ruleid") for step in answer["steps"]]
        assert not explained(api, cloud, user, **asked | {"port": 81})["reachable"]
    by_vm |= {"port": 8080}
    assert decided(explained(api, cloud, user, **by_vm))[0] == ("load balancing", "allow")


def test_what_a_device_or_its_cable_has_otherwise_is_told(api, admin, site, monkeypatch):
    cloud, user, _, vm = site
    ask = {"virtualmachineid": vm, "toipaddress": OUTSIDE, "protocol": "udp", "port": 53}
    drivers = next(one.host.device_drivers for one in cloud.runners.values() if one.host.device_drivers.parts)
    kept = dict(drivers.parts)
    for key, part in kept.items():
        if part.router is not None:
            shut = replace(part.router, legs=(replace(part.router.legs[0], egress_open=False),))
            drivers.parts[key] = replace(part, router=shut)
    answer = explained(api, cloud, user, **ask)
    assert (answer["reachable"], answer["agrees"]) == (True, False)
    assert answer["stops"][-1]["reason"] == (
        "The device, or its cable, is not as it should be; its operator can mend that."
    )
    assert not {"difference", "deviceid", "hostname"} & answer["stops"][-1].keys()
    assert "otherwise than wanted" in explained(api, cloud, admin, **ask)["stops"][-1]["difference"]
    drivers.parts.update(kept)
    with monkeypatch.context() as patch:
        patch.setattr(SimulatedSwitch, "cable_difference", lambda *_: "Interface eth9, the cable, is down.")
        stop = explained(api, cloud, admin, **ask)["stops"][-1]
        assert (stop["agrees"], stop["difference"]) == (False, "Interface eth9, the cable, is down.")
    with monkeypatch.context() as patch:
        patch.setattr(MemoryDevices, "look", refuse)
        stop = explained(api, cloud, admin, **ask)["stops"][-1]
        assert (stop["reason"], stop["difference"]) == ("What the device holds could not be read.", "It is silent.")
        assert "agrees" not in stop


def test_a_host_that_gives_no_answer_is_a_sentence(api, admin, site, monkeypatch):
    cloud, user, _, vm = site
    monkeypatch.setitem(HANDLERS, TraceFlows, refuse)
    ask = {"virtualmachineid": vm, "toipaddress": OUTSIDE, "protocol": "udp", "port": 53}
    answer = explained(api, cloud, user, **ask)
    assert (answer["reachable"], answer["stops"][0]["reason"]) == (True, "The sender's host gave no answer.")
    assert "agrees" not in answer["stops"][0]
    assert explained(api, cloud, admin, **ask)["stops"][0]["difference"] == "It is silent."


def refuse(*_):
    raise SwitchRefusedError("It is silent.")


def test_of_redundant_routers_the_one_that_forwards_is_asked(api, cloud, user, factory):
    (gold,) = rows(factory, NetworkOffering, name="gold")
    offering = factory(NetworkOffering, name="twice", services=gold.services, redundant_router=True)
    given = {"zoneid": cloud.zone_id, "name": "two", "networkofferingid": offering.id}
    network = api("createNetwork", user, **given)["network"]["id"]
    vm = cloud.deploy("vm", network)
    cloud.settle()
    pair = sorted(rows(factory, Router, network_id=network), key=lambda one: one.standby)
    ask = {"virtualmachineid": vm, "toipaddress": OUTSIDE, "protocol": "udp", "port": 53}
    for primary in pair:
        for one in pair:
            change(factory, Router, one.id, redundant_state="PRIMARY" if one is primary else "BACKUP")
        answer = explained(api, cloud, None, **ask)
        assert (answer["reachable"], answer["agrees"]) == (True, True)
        (turn,) = [step for step in answer["steps"] if step["what"] == "redundant routers"]
        assert turn["reason"].endswith(f"{primary.name} is primary and forwards.")
        assert answer["stops"][-1]["hostid"] == primary.host_id
    change(factory, Router, pair[1].id, redundant_state="UNKNOWN")
    answer = explained(api, cloud, user, **ask)
    assert f"their hosts last told: {pair[0].name} BACKUP, {pair[1].name} UNKNOWN." in str(answer["steps"])
