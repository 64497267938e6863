"""Load balancer rules and their virtual machines through the API, with the in-process cloud."""

from __future__ import annotations

import pytest

from manager.models import HealthPolicy, LoadBalancerRule, NetworkOffering, StickinessPolicy, Vm
from network.elements.simulator import MemoryRouter
from network.errors import InvalidViewError
from network.types import Opening, Traffic
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import costs
from tests.unit.api.test_public_addresses import done, router_of, running  # noqa: F401 - running is a fixture
from tests.unit.api.test_rules import forward


@pytest.fixture
def site(api, running):  # noqa: F811 - pytest gives the fixture of that name
    """The cloud, its user, a further public address, and its VM."""
    cloud, user = running
    address = done(api, cloud, api("associateIpAddress", user, networkid=cloud.network_id), user)["ipaddress"]
    (vm,) = api("listVirtualMachines", user, listall=True)["virtualmachine"]
    return cloud, user, address, vm


def balance(api, user, address, **more):
    given = {"name": "web", "algorithm": "roundrobin", "publicport": 80, "privateport": 8080, **more}
    return api("createLoadBalancerRule", user, publicipid=address["id"], **given)


@pytest.fixture
def rule(api, site):
    cloud, user, address, _ = site
    return done(api, cloud, balance(api, user, address), user)["loadbalancer"]


def assign(api, cloud, user, rule, **given):
    return done(api, cloud, api("assignToLoadBalancerRule", user, id=rule["id"], **given), user)


def balancer_of(cloud):
    (one,) = router_of(cloud).balancers
    return one


def test_a_rule_from_add_to_deleting(api, site):
    cloud, user, address, _ = site
    given = {"algorithm": "LeastConn", "description": "the shop", "cidrlist": "192.0.2.0/24,198.51.100.0/24"}
    answer = balance(api, user, address, networkid=cloud.network_id, **given)
    (shown,) = api("listLoadBalancerRules", user, id=answer["id"])["loadbalancerrule"]
    assert (shown["state"], shown["jobid"]) == ("Add", answer["jobid"])
    shown = done(api, cloud, answer, user)["loadbalancer"]
    network = api("listNetworks", user, id=cloud.network_id)["network"][0]
    assert shown == {
        "id": answer["id"], "name": "web", "description": "the shop", "algorithm": "leastconn", "protocol": "tcp",
        "publicport": "80", "privateport": "8080", "publicipid": address["id"], "publicip": address["ipaddress"],
        "networkid": cloud.network_id, "cidrlist": "192.0.2.0/24,198.51.100.0/24", "state": "Active", "tags": [],
        "fordisplay": True, "zoneid": network["zoneid"], "zonename": network["zonename"],
        **{k: network[k] for k in ("account", "domain", "domainid", "domainpath")},
    }  # fmt: skip
    one = balancer_of(cloud)
    assert (one.id, one.address, one.port, one.member_port) == (answer["id"], address["ipaddress"], 80, 8080)
    assert (one.algorithm, one.sources, one.members) == ("leastconn", ("192.0.2.0/24", "198.51.100.0/24"), ())
    assert router_of(cloud).openings == (Opening(address["ipaddress"], Traffic("tcp", 80, 80)),)
    for wanted in ({"publicipid": address["id"]}, {"networkid": cloud.network_id}, {"keyword": "we"}, {"name": "web"},
                   {"zoneid": network["zoneid"]}):  # fmt: skip
        assert api("listLoadBalancerRules", user, **wanted)["count"] == 1
    assert api("listLoadBalancerRules", user, name="other") == {}
    answer = api("deleteLoadBalancerRule", user, id=shown["id"])
    assert api("listLoadBalancerRules", user, id=shown["id"])["loadbalancerrule"][0]["state"] == "Deleting"
    with pytest.raises(Refused, match=r"431 The load balancer rule .* is being removed"):
        api("updateLoadBalancerRule", user, id=shown["id"], name="late")
    assert done(api, cloud, answer, user) == {"success": True}
    assert (router_of(cloud).balancers, router_of(cloud).openings) == ((), ())
    assert api("listLoadBalancerRules", user) == api("listFirewallRules", user) == {}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"protocol": "udp"}, "takes connections of TCP; UDP can be led by port forwarding"),
        ({"protocol": "http"}, "The protocol http is none of tcp, tcp-proxy, ssl"),
        ({"algorithm": "first"}, "first is none of roundrobin, leastconn, source"),
        ({"publicport": 0}, "0 is not within 1 and 65535"),
        ({"privateport": 65536}, "65536 is not within 1 and 65535"),
        ({"cidrlist": "10.0.0.1/8"}, "The cidrlist 10.0.0.1/8 is not an IPv4 network"),
        ({"description": "x" * 4097}, "it has 4097 characters, and at most 4096 are possible"),
    ],
)
def test_a_rule_that_cannot_be(api, site, given, reason):
    _, user, address, _ = site
    with pytest.raises(Refused, match=rf"431 .*{reason}"):
        balance(api, user, address, **given)
    assert api("listLoadBalancerRules", user) == api("listFirewallRules", user) == {}


