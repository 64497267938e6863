"""Storage pools."""

import pytest

from manager.models import Host, StoragePool, Volume
from tests.client import Refused
from tests.unit.api import site
from tests.unit.api.site import statements_of

GIB = 2**30


@pytest.fixture
def place(api):
    return site.site(api)


def create(api, place, **more):
    given = {"name": "pool1", "url": "file:///var/lib/pool", **place.place, **more}
    return api("createStoragePool", **given)["storagepool"]


def test_a_hosts_own_pool(api, place, factory):
    host_id = place.host()["id"]
    made = create(api, place, scope="HOST", hostid=host_id, capacitybytes=10 * GIB, tags="ssd, fast")
    assert (made["scope"], made["type"], made["path"], made["state"]) == ("HOST", "Filesystem", "/var/lib/pool", "Up")
    assert (made["zonename"], made["podname"], made["clustername"]) == ("z1", "p1", "c1")
    assert (made["capacitybytes"], made["disksizetotal"], made["disksizeallocated"]) == (10 * GIB, 10 * GIB, 0)
    assert (made["overprovisionfactor"], made["tags"]) == ("2.0", "ssd,fast")
    row = factory.first(StoragePool, id=made["id"])
    assert (row.host_id, row.driver) == (host_id, "local")
    assert api("listStoragePools", name="pool1", zoneid=place.zone) == {"count": 1, "storagepool": [made]}


def test_the_size_is_what_the_host_reports_when_it_is_not_given(api, place, factory):
    host_id = place.host()["id"]
    assert create(api, place, hostid=host_id)["capacitybytes"] == 0
    factory.change(factory.first(Host, id=host_id), details={"disk_total": 7 * GIB, "disk_used": GIB})
    made = create(api, place, hostid=host_id, name="pool2", url="file:///other")
    assert (made["capacitybytes"], made["disksizeused"]) == (7 * GIB, GIB)


def test_wider_scopes(api, place):
    shared = create(api, place, scope="CLUSTER", url="simulator:///c1")
    assert (shared["type"], shared["clusterid"], shared["podid"]) == ("Simulator", place.cluster, place.pod)
    whole = create(api, place, scope="ZONE", name="z", url="simulator:///z")
    assert not {"clusterid", "podid"} & set(whole)
    host, other = place.host("h1")["id"], place.host("h2")["id"]
    own = create(api, place, hostid=host, name="h", url="file:///h")
    assert own["scope"] == "HOST"

    def reached(host_id):
        return {pool["name"] for pool in api("listStoragePools", hostid=host_id)["storagepool"]}

    assert reached(host) == {"pool1", "z", "h"}
    assert reached(other) == {"pool1", "z"}
    assert api("listStoragePools", scope="cluster")["storagepool"] == [shared]
    assert api("listStoragePools", path="/h")["storagepool"] == [own]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"name": "POOL1", "url": "file:///x"}, "431 The zone z1 has a storage pool named POOL1 already"),
        ({}, "431 The directory /var/lib/pool is the storage pool pool1 already"),
        ({"url": "nfs://server/x"}, "431 The url nfs://server/x cannot be used"),
        ({"url": "file://server/x"}, "431 The url file://server/x cannot be used"),
        ({"url": "file:///a/../etc"}, "431 The url file:///a/../etc cannot be used"),
        ({"url": "file:///"}, "431 The url file:/// cannot be used"),
        ({"url": "/var"}, "431 The url /var cannot be used"),
        ({"scope": "HOST"}, "431 A storage pool of the scope HOST needs hostid"),
        ({"scope": "CLUSTER", "clusterid": None}, "431 A storage pool of the scope CLUSTER needs clusterid"),
        ({"scope": "REGION"}, "431 .*REGION is none of HOST, CLUSTER, ZONE"),
        ({"capacitybytes": 0}, "431 .*0 is not within"),
    ],
)
def test_bad_pools_are_refused_with_the_reason(api, place, given, reason):
    create(api, place)
    with pytest.raises(Refused, match=reason):
        create(api, place, **{"name": "pool2", **given})
    assert api("listStoragePools")["count"] == 1


def test_a_pool_is_where_its_host_is(api, place):
    host_id = place.host()["id"]
    with pytest.raises(Refused, match="431 The host h1 is not in the zone z2"):
        create(api, place, hostid=host_id, zoneid=site.zone(api, "z2"))
    other = site.cluster(api, place.zone, place.pod, "c2")
    with pytest.raises(Refused, match="431 The host h1 is not in the cluster c2"):
        create(api, place, hostid=host_id, clusterid=other)


def test_two_hosts_have_the_same_directory(api, place):
    create(api, place, hostid=place.host("h1")["id"])
    create(api, place, hostid=place.host("h2")["id"], name="pool2")


def test_a_pool_changes(api, place):
    pool_id = create(api, place)["id"]
    create(api, place, name="pool2", url="file:///x")
    changed = api("updateStoragePool", id=pool_id, tags="a,b", enabled="false", capacitybytes=5, name="p")[
        "storagepool"
    ]
    assert (changed["tags"], changed["state"], changed["capacitybytes"], changed["name"]) == ("a,b", "Disabled", 5, "p")
    assert api("updateStoragePool", id=pool_id, enabled="true")["storagepool"]["state"] == "Up"
    with pytest.raises(Refused, match="431 There is a storage pool named pool2 already"):
        api("updateStoragePool", id=pool_id, name="pool2")


def test_a_pool_goes_when_it_is_empty(api, place, factory):
    pool_id = create(api, place)["id"]
    volume = factory(Volume, pool_id=pool_id)
    with pytest.raises(Refused, match="431 The storage pool pool1 cannot be removed: it still has 1 volumes"):
        api("deleteStoragePool", id=pool_id)
    factory.change(volume, removed=volume.created)
    assert api("deleteStoragePool", id=pool_id) == {"success": True}
    assert api("listStoragePools") == {}
    create(api, place)


def test_lists_of_pools_take_the_same_statements_for_one_and_for_fifty(api, engine, factory):
    def make():
        host = factory(Host)
        factory(StoragePool, host_id=host.id, pod_id=host.pod_id, cluster_id=host.cluster_id)

    make()
    one = statements_of(engine, api, "listStoragePools", 1)
    for _ in range(49):
        make()
    assert statements_of(engine, api, "listStoragePools", 50) == one
