"""What Terraform's CloudStack provider asks for a VPC with all that it can have, call by call in its order.

Each resource is made and read, then some are changed and all are read again, as in `terraform plan`, and they go in the
reverse order. Source: the provider's resource_cloudstack_*.go and cloudstack-go, which asks lists by id.
"""

from __future__ import annotations

from typing import Any

import pytest
from cs import CloudStack, CloudStackApiException

from devcloud.cloud import ZONE
from tests.clients.conftest import client_of

POLICIES = {"esppolicy": "aes256-sha256;modp2048", "ikepolicy": "aes256-sha256;modp2048"}


class Provider:
    """The calls of the provider: identifiers by name, jobs to their end, and one thing by its id."""

    def __init__(self, client: CloudStack) -> None:
        self.client = client

    def make(self, command: str, kind: str, **given: Any) -> Any:
        answer = getattr(self.client, command)(fetch_result=True, **given)
        return answer[kind]

    def do(self, command: str, **given: Any) -> None:
        answer = getattr(self.client, command)(fetch_result=True, **given)
        assert answer.get("success", True) in (True, "true"), (command, answer)

    def one(self, command: str, kind: str, **given: Any) -> Any:
        """What a resource is read by: exactly one."""
        answer = getattr(self.client, command)(**given)
        assert answer["count"] == 1, (command, given, answer)
        return answer[kind][0]

    def is_gone(self, command: str, **given: Any) -> bool:
        """By an empty list, or by the refusal of an id that is of nothing."""
        try:
            return getattr(self.client, command)(**given) == {}
        except CloudStackApiException as refused:
            return refused.error["errorcode"] == 431


@pytest.fixture(scope="module")
def provider(simulator, tenant_keys):
    client = client_of(simulator, tenant_keys)
    client.poll_interval = 0.2
    return Provider(client)


def make_vpc(tf: Provider, zone: str, name: str, cidr: str) -> dict[str, Any]:
    offering = tf.one("listVPCOfferings", "vpcoffering", name="Default VPC offering")
    vpc = tf.make("createVPC", "vpc", name=name, displaytext=name, cidr=cidr, vpcofferingid=offering["id"], zoneid=zone,
                  networkdomain="tf.example")  # fmt: skip
    tf.do("createTags", resourceids=[vpc["id"]], resourcetype="Vpc", tags=[{"key": "by", "value": "terraform"}])
    seen = tf.one("listVPCs", "vpc", id=vpc["id"])
    assert (seen["name"], seen["cidr"], seen["networkdomain"], seen["state"]) == (name, cidr, "tf.example", "Enabled")
    assert [(tag["key"], tag["value"]) for tag in seen["tags"]] == [("by", "terraform")]
    assert tf.one("listVPCOfferings", "vpcoffering", id=seen["vpcofferingid"])["name"] == offering["name"]
    source = tf.one("listPublicIpAddresses", "publicipaddress", vpcid=vpc["id"], issourcenat="true")
    return seen | {"source": source["ipaddress"]}