def test_ports_that_are_taken(api, site, rule):
    cloud, user, address, vm = site
    with pytest.raises(Refused, match=rf"537 .*tcp 80-80, conflicts with rule {rule['id']} which has tcp 80-80"):
        balance(api, user, address, name="second")
    with pytest.raises(Refused, match=rf"537 .*tcp 70-90, conflicts with rule {rule['id']}"):
        forward(api, user, address, vm, publicport=70, publicendport=90, privateport=70)
    done(api, cloud, forward(api, user, address, vm, publicport=81), user)
    with pytest.raises(Refused, match=r"537 .*tcp 81-81, conflicts"):
        balance(api, user, address, publicport=81)
    forward(api, user, address, vm, protocol="udp")
    balance(api, user, address, publicport=82)
    with pytest.raises(Refused, match=r"537 .* is in use by (load balancing|port forwarding) rule"):
        api("enableStaticNat", user, ipaddressid=address["id"], virtualmachineid=vm["id"])


def test_addresses_of_other_uses(api, factory, site, rule):
    cloud, user, address, vm = site
    second = done(api, cloud, api("associateIpAddress", user, networkid=cloud.network_id), user)["ipaddress"]
    api("enableStaticNat", user, ipaddressid=second["id"], virtualmachineid=vm["id"])
    with pytest.raises(Refused, match=r"537 .* is in use by static NAT rule"):
        balance(api, user, second)
    with pytest.raises(Refused, match=r"431 .*belongs to network net1"):
        balance(api, user, address, publicport=81, networkid=cloud.add_network("net2"))
    with pytest.raises(Refused, match=r"431 .*missing parameter publicipid"):
        api("createLoadBalancerRule", user, name="x", algorithm="source", publicport=1, privateport=1)
    factory.change(factory.first(NetworkOffering), conserve_mode=False)
    with pytest.raises(Refused, match=r"431 .* is that of load balancing, and the offering .* has no conserve mode"):
        forward(api, user, address, vm, publicport=99)
    (source,) = api("listPublicIpAddresses", user, issourcenat=True)["publicipaddress"]
    with pytest.raises(Refused, match=r"no conserve mode; load balancing needs an address of its own"):
        balance(api, user, source)
    factory.change(factory.first(NetworkOffering), services={"SourceNat": "VirtualRouter"})
    with pytest.raises(Refused, match=r"431 The network net1 has no service Lb"):
        balance(api, user, address, publicport=99)


def test_a_rule_is_changed(api, site, rule):
    cloud, user, _, _ = site
    given = {"name": "shop", "algorithm": "source", "description": "d", "cidrlist": "192.0.2.0/24",
             "protocol": "tcp-proxy"}  # fmt: skip
    shown = done(api, cloud, api("updateLoadBalancerRule", user, id=rule["id"], **given), user)["loadbalancer"]
    assert {name: shown[name] for name in given} == given
    one = balancer_of(cloud)
    assert (one.algorithm, one.protocol, one.sources) == ("source", "tcp-proxy", ("192.0.2.0/24",))
    assert len(router_of(cloud).openings) == 1
    done(api, cloud, api("updateLoadBalancerRule", id=rule["id"], fordisplay=False))
    assert api("listLoadBalancerRules", user) == {}
    assert api("listLoadBalancerRules", id=rule["id"], fordisplay=False)["count"] == 1


