"""Volumes as they are listed."""

import pytest

from manager.models import Cluster, EventRow, Host, StoragePool, Tag, Vm, Volume
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import statements
from tests.unit.api.site import result


@pytest.fixture
def vm(cloud) -> Vm:
    vm_id = cloud.deploy("web")
    cloud.settle()
    return cloud.get(Vm, vm_id)


def test_a_root_volume_is_shown(api, cloud, user, vm, factory):
    (shown,) = api("listVolumes", user, virtualmachineid=vm.id)["volume"]
    row = factory.first(Volume, vm_id=vm.id)
    assert (shown["id"], shown["name"], shown["type"]) == (row.id, f"ROOT-{vm.number}", "ROOT")
    assert (shown["state"], shown["size"], shown["storagetype"], shown["deviceid"]) == ("Ready", row.size, "local", 0)
    assert (shown["vmname"], shown["vmstate"], shown["zonename"]) == ("web", "Running", "z1")
    assert (shown["templatename"], shown["serviceofferingname"], shown["account"]) == ("tiny", "tiny", "tenant")
    assert not {"storage", "storageid"} & set(shown)
    seen = api("listVolumes", id=row.id)["volume"][0]
    assert seen["storage"] == cloud.get(StoragePool, row.pool_id).name


def test_volumes_are_narrowed(api, cloud, user, vm, factory):
    row = factory.first(Volume, vm_id=vm.id)
    factory(Volume, account_id=cloud.account_id, type="DATADISK", name="data", zone_id=vm.zone_id, state="Allocated")
    factory(Tag, resource_id=row.id, key="k", value="v", resource_type="Volume", account_id=cloud.account_id)

    def names(caller=user, **given):
        return sorted(shown["name"] for shown in api("listVolumes", caller, **given).get("volume", []))

    assert names() == names(zoneid=vm.zone_id) == sorted([row.name, "data"])
    assert names(type="root") == names(id=row.id) == names(ids=row.id) == names(state="Ready") == [row.name]
    assert names(params={"tags[0].key": "k", "tags[0].value": "v"}) == [row.name]
    assert names(keyword="dat") == names(name="data") == ["data"]
    assert names(None, listall=True, hostid=vm.host_id) == [row.name]
    host = factory.first(Host, id=vm.host_id)
    for place in ({"storageid": row.pool_id}, {"podid": host.pod_id}, {"clusterid": host.cluster_id}):
        assert names(None, listall=True, **place) == [row.name]
    assert names(None, listall=True, clusterid=factory(Cluster).id) == []
    assert names(serviceofferingid=vm.service_offering_id) == [row.name]
    assert names(None) == []
    with pytest.raises(Refused, match=r"531"):
        names(hostid=vm.host_id)


def test_an_expunged_volume_is_gone(api, cloud, user, vm, factory):
    row = factory.first(Volume, vm_id=vm.id)
    cloud.destroy(vm.id)
    cloud.settle()
    assert api("listVolumes", user, listall=True) == api("listVolumes", user, id=row.id) == {}


def test_a_foreign_volume_is_unknown(api, factory, cloud, vm):
    factory.user("stranger")
    stranger = Caller.of(factory.engine, "stranger")
    with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
        api("listVolumes", stranger, id=factory.first(Volume, vm_id=vm.id).id)
    with pytest.raises(Refused, match=r"431 .*Invalid parameter virtualmachineid"):
        api("listVolumes", stranger, virtualmachineid=vm.id)


def test_a_list_takes_as_many_statements_at_any_size(api, cloud, user, vm, factory, engine):
    api("listVolumes", user)
    with statements(engine) as one:
        api("listVolumes", user)
    for _ in range(8):
        factory(Volume, account_id=cloud.account_id)
    with statements(engine) as many:
        api("listVolumes", user)
    assert len(many) == len(one)


def test_a_volume_gets_another_name(api, cloud, user, vm, factory):
    row = factory.first(Volume, vm_id=vm.id)
    changed = result(api, api("updateVolume", user, id=row.id, name=" system "))["volume"]
    assert (changed["id"], changed["name"]) == (row.id, "system")
    event = factory.first(EventRow, type="VOLUME.UPDATE")
    assert (event.resource_id, event.changes["name"]) == (row.id, [row.name, "system"])
    with pytest.raises(Refused, match="431 The volume needs a name"):
        api("updateVolume", user, id=row.id, name=" ")
    with pytest.raises(Refused, match=r"431 .*due to missing parameter id"):
        api("updateVolume", user, name="x")
    with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
        api("updateVolume", Caller.of(factory.engine, factory.user("stranger").username), id=row.id, name="x")
