"""Two VPCs with real guests: tiers and their ACL lists, a pair of routers, balancing inside, and a VPN between both."""

from dataclasses import replace

import pytest

from devcloud.proof import Proof
from tests.devcloud.outside import ELSEWHERE, FETCH, NEAR, named, server
from tests.devcloud.watch import until

WEB, DB, FAR = "10.20.1.11", "10.20.2.11", "10.30.1.11"
BALANCED = "10.20.2.200"
TIER = "DefaultIsolatedNetworkOfferingForVpcNetworks"
POLICIES = {"esppolicy": "aes256-sha256;modp2048", "ikepolicy": "aes256-sha256;modp2048"}
WITHIN = 60


@pytest.fixture(scope="module")
def proof(cloud):
    """Without the guests of other tests."""
    return Proof(cloud)


class Estate:
    """The VPC `one` (10.20.0.0/16, two routers) with the tiers web and db, and `two` (10.30.0.0/16) with the tier far.

    Each tier has a guest of its name and an ACL list of its own, by which ssh comes in from the VPC alone, and all may
    leave.
    """

    def __init__(self, proof):
        self.tenant = replace(proof.tenants["tenant2"], guests={}, network={})
        self.client, self.root, self.place = self.tenant.client, proof.root, proof.place()
        self.vpcs, self.tiers, self.lists = {}, {}, {}

    def build(self):
        self.tenant.ensure_key()
        for name, cidr, offering in (
            ("one", "10.20.0.0/16", "Redundant VPC offering"),
            ("two", "10.30.0.0/16", "Default VPC offering"),
        ):
            offering_id = self.client.listVPCOfferings(name=offering)["vpcoffering"][0]["id"]
            self.vpcs[name] = self.client.createVPC(
                name=name, displaytext=name, cidr=cidr, vpcofferingid=offering_id, zoneid=self.place["zoneid"],
                fetch_result=True,
            )["vpc"]  # fmt: skip
        self._tier("one", "web", WEB, TIER)
        self._tier("one", "db", DB, f"{TIER}WithInternalLB")
        self._tier("two", "far", FAR, TIER)
        self.tenant.wait()

    def _tier(self, vpc, name, address, offering):
        vpc_id, cidr = self.vpcs[vpc]["id"], self.vpcs[vpc]["cidr"]
        acl = self.client.createNetworkACLList(name=name, vpcid=vpc_id, fetch_result=True)["networkacllist"]["id"]
        self.lists[name] = acl
        self.allow(name, cidr, 22)
        everything = {"protocol": "all", "cidrlist": "0.0.0.0/0", "traffictype": "egress"}
        self.client.createNetworkACL(aclid=acl, action="allow", fetch_result=True, **everything)
        gateway = f"{address.rpartition('.')[0]}.1"
        offering_id = self.root.listNetworkOfferings(name=offering)["networkoffering"][0]["id"]
        self.tiers[name] = self.client.createNetwork(
            name=name, zoneid=self.place["zoneid"], networkofferingid=offering_id, vpcid=vpc_id, aclid=acl,
            gateway=gateway, netmask="255.255.255.0",
        )["network"]  # fmt: skip
        self.tenant.network = self.tiers[name]
        self.tenant.ensure_guest(name, address, self.place)

    def allow(self, tier, source, port=80):
        """The id of the item by which machines of `source` come in at a port of the tier's guests."""
        ports = {"protocol": "tcp", "startport": port, "endport": port, "cidrlist": source, "traffictype": "ingress"}
        made = self.client.createNetworkACL(aclid=self.lists[tier], action="allow", fetch_result=True, **ports)
        return made["networkacl"]["id"]

    def forbid(self, item):
        self.client.deleteNetworkACL(id=item, fetch_result=True)

    def asks(self, guest, address):
        """The name of the guest whose web server answers a guest there, or the page of another; '' when none does."""
        code, text = self.tenant.run(guest, FETCH.format(address))
        return "" if code else named(text)

    def routers(self, vpc):
        """By what they are, PRIMARY, BACKUP and so on: the routers of the VPC."""
        listed = self.root.listRouters(vpcid=self.vpcs[vpc]["id"], listall="true")["router"]
        return {one["redundantstate"]: one for one in listed if one["state"] == "Running"}


@pytest.fixture(scope="module")
def estate(proof):
    made = Estate(proof)
    made.build()
    return made


@pytest.fixture
def published(estate):
    """The address at which the port 80 of the guest web is, for whom its list lets in."""
    vpc_id, client = estate.vpcs["one"]["id"], estate.client
    made = client.associateIpAddress(vpcid=vpc_id, fetch_result=True)["ipaddress"]
    client.createPortForwardingRule(
        ipaddressid=made["id"], protocol="tcp", publicport=80, privateport=80, networkid=estate.tiers["web"]["id"],
        virtualmachineid=estate.tenant.guests["web"].vm["id"], openfirewall="false", fetch_result=True,
    )  # fmt: skip
    item = estate.allow("web", f"{NEAR}/32")
    yield made["ipaddress"]
    estate.forbid(item)
    client.disassociateIpAddress(id=made["id"], fetch_result=True)


def test_a_tier_lets_in_what_its_list_allows(estate):
    assert estate.asks("web", DB) == ""
    item = estate.allow("db", "10.20.1.0/24")
    until("the web of db, from web", lambda: estate.asks("web", DB) == "db", 20)
    assert estate.asks("db", WEB) == "", "its list says nothing of the port 80"
    code, _ = estate.tenant.run("web", f"ping -c 2 -W 1 {DB}")
    assert code != 0, "its list says nothing of ICMP"
    estate.forbid(item)
    assert estate.asks("web", DB) == ""


