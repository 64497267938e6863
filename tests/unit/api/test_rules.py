"""Firewall, egress, port forwarding and static NAT rules through the API, with the in-process cloud."""

from __future__ import annotations

import pytest

from manager.models import (
    IpForwardingRule,
    NetworkOffering,
    NetworkRule,
    PortForwardingRule,
    PublicAddress,
    StaticNatRule,
    Vm,
)
from network.elements.simulator import MemoryRouter
from network.errors import InvalidViewError
from network.types import Forwarding, Opening, StaticNat, Traffic
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import costs
from tests.unit.api.test_public_addresses import done, router_of, running  # noqa: F401 - running is a fixture


@pytest.fixture
def site(api, running):  # noqa: F811 - pytest gives the fixture of that name
    """The cloud, its user, a further public address, and its VM's id and address."""
    cloud, user = running
    address = done(api, cloud, api("associateIpAddress", user, networkid=cloud.network_id), user)["ipaddress"]
    (vm,) = api("listVirtualMachines", user, listall=True)["virtualmachine"]
    return cloud, user, address, vm


def forward(api, user, address, vm, **more):
    given = {"protocol": "TCP", "publicport": 80, "privateport": 8080, **more}
    return api("createPortForwardingRule", user, ipaddressid=address["id"], virtualmachineid=vm["id"], **given)


def test_a_firewall_rule_from_add_to_deleting(api, site):
    cloud, user, address, _ = site
    answer = api("createFirewallRule", user, ipaddressid=address["id"], protocol="TCP", startport=80, endport=90,
                 cidrlist="192.0.2.0/24,198.51.100.0/24")  # fmt: skip
    (rule,) = api("listFirewallRules", user, id=answer["id"])["firewallrule"]
    assert (rule["state"], rule["jobid"]) == ("Add", answer["jobid"])
    rule = done(api, cloud, answer, user)["firewallrule"]
    assert rule == {
        "id": answer["id"], "protocol": "tcp", "startport": 80, "endport": 90, "state": "Active", "tags": [],
        "cidrlist": "192.0.2.0/24,198.51.100.0/24", "traffictype": "Ingress", "ipaddressid": address["id"],
        "ipaddress": address["ipaddress"], "networkid": cloud.network_id, "fordisplay": True,
    }  # fmt: skip
    traffic = Traffic("tcp", 80, 90, sources=("192.0.2.0/24", "198.51.100.0/24"))
    assert router_of(cloud).openings == (Opening(address["ipaddress"], traffic),)
    for given in ({"ipaddressid": address["id"]}, {"networkid": cloud.network_id}, {"keyword": "tc"}):
        assert api("listFirewallRules", user, **given)["count"] == 1
    answer = api("deleteFirewallRule", user, id=rule["id"])
    assert api("listFirewallRules", user, id=rule["id"])["firewallrule"][0]["state"] == "Deleting"
    assert done(api, cloud, answer, user) == {"success": True}
    assert router_of(cloud).openings == ()
    assert api("listFirewallRules", user, id=rule["id"]) == {}
    with pytest.raises(Refused, match=r"431 .*Invalid parameter id value=.* due to incorrect long value format"):
        api("deleteFirewallRule", user, id=rule["id"])


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"protocol": "x"}, "The protocol x is none of tcp, udp, icmp, all, or a number from 0 to 255"),
        ({"protocol": "256"}, "The protocol 256 is none of"),
        ({"protocol": "tcp", "icmptype": 8}, "ICMP types and codes are for the protocol icmp, not for tcp"),
        ({"protocol": "icmp", "startport": 8}, "Ports are for the protocols tcp and udp, not for icmp"),
        ({"protocol": "icmp", "icmpcode": 8}, "The ICMP code 8 needs an icmptype"),
        ({"protocol": "tcp", "startport": 9, "endport": 8}, "The port range 9-8 begins after its end"),
        ({"protocol": "tcp", "endport": 8}, "The last port 8 comes with a first one"),
        ({"protocol": "tcp", "startport": 65536}, "65536 is not within 1 and 65535"),
        ({"protocol": "tcp", "cidrlist": "10.0.0.1/8"}, "The cidrlist 10.0.0.1/8 is not an IPv4 network"),
    ],
)
def test_traffic_that_cannot_be(api, site, given, reason):
    cloud, user, address, _ = site
    for command, place in (("createFirewallRule", {"ipaddressid": address["id"]}),
                           ("createEgressFirewallRule", {"networkid": cloud.network_id})):  # fmt: skip
        with pytest.raises(Refused, match=rf"431 .*{reason}"):
            api(command, user, **place, **given)


