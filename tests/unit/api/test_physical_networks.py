"""Physical networks and traffic types."""

import pytest

from manager.models import Network, PhysicalNetwork, TrafficType, VlanIpRange
from tests.client import Refused
from tests.unit.api import site
from tests.unit.api.site import result, statements_of


@pytest.fixture
def zone_id(api):
    return site.zone(api)


@pytest.fixture
def network_id(api, zone_id):
    return site.physical_network(api, zone_id)


def test_a_physical_network_is_made_by_a_job(api, zone_id, factory):
    answer = api(
        "createPhysicalNetwork", zoneid=zone_id, name="n", isolationmethods="gre", vlan="1000-1999", tags="a,b"
    )
    assert set(answer) == {"jobid", "id"}
    made = result(api, answer)["physicalnetwork"]
    assert made["id"] == answer["id"]
    assert (made["zonename"], made["state"], made["isolationmethods"]) == ("z1", "Disabled", "GRE")
    assert (made["vlan"], made["tags"], made["broadcastdomainrange"]) == ("1000-1999", "a,b", "ZONE")
    row = factory.first(PhysicalNetwork, id=made["id"])
    assert (row.key_start, row.key_end) == (1000, 1999)
    assert api("listPhysicalNetworks", zoneid=zone_id) == {"count": 1, "physicalnetwork": [made]}
    assert api("listPhysicalNetworks", name="other") == {}


def test_without_a_range_all_keys_are_its(api, network_id, factory):
    row = factory.first(PhysicalNetwork, id=network_id)
    assert (row.key_start, row.key_end) == (1, 2**32 - 1)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"name": "Physical"}, "431 The zone z1 has a physical network named Physical already"),
        ({"isolationmethods": "STT"}, "431 The isolation method STT is not possible"),
        (
            {"isolationmethods": "vlan", "vlan": "9-4095"},
            "431 The vlan 9-4095 is not a range of VLAN keys: from 1 to 4094",
        ),
        ({"vlan": "0-5"}, "431 The vlan 0-5 is not a range of GRE keys"),
        ({"vlan": "9-5"}, "431 The vlan 9-5 is not a range"),
        ({"vlan": "1-4294967296"}, "431 The vlan 1-4294967296 is not a range"),
        ({"isolationmethods": "vxlan", "vlan": "1-16777216"}, "431 The vlan 1-16777216 is not a range of VXLAN keys"),
        ({"isolationmethods": "gre,vxlan"}, "431 A physical network has one isolation method of GRE, VXLAN"),
        ({"vlan": "many"}, "431 The vlan many is not one range"),
    ],
)
def test_bad_physical_networks_are_refused_with_the_reason(api, zone_id, network_id, given, reason):
    with pytest.raises(Refused, match=reason):
        api("createPhysicalNetwork", **{"zoneid": zone_id, "name": "n", **given})


def test_a_physical_network_changes(api, network_id, factory):
    changed = result(api, api("updatePhysicalNetwork", id=network_id, state="Enabled", vlan="5-9", tags="t"))
    shown = changed["physicalnetwork"]
    assert (shown["state"], shown["vlan"], shown["tags"]) == ("Enabled", "5-9", "t")
    assert factory.first(PhysicalNetwork, id=network_id).key_end == 9


def test_a_physical_network_goes_with_its_traffic_types_when_nothing_is_on_it(api, zone_id, network_id, factory):
    api("addTrafficType", physicalnetworkid=network_id, traffictype="Guest")
    network = factory(Network, zone_id=zone_id, physical_network_id=network_id)
    with pytest.raises(Refused, match="431 The physical network physical cannot be removed: it still has 1 networks"):
        api("deletePhysicalNetwork", id=network_id)
    factory.change(network, removed=network.created)
    used = factory(VlanIpRange, zone_id=zone_id, physical_network_id=network_id)
    with pytest.raises(Refused, match=r"431 .* 1 public address ranges"):
        api("deletePhysicalNetwork", id=network_id)
    factory.change(used, removed=used.created)
    assert result(api, api("deletePhysicalNetwork", id=network_id)) == {"success": True}
    assert api("listPhysicalNetworks") == {}
    assert factory.first(TrafficType, physical_network_id=network_id).removed is not None


def test_traffic_types_live_on_physical_networks(api, network_id):
    answer = api("addTrafficType", physicalnetworkid=network_id, traffictype="public", kvmnetworklabel="br-public")
    made = result(api, answer)["traffictype"]
    assert made == {
        "id": answer["id"],
        "physicalnetworkid": network_id,
        "traffictype": "Public",
        "kvmnetworklabel": "br-public",
    }
    assert api("listTrafficTypes", physicalnetworkid=network_id) == {"count": 1, "traffictype": [made]}
    with pytest.raises(Refused, match="431 The physical network physical has the traffic type Public already"):
        api("addTrafficType", physicalnetworkid=network_id, traffictype="Public")
    with pytest.raises(Refused, match="431 The kvmnetworklabel a bridge; rm is not the name of a bridge"):
        api("addTrafficType", physicalnetworkid=network_id, traffictype="Guest", kvmnetworklabel="a bridge; rm")
    changed = result(api, api("updateTrafficType", id=made["id"], kvmnetworklabel="br-2"))["traffictype"]
    assert changed["kvmnetworklabel"] == "br-2"


def test_a_traffic_type_goes_when_its_traffic_has_gone(api, zone_id, network_id, factory):
    public = api("addTrafficType", physicalnetworkid=network_id, traffictype="Public")["id"]
    used = factory(VlanIpRange, zone_id=zone_id, physical_network_id=network_id)
    with pytest.raises(Refused, match="431 The traffic type Public cannot be removed: it still has 1 public address"):
        api("deleteTrafficType", id=public)
    factory.change(used, removed=used.created)
    assert result(api, api("deleteTrafficType", id=public)) == {"success": True}
    assert api("listTrafficTypes", physicalnetworkid=network_id) == {}
    api("addTrafficType", physicalnetworkid=network_id, traffictype="Public")


def test_lists_take_the_same_statements_for_one_and_for_fifty(api, engine, factory):
    first = factory(PhysicalNetwork)
    factory(TrafficType, physical_network_id=first.id)
    one = statements_of(engine, api, "listPhysicalNetworks", 1)
    types = statements_of(engine, api, "listTrafficTypes", 1, physicalnetworkid=first.id)
    for _ in range(49):
        factory(PhysicalNetwork)
        factory(TrafficType, physical_network_id=first.id)
    assert statements_of(engine, api, "listPhysicalNetworks", 50) == one
    assert statements_of(engine, api, "listTrafficTypes", 50, physicalnetworkid=first.id) == types