@pytest.fixture(scope="module")
def built(provider):
    """The VPC, its list with three items, a tier with a machine, and a public address that leads there."""
    tf, made = provider, {}
    made["zone"] = zone = tf.one("listZones", "zone", name=ZONE)["id"]
    made["vpc"] = vpc = make_vpc(tf, zone, "tf-vpc", "10.20.0.0/16")
    acl = tf.make("createNetworkACLList", "networkacllist", name="tf-acl", description="by Terraform", vpcid=vpc["id"])
    made["acl"] = tf.one("listNetworkACLLists", "networkacllist", id=acl["id"])
    offering = tf.one(
        "listNetworkOfferings", "networkoffering", name="DefaultIsolatedNetworkOfferingForVpcNetworks", zoneid=zone
    )
    made["offering"] = offering["id"]
    network = tf.make(
        "createNetwork", "network", name="tf-tier", displaytext="tier", networkofferingid=offering["id"], zoneid=zone,
        gateway="10.20.1.1", netmask="255.255.255.0", vpcid=vpc["id"], aclid=acl["id"],
    )  # fmt: skip
    tf.do("createTags", resourceids=[network["id"]], resourcetype="network", tags=[{"key": "tier", "value": "web"}])
    made["network"] = tf.one("listNetworks", "network", id=network["id"])
    rules = [
        {"protocol": "tcp", "startport": 80, "endport": 81, "cidrlist": ["0.0.0.0/0"], "traffictype": "ingress"},
        {"protocol": "icmp", "icmptype": -1, "icmpcode": -1, "cidrlist": ["10.0.0.0/8"], "traffictype": "ingress"},
        {"protocol": "all", "cidrlist": ["0.0.0.0/0"], "traffictype": "egress"},
    ]
    made["rules"] = [tf.make("createNetworkACL", "networkacl", aclid=acl["id"], action="allow", **rule)["id"]
                     for rule in rules]  # fmt: skip
    template = tf.one("listTemplates", "template", templatefilter="executable", name="tiny", zoneid=zone)
    size = tf.one("listServiceOfferings", "serviceoffering", name="tiny")
    made["vm"] = tf.make(
        "deployVirtualMachine", "virtualmachine", name="tf-web", displayname="tf-web", zoneid=zone,
        serviceofferingid=size["id"], templateid=template["id"], networkids=[network["id"]],
    )  # fmt: skip
    address = tf.make("associateIpAddress", "ipaddress", vpcid=vpc["id"], zoneid=zone)
    made["address"] = tf.one("listPublicIpAddresses", "publicipaddress", id=address["id"])
    forward = tf.make(
        "createPortForwardingRule", "portforwardingrule", ipaddressid=address["id"], protocol="tcp", privateport=80,
        publicport=8080, virtualmachineid=made["vm"]["id"], openfirewall="false", networkid=network["id"],
        vmguestip=made["vm"]["nic"][0]["ipaddress"],
    )  # fmt: skip
    made["forward"] = forward["id"]
    return made


def test_what_was_made_is_read_as_it_was_asked(provider, built, root):
    tf = provider
    acl, network, vm = built["acl"], built["network"], built["vm"]
    assert (acl["name"], acl["description"], acl["vpcid"]) == ("tf-acl", "by Terraform", built["vpc"]["id"])
    assert (network["cidr"], network["aclid"], network["vpcid"]) == ("10.20.1.0/24", acl["id"], built["vpc"]["id"])
    items = tf.client.listNetworkACLs(aclid=acl["id"], listall="true")["networkacl"]
    assert [item["id"] for item in sorted(items, key=lambda one: one["number"])] == built["rules"]
    assert [(item["protocol"], item["traffictype"], item["action"], item["state"]) for item in items] == [
        ("tcp", "Ingress", "Allow", "Active"), ("icmp", "Ingress", "Allow", "Active"),
        ("all", "Egress", "Allow", "Active"),
    ]  # fmt: skip
    assert (items[0]["startport"], items[0]["endport"], items[0]["cidrlist"]) == ("80", "81", "0.0.0.0/0")
    assert (built["address"]["vpcid"], built["address"]["state"]) == (built["vpc"]["id"], "Allocated")
    rules = tf.client.listPortForwardingRules(ipaddressid=built["address"]["id"], listall="true")["portforwardingrule"]
    assert [(one["id"], one["virtualmachineid"], one["state"]) for one in rules] == [
        (built["forward"], vm["id"], "Active")
    ]
    explained = root.explainReachability(
        sourceipaddress="203.0.113.9", toipaddress=built["address"]["ipaddress"], protocol="tcp", port=8080,
        fetch_result=True,
    )["reachability"]  # fmt: skip
    assert (explained["reachable"], explained["agrees"]) == (True, True)


