"""Lists with figures, and overviews."""

from manager.models import Vm
from tests.unit.api.live_cloud import statements


def test_figures_of_places(api, cloud):
    vm_id = cloud.deploy("web")
    cloud.settle()
    hosts = api("listHostsMetrics")["host"]
    assert sorted(host["instances"] for host in hosts) == ["0 / 0", "1 / 1"]
    busy = next(host for host in hosts if host["instances"] == "1 / 1")
    assert busy["id"] == cloud.get(Vm, vm_id).host_id
    assert (busy["cputotalghz"], busy["cpuallocatedghz"]) == ("160.00 Ghz", "0.50 Ghz")
    assert (busy["memorytotalgb"], busy["memoryallocatedgb"]) == ("256.00 GB", "0.06 GB")
    (cluster,) = api("listClustersMetrics")["cluster"]
    assert (cluster["hosts"], cluster["state"], cluster["cputotal"]) == ("2 / 2", "Enabled", "320.00 Ghz")
    assert (cluster["cpuallocated"], cluster["memorytotal"]) == ("0.16%", "512.00 GB")
    api("updateHost", id=busy["id"], allocationstate="Disable")
    assert api("listClustersMetrics")["cluster"][0]["hosts"] == "1 / 2"
    (zone,) = api("listZonesMetrics")["zone"]
    assert (zone["clusters"], zone["memoryallocated"]) == ("1 / 1", "0.01%")
    pools = api("listStoragePoolsMetrics")["storagepool"]
    assert {pool["disksizetotalgb"] for pool in pools} == {"100.00 GB"}
    assert sorted(pool["disksizeallocatedgb"] for pool in pools) == ["0.00 GB", "1.00 GB"]


def test_figures_of_a_tenants_things(api, cloud, user):
    cloud.deploy("web")
    cloud.settle()
    (vm,) = api("listVirtualMachinesMetrics", user)["virtualmachine"]
    assert (vm["cputotal"], vm["memorytotal"], "hostid" in vm) == ("0.50 Ghz", "0.06 GB", False)
    (volume,) = api("listVolumesMetrics", user)["volume"]
    assert volume["sizegb"] == "1.00 GB"
    assert api("listVirtualMachinesMetrics") == {}


def test_the_cost_does_not_grow_with_hosts(api, cloud, engine):
    with statements(engine) as sent:
        api("listHostsMetrics")
    before = len(sent)
    with statements(engine) as sent:
        api("listHosts")
    assert before == len(sent) + 1


def test_overviews(api, cloud):
    cloud.deploy("web")
    cloud.settle()
    counts = api("listInfrastructure")["infrastructure"]
    assert counts == {
        "zones": 1, "pods": 1, "clusters": 1, "hosts": 2, "storagepools": 2, "imagestores": 1, "routers": 1,
        "managementservers": 0, "systemvms": 0,
    }  # fmt: skip
    assert api("listSystemVms") == {}
