"""Capacities of zones, pods and clusters."""

import pytest

from manager.models import Cluster, Host, ImageStore, Network, PublicAddress, StoragePool, Template, Vm, Zone
from tests.client import Refused
from tests.unit.api import site
from tests.unit.api.site import counted

GIB = 2**30


@pytest.fixture
def place(api, factory):
    place = site.site(api)
    factory.change(factory.first(Cluster, id=place.cluster), cpu_overcommit=2.0)
    where = {"zone_id": place.zone, "pod_id": place.pod, "cluster_id": place.cluster}
    for used in (1, 2):
        host = factory(
            Host, **where, cpus=2, cpu_mhz=1000, memory=4 * GIB, cpu_used=500 * used, memory_used=used * GIB,
            details={"disk_used": 3 * GIB},
        )  # fmt: skip
        factory(StoragePool, **where, host_id=host.id, scope="HOST", capacity=100 * GIB, allocated=10 * GIB)
        factory(Vm, zone_id=place.zone, host_id=host.id, cpus=1)
    factory(Host, **where, cpus=8, cpu_mhz=1000, memory=GIB, resource_state="Disabled")
    network = factory(Network, zone_id=place.zone)
    for taken in (network, None, None, None):
        owner = {"network_id": taken.id, "account_id": taken.account_id} if taken else {}
        factory(PublicAddress, zone_id=place.zone, **owner)
    store = factory(ImageStore, zone_id=place.zone, details={"disk_total": 50 * GIB})
    factory(Template, image_store_id=store.id, physical_size=GIB)
    factory(Template, image_store_id=store.id, physical_size=GIB)
    return place


def test_a_zones_capacities(api, place):
    rows = {row["type"]: row for row in api("listCapacity", zoneid=place.zone)["capacity"]}
    figures = {kind: (row["capacitytotal"], row["capacityused"], row["percentused"]) for kind, row in rows.items()}
    assert figures == {
        0: (8 * GIB, 3 * GIB, "37.5"),
        1: (8000, 1500, "18.75"),
        2: (200 * GIB, 6 * GIB, "3"),
        3: (400 * GIB, 20 * GIB, "5"),
        4: (4, 1, "25"),
        6: (50 * GIB, 2 * GIB, "4"),
        90: (4, 2, "50"),
    }
    assert rows[0]["name"] == "MEMORY"
    assert (rows[0]["zoneid"], rows[0]["zonename"]) == (place.zone, "z1")


def test_a_pods_and_a_clusters_capacities(api, place):
    pod = api("listCapacity", podid=place.pod)["capacity"]
    assert {row["type"] for row in pod} == {0, 1, 2, 3, 90}
    assert {(row["podname"], row["zonename"]) for row in pod} == {("p1", "z1")}
    (memory,) = api("listCapacity", **place.place, type=0)["capacity"]
    assert (memory["clustername"], memory["podname"], memory["capacityused"]) == ("c1", "p1", 3 * GIB)
    with pytest.raises(Refused, match="431 c1 is not in the zone z2"):
        api("listCapacity", clusterid=place.cluster, zoneid=site.zone(api, "z2"))


def test_capacities_are_narrowed_and_sorted(api, place):
    site.zone(api, "z2")
    every = api("listCapacity", type=0)["capacity"]
    assert {("z1", "37.5"), ("z2", "0")} <= {(row["zonename"], row["percentused"]) for row in every}
    assert {row["type"] for row in every} == {0}
    shares = [float(row["percentused"]) for row in api("listCapacity", sortby="usage")["capacity"]]
    assert shares == sorted(shares, reverse=True)
    assert len(api("listCapacity", page=1, pagesize=3)["capacity"]) == 3
    with pytest.raises(Refused, match="431 There is no capacity of type 77"):
        api("listCapacity", type=77)


def test_places_show_their_capacities(api, place):
    (zone,) = api("listZones", id=place.zone, showcapacities="true")["zone"]
    assert {row["type"] for row in zone["capacity"]} == {0, 1, 2, 3, 4, 6, 90}
    (pod,) = api("listPods", id=place.pod, showcapacities="true")["pod"]
    assert pod["capacity"][0]["capacitytotal"] == 8 * GIB
    assert "capacity" not in api("listClusters")["cluster"][0]


def test_capacities_of_one_and_of_many_zones_take_the_same_statements(api, engine, place, factory):
    api("listCapacity")
    with counted(engine) as one:
        before = api("listCapacity")["count"]
    for _ in range(20):
        factory(Zone)
    with counted(engine) as many:
        assert api("listCapacity")["count"] == before + 20 * 7
    assert len(one) == len(many) <= 10
