"""Virtual routers through the API, with the workflows of the in-process cloud."""

from __future__ import annotations

import pytest

from manager.models import Host, Network, Nic, PublicAddress, Router, VlanIpRange
from network.elements.simulator import MemoryRouter
from network.errors import NetworkError
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import costs, live_cloud


@pytest.fixture
def running(factory, tmp_path):
    """A cloud with a network that a VM runs in, so that it has a router."""
    cloud, user = live_cloud(factory, tmp_path)
    cloud.deploy()
    cloud.settle()
    return cloud, user


def test_the_router_of_a_network(api, factory, running):
    cloud, _ = running
    (router,) = api("listRouters", networkid=cloud.network_id, listall=True)["router"]
    host = factory.first(Host, id=router["hostid"])
    assert (router["state"], router["role"], router["hostname"]) == ("Running", "VIRTUAL_ROUTER", host.name)
    assert (router["podname"], router["zonename"], router["hypervisor"]) == ("p1", "z1", "Simulator")
    assert (router["guestnetworkid"], router["guestnetworkname"]) == (cloud.network_id, "net1")
    assert (router["guestipaddress"], router["guestnetmask"]) == ("10.1.1.1", "255.255.255.0")
    public = factory.first(PublicAddress, network_id=cloud.network_id)
    assert (router["publicip"], router["publicmacaddress"]) == (public.address, public.mac)
    assert (router["publicnetmask"], router["gateway"]) == ("255.255.255.0", "198.51.100.1")
    guest, outside = router["nic"]
    assert (guest["traffictype"], guest["ipaddress"], guest["isdefault"]) == ("Guest", "10.1.1.1", False)
    assert guest["macaddress"] == router["guestmacaddress"]
    assert (outside["traffictype"], outside["ipaddress"], outside["isdefault"]) == ("Public", public.address, True)
    assert (router["account"], router["dns1"], router["networkdomain"]) == ("tenant", "192.0.2.53", "tenant.example")
    assert "linklocalip" not in router
    for given in (
        {"id": router["id"]}, {"name": router["name"]}, {"hostid": host.id}, {"podid": host.pod_id}, {"keyword": "r-"},
        {"clusterid": host.cluster_id}, {"zoneid": host.zone_id}, {"state": "running"},
    ):  # fmt: skip
        assert api("listRouters", listall=True, **given)["count"] == 1, given
    assert api("listRouters") == api("listRouters", listall=True, state="Stopped") == {}


def test_reboot_takes_it_down_and_up_with_its_addresses(api, factory, running):
    cloud, _ = running
    (before,) = api("listRouters", listall=True)["router"]
    generation = factory.first(Router, id=before["id"]).generation
    job = api("rebootRouter", id=before["id"])["jobid"]
    assert api("queryAsyncJobResult", jobid=job)["jobstatus"] == 0
    cloud.settle()
    result = api("queryAsyncJobResult", jobid=job)["jobresult"]["router"]
    assert (result["id"], result["state"]) == (before["id"], "Running")
    assert {k: before[k] for k in ("publicip", "guestipaddress", "guestmacaddress")}.items() <= result.items()
    assert factory.first(Router, id=before["id"]).generation == generation + 1
    asked = [step["name"] for step in api("listJobSteps", jobid=job)["jobstep"]]
    assert asked == [
        "clean_up_second", "place_second_again", "clean_up_router", "forget_place", "start_router", "mark_restarted"
    ]  # fmt: skip


def _done(api, cloud, command, **given):
    job = api(command, **given)["jobid"]
    cloud.settle(times=2)
    answer = api("queryAsyncJobResult", jobid=job)
    assert answer["jobstatus"] == 1, answer
    return answer["jobresult"]["router"]


def _held(cloud) -> int:
    """How many hosts run the router."""
    return sum(len(runner.host.routers.specs) for runner in cloud.runners.values() if runner.host.routers)