def test_firewall_rules_in_each_others_way(api, site):
    _, user, address, _ = site
    given = {"ipaddressid": address["id"], "protocol": "tcp"}
    first = api("createFirewallRule", user, **given, startport=80, endport=90)["id"]
    with pytest.raises(
        Refused, match=rf"537 The range specified, tcp 90-95, conflicts with rule {first} which has tcp"
    ):
        api("createFirewallRule", user, **given, startport=90, endport=95)
    api("createFirewallRule", user, **given, startport=90, endport=95, cidrlist="192.0.2.0/24")
    api("createFirewallRule", user, ipaddressid=address["id"], protocol="udp", startport=80)
    api("createFirewallRule", user, ipaddressid=address["id"], protocol="icmp", icmptype=8, icmpcode=-1)
    with pytest.raises(Refused, match=r"537 .*icmp 8"):
        api("createFirewallRule", user, ipaddressid=address["id"], protocol="1", icmptype=8)
    api("createFirewallRule", user, ipaddressid=address["id"], protocol="all")
    assert api("listFirewallRules", user, listall=True)["count"] == 5


def test_egress_rules_are_exceptions_from_the_offerings_policy(api, factory, site):
    cloud, user, _, _ = site
    assert router_of(cloud).legs[0].egress_open
    answer = api("createEgressFirewallRule", user, networkid=cloud.network_id, protocol="icmp", icmptype=8,
                 cidrlist="10.1.1.0/24", destcidrlist="192.0.2.0/24")  # fmt: skip
    rule = done(api, cloud, answer, user)["firewallrule"]
    assert (rule["traffictype"], rule["cidrlist"], rule["destcidrlist"]) == ("Egress", "10.1.1.0/24", "192.0.2.0/24")
    assert (rule["icmptype"], rule["icmpcode"], rule["state"]) == (8, -1, "Active")
    wanted = Traffic("icmp", icmp_type=8, sources=("10.1.1.0/24",), destinations=("192.0.2.0/24",))
    assert router_of(cloud).legs[0].egress == (wanted,)
    with pytest.raises(Refused, match=r"537 "):
        api("createEgressFirewallRule", user, networkid=cloud.network_id, protocol="icmp", icmptype=8,
            cidrlist="10.1.1.0/24", destcidrlist="192.0.2.0/24,203.0.113.0/24")  # fmt: skip
    with pytest.raises(Refused, match=r"431 The cidrlist holds 10.2.0.0/16, which is not in 10.1.1.0/24"):
        api("createEgressFirewallRule", user, networkid=cloud.network_id, protocol="all", cidrlist="10.2.0.0/16")
    assert api("listEgressFirewallRules", user, networkid=cloud.network_id)["count"] == 1
    assert api("listFirewallRules", user, listall=True) == {}
    with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
        api("deleteFirewallRule", user, id=rule["id"])
    assert done(api, cloud, api("updateEgressFirewallRule", id=rule["id"], fordisplay=False))["firewallrule"]
    assert api("listEgressFirewallRules", user, id=rule["id"]) == {}
    factory.change(factory.first(NetworkOffering, availability="Required"), egress_default=False)
    done(api, cloud, api("deleteEgressFirewallRule", user, id=rule["id"]), user)
    assert (router_of(cloud).legs[0].egress, router_of(cloud).legs[0].egress_open) == ((), False)