def test_changes_are_made_in_place(provider, built):
    tf, acl, network = provider, built["acl"]["id"], built["network"]["id"]
    tf.make("updateVPC", "vpc", id=built["vpc"]["id"], name="tf-renamed", displaytext="tf-renamed")
    assert tf.one("listVPCs", "vpc", id=built["vpc"]["id"])["name"] == "tf-renamed"
    tf.make("updateNetwork", "network", id=network, name="tf-other", displaytext="other")
    tf.make("updateNetworkACLItem", "networkacl", id=built["rules"][0], action="deny", partialupgrade="true")
    items = {one["id"]: one for one in tf.client.listNetworkACLs(aclid=acl, listall="true")["networkacl"]}
    assert (items[built["rules"][0]]["action"], items[built["rules"][0]]["startport"]) == ("Deny", "80")
    other = tf.make("createNetworkACLList", "networkacllist", name="tf-second", description="d",
                    vpcid=built["vpc"]["id"])["id"]  # fmt: skip
    tf.do("replaceNetworkACLList", aclid=other, networkid=network)
    seen = tf.one("listNetworks", "network", id=network)
    assert (seen["name"], seen["displaytext"], seen["aclid"]) == ("tf-other", "other", other)
    tf.do("replaceNetworkACLList", aclid=acl, networkid=network)
    tf.do("deleteNetworkACLList", id=other)


def test_static_nat(provider, built):
    tf, vm = provider, built["vm"]["id"]
    address = tf.make("associateIpAddress", "ipaddress", vpcid=built["vpc"]["id"], zoneid=built["zone"])["id"]
    tf.do("enableStaticNat", ipaddressid=address, virtualmachineid=vm, networkid=built["network"]["id"])
    seen = tf.one("listPublicIpAddresses", "publicipaddress", id=address, isstaticnat="true")
    assert (seen["isstaticnat"], seen["virtualmachineid"]) == (True, vm)
    tf.do("disableStaticNat", ipaddressid=address)
    tf.do("disassociateIpAddress", id=address)
    assert tf.is_gone("listPublicIpAddresses", id=address)


def test_load_balancing_of_an_isolated_network(provider, built):
    tf, zone = provider, built["zone"]
    offering = tf.one("listNetworkOfferings", "networkoffering", zoneid=zone,
                      name="DefaultIsolatedNetworkOfferingWithSourceNatService")  # fmt: skip
    network = tf.make("createNetwork", "network", name="tf-net", displaytext="n", networkofferingid=offering["id"],
                      zoneid=zone)["id"]  # fmt: skip
    size, template = built["vm"]["serviceofferingid"], built["vm"]["templateid"]
    vm = tf.make("deployVirtualMachine", "virtualmachine", name="tf-member", zoneid=zone, serviceofferingid=size,
                 templateid=template, networkids=[network])["id"]  # fmt: skip
    address = tf.make("associateIpAddress", "ipaddress", networkid=network, zoneid=zone)["id"]
    rule = tf.make(
        "createLoadBalancerRule", "loadbalancer", algorithm="roundrobin", name="tf-lb", privateport=80, publicport=80,
        networkid=network, publicipid=address, openfirewall="false", cidrlist=["0.0.0.0/0"], protocol="tcp",
    )["id"]  # fmt: skip
    tf.do("assignToLoadBalancerRule", id=rule, virtualmachineids=[vm])
    assert tf.one("listLoadBalancerRules", "loadbalancerrule", id=rule)["algorithm"] == "roundrobin"
    tf.make("updateLoadBalancerRule", "loadbalancer", id=rule, algorithm="leastconn", name="tf-lb2")
    seen = tf.one("listLoadBalancerRules", "loadbalancerrule", id=rule)
    assert (seen["algorithm"], seen["name"], seen["state"]) == ("leastconn", "tf-lb2", "Active")
    assert tf.one("listLoadBalancerRuleInstances", "loadbalancerruleinstance", id=rule)["id"] == vm
    tf.do("removeFromLoadBalancerRule", id=rule, virtualmachineids=[vm])
    tf.do("deleteLoadBalancerRule", id=rule)
    tf.do("disassociateIpAddress", id=address)
    tf.do("destroyVirtualMachine", id=vm, expunge="true")
    tf.do("deleteNetwork", id=network)
    assert tf.is_gone("listNetworks", id=network)


