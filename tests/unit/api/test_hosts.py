"""Hosts: joining, what they show, and letting go."""

import pytest

from agents.envelope import public_key
from manager.db import transaction
from manager.models import (
    Agent,
    AgentCommandRow,
    Cluster,
    EventRow,
    Host,
    Network,
    Nic,
    Router,
    ServiceOffering,
    StoragePool,
    Vm,
    Volume,
    WorkflowRow,
)
from manager.placement.host import MIB
from tests.client import Refused
from tests.unit.api import site
from tests.unit.api.site import statements_of

GIB = 2**30


@pytest.fixture
def place(api):
    return site.site(api)


def test_a_host_joins_with_its_agent(api, place, factory):
    key = site.key()
    answer = api(
        "addHost", url="http://h1", hypervisor="KVM", username="", password="", hosttags="ssd,big", **place.place,
        params={"details[0].publickey": key},
    )  # fmt: skip
    (host,) = answer["host"]
    assert answer["count"] == 1
    assert (host["name"], host["type"], host["state"], host["resourcestate"]) == (
        "h1",
        "Routing",
        "Connecting",
        "Enabled",
    )
    assert (host["zonename"], host["podname"], host["clustername"]) == ("z1", "p1", "c1")
    assert host["hosttags"] == "ssd,big"
    row = factory.first(Host, id=host["id"])
    agent = factory.first(Agent, id=row.agent_id)
    assert (agent.kind, agent.public_key) == ("host", key)
    assert public_key(agent.public_key)
    assert agent.broker_user == f"host-{agent.id[:8]}"
    assert len(agent.broker_password) >= 32
    assert api("listHosts") == {"count": 1, "host": [host]}


def test_every_agent_has_a_password_of_its_own(place, factory):
    first, second = place.host("h1"), place.host("h2")
    passwords = {
        factory.first(Agent, id=factory.first(Host, id=host["id"]).agent_id).broker_password for host in (first, second)
    }
    assert len(passwords) == 2


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"url": "http://H1"}, "431 A host with the url http://H1 is there already"),
        ({"url": "http://h1"}, "431 The zone has a host named h1 already"),
        ({"url": "ftp://h2"}, "431 The url ftp://h2 is not that of a host"),
        ({"url": "h2"}, "431 The url h2 is not that of a host"),
        ({"url": "http://h2/path"}, "431 The url http://h2/path is not that of a host"),
        ({"url": "http://user@h2"}, "431 The url"),
        ({"hypervisor": "Simulator"}, "431 The cluster c1 takes KVM hosts, not Simulator"),
        ({"clusterid": None}, "431 The host's cluster must be named"),
        ({"details[0].publickey": "nonsense"}, "431 The public key nonsense is not an Ed25519 key"),
        ({"details[0].publickey": ""}, "431 The agent's public key is missing"),
    ],
)
def test_bad_hosts_are_refused_and_leave_nothing(api, place, engine, given, reason):
    place.host("h1")
    wanted = {"url": "http://h2", "hypervisor": "KVM", "details[0].publickey": site.key(), **place.place, **given}
    with pytest.raises(Refused, match=reason):
        api("addHost", params=wanted)
    assert api("listHosts")["count"] == 1
    with transaction(engine) as session:
        assert session.query(Agent).count() == 1


def test_a_host_must_be_where_its_cluster_is(api, place, factory):
    other = factory(Cluster, name="elsewhere")
    with pytest.raises(Refused, match="431 The cluster elsewhere is not in the pod p1"):
        place.host(clusterid=other.id)
    with pytest.raises(Refused, match="431 The pod p1 is not in the zone z2"):
        place.host(zoneid=site.zone(api, "z2"))


def test_a_named_cluster_is_made_where_it_is_missing(api, place):
    first = place.host("h1", clusterid=None, clustername="new")
    second = place.host("h2", clusterid=None, clustername="new")
    assert first["clusterid"] == second["clusterid"] != place.cluster


