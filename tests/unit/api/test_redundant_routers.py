"""Redundant routers through the API: two of a network on two hosts, made anew one after the other."""

from __future__ import annotations

from itertools import pairwise

import pytest

from agents.contract import HostInventory, RouterRole
from manager import db, reports
from manager.models import Host, Network, NetworkOffering, Nic, Router
from manager.workflows.router_health import check_all
from network.redundancy import FIRST, SECOND
from tests.client import Refused
from tests.unit.api.live_cloud import change, done, live_cloud, rows

WANTED = {
    "servicecapabilitylist[0].service": "SourceNat",
    "servicecapabilitylist[0].capabilitytype": "RedundantRouter",
    "servicecapabilitylist[0].capabilityvalue": "true",
}
SERVICES = "Dhcp,Dns,UserData,SourceNat,StaticNat,PortForwarding,Firewall,Lb"
KIND = {"guestiptype": "Isolated", "traffictype": "Guest", "displaytext": "two routers", "enable": True}


def _offer(api, name="redundant", **given):
    params = {**WANTED, **given.pop("params", {})}
    return api("createNetworkOffering", name=name, **{"supportedservices": SERVICES, **KIND, **given}, params=params)[
        "networkoffering"
    ]


@pytest.fixture
def pair(api, factory, tmp_path):
    """A cloud whose network has two routers, and a VM."""
    cloud, user = live_cloud(factory, tmp_path)
    offering = _offer(api)
    change(factory, Network, cloud.network_id, offering_id=offering["id"])
    cloud.deploy()
    cloud.settle(times=2)
    return cloud, user


def _routers(api):
    return api("listRouters", listall=True)["router"]


def _hosts(cloud):
    return [runner.host for runner in cloud.runners.values() if runner.host.routers]


def _specs(cloud):
    """The wanted states on all hosts, the first router's first."""
    found = [(host.id, spec) for host in _hosts(cloud) for spec in host.routers.specs.values()]
    return sorted(found, key=lambda one: -one[1].pair.priority)


def test_a_network_has_two_routers_on_two_hosts(api, factory, pair):
    cloud, user = pair
    routers = _routers(api)
    assert [(one["state"], one["isredundantrouter"], one["redundantstate"]) for one in routers] == [
        ("Running", True, "UNKNOWN")
    ] * 2
    first, second = (spec for _, spec in _specs(cloud))
    assert [host_id for host_id, _ in _specs(cloud)] == [one["hostid"] for one in routers]
    assert len({one["hostid"] for one in routers}) == 2
    assert (first.pair.priority, second.pair.priority) == (FIRST, SECOND)
    assert (first.pair.nic, first.pair.peer) == (second.pair.peer, second.pair.nic)
    assert [leg.nic.address for spec in (first, second) for leg in spec.legs] == ["10.1.1.1", "10.1.1.1"]
    assert first.public == second.public
    assert len({one["guestipaddress"] for one in routers}) == 2
    (network,) = api("listNetworks", user)["network"]
    assert network["redundantrouter"] is True
    (nat,) = [one for one in network["service"] if one["name"] == "SourceNat"]
    assert {"name": "RedundantRouter", "value": "true", "canchooseservicecapability": True} in nat["capability"]
    views = [view for host in _hosts(cloud) for view in host.views()]
    for view in views:
        (gateway,) = [nic for nic in view.nics if nic.role == "router"]
        assert {gateway.host_id, *gateway.also_on} == {one["hostid"] for one in routers}
        assert len(view.pair) == 2
    assert api("listDrift") == api("listOrphans") == {}


def test_hosts_tell_which_one_is_primary(api, factory, pair):
    cloud, _ = pair
    for number, runner in enumerate(r for r in cloud.runners.values() if r.host.routers):
        told = runner.host.inventory()
        assert all(role.role in ("PRIMARY", "BACKUP") for role in told.roles)
        report = HostInventory(f"i{number}", 1, roles=told.roles)
        reports.take(runner.report("inventory", report))
    assert [one["redundantstate"] for one in _routers(api)] == ["PRIMARY", "BACKUP"]
    strange, first = _hosts(cloud)[0], rows(factory, Router, standby=False)[0]
    runner = next(r for r in cloud.runners.values() if r.host.id != first.host_id and r.host.routers)
    reports.take(runner.report("inventory", HostInventory("x", 1, roles=(RouterRole(first.id, "FAULT"),))))
    assert _routers(api)[0]["redundantstate"] == "PRIMARY", strange


