"""What virtual machines are deployed with besides their size, and what protects and ends them."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import replace

import pytest
from sqlalchemy import select

from manager import db, reports
from manager.models import (
    AgentCommandRow,
    Annotation,
    Cluster,
    DiskOffering,
    EventRow,
    Host,
    Nic,
    Pod,
    ServiceOffering,
    StoragePool,
    Template,
    Vm,
    VmFigures,
    Volume,
    utcnow,
)
from manager.workflows.housekeeping import forget_figures
from manager.workflows.vm_leases import end_leases
from tests.client import Refused
from tests.unit.api.live_cloud import live_cloud, run, statements

MIB, GIB = 2**20, 2**30


@pytest.fixture
def cloud_and_user(factory, tmp_path):
    return live_cloud(factory, tmp_path)


@pytest.fixture
def cloud(cloud_and_user):
    return cloud_and_user[0]


@pytest.fixture
def user(cloud_and_user):
    return cloud_and_user[1]


@pytest.fixture
def deploy(api, cloud, user):
    def deploy(caller=None, **more):
        wanted = {
            "zoneid": cloud.zone_id, "templateid": cloud.template_id, "serviceofferingid": cloud.offering_id,
            "networkids": cloud.network_id, **more,
        }  # fmt: skip
        return run(api, cloud, caller or user, "deployVirtualMachine", **wanted)["virtualmachine"]

    return deploy


def rows(factory, model, **values) -> list:
    with db.transaction(factory.engine) as session:
        return list(session.scalars(select(model).filter_by(**values)))


def told(factory, name: str, vm_id: str) -> dict:
    """The arguments of the last command of that name about the VM."""
    return [row.arguments for row in rows(factory, AgentCommandRow, name=name) if vm_id in str(row.arguments)][-1]


def change(factory, model, key, **values):
    factory.change(factory.first(model, id=key), **values)


def test_traits_of_the_offering_reach_the_host(deploy, factory, cloud):
    limits = {"read_bytes": 5, "write_iops": 6}
    traits = {"io_limits": limits, "cache_mode": "writeback", "provisioning": "sparse", "limit_cpu_use": True}
    change(factory, ServiceOffering, cloud.offering_id, network_rate=40, **traits)
    vm = deploy(iothreadsenabled=True, iodriverpolicy="io_uring")
    start = told(factory, "vm.start", vm["id"])
    disk = start["vm"]["disks"][0]
    assert {name: disk["limits"][name] for name in limits} == limits
    assert disk["cache"] == "writeback"
    assert (start["vm"]["cpu_capped"], start["vm"]["io_threads"], start["vm"]["io_policy"]) == (True, True, "io_uring")
    assert [nic["rate"] for nic in start["networks"][0]["view"]["nics"] if nic["role"] == "guest"] == [40]
    root = factory.first(Volume, vm_id=vm["id"])
    assert told(factory, "volume.create", root.id)["volume"]["provisioning"] == "sparse"


def test_a_nic_that_is_not_the_default_has_its_networks_rate(deploy, factory, cloud):
    second = cloud.add_network("net2")
    change(factory, ServiceOffering, cloud.offering_id, network_rate=40)
    vm = deploy(networkids=f"{cloud.network_id},{second}")
    views = [command["view"] for command in told(factory, "vm.start", vm["id"])["networks"]]
    rates = {view["id"]: nic["rate"] for view in views for nic in view["nics"] if nic["role"] == "guest"}
    assert rates == {cloud.network_id: 40, second: 0}


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"details[0].io.policy": "fast"}, "The detail io.policy is one of native, threads, io_uring, not fast"),
        ({"details[0].iothreads": "7"}, "The detail iothreads is one of true, false, not 7"),
    ],
)
def test_details_that_the_host_reads_are_checked(api, deploy, user, details, reason):
    vm = deploy()
    with pytest.raises(Refused, match=f"431 {reason}"):
        api("updateVirtualMachine", user, id=vm["id"], params=details)
    with pytest.raises(Refused, match=f"431 {reason}"):
        deploy(name="other", params=details)


def test_custom_sizes_keep_to_the_bounds(api, deploy, factory):
    offering = factory(
        ServiceOffering, cpus=0, cpu_mhz=500, memory=0, customized=True, bounds={"mincpunumber": 2, "maxmemory": 128}
    ).id
    size = {"details[0].cpuNumber": "2", "details[0].memory": "128"}
    assert deploy(serviceofferingid=offering, params=size)["cpunumber"] == 2
    with pytest.raises(Refused, match=r"431 .* wants cpuNumber to be at least 2, not 1"):
        deploy(serviceofferingid=offering, params={**size, "details[0].cpuNumber": "1"})
    with pytest.raises(Refused, match=r"431 .* wants memory to be at most 128, not 129"):
        deploy(serviceofferingid=offering, params={**size, "details[0].memory": "129"})


def test_the_root_volume_can_have_an_offering_of_its_own(api, deploy, factory, cloud, user):
    limits = {"read_iops": 7}
    own = factory(DiskOffering, name="swift", size=3 * GIB, storage_type="local", io_limits=limits, cache_mode="none")
    vm = deploy(overridediskofferingid=own.id)
    assert (vm["diskofferingid"], vm["diskofferingname"]) == (own.id, "swift")
    assert factory.first(Volume, vm_id=vm["id"]).size == 3 * GIB
    assert told(factory, "vm.start", vm["id"])["vm"]["disks"][0]["limits"]["read_iops"] == 7
    run(api, cloud, user, "restoreVirtualMachine", virtualmachineid=vm["id"])
    assert factory.first(Volume, vm_id=vm["id"], removed=None).disk_offering_id == own.id
    with pytest.raises(Refused, match="431 The disk offering swift fixes the size"):
        deploy(overridediskofferingid=own.id, rootdisksize=9)
    change(factory, DiskOffering, own.id, customized=True, size=0)
    with pytest.raises(Refused, match="431 The disk offering swift is customized: rootdisksize must say"):
        deploy(overridediskofferingid=own.id)
    change(factory, DiskOffering, own.id, state="Inactive")
    with pytest.raises(Refused, match=r"431 The disk offering swift .* is Inactive"):
        deploy(overridediskofferingid=own.id, rootdisksize=9)


def test_storage_of_the_other_type_is_passed_over(api, deploy, factory, cloud, admin):
    change(factory, ServiceOffering, cloud.offering_id, storage_type="shared")
    with pytest.raises(AssertionError, match=r"1 of 2 hosts: its storage pool pool1 is local, shared storage"):
        deploy()
    shared = factory(
        StoragePool, zone_id=cloud.zone_id, name="both", driver="simulator", path=str(cloud.directory / "both"),
        capacity=100 * GIB, scope="ZONE",
    )  # fmt: skip
    vm = deploy(name="second")
    assert factory.first(Volume, vm_id=vm["id"]).pool_id == shared.id
    assert vm["pooltype"] == "Simulator"
    found = api("listVirtualMachines", admin, storageid=shared.id, listall=True)["virtualmachine"]
    assert [one["id"] for one in found] == [vm["id"]]


def test_a_place_can_be_asked_for(api, deploy, factory, cloud, admin, user):
    other = factory(Pod, zone_id=cloud.zone_id, name="p2")
    empty = factory(Cluster, zone_id=cloud.zone_id, pod_id=other.id, name="c2")
    owner = {"account": "tenant", "domainid": factory.root.id}
    vm = deploy(admin, clusterid=cloud.cluster_id, podid=cloud.pod_id, **owner)
    for given in ({"clusterid": cloud.cluster_id}, {"podid": cloud.pod_id}):
        assert api("listVirtualMachines", admin, listall=True, **given)["count"] == 1
    assert api("listVirtualMachines", admin, listall=True, podid=other.id) == {}
    with pytest.raises(AssertionError, match="2 of 2 hosts: another cluster was asked for"):
        deploy(admin, name="b", clusterid=empty.id, **owner)
    run(api, cloud, user, "stopVirtualMachine", id=vm["id"], forced=True)
    with pytest.raises(AssertionError, match="2 of 2 hosts: another pod was asked for"):
        run(api, cloud, admin, "startVirtualMachine", id=vm["id"], podid=other.id)
    elsewhere = factory(Pod)
    with pytest.raises(Refused, match=r"431 The pod .* is not in zone z1"):
        api("startVirtualMachine", admin, id=vm["id"], podid=elsewhere.id)
    with pytest.raises(Refused, match="531"):
        deploy(podid=cloud.pod_id)


def test_an_identifier_and_a_mac_address_can_be_chosen(api, deploy, factory, cloud, admin, user):
    wanted = str(uuid.uuid4())
    owner = {"account": "tenant", "domainid": factory.root.id}
    vm = deploy(admin, customid=wanted.upper(), macaddress="02:00:4C:00:00:01", name="chosen", **owner)
    assert (vm["id"], vm["nic"][0]["macaddress"]) == (wanted, "02:00:4c:00:00:01")
    with pytest.raises(Refused, match=rf"431 .*, or the uuid {wanted} is taken"):
        deploy(admin, customid=wanted, name="other", **owner)
    with pytest.raises(Refused, match="431 The customid seven is not a uuid"):
        deploy(admin, customid="seven", **owner)
    with pytest.raises(Refused, match="431 The MAC address 02:00:4c:00:00:01 is taken"):
        deploy(macaddress="02:00:4c:00:00:01")
    with pytest.raises(Refused, match="431 The MAC address 01:00:4c:00:00:01 is not one of a single NIC"):
        deploy(macaddress="01:00:4c:00:00:01")
    assert len(rows(factory, Nic, network_id=cloud.network_id, vm_id=wanted)) == 1


def test_a_password_can_be_chosen_where_the_template_sets_one(deploy, factory, cloud):
    with pytest.raises(Refused, match=r"431 The template tiny .* sets no password"):
        deploy(password="tell-nobody-1")
    change(factory, Template, cloud.template_id, password_enabled=True)
    assert deploy(password="tell-nobody-1")["password"] == "tell-nobody-1"
    assert len(deploy(name="b")["password"]) == 12
    with pytest.raises(Refused, match="431 A password has printable characters only"):
        deploy(name="c", password="blank ")


def test_who_deployed_it_is_shown_and_listed(api, deploy, user, admin, factory):
    vm = deploy()
    assert vm["username"].startswith("live")
    assert vm["vmtype"] == "User"
    assert "lastupdated" in vm
    assert api("listVirtualMachines", user, userid=vm["userid"])["count"] == 1
    assert api("listVirtualMachines", user, haenable=True) == {}
    assert api("listVirtualMachines", user, haenable=False, retrieveonlyresourcecount=True) == {"count": 1}
    assert vm["hasannotations"] is False
    factory(Annotation, entity_type="VM", entity_id=vm["id"], text="mind", user_id=vm["userid"])
    assert api("listVirtualMachines", user)["virtualmachine"][0]["hasannotations"] is True


def test_machines_of_a_key_pair(api, deploy, user):
    for name in ('a"b', "ab"):
        api("createSSHKeyPair", user, name=name)
    vm = deploy(keypairs='a"b')
    deploy(name="other", keypairs="ab")
    assert [one["id"] for one in api("listVirtualMachines", user, keypair='a"b')["virtualmachine"]] == [vm["id"]]
    assert api("listVirtualMachines", user, keypair="a") == {}


def test_a_protected_machine_is_not_destroyed(api, deploy, user, admin, cloud):
    vm = deploy()
    assert vm["deleteprotection"] is False
    kept = api("updateVirtualMachine", user, id=vm["id"], deleteprotection=True)["virtualmachine"]
    assert kept["deleteprotection"] is True
    for caller in (user, admin):
        with pytest.raises(Refused, match=r"431 .* is protected against deletion; .*deleteprotection=false"):
            api("destroyVirtualMachine", caller, id=vm["id"])
    assert cloud.get(Vm, vm["id"]).state == "Running"
    api("updateVirtualMachine", user, id=vm["id"], deleteprotection=False)
    run(api, cloud, user, "destroyVirtualMachine", id=vm["id"])
    assert cloud.get(Vm, vm["id"]).state == "Destroyed"
    api("recoverVirtualMachine", admin, id=vm["id"])
    api("updateVirtualMachine", user, id=vm["id"], deleteprotection=True)
    with pytest.raises(Refused, match=r"431 .* is protected against deletion"):
        api("expungeVirtualMachine", admin, id=vm["id"])


@pytest.fixture
def leases(api):
    api("updateConfiguration", name="instance.lease.enabled", value="true")


def over(factory, vm_id):
    change(factory, Vm, vm_id, lease_ends=utcnow() - dt.timedelta(seconds=1))


def kinds(factory, vm_id):
    return [row.type for row in rows(factory, EventRow, resource_id=vm_id) if row.type.startswith("VM.LEASE")]


def test_a_lease_is_told_and_ended_once(api, deploy, user, cloud, factory, leases):
    lent = deploy(leaseduration=5, leaseexpiryaction="STOP")
    far = deploy(name="far", leaseduration=50, leaseexpiryaction="DESTROY")
    assert (lent["leaseduration"], lent["leaseexpiryaction"]) == (5, "STOP")
    end_leases()
    end_leases()
    assert (kinds(factory, lent["id"]), kinds(factory, far["id"])) == (["VM.LEASE.EXPIRING"], [])
    over(factory, lent["id"])
    over(factory, far["id"])
    for _ in range(2):
        end_leases()
        cloud.settle()
    assert cloud.get(Vm, lent["id"]).state == "Stopped"
    assert cloud.get(Vm, far["id"]).state == "Destroyed"
    assert kinds(factory, lent["id"]) == ["VM.LEASE.EXPIRING", "VM.LEASE.EXPIRED"]
    assert kinds(factory, far["id"]) == ["VM.LEASE.EXPIRED"]
    run(api, cloud, user, "startVirtualMachine", id=lent["id"])
    end_leases()
    cloud.settle()
    assert cloud.get(Vm, lent["id"]).state == "Running"
    assert {one["name"] for one in api("listEventTypes", user)["eventtype"]} >= {"VM.LEASE.EXPIRED"}


def test_a_protected_machine_outlives_its_lease(api, deploy, user, cloud, factory, leases):
    vm = deploy(leaseduration=1, leaseexpiryaction="DESTROY")
    api("updateVirtualMachine", user, id=vm["id"], deleteprotection=True)
    over(factory, vm["id"])
    end_leases()
    cloud.settle()
    assert cloud.get(Vm, vm["id"]).state == "Running"
    (event,) = rows(factory, EventRow, resource_id=vm["id"], type="VM.LEASE.EXPIRED")
    assert "protected against deletion" in event.description


def test_a_machine_at_work_ends_its_lease_later(api, deploy, user, cloud, factory, leases):
    vm = deploy(leaseduration=1, leaseexpiryaction="STOP")
    over(factory, vm["id"])
    job = api("rebootVirtualMachine", user, id=vm["id"])
    end_leases()
    assert kinds(factory, vm["id"]) == []
    cloud.settle()
    assert api("queryAsyncJobResult", user, jobid=job["jobid"])["jobstatus"] == 1
    end_leases()
    cloud.settle()
    assert cloud.get(Vm, vm["id"]).state == "Stopped"


def test_leases_are_the_offerings_and_can_be_changed_and_ended(api, deploy, user, cloud, factory, leases):
    change(factory, ServiceOffering, cloud.offering_id, lease_days=3, lease_action="DESTROY")
    vm = deploy()
    assert (vm["leaseduration"], vm["leaseexpiryaction"]) == (3, "DESTROY")
    assert "leaseduration" not in deploy(name="b", leaseduration=-1)
    assert [one["id"] for one in api("listVirtualMachines", user, leased=True)["virtualmachine"]] == [vm["id"]]
    assert api("listVirtualMachines", user, leased=False)["count"] == 1
    longer = api("updateVirtualMachine", user, id=vm["id"], leaseduration=10)["virtualmachine"]
    assert (longer["leaseduration"], longer["leaseexpiryaction"]) == (10, "DESTROY")
    other = api("updateVirtualMachine", user, id=vm["id"], leaseexpiryaction="STOP")["virtualmachine"]
    assert (other["leaseduration"], other["leaseexpiryaction"]) == (10, "STOP")
    assert "leaseexpirydate" not in api("updateVirtualMachine", user, id=vm["id"], leaseduration=-1)["virtualmachine"]
    for given, reason in (
        ({"leaseduration": 0}, "is 1 to 36500 days, or -1"),
        ({"leaseduration": 5}, "needs leaseexpiryaction too"),
        ({"leaseexpiryaction": "STOP"}, "needs leaseduration too"),
    ):
        with pytest.raises(Refused, match=rf"431 .*{reason}"):
            api("updateVirtualMachine", user, id=vm["id"], **given)


def test_nothing_ends_while_leases_are_off(api, deploy, cloud, factory, leases):
    vm = deploy(leaseduration=1, leaseexpiryaction="DESTROY")
    over(factory, vm["id"])
    api("updateConfiguration", name="instance.lease.enabled", value="false")
    end_leases()
    cloud.settle()
    assert cloud.get(Vm, vm["id"]).state == "Running"
    with pytest.raises(Refused, match="431 Leases are off"):
        deploy(name="b", leaseduration=1, leaseexpiryaction="STOP")


def report(cloud, sequence, **changes):
    """Every host reports, its guests with these figures added to what they count."""
    for runner in cloud.runners.values():
        if runner.host.hypervisor is None:
            continue
        found = replace(runner.host.inventory(), incarnation="i1", sequence=sequence)
        guests = tuple(replace(guest, cpu_ns=0, measured=0.0, **FIGURES) for guest in found.guests)
        guests = tuple(replace(guest, **changes) for guest in guests)
        reports.take(runner.report("inventory", replace(found, guests=guests)))


FIGURES = {"received": 10240, "sent": 2048, "read": 4096, "written": 8192, "reads": 1, "writes": 2}


def figures(api, user, **more):
    (vm,) = api("listVirtualMachines", user, **more)["virtualmachine"]
    names = ("cpuused", "networkkbsread", "networkkbswrite", "diskkbsread", "diskioread", "receivedbytes")
    return [vm.get(name) for name in names]


def test_figures_are_those_between_the_last_two_reports_or_sums(api, deploy, user, cloud, admin):
    deploy()
    report(cloud, 1)
    report(cloud, 2, received=20480, cpu_ns=5_000_000_000, measured=10.0)
    assert figures(api, user, details="stats") == ["50.00%", 10, 0, 0, 0, 20480]
    assert figures(api, user, details="stats", accumulate=True) == ["50.00%", 20, 2, 4, 1, 20480]
    assert figures(api, user) == [None] * 6
    (vm,) = api("listVirtualMachinesMetrics", user)["virtualmachine"]
    assert (vm["memorykbs"], vm["memorytargetkbs"], vm["memoryintfreekbs"]) == (65536, 65536, 32768)
    api("updateConfiguration", name="vm.stats.increment.metrics", value="true")
    assert figures(api, user, details="stats")[1] == 20
    api("updateConfiguration", name="list.vm.default.details.stats", value="true")
    assert figures(api, user)[1] == 20


def test_counters_begin_anew_with_each_placement(api, deploy, user, cloud):
    vm = deploy()
    report(cloud, 1)
    run(api, cloud, user, "stopVirtualMachine", id=vm["id"], forced=True)
    run(api, cloud, user, "startVirtualMachine", id=vm["id"])
    report(cloud, 2, received=1024)
    assert figures(api, user, details="stats", accumulate=True) == [None, 11, 4, 8, 2, 11264]


def test_a_host_speaks_only_for_what_is_placed_on_it(api, deploy, user, cloud, factory):
    vm = deploy()
    other = next(host for host in rows(factory, Host) if host.id != factory.first(Vm, id=vm["id"]).host_id)
    runner = cloud.runners[other.agent_id]
    found = replace(runner.host.inventory(), incarnation="i1", sequence=1)
    theirs = next(r for r in cloud.runners.values() if r.host.hypervisor and r.host.inventory().guests)
    reports.take(runner.report("inventory", replace(found, guests=theirs.host.inventory().guests)))
    assert rows(factory, VmFigures) == []


def test_figures_of_what_is_gone_are_forgotten(api, deploy, user, cloud, factory, admin):
    vm = deploy()
    deploy(name="stays")
    report(cloud, 1)
    run(api, cloud, admin, "destroyVirtualMachine", id=vm["id"], expunge=True)
    forget_figures()
    assert [row.vm_id for row in rows(factory, VmFigures)] == [row.id for row in rows(factory, Vm, name="stays")]


def test_the_public_address_of_static_nat_is_shown(api, deploy, user, cloud):
    vm = deploy()
    made = run(api, cloud, user, "associateIpAddress", networkid=cloud.network_id)["ipaddress"]
    assert "publicip" not in api("listVirtualMachines", user)["virtualmachine"][0]
    api("enableStaticNat", user, ipaddressid=made["id"], virtualmachineid=vm["id"])
    cloud.settle()
    (shown,) = api("listVirtualMachines", user)["virtualmachine"]
    assert (shown["publicip"], shown["publicipid"]) == (made["ipaddress"], made["id"])


def test_parts_are_shown_where_they_are_asked_for(api, deploy, user):
    deploy(group="front")
    everything = set(api("listVirtualMachines", user)["virtualmachine"][0])
    least = set(api("listVirtualMachines", user, details="min")["virtualmachine"][0])
    for part, names in {
        "group": {"group", "groupid"}, "volume": {"rootdeviceid", "rootdevicetype", "pooltype"},
        "secgrp": {"securitygroup"}, "tmpl": {"templatename", "templatetype"},
    }.items():  # fmt: skip
        assert names <= everything
        assert not names & least
        assert names <= set(api("listVirtualMachines", user, details=part)["virtualmachine"][0])


def test_figures_cost_no_statement(engine, api, deploy, user, cloud):
    deploy()
    report(cloud, 1)
    taken = {}
    for details in ("stats", "min"):
        with statements(engine) as sent:
            api("listVirtualMachines", user, details=details)
        taken[details] = len(sent)
    assert taken["stats"] == taken["min"]


def test_a_planner_says_which_host_is_first(api, deploy, factory, cloud, admin, user):
    """By default a second machine goes where the account has none; the emptiest host and its own pod say otherwise."""
    names = {one["name"] for one in api("listDeploymentPlanners", admin)["deploymentPlanner"]}
    assert names == {"FirstFitPlanner", "UserDispersingPlanner", "UserConcentratedPodPlanner"}
    taken = factory.first(Vm, id=deploy()["id"]).host_id
    other = next(host_id for host_id in cloud.hosts if host_id != taken)
    pod = factory(Pod, zone_id=cloud.zone_id, name="p2")
    factory.change(cloud.get(Host, other), memory_used=16 * GIB, pod_id=pod.id)
    owner = {"account": "tenant", "domainid": factory.root.id}

    def first(**values) -> str:
        change(factory, ServiceOffering, cloud.offering_id, **values)
        return api("explainPlacement", admin, virtualmachineid=probe["id"])["placement"][0]["hostid"]

    probe = deploy(name="probe", startvm=False)
    assert first() == other
    assert first(planner="FirstFitPlanner") == taken
    assert first(planner="UserConcentratedPodPlanner") == taken
    assert first(planner="UserDispersingPlanner") == other
    vm = deploy(admin, name="b", deploymentplanner="FirstFitPlanner", **owner)
    assert factory.first(Vm, id=vm["id"]).host_id == taken
    with pytest.raises(Refused, match="531"):
        deploy(name="c", deploymentplanner="FirstFitPlanner")