def test_capacities_have_cloudstacks_form(api, place, factory):
    host_id = place.host()["id"]
    factory.change(factory.first(Cluster, id=place.cluster), cpu_overcommit=2.0, memory_overcommit=1.5)
    factory.change(
        factory.first(Host, id=host_id), state="Up", cpus=4, cpu_mhz=2000, memory=8 * GIB, cpu_used=3000,
        memory_used=3 * GIB, details={"disk_total": 100 * GIB}, virt_type="qemu", address="192.0.2.11",
    )  # fmt: skip
    factory(StoragePool, zone_id=place.zone, host_id=host_id, scope="HOST", capacity=90 * GIB, allocated=5 * GIB)
    (host,) = api("listHosts", id=host_id)["host"]
    assert (host["cpunumber"], host["cpuspeed"], host["cpuwithoverprovisioning"]) == (4, 2000, "16000")
    assert (host["cpuallocated"], host["cpuallocatedvalue"]) == ("18.75%", 3000)
    assert host["cpuallocatedpercentage"] == host["cpuallocatedwithoverprovisioning"] == "18.75%"
    assert (host["memorytotal"], host["memorywithoverprovisioning"]) == (8 * GIB, str(12 * GIB))
    assert host["memoryallocated"] == host["memoryallocatedbytes"] == 3 * GIB
    assert host["memoryallocatedpercentage"] == "25%"
    assert (host["disksizetotal"], host["disksizeallocated"]) == (100 * GIB, 5 * GIB)
    assert host["details"] == {"virttype": "qemu", "disk_total": str(100 * GIB)}
    assert host["islocalstorageactive"] is True
    assert "memorytotal" not in api("listHosts", id=host_id, details="min")["host"][0]


def test_hosts_are_found(api, place, factory):
    first, second = place.host("h1"), place.host("h2")
    factory.change(factory.first(Host, id=second["id"]), state="Up")

    def names(**filters):
        return [host["name"] for host in api("listHosts", **filters).get("host", [])]

    assert names(name="h1") == ["h1"]
    assert names(id=first["id"]) == ["h1"]
    assert names(state="Up") == ["h2"]
    assert names(type="Routing") == ["h1", "h2"]
    assert names(type="SecondaryStorage") == []
    assert names(**place.place, hypervisor="KVM", resourcestate="Enabled") == ["h1", "h2"]
    assert names(hypervisor="Simulator") == []
    assert names(keyword="2") == ["h2"]
    assert names(page=2, pagesize=1) == ["h2"]


def test_hosts_tell_whether_they_are_fit_for_a_virtual_machine(api, place, factory):
    hosts = {name: place.host(name)["id"] for name in ("h1", "h2", "h3")}
    for name, memory in (("h1", 1024), ("h2", 1024), ("h3", 32)):
        row = factory.first(Host, id=hosts[name])
        factory.change(row, state="Up", cpus=2, cpu_mhz=1000, memory=memory * MIB)
    factory(StoragePool, zone_id=place.zone)
    offering = factory(ServiceOffering, storage_type="shared")
    running = {"host_id": hosts["h1"], "state": "Running", "memory": 64 * MIB, "service_offering_id": offering.id}
    vm = factory(Vm, zone_id=place.zone, **running)
    shown = {host["name"]: host for host in api("listHosts", virtualmachineid=vm.id)["host"]}
    assert {name: host["suitableformigration"] for name, host in shown.items()} == {"h2": True, "h3": False}
    assert shown["h2"]["hasenoughcapacity"] is True


def test_a_host_changes(api, place):
    host_id = place.host("h1")["id"]
    place.host("h2")
    changed = api("updateHost", id=host_id, allocationstate="Disable", hosttags="a,b,a", name="first")["host"]
    assert (changed["resourcestate"], changed["hosttags"], changed["name"]) == ("Disabled", "a,b", "first")
    assert api("updateHost", id=host_id, allocationstate="Enable")["host"]["resourcestate"] == "Enabled"
    assert "hosttags" not in api("updateHost", id=host_id, hosttags=",")["host"]
    with pytest.raises(Refused, match="431 The zone has a host named h2 already"):
        api("updateHost", id=host_id, name="h2")