def test_virtual_machines_are_assigned_listed_and_removed(api, site, rule):
    cloud, user, address, vm = site
    second = cloud.deploy("second")
    (nic,) = vm["nic"]
    further = done(api, cloud, api("addIpToNic", user, nicid=nic["id"], ipaddress="10.1.1.200"), user)
    assert further["nicsecondaryip"]["ipaddress"] == "10.1.1.200"
    pairs = {"vmidipmap[0].vmid": vm["id"], "vmidipmap[0].vmip": "10.1.1.200"}
    assert assign(api, cloud, user, rule, virtualmachineids=f"{vm['id']},{second}", params=pairs) == {"success": True}
    (other,) = api("listVirtualMachines", user, id=second)["virtualmachine"]
    wanted = {nic["ipaddress"], "10.1.1.200", other["nic"][0]["ipaddress"]}
    assert {member.address for member in balancer_of(cloud).members} == wanted
    found = api("listLoadBalancerRuleInstances", user, id=rule["id"])
    assert found["count"] == 2
    assert {one["id"] for one in found["loadbalancerruleinstance"]} == {vm["id"], second}
    entries = api("listLoadBalancerRuleInstances", user, id=rule["id"], lbvmips=True)["lbrulevmidip"]
    assert {one["loadbalancerruleinstance"]["id"]: one["lbvmipaddresses"] for one in entries} == {
        vm["id"]: sorted([nic["ipaddress"], "10.1.1.200"]), second: [other["nic"][0]["ipaddress"]],
    }  # fmt: skip
    assert api("listLoadBalancerRules", user, virtualmachineid=second)["count"] == 1
    third = cloud.deploy("third")
    (free,) = api("listLoadBalancerRuleInstances", user, id=rule["id"], applied=False)["loadbalancerruleinstance"]
    assert free["id"] == third
    with pytest.raises(Refused, match=r"431 The LoadBalancingMember rule .* leads to 10.1.1.200; take it away first"):
        api("removeIpFromNic", user, id=further["nicsecondaryip"]["id"])
    answer = api("removeFromLoadBalancerRule", user, id=rule["id"], params=pairs)
    assert done(api, cloud, answer, user) == {"success": True}
    assert len(balancer_of(cloud).members) == 2
    done(api, cloud, api("removeFromLoadBalancerRule", user, id=rule["id"], virtualmachineids=vm["id"]), user)
    assert [member.address for member in balancer_of(cloud).members] == [other["nic"][0]["ipaddress"]]
    assert api("listLoadBalancerRules", user, virtualmachineid=vm["id"]) == {}
    with pytest.raises(Refused, match=r"431 The virtual machine vm is not assigned to the load balancer rule web"):
        api("removeFromLoadBalancerRule", user, id=rule["id"], virtualmachineids=vm["id"])
    done(api, cloud, api("disassociateIpAddress", user, id=address["id"]), user)
    assert api("listLoadBalancerRules", user) == {}


def test_virtual_machines_that_cannot_be_assigned(api, factory, site, rule):
    cloud, user, _, vm = site
    assign(api, cloud, user, rule, virtualmachineids=vm["id"])
    network = cloud.add_network("net2")
    stranger = cloud.deploy("stranger", network)
    for given, reason in (
        ({"virtualmachineids": vm["id"]}, r"The address 10.1.1.\d+ of vm is assigned to .* web already"),
        ({"virtualmachineids": stranger}, "The virtual machine stranger has no NIC in network net1"),
        ({}, "No virtual machine is named; give virtualmachineids or vmidipmap"),
        ({"vmidipmap[0].vmid": vm["id"], "vmidipmap[0].vmip": "10.1.1.250"}, "10.1.1.250 is not one of vm in network"),
        ({"vmidipmap[0].vmip": "10.1.1.250"}, "Each entry of vmidipmap has vmid"),
    ):
        with pytest.raises(Refused, match=rf"431 .*{reason}"):
            api("assignToLoadBalancerRule", user, id=rule["id"], params=given)
    factory.change(factory.first(Vm, id=stranger), state="Destroyed")
    with pytest.raises(Refused, match=r"431 The virtual machine stranger is Destroyed; nothing can lead to it"):
        api("assignToLoadBalancerRule", user, id=rule["id"], virtualmachineids=stranger)
    assert len(balancer_of(cloud).members) == 1


