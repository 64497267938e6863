"""dryrun=true on calls of load balancers, NICs, networks and VPCs: it tells what the same call then does."""

from __future__ import annotations

import pytest

from manager.models import NetworkOffering
from tests.unit.api.live_cloud import rows, run
from tests.unit.api.test_dry_run import entries, rehearse, site  # noqa: F401 - site is a fixture
from tests.unit.api.test_vpcs import new_tier, new_vpc


def kinds(shown) -> set[tuple[str, str, str]]:
    return {one[:3] for one in entries(shown)}


@pytest.fixture
def tried(api, factory, site):  # noqa: F811 - as above
    """A function that makes a call as a dry run and then indeed: what the first told."""
    cloud, user, _, _ = site

    def call(command: str, **given):
        return rehearse(api, cloud, factory, user, command, **given)

    return call


def test_load_balancer_rules_and_their_members(tried, site):  # noqa: F811 - as above
    *_, vm, address = site
    rule = {"name": "web", "algorithm": "roundrobin", "publicport": 80, "privateport": 8080}
    shown, real = tried("createLoadBalancerRule", publicipid=address["id"], **rule)
    assert {("router", "balancers", "add"), ("router", "openings", "add")} <= kinds(shown)
    one = {"id": real["id"]}
    shown, _ = tried("assignToLoadBalancerRule", **one, virtualmachineids=vm["id"])
    assert kinds(shown) == {("router", "balancers.members", "add")}
    shown, _ = tried("updateLoadBalancerRule", **one, algorithm="source")
    assert kinds(shown) == {("router", "balancers.algorithm", way) for way in ("add", "remove")}
    sticky = {"name": "s", "methodname": "SourceBased"}
    shown, _ = tried("createLBStickinessPolicy", lbruleid=real["id"], **sticky)
    assert ("router", "balancers.stickiness", "add") in kinds(shown)
    shown, _ = tried("createLBHealthCheckPolicy", lbruleid=real["id"], pingpath="/health")
    assert any(part.startswith("balancers.check") for _, part, _ in kinds(shown))
    shown, _ = tried("removeFromLoadBalancerRule", **one, virtualmachineids=vm["id"])
    assert kinds(shown) == {("router", "balancers.members", "remove")}
    shown, _ = tried("deleteLoadBalancerRule", **one)
    assert ("router", "balancers", "remove") in kinds(shown)


def test_nics_and_their_addresses(api, factory, tried, site):  # noqa: F811 - as above
    cloud, user, vm, _ = site
    nic = vm["nic"][0]["id"]
    free = next(one for one in ("10.1.1.77", "10.1.1.78") if one != vm["nic"][0]["ipaddress"])
    shown, real = tried("addIpToNic", nicid=nic, ipaddress=free)
    assert shown["hosts"][0]["added"] > 0
    shown, _ = tried("removeIpFromNic", id=real["id"])
    assert (shown["hosts"][0]["added"], shown["hosts"][0]["removed"] > 0) == (0, True)
    offering = rows(factory, NetworkOffering, name="gold")[0].id
    given = {"zoneid": cloud.zone_id, "name": "second", "networkofferingid": offering}
    second = api("createNetwork", user, **given)["network"]["id"]
    cloud.deploy("other", second)
    cloud.settle()
    added = {"virtualmachineid": vm["id"], "networkid": second, "ipaddress": "10.1.1.88"}
    shown, _ = tried("addNicToVirtualMachine", **added, macaddress="02:00:4c:00:00:99")
    assert ("hosts", "nics", "add") in kinds(shown)
    assert not any(word in repr(shown) for word in ("password", "host_id", "user_data"))
    there = api("listNics", user, virtualmachineid=vm["id"], networkid=second)["nic"][0]["id"]
    shown, _ = tried("updateDefaultNicForVirtualMachine", virtualmachineid=vm["id"], nicid=there)
    assert {one["networkid"] for one in shown["rules"]} == {cloud.network_id, second}
    tried("updateDefaultNicForVirtualMachine", virtualmachineid=vm["id"], nicid=nic)
    shown, _ = tried("removeNicFromVirtualMachine", virtualmachineid=vm["id"], nicid=there)
    assert ("hosts", "nics", "remove") in kinds(shown)


def test_networks(api, tried, factory, site):  # noqa: F811 - as above
    cloud, user, vm, _ = site
    shown, _ = tried("updateNetwork", id=cloud.network_id, networkdomain="other.example")
    assert ("router", "legs.domain", "add") in kinds(shown)
    shown, _ = tried("restartNetwork", id=cloud.network_id)
    assert (shown["rulecount"], shown["hostcount"]) == (0, 0)
    offering = rows(factory, NetworkOffering, name="gold")[0].id
    shown, real = tried("createNetwork", zoneid=cloud.zone_id, name="empty", networkofferingid=offering)
    assert (shown["rulecount"], shown["hostcount"]) == (0, 0)
    assert api("listNetworks", user, id=real["network"]["id"])["count"] == 1
    run(api, cloud, None, "destroyVirtualMachine", id=vm["id"], expunge=True)
    shown, _ = tried("deleteNetwork", id=cloud.network_id)
    assert {one["removed"] > 0 for one in shown["hosts"]} == {True}
    shown, _ = tried("associateIpAddress", networkid=real["network"]["id"])
    assert shown["hostcount"] == 0


def test_lists_routes_and_private_gateways_of_a_vpc(api, factory, tried, site):  # noqa: F811 - as above
    cloud, user, _, _ = site
    vpc = new_vpc(api, factory, cloud, user)
    lists = [
        run(api, cloud, user, "createNetworkACLList", name=name, vpcid=vpc["id"])["networkacllist"]["id"]
        for name in ("one", "two")
    ]
    tier = new_tier(api, factory, cloud, user, vpc, aclid=lists[0])["id"]
    cloud.deploy("web", tier)
    cloud.settle()
    run(api, cloud, user, "createNetworkACL", aclid=lists[1], protocol="tcp", traffictype="Ingress", startport=80)
    shown, _ = tried("createNetworkACLList", name="three", vpcid=vpc["id"])
    assert shown["rulecount"] == 0
    shown, _ = tried("replaceNetworkACLList", aclid=lists[1], networkid=tier)
    assert any(part.startswith("acl") for _, part, _ in kinds(shown))
    assert shown["hosts"][0]["added"] > 0
    (vm,) = api("listVirtualMachines", user, name="web")["virtualmachine"]
    route = {"vpcid": vpc["id"], "cidr": "10.200.0.0/24", "nexthop": vm["nic"][0]["ipaddress"]}
    shown, real = tried("createStaticRoute", **route)
    assert {("router", "routes", "add"), ("hosts", "nics", "add")} <= kinds(shown)
    shown, _ = tried("deleteStaticRoute", id=real["id"])
    assert ("router", "routes", "remove") in kinds(shown)