def test_a_router_is_stopped_and_started_with_its_addresses(api, running):
    cloud, _ = running
    (before,) = api("listRouters", listall=True)["router"]
    stopped = _done(api, cloud, "stopRouter", id=before["id"])
    assert (stopped["state"], "hostid" in stopped, _held(cloud)) == ("Stopped", False, 0)
    with pytest.raises(Refused, match=r"431 The router .* is Stopped; to stop it must be Running"):
        api("stopRouter", id=before["id"])
    started = _done(api, cloud, "startRouter", id=before["id"])
    assert (started["state"], _held(cloud)) == ("Running", 1)
    assert {k: before[k] for k in ("publicip", "guestipaddress", "guestmacaddress")}.items() <= started.items()
    with pytest.raises(Refused, match=r"431 The router .* is Running; to start it must be Stopped"):
        api("startRouter", id=before["id"])
    assert api("listDrift") == api("listOrphans") == {}


def test_a_destroyed_router_is_replaced_by_a_restart_of_its_network(api, running):
    cloud, user = running
    (before,) = api("listRouters", listall=True)["router"]
    _done(api, cloud, "destroyRouter", id=before["id"])
    assert (api("listRouters", listall=True), _held(cloud)) == ({}, 0)
    api("restartNetwork", user, id=cloud.network_id)
    cloud.settle()
    (after,) = api("listRouters", listall=True)["router"]
    assert (after["state"], after["id"] != before["id"], _held(cloud)) == ("Running", True, 1)
    assert {k: before[k] for k in ("publicip", "guestipaddress")}.items() <= after.items()


@pytest.mark.parametrize("command", ["stopRouter", "destroyRouter"])
def test_a_router_that_cannot_be_taken_off_its_host_runs_on(api, running, monkeypatch, command):
    cloud, _ = running
    (before,) = api("listRouters", listall=True)["router"]

    def refuse(_router, _id):
        raise NetworkError("planted")

    monkeypatch.setattr(MemoryRouter, "remove", refuse)
    job = api(command, id=before["id"])["jobid"]
    cloud.settle()
    assert api("queryAsyncJobResult", jobid=job)["jobresult"]["errortext"] == "planted"
    (after,) = api("listRouters", listall=True)["router"]
    assert after == before


def test_a_router_that_does_not_start_stays_stopped(api, running, monkeypatch):
    cloud, _ = running
    (before,) = api("listRouters", listall=True)["router"]
    _done(api, cloud, "stopRouter", id=before["id"])

    def refuse(_router, _spec):
        raise NetworkError("planted")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryRouter, "apply", refuse)
        job = api("startRouter", id=before["id"])["jobid"]
        cloud.settle()
    assert api("queryAsyncJobResult", jobid=job)["jobresult"]["errortext"] == "planted"
    (after,) = api("listRouters", listall=True)["router"]
    assert (after["state"], "hostid" in after) == ("Stopped", False)
    assert _done(api, cloud, "startRouter", id=before["id"])["state"] == "Running"


def test_a_router_of_a_network_under_way_is_not_rebooted(api, factory):
    router = factory(Router, network_id=factory(Network, name="net", state="Implementing").id)
    with pytest.raises(Refused, match=r"431 The network net of router .* is Implementing, not Implemented"):
        api("rebootRouter", id=router.id)


def test_administrators_of_a_domain_see_their_own_without_hosts(api, tenant, factory):
    domain = factory.domain("inner")
    owner = factory.account("owner", domain)
    factory.user("boss", factory.account("boss", domain, type=2))
    boss = Caller.of(factory.engine, "boss")
    host = factory(Host)
    mine = factory(Router, account_id=owner.id, host_id=host.id)
    theirs = factory(Router)
    (seen,) = api("listRouters", boss, listall=True)["router"]
    assert seen["id"] == mine.id
    assert not {"hostid", "hostname", "podid", "podname", "hypervisor"} & set(seen)
    assert api("listRouters", listall=True)["count"] == 2
    with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
        api("rebootRouter", boss, id=theirs.id)
    with pytest.raises(Refused, match="not available for the account"):
        api("listRouters", tenant)


def test_lists_cost_the_same_at_any_length(api, factory, engine):
    def make():
        network = factory(Network)
        span = factory(VlanIpRange)
        router = factory(Router, network_id=network.id, host_id=factory(Host).id)
        factory(Nic, router_id=router.id, network_id=network.id)
        factory(PublicAddress, range_id=span.id, network_id=network.id, source_nat=True)

    found = costs(engine, make, lambda: api("listRouters", listall=True))
    assert found == {1: found[1], 50: found[1]}
    assert found[1] <= 13
