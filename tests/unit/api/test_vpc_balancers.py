"""Load balancer rules of public addresses of VPCs: their tiers' virtual machines behind the VPC's router."""

from __future__ import annotations

import pytest

from manager.models import NetworkOffering
from network.types import Opening, Traffic
from tests.client import Refused
from tests.unit.api.live_cloud import live_cloud, run
from tests.unit.api.test_vpcs import new_tier, new_vpc, router_of

NO_LB = "DefaultIsolatedNetworkOfferingForVpcNetworksNoLB"


@pytest.fixture
def site(api, factory, tmp_path):
    """The cloud, its user, a VPC, and two tiers of it, each with a virtual machine."""
    cloud, user = live_cloud(factory, tmp_path)
    vpc = new_vpc(api, factory, cloud, user)
    tiers = [new_tier(api, factory, cloud, user, vpc, number) for number in (1, 2)]
    vms = [cloud.deploy(f"vm{number}", tier["id"]) for number, tier in enumerate(tiers)]
    cloud.settle()
    return cloud, user, vpc, tiers, vms


def test_a_rule_leads_to_a_tier_and_is_open_for_whom_it_is_for(api, factory, site):
    cloud, user, vpc, tiers, vms = site
    address = run(api, cloud, user, "associateIpAddress", vpcid=vpc["id"])["ipaddress"]
    given = {"name": "web", "algorithm": "roundrobin", "publicport": 80, "privateport": 8080,
             "publicipid": address["id"]}  # fmt: skip
    with pytest.raises(Refused, match=r"431 .*give networkid, the tier to lead to"):
        api("createLoadBalancerRule", user, **given)
    with pytest.raises(Refused, match=r"431 .*is not a tier of the VPC"):
        api("createLoadBalancerRule", user, networkid=cloud.network_id, **given)
    bare = factory.first(NetworkOffering, name=NO_LB)
    without = new_tier(api, factory, cloud, user, vpc, 3, networkofferingid=bare.id)
    with pytest.raises(Refused, match=r"431 The network tier3 has no service Lb"):
        api("createLoadBalancerRule", user, networkid=without["id"], **given)
    narrow = {"networkid": tiers[1]["id"], "cidrlist": "192.0.2.0/24"}
    rule = run(api, cloud, user, "createLoadBalancerRule", **given, **narrow)["loadbalancer"]
    run(api, cloud, user, "assignToLoadBalancerRule", id=rule["id"], virtualmachineids=vms[1])
    (one,) = router_of(cloud).balancers
    (member,) = one.members
    assert (one.address, one.port, one.member_port) == (address["ipaddress"], 80, 8080)
    assert member.address.startswith("10.0.2.")
    expected = Opening(address["ipaddress"], Traffic("tcp", 80, 80, sources=("192.0.2.0/24",)))
    assert router_of(cloud).openings == (expected,)
    assert api("listFirewallRules", user) == {}
    with pytest.raises(Refused, match=r"431 .*has no NIC in network tier2"):
        api("assignToLoadBalancerRule", user, id=rule["id"], virtualmachineids=vms[0])
    with pytest.raises(Refused, match=r"431 .*has rules that lead to the tier tier2"):
        api("createLoadBalancerRule", user, networkid=tiers[0]["id"], **{**given, "publicport": 81})
    second = run(api, cloud, user, "associateIpAddress", vpcid=vpc["id"])["ipaddress"]
    other = {**given, "publicipid": second["id"], "networkid": tiers[0]["id"]}
    run(api, cloud, user, "createLoadBalancerRule", **other)
    assert len(router_of(cloud).balancers) == 2, "each tier has load balancing"
    run(api, cloud, user, "deleteLoadBalancerRule", id=rule["id"])
    (left,) = router_of(cloud).balancers
    assert left.address == second["ipaddress"]
