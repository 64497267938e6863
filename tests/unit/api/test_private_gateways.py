"""Private gateways of VPCs through the API, with a router on a simulated host, and the routes that go by them."""

from __future__ import annotations

import pytest

from manager.db import transaction
from manager.models import Network, PhysicalNetwork, PrivateGateway, VlanIpRange, Vpc
from manager.models.acl import DEFAULT_ALLOW, DEFAULT_DENY
from manager.workflows.vpc import delete_vpc
from network.elements.simulator import MemoryRouter
from network.errors import InvalidViewError
from network.types import Route
from tests.client import Refused
from tests.unit.api.live_cloud import costs, live_cloud, rows
from tests.unit.api.test_public_addresses import done, router_of
from tests.unit.api.test_vpn_connections import vpc_in

PLACE = {"vlan": "100", "ipaddress": "172.16.0.2", "gateway": "172.16.0.1", "netmask": "255.255.255.0"}


@pytest.fixture
def cloud_and_user(factory, tmp_path):
    return live_cloud(factory, tmp_path)


@pytest.fixture
def vpc(factory, cloud_and_user):
    return vpc_in(factory, cloud_and_user[0], "10.0.0.0/16")


@pytest.fixture
def gateway(api, cloud_and_user, vpc):
    return done(api, cloud_and_user[0], api("createPrivateGateway", vpcid=vpc.id, **PLACE))["privategateway"]


def test_a_gateway_is_a_leg_of_the_router_and_routes_go_by_it(api, cloud_and_user, vpc, gateway):
    cloud, user = cloud_and_user
    assert {name: gateway[name] for name in PLACE} == PLACE
    assert (gateway["state"], gateway["aclid"], gateway["sourcenatsupported"]) == ("Ready", DEFAULT_DENY, False)
    (leg,) = router_of(cloud).private_legs
    assert (leg.id, leg.address, leg.prefix_length, leg.gateway) == (gateway["id"], "172.16.0.2", 24, "172.16.0.1")
    assert (leg.vlan, leg.bridge, [rule.allow for rule in leg.acl.rules]) == (100, "br-phy", [False, False])
    (shown,) = api("listPrivateGateways", user, vpcid=vpc.id, vlan="vlan://100", state="Ready")["privategateway"]
    assert "vlan" not in shown, "tenants do not see the underlay"
    assert api("listPrivateGateways", user, vlan="101") == api("listPrivateGateways", user, vlan="untagged") == {}
    answer = api("createStaticRoute", user, gatewayid=gateway["id"], cidr="10.77.0.0/16")
    route = done(api, cloud, answer, user)["staticroute"]
    assert (route["vpcgatewayid"], route["vpcgatewayip"]) == (gateway["id"], "172.16.0.2")
    other = {"vpcid": vpc.id, "nexthop": "172.16.0.9", "cidr": "10.78.0.0/16"}
    done(api, cloud, api("createStaticRoute", user, **other), user)
    assert router_of(cloud).routes == (Route("10.77.0.0/16", "172.16.0.1"), Route("10.78.0.0/16", "172.16.0.9"))
    with pytest.raises(Refused, match=r"431 .*in use by static route"):
        api("deletePrivateGateway", id=gateway["id"])
    for one in api("listStaticRoutes", user)["staticroute"]:
        done(api, cloud, api("deleteStaticRoute", user, id=one["id"]), user)
    assert done(api, cloud, api("deletePrivateGateway", id=gateway["id"])) == {"success": True}
    assert router_of(cloud).private_legs == ()
    assert api("listPrivateGateways", user) == {}


def test_its_list_is_replaced_and_followed(api, cloud_and_user, vpc, gateway):
    cloud, user = cloud_and_user

    def allowed() -> list[bool]:
        (leg,) = router_of(cloud).private_legs
        return [rule.allow for rule in leg.acl.rules]

    answer = api("replaceNetworkACLList", user, gatewayid=gateway["id"], aclid=DEFAULT_ALLOW)
    done(api, cloud, answer, user)
    assert allowed() == [True, True]
    own = done(api, cloud, api("createNetworkACLList", user, name="own", vpcid=vpc.id), user)["networkacllist"]
    done(api, cloud, api("replaceNetworkACLList", user, gatewayid=gateway["id"], aclid=own["id"]), user)
    assert allowed() == [True], "what leaves"
    item = {"protocol": "tcp", "startport": 80, "cidrlist": "172.16.0.0/24"}
    done(api, cloud, api("createNetworkACL", user, aclid=own["id"], **item), user)
    assert allowed() == [True, True]
    with pytest.raises(Refused, match=r"431 .*private gateways at 172\.16\.0\.2 have it"):
        api("deleteNetworkACLList", user, id=own["id"])
    with pytest.raises(Refused, match=r"431 .*of a networkid, or of a gatewayid"):
        api("replaceNetworkACLList", user, gatewayid=gateway["id"], networkid=cloud.network_id, aclid=own["id"])


