"""Load balancers inside VPCs through the API, at addresses of the VPC's router in a tier."""

from __future__ import annotations

import pytest

from manager.models import (
    BalancerAppliance,
    InternalBalancerElement,
    LoadBalancerRule,
    NetworkOffering,
    NicAddress,
    ServiceProvider,
)
from network.elements.simulator import MemoryRouter
from network.errors import InvalidViewError
from tests.client import Refused
from tests.unit.api.live_cloud import costs, live_cloud, rows, run
from tests.unit.api.test_vpcs import new_tier, new_vpc, router_of

OFFERING = "DefaultIsolatedNetworkOfferingForVpcNetworksWithInternalLB"


@pytest.fixture
def site(api, factory, tmp_path):
    """The cloud, its user, a tier with internal load balancing, and its virtual machine."""
    cloud, user = live_cloud(factory, tmp_path)
    vpc = new_vpc(api, factory, cloud, user)
    offering = factory.first(NetworkOffering, name=OFFERING)
    tier = new_tier(api, factory, cloud, user, vpc, networkofferingid=offering.id)
    with pytest.raises(Refused, match=r"431 The tier tier1 is Allocated; start a virtual machine in it first"):
        api("createLoadBalancer", user, **given(tier))
    vm = cloud.deploy("vm1", tier["id"])
    cloud.settle()
    return cloud, user, tier, vm


def given(tier, **more) -> dict:
    return {"name": "inner", "scheme": "internal", "algorithm": "roundrobin", "networkid": tier["id"],
            "sourceipaddressnetworkid": tier["id"], "sourceport": 80, "instanceport": 8080, **more}  # fmt: skip


def known(cloud) -> list[tuple[str, ...]]:
    """The further addresses of the router in the tier, as each of its hosts knows them."""
    views = [view for runner in cloud.runners.values() for view in getattr(runner.host.switch, "views", {}).values()]
    return [nic.further for view in views for nic in view.nics if nic.role == "router" and view.acl is not None]


def test_a_balancer_from_add_to_deleting(api, site):
    cloud, user, tier, vm = site
    made = run(api, cloud, user, "createLoadBalancer", **given(tier, sourceipaddress="10.0.1.200"))["loadbalancer"]
    assert (made["sourceipaddress"], made["sourceipaddressnetworkid"]) == ("10.0.1.200", tier["id"])
    assert made["loadbalancerrule"] == [{"sourceport": 80, "instanceport": 8080, "state": "Active"}]
    run(api, cloud, user, "assignToLoadBalancerRule", id=made["id"], virtualmachineids=vm)
    (one,) = router_of(cloud).balancers
    (leg,) = router_of(cloud).legs
    assert (one.address, one.port, one.member_port, len(one.members)) == ("10.0.1.200", 80, 8080, 1)
    assert (leg.nic.further, leg.acl.id) == (("10.0.1.200",), tier["aclid"])
    assert set(known(cloud)) == {("10.0.1.200",)}
    assert router_of(cloud).openings == ()
    (shown,) = api("listLoadBalancers", user, sourceipaddress="10.0.1.200", scheme="Internal")["loadbalancer"]
    assert [(member["id"], member["ipaddress"]) for member in shown["loadbalancerinstance"]] == [
        (vm, one.members[0].address)
    ]
    assert api("listLoadBalancerRules", user) == {}
    second = given(tier, sourceipaddress="10.0.1.200", sourceport=81)
    second = run(api, cloud, user, "createLoadBalancer", **second)["loadbalancer"]
    with pytest.raises(Refused, match=r"431 The port 80 of 10\.0\.1\.200 is that of another"):
        api("createLoadBalancer", user, **given(tier, sourceipaddress="10.0.1.200"))
    assert run(api, cloud, user, "deleteLoadBalancer", id=made["id"]) == {"success": True}
    assert set(known(cloud)) == {("10.0.1.200",)}, "the other one is still there"
    run(api, cloud, user, "deleteLoadBalancer", id=second["id"])
    assert set(known(cloud)) == {()}
    assert router_of(cloud).balancers == ()
    free = run(api, cloud, user, "createLoadBalancer", **given(tier))["loadbalancer"]
    assert free["sourceipaddress"].startswith("10.0.1.")


