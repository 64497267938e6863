"""Static routes of VPCs through the API, with a router and a next hop on simulated hosts."""

from __future__ import annotations

import pytest

from manager.db import transaction
from manager.models import Network, Nic, StaticRoute, Vm, Vpc
from manager.workflows.vpc import delete_vpc
from network.elements.simulator import MemoryRouter
from network.errors import InvalidViewError
from network.types import Route
from tests.client import Refused
from tests.unit.api.live_cloud import costs, live_cloud, rows
from tests.unit.api.test_public_addresses import done, router_of
from tests.unit.api.test_vpn_connections import vpc_in

HOP = "10.0.0.9"


@pytest.fixture
def cloud_and_user(factory, tmp_path):
    return live_cloud(factory, tmp_path)


@pytest.fixture
def vpc(factory, cloud_and_user):
    """A VPC whose router is on the first host, and a guest HOP of its tier on the second."""
    cloud = cloud_and_user[0]
    made = vpc_in(factory, cloud, "10.0.0.0/16")
    tier = factory.first(Network, vpc_id=made.id)
    vm = factory(Vm, account_id=cloud.account_id, zone_id=cloud.zone_id)
    factory(Nic, network_id=tier.id, vm_id=vm.id, host_id=cloud.hosts[1], address=HOP)
    return made


def behind(cloud) -> list[tuple[str, ...]]:
    """What the guest HOP may send in the name of, as each of its network's hosts knows it."""
    views = [view for runner in cloud.runners.values() for view in getattr(runner.host.switch, "views", {}).values()]
    return [nic.behind for view in views for nic in view.nics if nic.address == HOP]


def test_a_route_is_in_the_router_and_at_the_hosts_while_it_lasts(api, cloud_and_user, vpc):
    cloud, user = cloud_and_user
    route = {"vpcid": vpc.id, "nexthop": HOP, "cidr": "10.9.0.0/24"}
    answer = api("createStaticRoute", user, **route)
    (shown,) = api("listStaticRoutes", user, vpcid=vpc.id)["staticroute"]
    assert (shown["state"], shown["jobid"]) == ("Add", answer["jobid"])
    made = done(api, cloud, answer, user)["staticroute"]
    assert {name: made[name] for name in route} == route
    assert made["state"] == "Active"
    assert router_of(cloud).routes == (Route("10.9.0.0/24", HOP),)
    assert behind(cloud) == [("10.9.0.0/24",)] * 2
    api("createTags", user, resourceids=made["id"], resourcetype="StaticRoute", params={
        "tags[0].key": "to", "tags[0].value": "office"})  # fmt: skip
    assert api("listStaticRoutes", user, params={"tags[0].key": "to", "tags[0].value": "office"})["count"] == 1
    assert api("listStaticRoutes", user, params={"tags[0].key": "to", "tags[0].value": "home"}) == {}
    answer = api("deleteStaticRoute", user, id=made["id"])
    assert api("listStaticRoutes", user, state="Deleting")["count"] == 1
    assert done(api, cloud, answer, user) == {"success": True}
    assert router_of(cloud).routes == ()
    assert behind(cloud) == [()] * 2
    assert api("listStaticRoutes", user) == {}


def test_what_a_route_cannot_be(api, factory, cloud_and_user, vpc):
    cloud, user = cloud_and_user
    api("updateConfiguration", name="denied.routes", value="192.168.7.0/24, ::/0", zoneid=cloud.zone_id)

    def refused(match, **given):
        with pytest.raises(Refused, match=match):
            api("createStaticRoute", user, **{"vpcid": vpc.id, "nexthop": HOP, "cidr": "10.9.0.0/24", **given})

    refused(r"431 .*10\.0\.4\.0/24 overlaps 10\.0\.0\.0/16, the range of VPC", cidr="10.0.4.0/24")
    refused(r"431 .*0\.0\.0\.0/0 overlaps", cidr="0.0.0.0/0")
    refused(r"431 .*overlaps 169\.254\.0\.0/16, link-local", cidr="169.254.9.0/24")
    refused(r"431 .*192\.168\.0\.0/16 overlaps 192\.168\.7\.0/24, which denied\.routes", cidr="192.168.0.0/16")
    refused("431 .*is not an IPv4 network", cidr="10.9.0.1/24")
    refused(r"431 .*10\.0\.200\.1 is in no tier", nexthop="10.0.200.1")
    refused(r"431 .*10\.0\.0\.1 is no address of another in 10\.0\.0\.0/24", nexthop="10.0.0.1")
    refused(r"431 .*10\.0\.0\.255 is no address", nexthop="10.0.0.255")
    refused("431 .*nexthop", nexthop="")
    refused("431 .*vpcid", vpcid="")
    done(api, cloud, api("createStaticRoute", user, vpcid=vpc.id, nexthop=HOP, cidr="10.9.0.0/24"), user)
    refused(r"537 .*10\.9\.0\.0/16 overlaps 10\.9\.0\.0/24", cidr="10.9.0.0/16")
    assert len(rows(factory, StaticRoute)) == 1


def test_a_route_that_the_router_refuses_is_taken_back_and_one_that_cannot_go_stays(
    api, factory, cloud_and_user, vpc, monkeypatch
):
    cloud, user = cloud_and_user
    apply = MemoryRouter.apply

    def refuse(wanted: int):
        def refusing(self, spec):
            if len(spec.routes) == wanted:
                raise InvalidViewError("no such way")
            apply(self, spec)

        return refusing

    with monkeypatch.context() as patch:
        patch.setattr(MemoryRouter, "apply", refuse(1))
        answer = api("createStaticRoute", user, vpcid=vpc.id, nexthop=HOP, cidr="10.9.0.0/24")
        cloud.settle()
        assert "no such way" in api("queryAsyncJobResult", user, jobid=answer["jobid"])["jobresult"]["errortext"]
    assert rows(factory, StaticRoute, removed=None) == []
    assert behind(cloud) == [()] * 2
    made = done(api, cloud, api("createStaticRoute", user, vpcid=vpc.id, nexthop=HOP, cidr="10.9.0.0/24"), user)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryRouter, "apply", refuse(0))
        api("deleteStaticRoute", user, id=made["staticroute"]["id"])
        cloud.settle()
    (row,) = rows(factory, StaticRoute, removed=None)
    assert row.state == "Active"
    assert router_of(cloud).routes == (Route("10.9.0.0/24", HOP),)
    assert behind(cloud) == [("10.9.0.0/24",)] * 2


def test_a_list_costs_as_many_statements_for_one_route_as_for_many(api, factory, cloud_and_user, vpc):
    user = cloud_and_user[1]
    numbers = iter(range(100))

    def make():
        factory(StaticRoute, vpc_id=vpc.id, account_id=vpc.account_id, cidr=f"10.9.{next(numbers)}.0/24")

    found = costs(factory.engine, make, lambda: api("listStaticRoutes", user))
    assert found[1] == found[50]


def test_routes_go_with_their_vpc(factory, cloud_and_user, vpc):
    factory(StaticRoute, vpc_id=vpc.id, account_id=vpc.account_id)
    cloud = cloud_and_user[0]
    tier = factory.first(Network, vpc_id=vpc.id)
    factory.change(tier, removed=vpc.created)
    with transaction() as session:
        delete_vpc.start(session, session.get_one(Vpc, vpc.id))
    cloud.settle()
    assert rows(factory, StaticRoute, removed=None) == []
