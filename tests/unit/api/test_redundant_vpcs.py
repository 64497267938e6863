"""VPCs with two routers through the API, with the in-process cloud."""

from __future__ import annotations

import pytest

from agents.contract import HostInventory
from manager import reports
from manager.models import PhysicalNetwork, TunnelKey, VpcOffering
from network.types import RouterSpec
from tests.unit.api.live_cloud import live_cloud, rows, run
from tests.unit.api.test_vpcs import new_tier, new_vpc


@pytest.fixture
def site(api, factory, tmp_path):
    return live_cloud(factory, tmp_path)


def surveyed(cloud) -> None:
    """All hosts tell what is on them."""
    for number, runner in enumerate(one for one in cloud.runners.values() if one.host.hypervisor):
        told = runner.host.inventory()
        report = HostInventory(f"i{number}", 1, networks=told.networks, routers=told.routers, ports=told.ports,
                               domains=told.domains, volumes=told.volumes, roles=told.roles)  # fmt: skip
        reports.take(runner.report("inventory", report))


def specs_of(cloud) -> list[RouterSpec]:
    """The routers that all hosts run, as these know them."""
    routers = [runner.host.routers for runner in cloud.runners.values() if runner.host.routers]
    return [spec for one in routers for spec in one.specs.values()]


def test_a_redundant_vpc_from_its_making_to_its_end(api, factory, site):
    cloud, user = site
    offering = factory.first(VpcOffering, name="Redundant VPC offering")
    vpc = new_vpc(api, factory, cloud, user, vpcofferingid=offering.id)
    assert (vpc["redundantvpcrouter"], vpc["vpcofferingname"]) == (True, "Redundant VPC offering")
    tier = new_tier(api, factory, cloud, user, vpc)
    vm = cloud.deploy("vm1", tier["id"])
    cloud.settle()
    routers = api("listRouters", listall=True, vpcid=vpc["id"])["router"]
    assert [(one["state"], one["isredundantrouter"], one["role"]) for one in routers] == [
        ("Running", True, "VIRTUAL_ROUTER")
    ] * 2
    assert len({one["hostid"] for one in routers}) == 2
    surveyed(cloud)
    assert api("listDrift") == api("listOrphans") == {}
    told = api("listRouters", listall=True, vpcid=vpc["id"])["router"]
    assert {one["redundantstate"] for one in told} <= {"PRIMARY", "BACKUP"}
    public = run(api, cloud, user, "associateIpAddress", vpcid=vpc["id"])["ipaddress"]
    rule = {"protocol": "tcp", "publicport": 80, "privateport": 80, "virtualmachineid": vm, "ipaddressid": public["id"]}
    run(api, cloud, user, "createPortForwardingRule", networkid=tier["id"], **rule)
    assert [len(spec.forwardings) for spec in specs_of(cloud)] == [1, 1]
    before = {one["id"] for one in routers}
    run(api, cloud, user, "restartVPC", id=vpc["id"], cleanup=True)
    assert {one["id"] for one in api("listRouters", listall=True, vpcid=vpc["id"])["router"]} == before
    run(api, cloud, None, "rebootRouter", id=routers[0]["id"])
    for one in routers:
        stopped = run(api, cloud, None, "stopRouter", id=one["id"])["router"]
        assert (stopped["state"], stopped["redundantstate"]) == ("Stopped", "UNKNOWN")
        (spec,) = specs_of(cloud)
        assert (spec.id != one["id"], len(spec.legs), cloud.leftovers()["drift"]) == (True, 1, [])
        run(api, cloud, None, "startRouter", id=one["id"])
    surveyed(cloud)
    assert api("listDrift") == api("listOrphans") == {}
    cloud.destroy(vm)
    cloud.settle()
    for command, key in (("deleteNetwork", tier["id"]), ("deleteVPC", vpc["id"])):
        run(api, cloud, user, command, id=key)
    assert cloud.leftovers()["routers"] == cloud.leftovers()["networks"] == cloud.leftovers()["ports"] == []


def test_a_vpc_of_one_router_is_made_redundant(api, factory, site):
    cloud, user = site
    vpc = new_vpc(api, factory, cloud, user)
    assert vpc["redundantvpcrouter"] is False
    run(api, cloud, user, "restartVPC", id=vpc["id"], makeredundant=True)
    (shown,) = api("listVPCs", user, id=vpc["id"])["vpc"]
    assert shown["redundantvpcrouter"] is True
    assert len(api("listRouters", listall=True, vpcid=vpc["id"])["router"]) == 2
    assert rows(factory, TunnelKey, network_id=vpc["id"])


def test_no_second_router_without_a_key_for_the_line(api, factory, site):
    cloud, user = site
    vpc = new_vpc(api, factory, cloud, user)
    physical = factory.first(PhysicalNetwork, id=cloud.physical_id)
    (taken,) = rows(factory, TunnelKey, zone_id=cloud.zone_id)
    factory.change(physical, key_start=taken.key, key_end=taken.key)
    answer = api("restartVPC", user, id=vpc["id"], makeredundant=True)
    cloud.settle()
    job = api("queryAsyncJobResult", user, jobid=answer["jobid"])
    assert (job["jobstatus"], "All tunnel keys" in job["jobresult"]["errortext"]) == (2, True)
    assert api("listVPCs", user, id=vpc["id"])["vpc"][0]["redundantvpcrouter"] is False
    assert len(api("listRouters", listall=True, vpcid=vpc["id"])["router"]) == 1