def test_what_cannot_be(api, factory, site):
    cloud, user, tier, vm = site

    def refused(match, **more):
        with pytest.raises(Refused, match=match):
            api("createLoadBalancer", user, **given(tier, **more))

    address = api("listVirtualMachines", user, id=vm)["virtualmachine"][0]["nic"][0]["ipaddress"]
    refused(r"533 .*is taken", sourceipaddress=address)
    refused(r"533 .*is taken", sourceipaddress="10.0.1.1")
    refused(r"533 .*is not a host address of", sourceipaddress="10.0.2.9")
    refused(r"431 .*must be|431 .*is to be in the tier", sourceipaddressnetworkid=cloud.network_id)
    refused(r"431 .*has no internal load balancing", networkid=cloud.network_id,
            sourceipaddressnetworkid=cloud.network_id)  # fmt: skip
    refused(r"431 .*none of Internal|431 .*scheme", scheme="Public")
    refused(r"431 .*is that of its name server", sourceport=53)
    public = run(api, cloud, user, "associateIpAddress", vpcid=tier["vpcid"])["ipaddress"]
    rule = {"name": "web", "algorithm": "roundrobin", "publicport": 80, "privateport": 80, "publicipid": public["id"]}
    with pytest.raises(Refused, match=r"431 .*load balancing inside its VPC alone"):
        api("createLoadBalancerRule", user, networkid=tier["id"], **rule)
    made = run(api, cloud, user, "createLoadBalancer", **given(tier))["loadbalancer"]
    with pytest.raises(Refused, match=r"431 .*deleteLoadBalancer removes it"):
        api("deleteLoadBalancerRule", user, id=made["id"])
    assert rows(factory, NicAddress)[0].address == made["sourceipaddress"]


def test_what_the_router_refuses_is_taken_back(api, factory, site, monkeypatch):
    cloud, user, tier, _ = site
    apply = MemoryRouter.apply

    def refuse(wanted: int):
        def refusing(self, spec):
            if len(spec.balancers) == wanted:
                raise InvalidViewError("no balancers here")
            apply(self, spec)

        return refusing

    with monkeypatch.context() as patch:
        patch.setattr(MemoryRouter, "apply", refuse(1))
        answer = api("createLoadBalancer", user, **given(tier))
        cloud.settle()
        assert "no balancers here" in api("queryAsyncJobResult", user, jobid=answer["jobid"])["jobresult"]["errortext"]
    assert rows(factory, LoadBalancerRule, removed=None) == rows(factory, NicAddress) == []
    assert set(known(cloud)) == {()}
    made = run(api, cloud, user, "createLoadBalancer", **given(tier))["loadbalancer"]
    with monkeypatch.context() as patch:
        patch.setattr(MemoryRouter, "apply", refuse(0))
        api("deleteLoadBalancer", user, id=made["id"])
        cloud.settle()
    (row,) = rows(factory, LoadBalancerRule, removed=None)
    assert row.state == "Active"
    assert set(known(cloud)) == {(made["sourceipaddress"],)}
    assert len(router_of(cloud).balancers) == 1


def test_a_list_costs_as_many_statements_for_one_as_for_many(api, factory, site):
    cloud, user, tier, _ = site

    def make():
        factory(LoadBalancerRule, network_id=tier["id"], account_id=cloud.account_id, guest_address="10.0.1.200")

    found = costs(factory.engine, make, lambda: api("listLoadBalancers", user))
    assert found[1] == found[50]


def test_no_balancer_is_made_while_the_provider_or_its_element_is_disabled(api, factory, site):
    cloud, user, tier, _ = site
    physical = api("createPhysicalNetwork", zoneid=cloud.zone_id, name="new")["id"]
    (provider,) = api("listNetworkServiceProviders", physicalnetworkid=physical, name="InternalLbVm")[
        "networkserviceprovider"
    ]
    (element,) = api("listInternalLoadBalancerElements", nspid=provider["id"])["internalloadbalancerelement"]
    assert element["enabled"] is True
    factory.change(factory.first(ServiceProvider, id=provider["id"]), physical_network_id=cloud.physical_id)
    run(api, cloud, None, "configureInternalLoadBalancerElement", id=element["id"], enabled=False)
    with pytest.raises(Refused, match=r"431 .*or the element of that, is disabled"):
        api("createLoadBalancer", user, **given(tier))
    run(api, cloud, None, "configureInternalLoadBalancerElement", id=element["id"], enabled=True)
    assert run(api, cloud, user, "createLoadBalancer", **given(tier))


