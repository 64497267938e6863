"""Tenant networks that are VLANs of a physical network: which they are, what hosts are told, when they are free."""

from __future__ import annotations

import pytest

from manager import db
from manager.models import Network, NetworkOffering, PhysicalNetwork, TrafficType, VlanKey
from manager.recount import drift
from tests.client import Refused
from tests.unit.api.live_cloud import change, rows, run
from tests.unit.api.test_shared_networks import RANGE, views
from tests.unit.api.test_vpcs import new_vpc


@pytest.fixture
def physical_id(factory, cloud) -> str:
    change(factory, PhysicalNetwork, cloud.physical_id, isolation_methods="VLAN", key_start=100, key_end=101)
    label = factory.first(TrafficType, physical_network_id=cloud.physical_id, traffic_type="Guest")
    factory.change(label, kvm_label="br-guest")
    return cloud.physical_id


@pytest.fixture
def place(factory, cloud, physical_id):
    def of(offering: str) -> dict[str, str]:
        return {"zoneid": cloud.zone_id, "networkofferingid": factory.first(NetworkOffering, name=offering).id}

    return of


def test_a_network_is_a_vlan_while_it_lives(api, cloud, user, factory, place, wanted):
    made = [api("createNetwork", user, name=name, **place("gold"))["network"] for name in ("a", "b")]
    assert {api("listNetworks", id=one["id"])["network"][0]["vlan"] for one in made} == {"100", "101"}
    seen = api("listNetworks", id=made[0]["id"])["network"][0]
    vlan = seen["vlan"]
    assert (seen["broadcastdomaintype"], seen["broadcasturi"], seen["privatemtu"]) == ("Vlan", f"vlan://{vlan}", 1500)
    with pytest.raises(Refused, match="533 All VLANs 100-101 of ph1 are used up"):
        api("createNetwork", user, name="c", **place("gold"))
    vm = run(api, cloud, user, "deployVirtualMachine", **(wanted | {"networkids": made[0]["id"]}))["virtualmachine"]
    for view in views(cloud, made[0]["id"]):
        assert (view.overlay, view.key, view.trunk, view.is_flat) == ("vlan", int(vlan), "br-guest", False)
    with db.transaction(factory.engine) as session:
        assert [one for one in drift(session) if one.type == "key"] == []
    run(api, cloud, None, "destroyVirtualMachine", id=vm["id"], expunge=True)
    run(api, cloud, user, "deleteNetwork", id=made[0]["id"])
    again = api("createNetwork", user, name="c", **place("gold"))["network"]
    assert [row.vlan for row in rows(factory, VlanKey, network_id=again["id"])] == [int(vlan)]


def test_two_physical_networks_have_the_same_vlans(api, cloud, user, factory, place):
    other = factory(PhysicalNetwork, zone_id=cloud.zone_id, name="other", state="Enabled", isolation_methods="VLAN",
                    key_start=100, key_end=101)  # fmt: skip
    factory(TrafficType, physical_network_id=other.id)
    networks = [
        api("createNetwork", name=f"s{number}", vlan="77", physicalnetworkid=key, **RANGE,
            **place("DefaultSharedNetworkOffering"))["network"]
        for number, key in enumerate((cloud.physical_id, other.id))
    ]  # fmt: skip
    assert [one["vlan"] for one in networks] == ["77", "77"]
    assert api("listNetworks", vlan="77")["count"] == 2
    with pytest.raises(Refused, match="431 The VLAN 77 of other belongs to another network"):
        api("createNetwork", name="s", vlan="77", physicalnetworkid=other.id, **RANGE,
            **place("DefaultSharedNetworkOffering"))  # fmt: skip


def test_shared_networks_and_chosen_wires_are_one_segment_with_the_outside(api, cloud, user, factory, place, wanted):
    flat = api("createNetwork", name="flat", vlan="untagged", **RANGE, **place("DefaultSharedNetworkOffering"))
    tenant = {"account": "tenant", "domainid": factory.root.id}
    wire = api("createNetwork", name="wire", vlan="vlan://200", **tenant, **place("DefaultL2NetworkOfferingVlan"))
    assert (flat["network"]["vlan"], flat["network"]["broadcasturi"]) == ("untagged", "vlan://untagged")
    assert api("listNetworks", vlan="untagged")["network"][0]["name"] == "flat"
    assert {one["vlan"] for one in api("listGuestVlans", physicalnetworkid=cloud.physical_id)["guestvlan"]} >= {
        "untagged", "200",
    }  # fmt: skip
    for network, key in ((flat, 0), (wire, 200)):
        given = wanted | {"networkids": network["network"]["id"]} | tenant
        run(api, cloud, None, "deployVirtualMachine", **given)
        for view in views(cloud, network["network"]["id"]):
            assert (view.key, view.is_flat, view.trunk) == (key, True, "br-guest")
    with pytest.raises(Refused, match="431 The vlan 4095 is no VLAN key: a number from 1 to 4094"):
        api("createNetwork", name="n", vlan="4095", **RANGE, **place("DefaultSharedNetworkOffering"))


def test_two_physical_networks_are_not_on_one_bridge(api, cloud, factory, physical_id):
    other = factory(PhysicalNetwork, zone_id=cloud.zone_id, name="other", isolation_methods="VLAN")
    with pytest.raises(Refused, match="431 The VLANs of the physical network ph1 are on the bridge br-guest"):
        api("addTrafficType", physicalnetworkid=other.id, traffictype="Guest", kvmnetworklabel="br-guest")
    made = api("addTrafficType", physicalnetworkid=other.id, traffictype="Guest")
    with pytest.raises(Refused, match="431 The VLANs of the physical network ph1 are on the bridge br-guest"):
        api("updateTrafficType", id=made["id"], kvmnetworklabel="br-guest")


def test_ranges_of_vlans_are_kept_and_networks_apart_from_what_else_is_in_vlans(api, cloud, factory, user, place):
    given = {"account": "tenant", "domainid": factory.root.id, "physicalnetworkid": cloud.physical_id}
    with pytest.raises(Refused, match="431 The vlanrange 90-100 does not lie within 100-101"):
        api("dedicateGuestVlanRange", vlanrange="90-100", **given)
    api("dedicateGuestVlanRange", vlanrange="101-101", **given)
    made = api("createNetwork", user, name="own", **place("gold"))["network"]
    assert factory.first(Network, id=made["id"]).key == 101
    public = {"gateway": "203.0.113.1", "netmask": "255.255.255.0", "startip": "203.0.113.9"}
    with pytest.raises(Refused, match="431 The VLAN 101 of physical network ph1 is that of a tenant network"):
        api("createVlanIpRange", physicalnetworkid=cloud.physical_id, vlan="101", **public)
    api("createVlanIpRange", physicalnetworkid=cloud.physical_id, vlan="300", **public)
    with pytest.raises(Refused, match="431 The VLAN 300 of ph1 has public addresses or a private gateway"):
        api("createNetwork", name="n", vlan="300", **RANGE, **place("DefaultSharedNetworkOffering"))
    with pytest.raises(Refused, match="431 The VLAN 101 is kept for networks of another account"):
        api("createNetwork", name="n", vlan="101", **RANGE, **place("DefaultSharedNetworkOffering"))
    vpc = new_vpc(api, factory, cloud, user)
    leg = {"ipaddress": "192.0.2.2", "gateway": "192.0.2.1", "netmask": "255.255.255.0"}
    with pytest.raises(Refused, match="431 The VLAN 101 of physical network ph1 is that of a tenant network"):
        api("createPrivateGateway", vpcid=vpc["id"], vlan="101", **leg)