def test_they_are_made_anew_one_after_the_other(api, factory, pair):
    cloud, user = pair
    before = {row.id: row.generation for row in rows(factory, Router)}
    api("restartNetwork", user, id=cloud.network_id, cleanup=True)
    counts = []
    for _ in range(200):
        batch = cloud.take_messages()
        for message in batch:
            cloud.handle(*message)
            counts.append(len(_specs(cloud)))
        if not batch and not cloud.open_workflows():
            break
        if not batch:
            cloud.pass_time()
    steps = [count for count, after in pairwise([*counts, -1]) if count != after]
    assert steps == [2, 1, 2, 1, 2]
    assert {row.id: row.generation - before[row.id] for row in rows(factory, Router)} == dict.fromkeys(before, 1)
    assert {one["state"] for one in _routers(api)} == {"Running"}
    assert len({host_id for host_id, _ in _specs(cloud)}) == 2
    assert api("listDrift") == api("listOrphans") == {}


def test_a_router_whose_host_is_lost_gets_another(api, factory, pair):
    cloud, user = pair
    cloud._make_host(3)
    cloud.settle()
    change(factory, Host, _routers(api)[1]["hostid"], state="Down")
    api("restartNetwork", user, id=cloud.network_id)
    cloud.settle()
    routers = _routers(api)
    lost = rows(factory, Host, state="Down")[0].id
    assert lost not in {one["hostid"] for one in routers}
    assert len({one["hostid"] for one in routers}) == 2


def test_nothing_stays_of_a_network_that_is_deleted(api, factory, pair):
    cloud, user = pair
    for vm in api("listVirtualMachines", user)["virtualmachine"]:
        cloud.destroy(vm["id"])
    cloud.settle()
    done(api, user, _settled(cloud, api("deleteNetwork", user, id=cloud.network_id)))
    assert (_specs(cloud), rows(factory, Nic), api("listRouters", listall=True)) == ([], [], {})
    assert all(row.removed for row in rows(factory, Router))
    assert api("listDrift") == api("listOrphans") == {}


def _settled(cloud, answer):
    cloud.settle(times=2)
    return answer


def test_without_a_second_host_there_is_no_router_at_all(api, factory, tmp_path):
    cloud, _ = live_cloud(factory, tmp_path)
    change(factory, Network, cloud.network_id, offering_id=_offer(api)["id"])
    for host in rows(factory, Host)[1:]:
        change(factory, Host, host.id, resource_state="Disabled")
    vm_id = cloud.deploy()
    cloud.settle()
    told = cloud.workflow(cloud.network_id, "network.implement")
    assert "besides that of the other router of the pair, so the router has no place" in told.error
    assert (_specs(cloud), rows(factory, Nic, vm_id=None)) == ([], [])
    assert all(row.removed for row in rows(factory, Router)), vm_id


def test_a_pair_is_started_and_stopped_with_its_network_alone(api, factory, pair):
    cloud, _ = pair
    for command in ("stopRouter", "startRouter", "destroyRouter"):
        with pytest.raises(Refused, match=r"431 The router .* is one of the pair of network net1"):
            api(command, id=_routers(api)[1]["id"])
    api("rebootRouter", id=_routers(api)[1]["id"])
    cloud.settle()
    check_all()
    cloud.settle()
    assert {one["healthchecksfailed"] for one in _routers(api)} == {False}
    plain = factory.first(NetworkOffering, availability="Required")
    with pytest.raises(Refused, match=r"431 The network net1 is Implemented with two routers; .* with one router"):
        api("updateNetwork", id=cloud.network_id, networkofferingid=plain.id)


def test_offerings_that_cannot_have_two_routers_are_refused(api, factory):
    with pytest.raises(Refused, match="431 Only Isolated networks outside VPCs have redundant routers"):
        _offer(api, guestiptype="Shared", specifyvlan=True)
    with pytest.raises(Refused, match="431 Only Isolated networks outside VPCs have redundant routers; those of tiers"):
        _offer(api, forvpc=True, supportedservices="SourceNat,Dhcp")
    with pytest.raises(Refused, match="431 The RedundantRouter of SourceNat is true with VirtualRouter; it cannot be"):
        _offer(api, params={"servicecapabilitylist[0].capabilityvalue": "maybe"})
    shown = _offer(api, params={"servicecapabilitylist[0].capabilityvalue": "false"}, name="single")
    (nat,) = [one for one in shown["service"] if one["name"] == "SourceNat"]
    assert {"name": "RedundantRouter", "value": "false", "canchooseservicecapability": True} in nat["capability"]
    with db.transaction(factory.engine) as session:
        assert session.get_one(NetworkOffering, shown["id"]).redundant_router is False
