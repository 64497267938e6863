"""Load balancer rules, their virtual machines and policies through the API, with the in-process cloud."""

from __future__ import annotations

import pytest

from manager.models import HealthPolicy, LoadBalancerRule, NetworkOffering, StickinessPolicy, Vm
from network.balancing import HealthCheck, Stickiness
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


def test_a_stickiness_policy_from_its_making_to_its_end(api, site, rule):
    cloud, user, _, _ = site
    params = [
        ("cookie-name", "c"),
        ("indirect", ""),
        ("nocache", "true"),
        ("postonly", "false"),
        ("domain", ".a.example"),
    ]
    answer = stick(api, user, rule, "lbcookie", params, description="d")
    assert api.wrapper == "createLBStickinessPolicy"
    shown = done(api, cloud, answer, user)["stickinesspolicies"]
    assert (shown["lbruleid"], shown["zoneid"]) == (rule["id"], rule["zoneid"])
    (policy,) = shown["stickinesspolicy"]
    assert policy == {
        "id": answer["id"], "name": "sticky", "methodname": "LbCookie", "description": "d", "state": "Active",
        "fordisplay": True,
        "params": {"cookie-name": "c", "indirect": "true", "nocache": "true", "domain": ".a.example"},
    }  # fmt: skip
    wanted = Stickiness("LbCookie", "c", nocache=True, indirect=True, domain=".a.example")
    assert balancer_of(cloud).stickiness == wanted
    for given in ({"id": policy["id"]}, {"lbruleid": rule["id"]}):
        (found,) = api("listLBStickinessPolicies", user, **given)["stickinesspolicies"]
        assert found["stickinesspolicy"] == [policy]
    with pytest.raises(Refused, match=r"431 The load balancer rule web has a stickiness policy already"):
        stick(api, user, rule, "SourceBased")
    with pytest.raises(Refused, match=r"431 The method LbCookie needs HTTP; a rule of the protocol tcp-proxy"):
        api("updateLoadBalancerRule", user, id=rule["id"], protocol="tcp-proxy")
    done(api, cloud, api("updateLBStickinessPolicy", id=policy["id"], fordisplay=False))
    (hidden,) = api("listLBStickinessPolicies", user, lbruleid=rule["id"])["stickinesspolicies"]
    assert hidden["stickinesspolicy"] == []
    done(api, cloud, api("deleteLBStickinessPolicy", user, id=policy["id"]), user)
    assert balancer_of(cloud).stickiness is None
    done(api, cloud, stick(api, user, rule, "SourceBased"), user)
    with pytest.raises(Refused, match=r"431 Give lbruleid, or the id of a policy"):
        api("listLBStickinessPolicies", user)


@pytest.mark.parametrize(
    ("method", "params", "wanted"),
    [
        ("LbCookie", [("mode", "rewrite")], Stickiness("LbCookie", mode="rewrite")),
        (
            "AppCookie",
            [("cookie-name", "s"), ("length", "8"), ("holdtime", "30m"), ("request-learn", "true")],
            Stickiness("AppCookie", "s", length=8, expiry=1800, learns=True),
        ),
        ("AppCookie", [("mode", "path-parameters")], Stickiness("AppCookie", place="path")),
        ("SourceBased", [("tablesize", "300k"), ("expire", "4d")],
         Stickiness("SourceBased", size=300 * 1024, expiry=4 * 86400)),
    ],
)  # fmt: skip
def test_what_parameters_of_stickiness_mean(api, site, rule, method, params, wanted):
    cloud, user, _, _ = site
    done(api, cloud, stick(api, user, rule, method, params), user)
    assert balancer_of(cloud).stickiness == wanted