def test_port_forwarding_with_the_firewall_that_it_opens(api, site):
    cloud, user, address, vm = site
    answer = forward(api, user, address, vm, publicendport=89, privateendport=8089)
    rule = done(api, cloud, answer, user)["portforwardingrule"]
    assert {k: rule[k] for k in ("publicport", "publicendport", "privateport", "privateendport", "protocol")} == {
        "publicport": "80", "publicendport": "89", "privateport": "8080", "privateendport": "8089", "protocol": "tcp",
    }  # fmt: skip
    assert (rule["virtualmachineid"], rule["virtualmachinename"], rule["vmguestip"]) == (
        vm["id"], "vm", vm["nic"][0]["ipaddress"],
    )  # fmt: skip
    assert (rule["state"], rule["cidrlist"]) == ("Active", "0.0.0.0/0")
    public, guest = address["ipaddress"], vm["nic"][0]["ipaddress"]
    assert router_of(cloud).forwardings == (Forwarding(public, "tcp", 80, 89, guest, 8080),)
    assert router_of(cloud).openings == (Opening(public, Traffic("tcp", 80, 89)),)
    (opened,) = api("listFirewallRules", user, ipaddressid=address["id"])["firewallrule"]
    assert opened["state"] == "Active"
    for given in ({"id": rule["id"]}, {"ipaddressid": address["id"]}, {"networkid": cloud.network_id}):
        assert api("listPortForwardingRules", user, **given)["count"] == 1
    done(api, cloud, api("deletePortForwardingRule", user, id=rule["id"]), user)
    assert (router_of(cloud).forwardings, router_of(cloud).openings) == ((), ())
    assert api("listPortForwardingRules", user) == api("listFirewallRules", user) == {}


def test_port_forwarding_without_the_firewall_and_to_some_sources(api, site):
    cloud, user, address, vm = site
    api("createFirewallRule", user, ipaddressid=address["id"], protocol="tcp", startport=80)
    done(api, cloud, forward(api, user, address, vm), user)
    done(api, cloud, forward(api, user, address, vm, publicport=81, openfirewall=False, cidrlist="192.0.2.0/24"), user)
    assert api("listFirewallRules", user, listall=True)["count"] == 1
    first, second = sorted(router_of(cloud).forwardings, key=lambda one: one.first_port)
    assert (first.sources, second.sources) == ((), ("192.0.2.0/24",))
    done(api, cloud, api("deletePortForwardingRule", user, id=api("listPortForwardingRules", user)[
        "portforwardingrule"][0]["id"]), user)  # fmt: skip
    assert api("listFirewallRules", user, listall=True)["count"] == 1  # it was there before


def test_port_forwarding_that_cannot_be(api, factory, site):
    cloud, user, address, vm = site
    first = forward(api, user, address, vm)["id"]
    for given, code, reason in (
        ({"publicport": 70, "publicendport": 99, "privateport": 70}, 537, f"tcp 70-99, conflicts with rule {first}"),
        ({"protocol": "icmp"}, 431, "The protocol icmp is not possible here; it must be tcp or udp"),
        ({"publicport": 100, "publicendport": 109, "privateendport": 8084}, 431, "should be of equal sizes"),
        ({"publicport": 1, "publicendport": 60000}, 431, "The private ports 8080-68079 reach beyond 65535"),
        ({"publicport": 1000, "publicendport": 2000}, 431, "has at most 1000 ports"),
        ({"publicport": 99, "vmguestip": "10.1.1.250"}, 431, "The address 10.1.1.250 is not one of vm in network net1"),
        ({"publicport": 99, "networkid": cloud.add_network("net2")}, 431, "belongs to network net1"),
    ):
        with pytest.raises(Refused, match=rf"{code} .*{reason}"):
            forward(api, user, address, vm, **given)
    forward(api, user, address, vm, protocol="udp")
    (other,) = api("listNetworks", user, keyword="net2")["network"]
    stranger = cloud.deploy("stranger", other["id"])
    with pytest.raises(Refused, match=r"431 The virtual machine stranger has no NIC in network net1"):
        forward(api, user, address, {"id": stranger}, publicport=99)
    free = factory.first(PublicAddress, network_id=None)
    with pytest.raises(Refused, match=r"431 .* belongs to no network; associate it first"):
        forward(api, None, {"id": free.id}, vm)
    factory.change(factory.first(NetworkOffering, availability="Required"), services={"SourceNat": "VirtualRouter"})
    with pytest.raises(Refused, match=r"431 The network net1 has no service PortForwarding"):
        forward(api, user, address, vm, publicport=99)
    factory.change(factory.first(Vm, id=vm["id"]), state="Destroyed")
    with pytest.raises(Refused, match=r"431 The virtual machine vm is Destroyed; nothing can lead to it"):
        forward(api, user, address, vm, publicport=99)


