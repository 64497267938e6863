"""explainPlacement: a verdict on every host."""

import pytest

from manager.models import Host, ServiceOffering, StoragePool, Template, Vm
from tests.client import Caller, Refused

GIB = 2**30


@pytest.fixture
def wanted(cloud):
    return {"zoneid": cloud.zone_id, "templateid": cloud.template_id, "serviceofferingid": cloud.offering_id}


def test_every_host_with_its_reason(api, cloud, wanted, factory):
    first, second = cloud.hosts
    factory.change(cloud.get(Host, first), resource_state="Disabled")
    rows = api("explainPlacement", **wanted)["placement"]
    assert [(row["host"], row["hostid"], row["fits"], row["chosen"]) for row in rows] == [
        ("h2", second, True, True),
        ("h1", first, False, False),
    ]
    assert rows[1]["reason"] == "its resource state is Disabled"
    assert rows[0]["rank"] == 1
    assert "rank" not in rows[1]
    assert 0 < rows[0]["load"] < 1


@pytest.mark.parametrize("busy", [0, 1])
def test_the_first_one_is_where_it_is_deployed(api, cloud, wanted, factory, busy):
    factory.change(cloud.get(Host, cloud.hosts[busy]), memory_used=16 * GIB)
    told = api("explainPlacement", **wanted)["placement"][0]
    vm_id = cloud.deploy("one")
    cloud.settle()
    assert told["hostid"] == cloud.hosts[1 - busy]
    assert cloud.get(Vm, vm_id).host_id == told["hostid"]


def test_the_host_with_fewer_neighbours_is_first_although_it_is_fuller(api, cloud, factory):
    first = cloud.deploy("one")
    cloud.settle()
    taken = cloud.get(Vm, first).host_id
    other = next(host_id for host_id in cloud.hosts if host_id != taken)
    factory.change(cloud.get(Host, other), memory_used=16 * GIB)
    second = cloud.deploy("two")
    told = api("explainPlacement", virtualmachineid=second)["placement"]
    assert [(row["hostid"], row["neighbours"]) for row in told] == [(other, 0), (taken, 1)]
    cloud.settle()
    assert cloud.get(Vm, second).host_id == other


def test_users_see_reasons_and_no_names(api, cloud, user, wanted, factory):
    pool = factory.first(StoragePool, host_id=cloud.hosts[0])
    factory.change(pool, capacity=0, name="secret pool")
    factory.change(cloud.get(Host, cloud.hosts[1]), tags="", state="Down")
    rows = api("explainPlacement", user, **wanted)["placement"]
    assert [row["host"] for row in rows] == ["host 1", "host 2"]
    reasons = sorted(row["reason"] for row in rows)
    assert reasons[0] == "its state is Down"
    assert reasons[1].startswith("its storage pool has 0 MiB free")
    assert "hostid" not in rows[0]
    assert "secret" not in str(rows)


def test_size_and_host_count(api, cloud, wanted, factory):
    custom = factory(ServiceOffering, cpus=0, cpu_mhz=500, memory=2**26, customized=True)
    wanted["serviceofferingid"] = custom.id
    rows = api("explainPlacement", params={"details[0].cpuNumber": "65"}, **wanted)["placement"]
    assert {row["reason"] for row in rows} == {"it has 64 CPUs, 65 are needed"}
    given = {**wanted, "rootdisksize": 500, "params": {"details[0].cpuNumber": "1"}}
    rows = api("explainPlacement", **given)["placement"]
    assert all("has 204800 MiB free, 512000 are needed" in row["reason"] for row in rows)
    rows = api("explainPlacement", hostid=cloud.hosts[1], params={"details[0].cpuNumber": "1"}, **wanted)["placement"]
    assert [(row["host"], row.get("reason")) for row in rows] == [("h2", None), ("h1", "another host was asked for")]


def test_a_vm_is_bound_to_its_volumes(api, cloud, user):
    vm_id = cloud.deploy()
    cloud.settle()
    rows = api("explainPlacement", virtualmachineid=vm_id)["placement"]
    assert (rows[0]["hostid"], rows[0]["fits"]) == (cloud.get(Vm, vm_id).host_id, True)
    assert rows[1]["reason"] == "it does not reach the pool that holds the volumes"


def test_refusals(api, cloud, user, wanted, factory):
    with pytest.raises(Refused, match=r"431 Either virtualmachineid, or"):
        api("explainPlacement", user, zoneid=cloud.zone_id)
    with pytest.raises(Refused, match=r"531"):
        api("explainPlacement", user, hostid=cloud.hosts[0], **wanted)
    with pytest.raises(Refused, match=r"431 .* is Registering"):
        api("explainPlacement", **{**wanted, "templateid": factory(Template).id})
    vm_id = cloud.deploy()
    factory.user("stranger")
    with pytest.raises(Refused, match=r"431 .*Invalid parameter virtualmachineid"):
        api("explainPlacement", Caller.of(factory.engine, "stranger"), virtualmachineid=vm_id)