@pytest.mark.parametrize(
    ("method", "params", "reason"),
    [
        ("Own", [], "Own is none of LbCookie, AppCookie, SourceBased"),
        ("LbCookie", [("holdtime", "3h")], "The method LbCookie has no parameter holdtime; it has cookie-name, mode"),
        ("AppCookie", [("prefix", "")], "The method AppCookie has no parameter prefix"),
        ("LbCookie", [("cookie-name", "a b")], "The cookie-name a b is not 1 to 64 letters"),
        ("LbCookie", [("cookie-name", "a"), ("cookie-name", "b")], "The parameter cookie-name is given twice"),
        ("LbCookie", [("mode", "query-string")], "The mode query-string is none of insert, rewrite, prefix"),
        ("LbCookie", [("domain", "a b.example")], "The domain a b.example is not that of a cookie"),
        ("LbCookie", [("indirect", "yes")], "The parameter indirect is a flag"),
        ("AppCookie", [("mode", "insert")], "The mode insert is none of path-parameters, query-string"),
        ("AppCookie", [("length", "1025")], "The length 1025 is not a number of characters from 1 to 1024"),
        ("AppCookie", [("holdtime", "20h30m")], "The holdtime 20h30m is not a time such as 20s"),
        ("SourceBased", [("expire", "25d")], "The expire 25d is not a time .* at most 24d"),
        ("SourceBased", [("tablesize", "400g")], "The tablesize 400g is not a number of entries such as 200k"),
        ("SourceBased", [("tablesize", "2m")], "The tablesize 2m is not .* of at most 1m"),
    ],
)
def test_stickiness_that_cannot_be(api, site, rule, method, params, reason):
    _, user, _, _ = site
    with pytest.raises(Refused, match=rf"431 .*{reason}"):
        stick(api, user, rule, method, params)


def test_cookies_do_not_go_with_the_proxy_protocol(api, site):
    cloud, user, address, _ = site
    shown = done(api, cloud, balance(api, user, address, protocol="tcp-proxy"), user)["loadbalancer"]
    with pytest.raises(Refused, match=r"431 The method AppCookie needs HTTP"):
        stick(api, user, shown, "AppCookie")
    done(api, cloud, stick(api, user, shown, "SourceBased"), user)


def test_a_health_check_policy_from_its_making_to_its_end(api, site, rule):
    cloud, user, _, _ = site
    assert balancer_of(cloud).check == HealthCheck()
    given = {"pingpath": "/up?x=1", "responsetimeout": 3, "intervaltime": 7, "healthythreshold": 4,
             "unhealthythreshold": 5}  # fmt: skip
    answer = api("createLBHealthCheckPolicy", user, lbruleid=rule["id"], description="d", **given)
    shown = done(api, cloud, answer, user)["healthcheckpolicies"]
    (policy,) = shown["healthcheckpolicy"]
    assert policy == {
        "id": answer["id"], "pingpath": "/up?x=1", "description": "d", "state": "Active", "responsetime": 3,
        "healthcheckinterval": 7, "healthcheckthresshold": 4, "unhealthcheckthresshold": 5, "fordisplay": True,
    }  # fmt: skip
    assert balancer_of(cloud).check == HealthCheck("/up?x=1", 7, 3, 4, 5)
    (found,) = api("listLBHealthCheckPolicies", user, lbruleid=rule["id"])["healthcheckpolicies"]
    assert found["healthcheckpolicy"] == [policy]
    with pytest.raises(Refused, match=r"431 The load balancer rule web has a health check policy already"):
        api("createLBHealthCheckPolicy", user, lbruleid=rule["id"])
    done(api, cloud, api("updateLBHealthCheckPolicy", id=policy["id"], fordisplay=True))
    done(api, cloud, api("deleteLBHealthCheckPolicy", user, id=policy["id"]), user)
    assert balancer_of(cloud).check == HealthCheck()
    done(api, cloud, api("createLBHealthCheckPolicy", user, lbruleid=rule["id"]), user)
    assert balancer_of(cloud).check == HealthCheck("/", 5, 2, 2, 10)
    with pytest.raises(Refused, match=r"431 .*is not a path such as /health"):
        api("createLBHealthCheckPolicy", user, lbruleid=rule["id"], pingpath="/a b")
    with pytest.raises(Refused, match=r"431 The responsetimeout of 9 s is longer than the intervaltime, 5 s"):
        api("createLBHealthCheckPolicy", user, lbruleid=rule["id"], responsetimeout=9)


def test_policies_belong_to_their_rule(api, site, rule):
    cloud, user, address, _ = site
    second = done(api, cloud, balance(api, user, address, name="second", publicport=81), user)["loadbalancer"]
    policy = stick(api, user, rule, "SourceBased")["id"]
    cloud.settle()
    with pytest.raises(Refused, match=rf"431 The policy {policy} is not one of the load balancer rule second"):
        api("listLBStickinessPolicies", user, lbruleid=second["id"], id=policy)
    done(api, cloud, api("deleteLoadBalancerRule", user, id=rule["id"]), user)
    with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
        api("deleteLBStickinessPolicy", user, id=policy)


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