def test_vpn_between_two_vpcs(provider, built):
    tf, ends = provider, []
    for number, vpc in enumerate((built["vpc"], make_vpc(tf, built["zone"], "tf-peer", "10.30.0.0/16"))):
        gateway = tf.make("createVpnGateway", "vpngateway", vpcid=vpc["id"])
        seen = tf.one("listVpnGateways", "vpngateway", id=gateway["id"])
        assert seen["vpcid"] == vpc["id"]
        ends.append({"vpc": vpc, "gateway": seen, "name": f"tf-customer-{number}"})
    for end, other in zip(ends, reversed(ends), strict=True):
        made = tf.make(
            "createVpnCustomerGateway", "vpncustomergateway", name=end["name"], cidrlist=other["vpc"]["cidr"],
            gateway=other["gateway"]["publicip"], ipsecpsk="Terraform-1", dpd="true", esplifetime=3600,
            ikelifetime=86400, **POLICIES,
        )  # fmt: skip
        seen = tf.one("listVpnCustomerGateways", "vpncustomergateway", id=made["id"])
        assert (seen["dpd"], seen["esppolicy"], seen["ikelifetime"]) == (True, POLICIES["esppolicy"], 86400)
        end["customer"] = seen["id"]
    for end in ends:
        made = tf.make("createVpnConnection", "vpnconnection", s2scustomergatewayid=end["customer"],
                       s2svpngatewayid=end["gateway"]["id"])  # fmt: skip
        end["connection"] = made["id"]
        seen = tf.one("listVpnConnections", "vpnconnection", id=made["id"])
        assert (seen["s2scustomergatewayid"], seen["s2svpngatewayid"]) == (end["customer"], end["gateway"]["id"])
    for end in ends:
        tf.do("deleteVpnConnection", id=end["connection"])
        assert tf.is_gone("listVpnConnections", id=end["connection"])
        tf.make("updateVpnCustomerGateway", "vpncustomergateway", id=end["customer"], name=f"{end['name']}-changed",
                cidrlist="10.40.0.0/16", gateway="203.0.113.40", ipsecpsk="Terraform-2", **POLICIES)  # fmt: skip
        seen = tf.one("listVpnCustomerGateways", "vpncustomergateway", id=end["customer"])
        assert (seen["name"], seen["gateway"]) == (f"{end['name']}-changed", "203.0.113.40")
        tf.do("deleteVpnCustomerGateway", id=end["customer"])
        tf.do("deleteVpnGateway", id=end["gateway"]["id"])
    tf.do("deleteVPC", id=ends[1]["vpc"]["id"])
    assert tf.is_gone("listVPCs", id=ends[1]["vpc"]["id"])


def test_all_goes_in_the_reverse_order(provider, built, root):
    tf = provider
    tf.do("deletePortForwardingRule", id=built["forward"])
    tf.do("disassociateIpAddress", id=built["address"]["id"])
    tf.do("destroyVirtualMachine", id=built["vm"]["id"], expunge="true")
    for rule in reversed(built["rules"]):
        tf.do("deleteNetworkACL", id=rule)
    tf.do("deleteNetwork", id=built["network"]["id"])
    tf.do("deleteNetworkACLList", id=built["acl"]["id"])
    tf.do("deleteVPC", id=built["vpc"]["id"])
    for command, thing in (("listVPCs", "vpc"), ("listNetworks", "network"), ("listNetworkACLLists", "acl")):
        assert tf.is_gone(command, id=built[thing]["id"])
    assert root.listRouters(listall="true", vpcid=built["vpc"]["id"]) == {}
