"""Pods."""

import pytest

from manager.models import Cluster, Pod
from tests.client import Refused
from tests.unit.api import site
from tests.unit.api.site import POD_RANGE, statements_of


def test_a_pod_is_made_and_shown(api):
    zone_id = site.zone(api)
    made = api("createPod", zoneid=zone_id, name="p1", **POD_RANGE)["pod"]
    assert (made["zoneid"], made["zonename"], made["allocationstate"]) == (zone_id, "z1", "Enabled")
    assert (made["gateway"], made["netmask"]) == ("192.0.2.1", "255.255.255.0")
    assert (made["startip"], made["endip"]) == (["192.0.2.10"], ["192.0.2.20"])
    assert made["ipranges"] == [{"startip": "192.0.2.10", "endip": "192.0.2.20", "forsystemvms": "0"}]
    assert api("listPods", zoneid=zone_id) == {"count": 1, "pod": [made]}
    assert api("listPods", name="other") == {}
    assert api("listPods", allocationstate="Disabled") == {}


def test_without_an_end_the_range_goes_to_the_end_of_the_subnet(api):
    pod_id = site.pod(api, site.zone(api), endip=None)
    assert api("listPods", id=pod_id)["pod"][0]["endip"] == ["192.0.2.254"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"name": "P1"}, "431 The zone z1 has a pod named P1 already"),
        ({"gateway": None}, "431 The parameter gateway is missing"),
        ({"gateway": "198.51.100.256"}, "431 The gateway 198.51.100.256 is not an IPv4 address"),
        ({"gateway": "198.51.100.0"}, "431 The gateway 198.51.100.0 is no host address of 198.51.100.0/24"),
        ({"netmask": "255.0.255.0"}, "431 The netmask 255.0.255.0 is not one"),
        ({"netmask": "24"}, "431 The netmask 24 is not an IPv4 address"),
        ({"startip": "192.0.2.5"}, "431 The startip 192.0.2.5 is no host address of 198.51.100.0/24"),
        ({"endip": "198.51.100.255"}, "431 The endip 198.51.100.255 is no host address"),
        ({"startip": "198.51.100.12", "endip": "198.51.100.11"}, "431 The endip 198.51.100.11 lies before"),
        ({"startip": "198.51.100.1"}, "431 The gateway 198.51.100.1 lies within the range"),
        (POD_RANGE, "431 The range 192.0.2.10-192.0.2.20 overlaps that of the pod p1"),
    ],
)
def test_bad_pods_are_refused_with_the_reason(api, given, reason):
    zone_id = site.zone(api)
    site.pod(api, zone_id)
    with pytest.raises(Refused, match=reason):
        api("createPod", **{"zoneid": zone_id, "name": "p2", **site.RANGE, **given})
    assert api("listPods")["count"] == 1


def test_other_zones_may_have_the_same_addresses_and_names(api):
    site.pod(api, site.zone(api))
    site.pod(api, site.zone(api, "z2"))
    assert api("listPods")["count"] == 2


def test_a_pod_changes(api):
    zone_id = site.zone(api)
    pod_id = site.pod(api, zone_id)
    site.pod(api, zone_id, "p2", **site.RANGE)
    changed = api("updatePod", id=pod_id, name="q", endip="192.0.2.30", allocationstate="Disabled")["pod"]
    assert (changed["name"], changed["endip"], changed["allocationstate"]) == ("q", ["192.0.2.30"], "Disabled")
    with pytest.raises(Refused, match="431 There is a pod named p2 already"):
        api("updatePod", id=pod_id, name="p2")
    with pytest.raises(Refused, match=r"431 .* overlaps that of the pod p2"):
        api("updatePod", id=pod_id, **site.RANGE)
    assert api("listPods", id=pod_id)["pod"] == [changed]


def test_a_pod_goes_when_it_is_empty(api):
    zone_id = site.zone(api)
    pod_id = site.pod(api, zone_id)
    cluster_id = site.cluster(api, zone_id, pod_id)
    with pytest.raises(Refused, match="431 The pod p1 cannot be removed: it still has 1 clusters"):
        api("deletePod", id=pod_id)
    api("deleteCluster", id=cluster_id)
    assert api("deletePod", id=pod_id) == {"success": True}
    assert api("listPods") == {}


def test_lists_of_pods_take_the_same_statements_for_one_and_for_fifty(api, engine, factory):
    factory(Pod)
    one = statements_of(engine, api, "listPods", 1, showcapacities="true")
    for _ in range(49):
        factory(Pod)
    assert statements_of(engine, api, "listPods", 50, showcapacities="true") == one


def test_pods_are_the_operators(api, tenant, factory):
    factory(Cluster)
    with pytest.raises(Refused, match="432"):
        api("listPods", tenant)