def test_a_host_goes_with_its_agent_and_its_empty_pools(api, place, factory):
    host_id = place.host()["id"]
    pool = factory(StoragePool, zone_id=place.zone, host_id=host_id, scope="HOST")
    agent_id = factory.first(Host, id=host_id).agent_id
    owed = factory(AgentCommandRow, workflow_id="w", position=0, undoing=True, agent_id=agent_id, name="vm.stop",
                   subject="vm:1", status="owed")  # fmt: skip
    assert api("deleteHost", id=host_id) == {"success": True}
    assert api("listHosts") == {}
    assert factory.first(Agent, id=agent_id).removed is not None
    assert factory.first(StoragePool, id=pool.id).removed is not None
    assert factory.first(AgentCommandRow, id=owed.id).status == "failed"
    assert factory.first(EventRow, type="HOST.DELETE").resource_id == host_id
    place.host()


def test_a_host_with_guests_stays(api, place, factory):
    host_id = place.host()["id"]
    factory.change(factory.first(Host, id=host_id), state="Up")
    vm = factory(Vm, zone_id=place.zone, host_id=host_id, state="Running")
    with pytest.raises(Refused, match="431 The host h1 cannot be removed: it still has 1 virtual machines"):
        api("deleteHost", id=host_id)
    with pytest.raises(Refused, match=r"431 .* It is Up, so force does not help"):
        api("deleteHost", id=host_id, forced="true")
    factory.change(vm, host_id=None, state="Stopped")
    router = factory(Router, zone_id=place.zone, host_id=host_id)
    with pytest.raises(Refused, match=r"431 .* 1 virtual routers"):
        api("deleteHost", id=host_id)
    factory.change(router, host_id=None)
    pool = factory(StoragePool, zone_id=place.zone, host_id=host_id, scope="HOST")
    factory(Volume, pool_id=pool.id)
    with pytest.raises(Refused, match=r"431 .* 1 volumes in its storage pools"):
        api("deleteHost", id=host_id)
    assert factory.first(Host, id=host_id).resource_state == "Enabled"


def test_a_lost_host_goes_by_force_and_its_guests_count_as_stopped(api, place, factory):
    host_id = place.host()["id"]
    factory.change(factory.first(Host, id=host_id), state="Down")
    vm = factory(Vm, zone_id=place.zone, host_id=host_id, last_host_id=host_id, state="Running")
    network = factory(Network, zone_id=place.zone)
    router = factory(Router, zone_id=place.zone, network_id=network.id, host_id=host_id, state="Running")
    nic = factory(Nic, vm_id=vm.id, network_id=network.id, host_id=host_id)
    pool = factory(StoragePool, zone_id=place.zone, host_id=host_id, scope="HOST")
    factory(Volume, pool_id=pool.id, vm_id=vm.id)
    with pytest.raises(Refused, match=r"431 .* 1 virtual machines"):
        api("deleteHost", id=host_id)
    job = factory(WorkflowRow, holds=f"vms:{vm.id}")
    with pytest.raises(Refused, match=f"431 .* the job {job.id} works on something of it"):
        api("deleteHost", id=host_id, forced="true")
    factory.change(job, holds=None)
    assert api("deleteHost", id=host_id, forced="true") == {"success": True}
    stopped = factory.first(Vm, id=vm.id)
    assert (stopped.state, stopped.host_id, stopped.reason) == ("Stopped", None, "Its host h1 was removed.")
    assert factory.first(Router, id=router.id).host_id is None
    assert factory.first(Nic, id=nic.id).host_id is None
    kept = factory.first(StoragePool, id=pool.id)
    assert (kept.state, kept.removed) == ("Disabled", None)


def test_lists_of_hosts_take_the_same_statements_for_one_and_for_fifty(api, engine, place, factory):
    place.host("h1")
    one = statements_of(engine, api, "listHosts", 1)
    for number in range(2, 51):
        place.host(f"h{number}")
    assert statements_of(engine, api, "listHosts", 50) == one <= 8
