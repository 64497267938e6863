"""Maintenance: what runs on a host or a storage pool goes, and nothing comes until it is cancelled."""

import pytest

from manager.db import transaction
from manager.models import Host, Router, StoragePool, Vm, Volume
from manager.workflows.engine import WORKFLOWS
from manager.workflows.maintenance import maintain_host
from tests.client import Refused
from tests.unit.api.live_cloud import run
from tests.unit.workflows.test_laws import breaking


@pytest.fixture
def vms(cloud) -> list[Vm]:
    """Two VMs, on one host each."""
    ids = [cloud.deploy(name) for name in ("one", "two")]
    cloud.settle()
    return [cloud.get(Vm, one) for one in ids]


def router(factory):
    return factory.first(Router, removed=None)


def share(cloud, factory, vm):
    """Have the VM's volume lie on a pool that both hosts reach."""
    pool = factory.first(StoragePool, id=factory.first(Volume, vm_id=vm.id).pool_id)
    factory.change(pool, host_id=None, cluster_id=None)


def test_a_host_is_emptied_and_filled_again(api, cloud, user, vms, factory):
    host_id = router(factory).host_id
    here = next(vm for vm in vms if vm.host_id == host_id)
    there = next(vm for vm in vms if vm is not here)
    shown = run(api, cloud, None, "prepareHostForMaintenance", id=host_id)["host"]
    assert shown["resourcestate"] == "Maintenance"
    assert cloud.domains() == {there.id: "running"}
    stopped = cloud.get(Vm, here.id)
    assert (stopped.state, stopped.reason) == ("Stopped", "Its host goes into maintenance.")
    assert router(factory).host_id == there.host_id
    assert len(cloud.leftovers()["routers"]) == 1
    assert cloud.leftovers()["drift"] == []
    with pytest.raises(Refused, match=r"431 The host .* is in maintenance"):
        api("updateHost", id=host_id, allocationstate="Enable")
    with pytest.raises(Refused, match=r"431 The host .* is in maintenance"):
        api("prepareHostForMaintenance", id=host_id)
    job = api("startVirtualMachine", user, id=here.id)
    cloud.settle()
    text = api("queryAsyncJobResult", user, jobid=job["jobid"])["jobresult"]["errortext"]
    assert "its resource state is Maintenance" in text
    run(api, cloud, None, "cancelHostMaintenance", id=host_id)
    assert cloud.get(Host, host_id).resource_state == "Enabled"
    run(api, cloud, user, "startVirtualMachine", id=here.id)
    with pytest.raises(Refused, match=r"431 The host .* is not in maintenance: it is Enabled"):
        api("cancelHostMaintenance", id=host_id)


def test_guests_on_shared_storage_are_started_elsewhere(api, cloud, vms, factory):
    share(cloud, factory, vms[0])
    run(api, cloud, None, "prepareHostForMaintenance", id=vms[0].host_id)
    moved = cloud.get(Vm, vms[0].id)
    assert (moved.state, moved.host_id) == ("Running", vms[1].host_id)
    assert cloud.domains() == {vms[0].id: "running", vms[1].id: "running"}


def test_a_host_whose_routers_have_no_other_place_stays_and_says_why(api, cloud, factory, vms):
    host_id = router(factory).host_id
    for other in set(cloud.hosts) - {host_id}:
        factory.change(cloud.get(Host, other), resource_state="Disabled")
    job = api("prepareHostForMaintenance", id=host_id)
    cloud.settle()
    told = api("queryAsyncJobResult", jobid=job["jobid"])["jobresult"]
    assert (told["errorcode"], "No other host of the zone" in told["errortext"]) == (533, True)
    assert cloud.get(Host, host_id).resource_state == "ErrorInMaintenance"
    with pytest.raises(Refused, match=r"431 The host .* is in maintenance"):
        api("updateHost", id=host_id, allocationstate="Disable")
    run(api, cloud, None, "cancelHostMaintenance", id=host_id)


def test_maintenance_waits_for_jobs_and_is_not_cancelled_on_the_way(api, cloud, user, vms):
    vm = vms[0]
    api("rebootVirtualMachine", user, id=vm.id, forced=True)
    job = api("prepareHostForMaintenance", id=vm.host_id)
    with pytest.raises(Refused, match=r"536 hosts .* is busy with job"):
        api("cancelHostMaintenance", id=vm.host_id)
    cloud.settle()
    assert api("queryAsyncJobResult", jobid=job["jobid"])["jobstatus"] == 1


@pytest.mark.parametrize("position", range(len(maintain_host.steps)))
def test_maintenance_that_fails_leaves_the_host_closed(api, cloud, vms, position):
    with pytest.MonkeyPatch.context() as patch:
        broken = breaking(WORKFLOWS["host.maintain"], position, after=False)
        patch.setitem(WORKFLOWS, "host.maintain", broken)
        api("prepareHostForMaintenance", id=vms[0].host_id)
        cloud.settle(times=2)
    assert cloud.get(Host, vms[0].host_id).resource_state == "ErrorInMaintenance"
    run(api, cloud, None, "prepareHostForMaintenance", id=vms[0].host_id)
    assert cloud.domains() == {vms[1].id: "running"}


def test_messages_may_be_lost_and_doubled(api, cloud, vms):
    api("prepareHostForMaintenance", id=vms[0].host_id)
    cloud.settle(2, shuffle=True, lose=0.3)
    assert cloud.domains() == {vms[1].id: "running"}
    assert cloud.leftovers()["drift"] == []


def test_a_storage_pool_in_maintenance(api, cloud, user, vms, factory):
    pool_id = factory.first(Volume, vm_id=vms[0].id).pool_id
    shown = run(api, cloud, None, "enableStorageMaintenance", id=pool_id)["storagepool"]
    assert shown["state"] == "Maintenance"
    assert cloud.domains() == {vms[1].id: "running"}
    assert cloud.get(Vm, vms[0].id).reason == "The storage of its volumes goes into maintenance."
    with pytest.raises(Refused, match=r"431 The storage pool .* is Maintenance"):
        api("enableStorageMaintenance", id=pool_id)
    run(api, cloud, None, "cancelStorageMaintenance", id=pool_id)
    run(api, cloud, user, "startVirtualMachine", id=vms[0].id)
    with pytest.raises(Refused, match=r"431 The storage pool .* is not in maintenance: it is Up"):
        api("cancelStorageMaintenance", id=pool_id)


def test_a_host_is_told_again_what_it_holds(api, cloud, vms, factory):
    before = cloud.leftovers()["ports"]
    with transaction() as session:
        generation = session.get_one(Router, router(factory).id).generation
    assert generation
    run(api, cloud, None, "reconnectHost", id=vms[0].host_id)
    assert cloud.leftovers()["ports"] == before
    assert cloud.leftovers()["drift"] == []
    factory.change(cloud.get(Host, vms[0].host_id), state="Down")
    with pytest.raises(Refused, match=r"431 The host .* is Down: its agent connects by itself"):
        api("reconnectHost", id=vms[0].host_id)
    with pytest.raises(Refused, match=r"431 The host .* is Down; to be emptied it must be Up"):
        api("prepareHostForMaintenance", id=vms[0].host_id)