def test_an_address_without_conserve_mode_has_one_purpose(api, factory, site):
    cloud, user, _, vm = site
    (source,) = api("listPublicIpAddresses", user, issourcenat=True)["publicipaddress"]
    done(api, cloud, forward(api, user, source, vm), user)
    factory.change(factory.first(NetworkOffering, availability="Required"), conserve_mode=False)
    with pytest.raises(Refused, match=r"431 .* is that of source NAT, and the offering .* has no conserve mode"):
        forward(api, user, source, vm, publicport=99)


def test_port_forwarding_is_led_elsewhere(api, factory, site):
    cloud, user, address, vm = site
    second = cloud.deploy("second")
    rule = done(api, cloud, forward(api, user, address, vm), user)["portforwardingrule"]
    given = {"id": rule["id"], "privateport": 90, "virtualmachineid": second, "cidrlist": "192.0.2.0/24"}
    rule = done(api, cloud, api("updatePortForwardingRule", user, **given), user)["portforwardingrule"]
    assert (rule["virtualmachinename"], rule["privateport"], rule["cidrlist"]) == ("second", "90", "192.0.2.0/24")
    (forwarding,) = router_of(cloud).forwardings
    assert (forwarding.guest, forwarding.guest_port) == (rule["vmguestip"], 90)
    with pytest.raises(Refused, match=r"431 .*should be of equal sizes"):
        api("updatePortForwardingRule", user, id=rule["id"], privateendport=91)
    rule = done(api, cloud, api("updatePortForwardingRule", id=rule["id"], fordisplay=False))["portforwardingrule"]
    assert rule["fordisplay"] is False
    factory.change(factory.first(PortForwardingRule, id=rule["id"]), state="Revoke")
    with pytest.raises(Refused, match=r"431 The port forwarding rule .* is being removed"):
        api("updatePortForwardingRule", user, id=rule["id"], privateport=91)


def test_static_nat_and_the_ports_that_are_open_on_it(api, factory, site):
    cloud, user, address, vm = site
    place = {"ipaddressid": address["id"], "virtualmachineid": vm["id"]}
    assert api("enableStaticNat", user, **place) == {"success": True}
    assert api("enableStaticNat", user, **place) == {"success": True}
    cloud.settle()
    public, guest = address["ipaddress"], vm["nic"][0]["ipaddress"]
    assert router_of(cloud).static_nats == (StaticNat(public, guest),)
    (shown,) = api("listPublicIpAddresses", user, isstaticnat=True)["publicipaddress"]
    assert (shown["virtualmachineid"], shown["vmipaddress"], shown["isstaticnat"]) == (vm["id"], guest, True)
    assert api("listPublicIpAddresses", user, isstaticnat=False)["publicipaddress"][0]["issourcenat"] is True
    given = {"ipaddressid": address["id"], "protocol": "tcp", "startport": 22, "cidrlist": "192.0.2.0/24"}
    rule = done(api, cloud, api("createIpForwardingRule", user, **given), user)["ipforwardingrule"]
    assert (rule["startport"], rule["endport"], rule["state"], rule["ipaddressid"]) == (22, 22, "Active", address["id"])
    assert router_of(cloud).openings == (Opening(public, Traffic("tcp", 22, 22, sources=("192.0.2.0/24",))),)
    with pytest.raises(Refused, match=r"537 .*tcp 22-22"):
        api("createIpForwardingRule", user, **given)
    for given in ({"id": rule["id"]}, {"ipaddressid": address["id"]}, {"virtualmachineid": vm["id"]}):
        assert api("listIpForwardingRules", user, **given)["count"] == 1
    done(api, cloud, api("deleteIpForwardingRule", user, id=rule["id"]), user)
    assert router_of(cloud).openings == ()
    done(api, cloud, api("createFirewallRule", user, ipaddressid=address["id"], protocol="all"), user)
    answer = api("disableStaticNat", user, ipaddressid=address["id"])
    with pytest.raises(Refused, match=r"431 The static NAT of .* is being taken away"):
        api("createIpForwardingRule", user, ipaddressid=address["id"], protocol="tcp", startport=1)
    done(api, cloud, answer, user)
    assert (router_of(cloud).static_nats, router_of(cloud).openings) == ((), ())
    with pytest.raises(Refused, match=r"431 The public address .* has no static NAT"):
        api("disableStaticNat", user, ipaddressid=address["id"])