def test_one_that_stops_stays_and_one_that_is_gone_leaves(api, site, rule):
    cloud, user, _, vm = site
    second = cloud.deploy("second")
    assign(api, cloud, user, rule, virtualmachineids=f"{vm['id']},{second}")
    done(api, cloud, api("stopVirtualMachine", user, id=second), user)
    done(api, cloud, api("updateLoadBalancerRule", user, id=rule["id"], algorithm="source"), user)
    assert len(balancer_of(cloud).members) == 2
    api("destroyVirtualMachine", id=second, expunge=True)
    cloud.settle()
    assert [member.address for member in balancer_of(cloud).members] == [vm["nic"][0]["ipaddress"]]
    found = api("listLoadBalancerRuleInstances", user, id=rule["id"])["loadbalancerruleinstance"]
    assert [one["id"] for one in found] == [vm["id"]]
    assert api("listDrift") == api("listOrphans") == {}


def stick(api, user, rule, method, params=(), **given):
    sent = {f"param[{i}].name": name for i, (name, _) in enumerate(params)}
    sent |= {f"param[{i}].value": value for i, (_, value) in enumerate(params)}
    given = {"name": "sticky", "methodname": method, **given}
    return api("createLBStickinessPolicy", user, lbruleid=rule["id"], params=sent, **given)


def test_what_the_router_cannot_be_told_is_taken_back(api, factory, site, rule, monkeypatch):
    cloud, user, _, vm = site
    policy = done(api, cloud, stick(api, user, rule, "SourceBased"), user)["stickinesspolicies"]["stickinesspolicy"][0]
    apply, known = MemoryRouter.apply, router_of(cloud)

    def refuse(router, spec):
        if spec.balancers != known.balancers:
            raise InvalidViewError("planted")
        apply(router, spec)

    monkeypatch.setattr(MemoryRouter, "apply", refuse)
    answers = [
        api("assignToLoadBalancerRule", user, id=rule["id"], virtualmachineids=vm["id"]),
        api("createLBHealthCheckPolicy", user, lbruleid=rule["id"]),
    ]
    cloud.settle()
    answers.append(api("deleteLBStickinessPolicy", user, id=policy["id"]))
    cloud.settle()
    answers.append(api("updateLoadBalancerRule", user, id=rule["id"], algorithm="source", name="x"))
    cloud.settle()
    for answer in answers:
        job = api("queryAsyncJobResult", user, jobid=answer["jobid"])
        assert (job["jobstatus"], job["jobresult"]["errortext"][-7:]) == (2, "planted")
    (shown,) = api("listLoadBalancerRules", user, id=rule["id"])["loadbalancerrule"]
    assert (shown["name"], shown["algorithm"]) == ("web", "roundrobin")
    assert api("listLoadBalancerRuleInstances", user, id=rule["id"]) == {}
    (found,) = api("listLBStickinessPolicies", user, id=policy["id"])["stickinesspolicies"]
    assert found["stickinesspolicy"][0]["state"] == "Active"
    assert [factory.first(kind).removed is None for kind in (StickinessPolicy, HealthPolicy)] == [True, False]


def test_rules_of_others_are_not_there(api, factory, site, rule):
    cloud, user, address, vm = site
    policy = stick(api, user, rule, "SourceBased")["id"]
    cloud.settle()
    stranger = Caller.of(factory.engine, factory.user("stranger").username)
    for command, given in (
        ("createLoadBalancerRule", {"publicipid": address["id"], "name": "x", "algorithm": "source", "publicport": 1,
                                    "privateport": 1}),
        ("updateLoadBalancerRule", {"id": rule["id"]}),
        ("deleteLoadBalancerRule", {"id": rule["id"]}),
        ("assignToLoadBalancerRule", {"id": rule["id"], "virtualmachineids": vm["id"]}),
        ("removeFromLoadBalancerRule", {"id": rule["id"], "virtualmachineids": vm["id"]}),
        ("createLBStickinessPolicy", {"lbruleid": rule["id"], "name": "x", "methodname": "SourceBased"}),
        ("deleteLBStickinessPolicy", {"id": policy}),
        ("createLBHealthCheckPolicy", {"lbruleid": rule["id"]}),
    ):  # fmt: skip
        with pytest.raises(Refused, match=r"431 .*due to incorrect long value format"):
            api(command, stranger, **given)
    assert api("listLoadBalancerRules", stranger, listall=True) == {}


def test_lists_cost_a_fixed_number_of_statements(api, factory, site):
    cloud, user, address, _ = site

    def make():
        factory(LoadBalancerRule, network_id=cloud.network_id, account_id=cloud.account_id, address_id=address["id"])

    found = costs(factory.engine, make, lambda: api("listLoadBalancerRules", user, listall=True))
    assert found[1] == found[50] <= 14
