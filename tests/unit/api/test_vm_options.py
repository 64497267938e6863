"""What virtual machines are deployed with besides their size, and what protects and ends them."""

from __future__ import annotations

import uuid

import pytest

from manager.models import (
    AgentCommandRow,
    Annotation,
    Cluster,
    DiskOffering,
    Host,
    Nic,
    Pod,
    ServiceOffering,
    StoragePool,
    Template,
    Vm,
    Volume,
)
from tests.client import Refused
from tests.unit.api.live_cloud import change, rows, run

MIB, GIB = 2**20, 2**30


def told(factory, name: str, vm_id: str) -> dict:
    """The arguments of the last command of that name about the VM."""
    return [row.arguments for row in rows(factory, AgentCommandRow, name=name) if vm_id in str(row.arguments)][-1]


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


def test_storage_of_the_other_type_is_passed_over(api, deploy, factory, cloud, admin, user):
    """But what lies on it already stays there."""
    old = deploy(name="old")
    run(api, cloud, user, "stopVirtualMachine", id=old["id"], forced=True)
    change(factory, ServiceOffering, cloud.offering_id, storage_type="shared")
    with pytest.raises(AssertionError, match=r"1 of 2 hosts: its storage pool pool1 is local, shared storage"):
        deploy()
    shared = factory(
        StoragePool, zone_id=cloud.zone_id, name="both", driver="simulator", path=str(cloud.directory / "both"),
        capacity=100 * GIB, scope="ZONE",
    )  # fmt: skip
    vm = deploy(name="second")
    assert factory.first(Volume, vm_id=vm["id"]).pool_id == shared.id
    assert run(api, cloud, user, "startVirtualMachine", id=old["id"])["virtualmachine"]["state"] == "Running"
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