def test_static_nat_can_be_taken_off_while_it_is_on_its_way(api, site):
    """Who turned it on was not told of a job to wait for."""
    cloud, user, address, vm = site
    api("enableStaticNat", user, ipaddressid=address["id"], virtualmachineid=vm["id"])
    done(api, cloud, api("disableStaticNat", user, ipaddressid=address["id"]), user)
    (shown,) = api("listPublicIpAddresses", user, id=address["id"])["publicipaddress"]
    assert not shown["isstaticnat"]
    assert router_of(cloud).static_nats == ()


def test_static_nat_that_cannot_be(api, site):
    cloud, user, address, vm = site
    place = {"virtualmachineid": vm["id"]}
    (source,) = api("listPublicIpAddresses", user, issourcenat=True)["publicipaddress"]
    with pytest.raises(Refused, match=r"431 The public address .* is that of source NAT; static NAT needs another one"):
        api("enableStaticNat", user, ipaddressid=source["id"], **place)
    with pytest.raises(Refused, match=r"431 .*belongs to network net1"):
        api("enableStaticNat", user, ipaddressid=address["id"], networkid=cloud.add_network("net2"), **place)
    rule = done(api, cloud, forward(api, user, address, vm), user)["portforwardingrule"]
    with pytest.raises(Refused, match=rf"537 .* is in use by port forwarding rule {rule['id']}"):
        api("enableStaticNat", user, ipaddressid=address["id"], **place)
    second = done(api, cloud, api("associateIpAddress", user, networkid=cloud.network_id), user)["ipaddress"]
    api("enableStaticNat", user, ipaddressid=second["id"], **place)
    with pytest.raises(Refused, match=r"537 .* is in use by static NAT rule"):
        forward(api, user, second, vm)
    done(api, cloud, api("deletePortForwardingRule", user, id=rule["id"]), user)
    with pytest.raises(Refused, match=r"431 The address 10.1.1.\d+ of vm has a public address by static NAT already"):
        api("enableStaticNat", user, ipaddressid=address["id"], **place)
    cloud.deploy("second")
    (other,) = api("listVirtualMachines", user, name="second")["virtualmachine"]
    with pytest.raises(Refused, match=r"537 .* is in use by static NAT rule"):
        api("enableStaticNat", user, ipaddressid=second["id"], virtualmachineid=other["id"])


def test_what_leads_to_a_vm_goes_with_it(api, factory, site):
    cloud, user, address, vm = site
    done(api, cloud, forward(api, user, address, vm), user)
    second = done(api, cloud, api("associateIpAddress", user, networkid=cloud.network_id), user)["ipaddress"]
    api("enableStaticNat", user, ipaddressid=second["id"], virtualmachineid=vm["id"])
    cloud.settle()
    api("destroyVirtualMachine", id=vm["id"], expunge=True)
    cloud.settle()
    spec = router_of(cloud)
    assert (spec.forwardings, spec.static_nats, spec.openings) == ((), (), ())
    assert len(spec.addresses) == 2
    assert api("listPortForwardingRules", user) == api("listFirewallRules", user) == {}
    for kind in (PortForwardingRule, StaticNatRule):
        assert factory.first(kind).removed is not None
    assert api("listDrift") == api("listOrphans") == {}


