"""Clusters."""

import pytest

from manager.models import Cluster
from tests.client import Refused
from tests.unit.api import site
from tests.unit.api.site import statements_of


def add(api, zone_id, pod_id, **more):
    given = {"clustername": "c1", "clustertype": "CloudManaged", "hypervisor": "KVM", **more}
    return api("addCluster", zoneid=zone_id, podid=pod_id, **given)


def test_a_cluster_is_made_with_the_clouds_ratios(api):
    api("updateConfiguration", name="cpu.overprovisioning.factor", value="4.0")
    zone_id = site.zone(api)
    pod_id = site.pod(api, zone_id)
    answer = add(api, zone_id, pod_id)
    (made,) = answer["cluster"]
    assert answer["count"] == 1
    assert (made["zonename"], made["podname"], made["hypervisortype"]) == ("z1", "p1", "KVM")
    assert (made["cpuovercommitratio"], made["memoryovercommitratio"]) == ("4.0", "1.0")
    assert (made["clustertype"], made["managedstate"], made["allocationstate"]) == (
        "CloudManaged",
        "Managed",
        "Enabled",
    )
    assert api("listClusters", podid=pod_id, hypervisor="KVM") == {"count": 1, "cluster": [made]}
    assert api("listClusters", hypervisor="Simulator") == {}


def test_bad_clusters_are_refused_with_the_reason(api):
    zone_id = site.zone(api)
    pod_id = site.pod(api, zone_id)
    add(api, zone_id, pod_id)
    with pytest.raises(Refused, match="431 The pod p1 has a cluster named C1 already"):
        add(api, zone_id, pod_id, clustername="C1")
    with pytest.raises(Refused, match=r"431 .*XenServer is none of KVM, Simulator"):
        add(api, zone_id, pod_id, clustername="c2", hypervisor="XenServer")
    with pytest.raises(Refused, match="431 The pod p1 is not in the zone z2"):
        add(api, site.zone(api, "z2"), pod_id, clustername="c2")


def test_a_cluster_changes(api):
    zone_id = site.zone(api)
    pod_id = site.pod(api, zone_id)
    cluster_id = site.cluster(api, zone_id, pod_id)
    site.cluster(api, zone_id, pod_id, "c2")
    changed = api("updateCluster", id=cluster_id, clustername="c3", allocationstate="Disabled")["cluster"]
    assert (changed["name"], changed["allocationstate"]) == ("c3", "Disabled")
    with pytest.raises(Refused, match="431 There is a cluster named c2 already"):
        api("updateCluster", id=cluster_id, clustername="c2")


def test_a_cluster_goes_when_it_is_empty(api):
    place = site.site(api)
    host = place.host()
    with pytest.raises(Refused, match="431 The cluster c1 cannot be removed: it still has 1 hosts"):
        api("deleteCluster", id=place.cluster)
    api("deleteHost", id=host["id"])
    assert api("deleteCluster", id=place.cluster) == {"success": True}
    site.cluster(api, place.zone, place.pod)


def test_lists_of_clusters_take_the_same_statements_for_one_and_for_fifty(api, engine, factory):
    factory(Cluster)
    one = statements_of(engine, api, "listClusters", 1, showcapacities="true")
    for _ in range(49):
        factory(Cluster)
    assert statements_of(engine, api, "listClusters", 50, showcapacities="true") == one