def test_an_appliance_is_stopped_and_started(api, factory, site):
    cloud, user, tier, vm = site
    made = run(api, cloud, user, "createLoadBalancer", **given(tier, sourceipaddress="10.0.1.200"))["loadbalancer"]
    run(api, cloud, user, "createLoadBalancer", **given(tier, sourceipaddress="10.0.1.200", sourceport=81))
    run(api, cloud, user, "createLoadBalancer", **given(tier, sourceipaddress="10.0.1.201"))
    run(api, cloud, user, "assignToLoadBalancerRule", id=made["id"], virtualmachineids=vm)
    shown = api("listInternalLoadBalancerVMs", vpcid=tier["vpcid"], listall=True)["internalloadbalancervm"]
    one, other = sorted(shown, key=lambda each: each["guestipaddress"])
    assert (one["state"], one["role"], one["guestipaddress"]) == ("Running", "INTERNAL_LB_VM", "10.0.1.200")
    assert (one["vpcid"], one["guestnetworkid"]) == (tier["vpcid"], tier["id"])
    (nic,) = one["nic"]
    assert (nic["ipaddress"], nic["macaddress"]) == ("10.0.1.200", one["guestmacaddress"])
    (router,) = api("listRouters", listall=True, vpcid=tier["vpcid"])["router"]
    assert one["hostid"] == router["hostid"]
    for given_one, count in (
        ({"hostid": router["hostid"]}, 2), ({"networkid": tier["id"]}, 2), ({"name": other["name"]}, 1),
        ({"id": one["id"]}, 1), ({"state": "Stopped"}, None), ({"forvpc": False}, None),
    ):  # fmt: skip
        assert api("listInternalLoadBalancerVMs", listall=True, **given_one).get("count") == count
    stopped = run(api, cloud, None, "stopInternalLoadBalancerVM", id=one["id"])["internalloadbalancervm"]
    assert (stopped["id"], stopped["state"]) == (one["id"], "Stopped")
    assert [balancer.address for balancer in router_of(cloud).balancers] == ["10.0.1.201"]
    assert set(known(cloud)) == {("10.0.1.200", "10.0.1.201")}, "the address stays its own"
    with pytest.raises(Refused, match=r"431 .* is Stopped; to stop it must be Running"):
        api("stopInternalLoadBalancerVM", id=one["id"])
    started = run(api, cloud, None, "startInternalLoadBalancerVM", id=one["id"])["internalloadbalancervm"]
    assert started["state"] == "Running"
    ports = [balancer.port for balancer in router_of(cloud).balancers if balancer.address == "10.0.1.200"]
    assert sorted(ports) == [80, 81]
    with pytest.raises(Refused, match=r"431 .* is Running; to start it must be Stopped"):
        api("startInternalLoadBalancerVM", id=one["id"])
    hidden = run(api, cloud, None, "updateLoadBalancer", id=made["id"], fordisplay=False)["loadbalancer"]
    assert hidden["fordisplay"] is False
    for shown in api("listLoadBalancers", user, sourceipaddress="10.0.1.200")["loadbalancer"]:
        run(api, cloud, user, "deleteLoadBalancer", id=shown["id"])
    run(api, cloud, user, "deleteLoadBalancer", id=made["id"])
    (left,) = api("listInternalLoadBalancerVMs", listall=True)["internalloadbalancervm"]
    assert left["id"] == other["id"]
    cloud.destroy(vm)
    cloud.settle()
    run(api, cloud, user, "deleteNetwork", id=tier["id"])
    assert api("listInternalLoadBalancerVMs", listall=True) == {}


@pytest.mark.parametrize("command", ["stopInternalLoadBalancerVM", "startInternalLoadBalancerVM"])
def test_an_appliance_that_the_router_refuses_to_change_stays_as_it_was(api, factory, site, monkeypatch, command):
    cloud, user, tier, _ = site
    run(api, cloud, user, "createLoadBalancer", **given(tier))
    (one,) = api("listInternalLoadBalancerVMs", listall=True)["internalloadbalancervm"]
    if command.startswith("start"):
        run(api, cloud, None, "stopInternalLoadBalancerVM", id=one["id"])
    before = len(router_of(cloud).balancers)
    apply = MemoryRouter.apply

    def refuse(self, spec):
        if len(spec.balancers) != before:
            raise InvalidViewError("not now")
        apply(self, spec)

    monkeypatch.setattr(MemoryRouter, "apply", refuse)
    answer = api(command, id=one["id"])
    cloud.settle(times=2)
    assert "not now" in api("queryAsyncJobResult", jobid=answer["jobid"])["jobresult"]["errortext"]
    (after,) = api("listInternalLoadBalancerVMs", listall=True)["internalloadbalancervm"]
    assert after["state"] == ("Running" if command.startswith("stop") else "Stopped")
    assert len(router_of(cloud).balancers) == before


def test_an_element_is_made_for_a_provider_that_lacks_it(api, factory, site):
    cloud = site[0]
    physical = api("createPhysicalNetwork", zoneid=cloud.zone_id, name="new")["id"]
    providers = api("listNetworkServiceProviders", physicalnetworkid=physical)["networkserviceprovider"]
    keys = {one["name"]: one["id"] for one in providers}
    with pytest.raises(Refused, match=r"431 .* has no such element"):
        api("createInternalLoadBalancerElement", nspid=keys["VirtualRouter"])
    (element,) = rows(factory, InternalBalancerElement, provider_id=keys["InternalLbVm"])
    same = run(api, cloud, None, "createInternalLoadBalancerElement", nspid=keys["InternalLbVm"])
    assert same["internalloadbalancerelement"]["id"] == element.id
    factory.change(element, live=None, removed=element.created)
    made = run(api, cloud, None, "createInternalLoadBalancerElement", nspid=keys["InternalLbVm"])
    assert made["internalloadbalancerelement"]["id"] != element.id


def test_appliances_cost_as_many_statements_for_one_as_for_many(api, factory, site):
    cloud, _, tier, _ = site

    def make():
        factory(BalancerAppliance, network_id=tier["id"], account_id=cloud.account_id, zone_id=cloud.zone_id)

    found = costs(factory.engine, make, lambda: api("listInternalLoadBalancerVMs", listall=True, pagesize=100, page=1))
    assert found[1] == found[50]