def test_a_published_port_is_for_whom_the_list_of_its_tier_lets_in(cloud, estate, published):
    until("the web of web", lambda: server(cloud.site.outside, published) == "web", 20)
    assert server(cloud.site.outside, published, 80, ELSEWHERE) == ""


def test_guests_leave_by_the_source_nat_of_their_vpc(estate):
    for guest, vpc in (("web", "one"), ("db", "one"), ("far", "two")):
        shown = estate.client.listPublicIpAddresses(vpcid=estate.vpcs[vpc]["id"], issourcenat="true")
        assert estate.asks(guest, ELSEWHERE) == shown["publicipaddress"][0]["ipaddress"]


def test_a_balancer_inside_serves_the_other_tier(estate):
    client, db = estate.client, estate.tiers["db"]["id"]
    item = estate.allow("db", "10.20.0.0/16")
    made = client.createLoadBalancer(
        name="inner", scheme="internal", algorithm="roundrobin", networkid=db, sourceipaddressnetworkid=db,
        sourceipaddress=BALANCED, sourceport=80, instanceport=80, fetch_result=True,
    )["loadbalancer"]  # fmt: skip
    vm = estate.tenant.guests["db"].vm["id"]
    client.assignToLoadBalancerRule(id=made["id"], virtualmachineids=vm, fetch_result=True)
    until("the balancer", lambda: estate.asks("web", BALANCED) == "db", 20)
    client.deleteLoadBalancer(id=made["id"], fetch_result=True)
    assert estate.asks("web", BALANCED) == ""
    estate.forbid(item)


def test_a_vpn_joins_both_as_the_lists_behind_it_say(estate):
    client, names = estate.client, ("one", "two")
    ends = [client.createVpnGateway(vpcid=estate.vpcs[vpc]["id"], fetch_result=True)["vpngateway"] for vpc in names]
    customers = [
        client.createVpnCustomerGateway(
            name=f"to-{vpc}", gateway=end["publicip"], cidrlist=estate.vpcs[vpc]["cidr"], ipsecpsk="agreed-1",
            fetch_result=True, **POLICIES,
        )["vpncustomergateway"]
        for vpc, end in zip(names, ends, strict=True)
    ]  # fmt: skip
    connections = [
        client.createVpnConnection(
            s2svpngatewayid=end["id"], s2scustomergatewayid=customer["id"], passive=passive, fetch_result=True
        )["vpnconnection"]["id"]
        for end, customer, passive in zip(ends, reversed(customers), ("true", "false"), strict=True)
    ]
    item = estate.allow("web", "10.30.0.0/16")
    until("the web of web, from far", lambda: estate.asks("far", WEB) == "web", WITHIN)
    assert estate.asks("far", DB) == "", "its list says nothing of the other VPC"
    assert estate.asks("web", FAR) == "", "its list says nothing of the other VPC"

    def connected():
        listed = client.listVpnConnections(listall="true")["vpnconnection"]
        return {one["state"] for one in listed} == {"Connected"}

    until("both ends to tell that they are connected", connected, WITHIN)
    for one in connections:
        client.deleteVpnConnection(id=one, fetch_result=True)
    assert estate.asks("far", WEB) == ""
    estate.forbid(item)
    for end, customer in zip(ends, customers, strict=True):
        client.deleteVpnGateway(id=end["id"], fetch_result=True)
        client.deleteVpnCustomerGateway(id=customer["id"], fetch_result=True)


def test_one_router_forwards_while_the_other_is_away(cloud, estate, published):
    until("a pair", lambda: set(estate.routers("one")) == {"PRIMARY", "BACKUP"}, WITHIN)
    until("the web of web", lambda: server(cloud.site.outside, published) == "web", 20)
    before = estate.routers("one")
    assert len({one["hostid"] for one in before.values()}) == 2
    estate.root.stopRouter(id=before["PRIMARY"]["id"], fetch_result=True)
    until("the web of web", lambda: server(cloud.site.outside, published) == "web", 20)
    until("the other one to say so", lambda: set(estate.routers("one")) == {"PRIMARY"}, WITHIN)
    assert estate.asks("web", ELSEWHERE) != ""
    estate.root.startRouter(id=before["PRIMARY"]["id"], fetch_result=True)
    until("a pair again", lambda: set(estate.routers("one")) == {"PRIMARY", "BACKUP"}, WITHIN)
    estate.client.restartVPC(id=estate.vpcs["one"]["id"], cleanup="true", fetch_result=True)
    until("the web of web", lambda: server(cloud.site.outside, published) == "web", 20)
    until("a pair again", lambda: set(estate.routers("one")) == {"PRIMARY", "BACKUP"}, WITHIN)
    assert {one["id"] for one in estate.routers("one").values()} == {one["id"] for one in before.values()}
    assert estate.asks("web", ELSEWHERE) != ""


def test_vpcs_that_are_deleted_leave_nothing(proof, estate):
    for guest in estate.tenant.guests.values():
        estate.root.destroyVirtualMachine(id=guest.vm["id"], expunge="true", fetch_result=True)
    for tier in estate.tiers.values():
        estate.client.deleteNetwork(id=tier["id"], fetch_result=True)
    for vpc in estate.vpcs.values():
        estate.client.deleteVPC(id=vpc["id"], fetch_result=True)
    assert estate.client.listVPCs() == {}
    proof.settle()
    proof.check_truth()
