"""explainReachability through the API, over the in-process cloud: rules, hosts that do as they should, and one not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manager.models import Host, Nic, Vm
from network.simulator_switch import SimulatedSwitch
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import change, rows, run
from tests.unit.api.test_public_addresses import done

OUTSIDE = "203.0.113.9"


@pytest.fixture
def site(cloud, user, deploy):
    """The cloud, its user, and two VMs of one network."""
    return cloud, user, deploy(name="one"), deploy(name="other")


def explained(api, cloud, caller, **given):
    return run(api, cloud, caller, "explainReachability", **given)["reachability"]


def decided(answer) -> list[tuple[str, str]]:
    return [(step["what"], step["verdict"]) for step in answer["steps"]]


def test_two_of_one_network_reach_each_other(api, factory, site):
    cloud, user, one, other = site
    answer = explained(api, cloud, user, virtualmachineid=one["id"], tovirtualmachineid=other["id"], protocol="tcp",
                       port=22)  # fmt: skip
    assert (answer["reachable"], answer["agrees"]) == (True, True)
    assert "reason" not in answer
    on_two_hosts = len({nic.host_id for nic in rows(factory, Nic) if nic.vm_id}) == 2
    assert answer["stopcount"] == (2 if on_two_hosts else 1)
    by_address = {"virtualmachineid": one["id"], "toipaddress": other["nic"][0]["ipaddress"]}
    assert explained(api, cloud, user, **by_address, protocol="icmp")["reachable"]


def test_from_outside_the_missing_rule_is_told(api, site):
    cloud, user, one, _ = site
    ask = {"sourceipaddress": OUTSIDE, "tovirtualmachineid": one["id"], "protocol": "tcp", "port": 22}
    answer = explained(api, cloud, user, **ask)
    assert decided(answer) == [("NAT", "deny")]
    address = done(api, cloud, api("associateIpAddress", user, networkid=cloud.network_id), user)["ipaddress"]
    rule = run(api, cloud, user, "createPortForwardingRule", ipaddressid=address["id"], protocol="tcp", publicport=2222,
               privateport=22, virtualmachineid=one["id"], openfirewall=False)["portforwardingrule"]  # fmt: skip
    answer = explained(api, cloud, user, **ask)
    assert decided(answer) == [("port forwarding", "allow"), ("firewall", "deny")]
    assert answer["steps"][0]["ruleid"] == rule["id"]
    assert (answer["steps"][1]["objecttype"], answer["steps"][1]["objectid"]) == ("PublicIpAddress", address["id"])
    assert answer["reason"] == f"No firewall rule of {address['ipaddress']} lets tcp to port 2222 in from {OUTSIDE}."
    opening = run(api, cloud, user, "createFirewallRule", ipaddressid=address["id"], protocol="tcp", startport=2222)
    answer = explained(api, cloud, user, **ask)
    assert (answer["reachable"], answer["agrees"]) == (True, True)
    assert answer["steps"][1]["ruleid"] == opening["firewallrule"]["id"]
    by_address = {"sourceipaddress": OUTSIDE, "toipaddress": address["ipaddress"], "protocol": "tcp", "port": 2222}
    assert explained(api, cloud, user, **by_address)["reachable"]
    assert not explained(api, cloud, user, **by_address | {"port": 22})["reachable"]


def test_an_egress_rule_is_named(api, site):
    cloud, user, one, _ = site
    ask = {"virtualmachineid": one["id"], "toipaddress": OUTSIDE, "protocol": "udp", "port": 53}
    answer = explained(api, cloud, user, **ask)
    assert answer["steps"][-1]["what"] == "outside"
    rule = run(api, cloud, user, "createEgressFirewallRule", networkid=cloud.network_id, protocol="udp", startport=53)
    answer = explained(api, cloud, user, **ask)
    assert not answer["reachable"]
    assert (answer["steps"][-1]["ruletype"], answer["steps"][-1]["ruleid"]) == (
        "EgressFirewallRule", rule["firewallrule"]["id"],
    )  # fmt: skip


def test_a_host_that_lacks_a_flow_is_found(api, admin, site, monkeypatch):
    """What is wanted stays right; the difference is shown to root administrators only."""
    cloud, user, one, other = site
    whole = SimulatedSwitch.sets

    def without(self, views):
        wanted, found, numbers = whole(self, views)
        return wanted, replace(found, flows=tuple(line for line in found.flows if "table=20," not in line)), numbers

    monkeypatch.setattr(SimulatedSwitch, "sets", without)
    ask = {"virtualmachineid": one["id"], "tovirtualmachineid": other["id"], "protocol": "icmp"}
    answer = explained(api, cloud, user, **ask)
    assert (answer["reachable"], answer["agrees"]) == (True, False)
    stop = answer["stops"][0]
    assert (stop["agrees"], stop["delivers"]) == (False, False)
    assert not {"difference", "flows", "hostid", "hostname"} & stop.keys()
    seen = explained(api, cloud, admin, **ask)["stops"][0]
    assert seen["difference"].startswith("Table 20 lacks the flow cookie=")
    assert [flow["table"] for flow in seen["flows"]] == [0, 5, 20]
    assert seen["flows"][0]["kind"] == "Nic"


def test_a_stopped_machine_and_a_host_that_is_down(api, factory, site):
    cloud, user, one, other = site
    ask = {"virtualmachineid": one["id"], "tovirtualmachineid": other["id"], "protocol": "icmp"}
    for host in rows(factory, Host):
        change(factory, Host, host.id, state="Down")
    answer = explained(api, cloud, user, **ask)
    assert answer["reachable"]
    assert "agrees" not in answer
    assert answer["stops"][0]["reason"] == "The sender's host is not up, so it was not asked."
    change(factory, Nic, rows(factory, Nic, vm_id=other["id"])[0].id, host_id=None)
    answer = explained(api, cloud, user, **ask)
    assert decided(answer) == [("virtual machine", "deny")]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"protocol": "all"}, "A packet is of one protocol"),
        ({"protocol": "tcp"}, "A port is needed for tcp and udp"),
        ({"protocol": "icmp", "port": 1}, "A port is needed for tcp and udp, and is for these alone"),
        ({"protocol": "tcp", "port": 1, "icmptype": 8}, "ICMP types and codes are for the protocol icmp, not for tcp"),
        ({"protocol": "icmp", "toipaddress": "224.0.0.5"}, "224.0.0.5 is not an address that one host can have"),
        ({"protocol": "icmp", "sourceipaddress": "10.1.1.99"}, "10.1.1.99 is not one of the virtual machine's"),
        ({"protocol": "icmp", "tovirtualmachineid": "same"}, "Either tovirtualmachineid or toipaddress must be given"),
    ],
)
def test_questions_that_cannot_be(api, site, given, reason):
    _, user, one, other = site
    given = {"virtualmachineid": one["id"], "toipaddress": "10.1.1.1", **given}
    if given.get("tovirtualmachineid"):
        given["tovirtualmachineid"] = other["id"]
    with pytest.raises(Refused, match=rf"431 .*{reason}"):
        api("explainReachability", user, **given)


def test_others_are_not_looked_into(api, engine, factory, site):
    cloud, user, one, _ = site
    address = done(api, cloud, api("associateIpAddress", user, networkid=cloud.network_id), user)["ipaddress"]
    stranger = Caller.of(engine, factory.user("stranger").username)
    with pytest.raises(Refused, match=r"431 .*virtualmachineid"):
        api("explainReachability", stranger, virtualmachineid=one["id"], toipaddress=OUTSIDE, protocol="icmp")
    with pytest.raises(Refused, match=r"431 .*of no network that you may look into"):
        api("explainReachability", stranger, sourceipaddress=OUTSIDE, toipaddress=address["ipaddress"], protocol="icmp")


def test_in_a_shared_network_the_rules_of_others_are_not_told(api, engine, factory, site):
    """One VM is another account's by now, as in a network that both may use."""
    cloud, user, one, other = site
    stranger = factory.user("stranger")
    change(factory, Vm, other["id"], account_id=stranger.account_id)
    ask = {"virtualmachineid": one["id"], "toipaddress": other["nic"][0]["ipaddress"], "protocol": "tcp", "port": 22}
    last = explained(api, cloud, user, **ask)["steps"][-1]
    assert last == {
        "where": "guest", "what": "its own rules", "verdict": "allow",
        "reason": "The rules of the other end, which are not yours, allow it.",
    }  # fmt: skip
    assert explained(api, cloud, None, **ask)["steps"][-1]["what"] == "network policy"
