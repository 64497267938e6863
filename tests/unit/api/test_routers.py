"""Virtual routers through the API, with the workflows of the in-process cloud."""

from __future__ import annotations

import pytest

from manager.models import Host, Network, Nic, PublicAddress, Router, VlanIpRange
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
    assert asked == ["clean_up_router", "forget_place", "start_router", "mark_restarted"]


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