def test_another_vpcs_list_is_none(api, factory, cloud_and_user, gateway):
    cloud, user = cloud_and_user
    other = factory(Vpc, account_id=cloud.account_id, zone_id=cloud.zone_id)
    theirs = done(api, cloud, api("createNetworkACLList", user, name="theirs", vpcid=other.id), user)["networkacllist"]
    with pytest.raises(Refused, match=r"531 .*is another VPC's"):
        api("replaceNetworkACLList", user, gatewayid=gateway["id"], aclid=theirs["id"])


def test_what_a_gateway_cannot_be(api, factory, cloud_and_user, vpc, gateway):
    cloud, user = cloud_and_user
    away = factory(PhysicalNetwork)

    def refused(match, caller=None, **given):
        with pytest.raises(Refused, match=match):
            api("createPrivateGateway", caller, **{"vpcid": vpc.id, **PLACE, **given})

    elsewhere = {"ipaddress": "172.17.0.2", "gateway": "172.17.0.1"}
    refused(r"^432|^401|^531", user)
    refused("431 .*vlan", vlan="")
    refused("431 .*neither untagged nor a number", vlan="5000")
    refused("431 .*the hosts' own", vlan="untagged")
    refused(r"431 .*overlaps 172\.16\.0\.0/24, that of private gateway", ipaddress="172.16.0.3")
    refused(r"431 .*10\.0\.3\.0/24 .* overlaps 10\.0\.0\.0/16, the range of", ipaddress="10.0.3.2", gateway="10.0.3.1")
    refused("431 .*is no address in", **{**elsewhere, "ipaddress": "172.17.0.1"})
    refused("431 .*is no address in", **{**elsewhere, "ipaddress": "172.18.0.9"})
    refused("431 .*is not in the zone", physicalnetworkid=away.id, **elsewhere)
    range_id = api("listVlanIpRanges")["vlaniprange"][0]["id"]
    factory.change(factory.first(VlanIpRange, id=range_id), vlan="200", physical_network_id=cloud.physical_id)
    refused("431 .*bypassvlanoverlapcheck", vlan="200", **elsewhere)
    there = {"vpcid": vpc.id, **PLACE, **elsewhere, "vlan": "200", "bypassvlanoverlapcheck": True}
    done(api, cloud, api("createPrivateGateway", **there))
    other = vpc_in(factory, cloud, "10.1.0.0/16")
    refused("431 .*is that of another private gateway", vpcid=other.id)
    with pytest.raises(Refused, match=r"431 .*overlaps 172\.16\.0\.0/24, that of private gateway"):
        api("createStaticRoute", user, gatewayid=gateway["id"], cidr="172.16.0.0/16")
    with pytest.raises(Refused, match=r"431 .*one thing"):
        api("createStaticRoute", user, gatewayid=gateway["id"], nexthop="172.16.0.9", cidr="10.9.0.0/24")
    with pytest.raises(Refused, match=r"431 .*is not one of the VPC"):
        api("createStaticRoute", user, gatewayid=gateway["id"], vpcid=other.id, cidr="10.9.0.0/24")
    assert len(rows(factory, PrivateGateway)) == 2


def test_what_the_router_refuses_is_taken_back(api, factory, cloud_and_user, vpc, gateway, monkeypatch):
    cloud, user = cloud_and_user
    apply = MemoryRouter.apply

    def refuse(self, spec):
        if len(spec.private_legs) != 1 or spec.private_legs[0].acl.id != DEFAULT_DENY:
            raise InvalidViewError("no such VLAN here")
        apply(self, spec)

    monkeypatch.setattr(MemoryRouter, "apply", refuse)
    elsewhere = {**PLACE, "vlan": "101", "ipaddress": "172.17.0.2", "gateway": "172.17.0.1"}
    answers = [api("createPrivateGateway", vpcid=vpc.id, **elsewhere)]
    cloud.settle()
    answers.append(api("replaceNetworkACLList", user, gatewayid=gateway["id"], aclid=DEFAULT_ALLOW))
    cloud.settle()
    answers.append(api("deletePrivateGateway", id=gateway["id"]))
    cloud.settle()
    for answer in answers:
        assert "no such VLAN here" in api("queryAsyncJobResult", jobid=answer["jobid"])["jobresult"]["errortext"]
    (row,) = rows(factory, PrivateGateway, removed=None)
    assert (row.id, row.state, row.acl_id) == (gateway["id"], "Ready", DEFAULT_DENY)
    assert [leg.id for leg in router_of(cloud).private_legs] == [gateway["id"]]


def test_a_list_costs_as_many_statements_for_one_gateway_as_for_many(api, factory, cloud_and_user, vpc):
    user = cloud_and_user[1]
    physical = factory.first(PhysicalNetwork)

    def make():
        factory(PrivateGateway, vpc_id=vpc.id, account_id=vpc.account_id, physical_network_id=physical.id)

    found = costs(factory.engine, make, lambda: api("listPrivateGateways", user))
    assert found[1] == found[50]


def test_gateways_go_with_their_vpc(factory, cloud_and_user, vpc, gateway):
    factory.change(factory.first(Network, vpc_id=vpc.id), removed=vpc.created)
    with transaction() as session:
        delete_vpc.start(session, session.get_one(Vpc, vpc.id))
    cloud_and_user[0].settle()
    assert rows(factory, PrivateGateway, removed=None) == []