def test_a_rule_that_the_router_cannot_be_told_is_taken_back(api, site, monkeypatch):
    cloud, user, address, vm = site
    apply = MemoryRouter.apply

    def refuse(router, spec):
        if spec.forwardings:
            raise InvalidViewError("planted")
        apply(router, spec)

    monkeypatch.setattr(MemoryRouter, "apply", refuse)
    created = forward(api, user, address, vm)
    cloud.settle()
    job = api("queryAsyncJobResult", user, jobid=created["jobid"])
    assert job["jobstatus"] == 2
    assert job["jobresult"]["errortext"] == "The router of network net1 was not told: planted"
    assert api("listPortForwardingRules", user) == api("listFirewallRules", user) == {}


def test_rules_of_a_network_that_is_not_implemented_wait_for_its_router(api, site):
    cloud, user, _, _ = site
    network = cloud.add_network("net2")
    address = done(api, cloud, api("associateIpAddress", user, networkid=network), user)["ipaddress"]
    rule = done(api, cloud, api("createFirewallRule", user, ipaddressid=address["id"], protocol="icmp"), user)
    assert rule["firewallrule"]["state"] == "Active"
    cloud.deploy("first", network)
    cloud.settle()
    found = [spec.openings for runner in cloud.runners.values() if runner.host.routers
             for spec in runner.host.routers.specs.values() if spec.legs[0].network_id == network]  # fmt: skip
    assert found == [(Opening(address["ipaddress"], Traffic("icmp")),)]


def test_rules_of_others_are_not_there(api, factory, site):
    cloud, user, address, vm = site
    stranger = Caller.of(factory.engine, factory.user("stranger").username)
    rule = done(api, cloud, forward(api, user, address, vm), user)["portforwardingrule"]
    for command, given in (
        ("createFirewallRule", {"ipaddressid": address["id"], "protocol": "tcp"}),
        ("createEgressFirewallRule", {"networkid": cloud.network_id, "protocol": "tcp"}),
        ("deletePortForwardingRule", {"id": rule["id"]}),
        ("enableStaticNat", {"ipaddressid": address["id"], "virtualmachineid": vm["id"]}),
    ):
        with pytest.raises(Refused, match=r"431 .*due to incorrect long value format"):
            api(command, stranger, **given)
    assert api("listPortForwardingRules", stranger, listall=True) == {}


def test_tags_on_rules(api, site):
    cloud, user, address, vm = site
    rule = done(api, cloud, forward(api, user, address, vm), user)["portforwardingrule"]
    given = {"resourcetype": "PortForwardingRule", "resourceids": rule["id"]}
    api("createTags", user, **given, params={"tags[0].key": "k", "tags[0].value": "v"})
    found = api("listPortForwardingRules", user, params={"tags[0].key": "k", "tags[0].value": "v"})
    assert found["portforwardingrule"][0]["tags"][0]["value"] == "v"
    assert api("listPortForwardingRules", user, params={"tags[0].key": "k", "tags[0].value": "w"}) == {}


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("listFirewallRules", "FirewallRule"),
        ("listEgressFirewallRules", "EgressRule"),
        ("listPortForwardingRules", "PortForwardingRule"),
        ("listIpForwardingRules", "IpForwardingRule"),
    ],
)
def test_lists_cost_the_same_at_any_length(api, factory, engine, command, kind):
    from manager import models

    def make():
        address = factory(PublicAddress, network_id=factory(NetworkRule).network_id)
        factory(getattr(models, kind), address_id=address.id, vm_id=factory(Vm).id, first_port=1, last_port=1,
                guest_port=1)  # fmt: skip

    found = costs(engine, make, lambda: api(command, listall=True))
    assert found == {1: found[1], 50: found[1]}
    assert kind != "IpForwardingRule" or factory.first(IpForwardingRule).purpose == "IpForwarding"
