"""Basic zones: one flat network for all guests, with addresses of the physical network, and security groups."""

from __future__ import annotations

import pytest

from manager.api.fields import GIB
from manager.models import (
    Network,
    NetworkOffering,
    Nic,
    PhysicalNetwork,
    Pod,
    Router,
    ServiceOffering,
    StoragePool,
    VlanIpRange,
    Zone,
)
from tests.client import Refused
from tests.unit.api import site
from tests.unit.api.live_cloud import change, rows, run
from tests.unit.api.test_shared_networks import specs, views

SERVICE = "DefaultSharedNetworkOfferingWithSGService"
RANGE = {"gateway": "203.0.113.1", "netmask": "255.255.255.0", "forvirtualnetwork": False}
FIRST, SECOND = ({"startip": f"203.0.113.{n}0", "endip": f"203.0.113.{n}3"} for n in (1, 2))


@pytest.fixture
def zone_id(api) -> str:
    return api("createZone", name="flat", **{**site.ZONE, "networktype": "Basic"})["zone"]["id"]


@pytest.fixture
def place(factory, cloud) -> dict[str, str]:
    """The tenant's zone as a Basic one."""
    change(factory, Zone, cloud.zone_id, network_type="Basic", security_groups=True)
    change(factory, PhysicalNetwork, cloud.physical_id, isolation_methods="VLAN", key_start=1, key_end=4094)
    change(factory, Network, cloud.network_id, removed=factory.first(Zone, id=cloud.zone_id).created)
    return {"zoneid": cloud.zone_id, "networkofferingid": factory.first(NetworkOffering, name=SERVICE).id}


@pytest.fixture
def flat(api, cloud, factory, place) -> dict:
    made = api("createNetwork", name="guests", **place)["network"]
    pod = factory.first(Pod, zone_id=cloud.zone_id)
    for span in (FIRST, SECOND):
        api("createVlanIpRange", podid=pod.id, **RANGE, **span)
    return made


def test_a_zone_and_its_physical_network(api, zone_id):
    (zone,) = api("listZones", id=zone_id)["zone"]
    assert (zone["networktype"], zone["securitygroupsenabled"]) == ("Basic", True)
    assert "guestcidraddress" not in zone
    for given, reason in (
        ({"vlan": "100-200"}, "431 The zone flat is Basic; its one network has its vlan by createNetwork"),
        ({"isolationmethods": "GRE"}, "431 The zone flat is Basic, without an overlay; GRE is not possible"),
    ):
        with pytest.raises(Refused, match=reason):
            api("createPhysicalNetwork", zoneid=zone_id, name="n", **given)
    made = site.result(api, api("createPhysicalNetwork", zoneid=zone_id, name="n"))["physicalnetwork"]
    assert made["isolationmethods"] == "VLAN"
    with pytest.raises(Refused, match="431 The zone flat is Basic; it has one physical network, which is n"):
        api("createPhysicalNetwork", zoneid=zone_id, name="m")
    with pytest.raises(Refused, match="431 The zone flat is Basic; guestcidraddress is not for it"):
        api("updateZone", id=zone_id, guestcidraddress="10.1.1.0/24")


def test_the_network_of_a_zone(api, cloud, user, factory, place):
    made = api("createNetwork", name="guests", **place)["network"]
    assert (made["type"], made["vlan"], made["broadcasturi"]) == ("Shared", "untagged", "vlan://untagged")
    assert "cidr" not in made
    for given, reason in (
        ({}, "431 The VLAN untagged of ph1 belongs to another network"),
        ({"vlan": "77"}, "431 The zone .* is Basic and has its one network already"),
        ({"gateway": "203.0.113.1"}, "431 The zone .* is Basic: createVlanIpRange gives its network addresses"),
    ):
        with pytest.raises(Refused, match=reason):
            api("createNetwork", name="more", **place, **given)
    gold = factory.first(NetworkOffering, name="gold").id
    with pytest.raises(Refused, match=r"431 The zone .* is Basic: its one network is Shared"):
        api("createNetwork", user, name="own", zoneid=cloud.zone_id, networkofferingid=gold)
    offering = api("listVPCOfferings")["vpcoffering"][0]["id"]
    with pytest.raises(Refused, match=r"431 The zone .* is Basic; VPCs are possible in Advanced zones alone"):
        api("createVPC", user, name="v", cidr="10.0.0.0/16", zoneid=cloud.zone_id, vpcofferingid=offering,
            displaytext="v")  # fmt: skip
    with pytest.raises(Refused, match=r"431 The zone .* is Basic and has no public addresses"):
        api("createVlanIpRange", physicalnetworkid=cloud.physical_id, **{**RANGE, **FIRST, "forvirtualnetwork": True})
    run(api, cloud, None, "deleteNetwork", id=made["id"])
    again = api("createNetwork", name="guests", vlan="vlan://77", **place)["network"]
    assert again["vlan"] == "77"


def test_ranges_of_pods(api, cloud, factory, flat):
    shown = api("listVlanIpRanges", forvirtualnetwork=False)["vlaniprange"]
    pod = factory.first(Pod, zone_id=cloud.zone_id)
    assert {(one["podid"], one["networkid"], one["vlan"]) for one in shown} == {(pod.id, flat["id"], "vlan://untagged")}
    assert api("listVlanIpRanges", podid=pod.id)["count"] == 2
    row = factory.first(Network, id=flat["id"])
    assert (row.cidr, row.gateway) == ("203.0.113.0/24", "203.0.113.1")
    assert (row.first_address, row.last_address) == ("203.0.113.10", "203.0.113.23")
    more = {"startip": "203.0.113.40", "podid": pod.id, **RANGE}
    other = factory(Pod, zone_id=factory(Zone).id)
    for given, reason in (
        ({"startip": "203.0.113.13"}, "431 The range 203.0.113.13-203.0.113.13 overlaps the range"),
        ({"netmask": "255.255.255.128"}, "431 The network guests is one segment with the gateway 203.0.113.1"),
        ({"vlan": "5"}, "431 The vlan 5 is not that of network guests, which is untagged"),
        ({"podid": other.id}, "431 The zone .* is Advanced: guests' addresses come with createNetwork there"),
        ({"podid": ""}, "431 .*podid"),
        ({"domainid": factory.root.id}, "431 Ranges of guests' addresses are for all who use the network"),
    ):
        with pytest.raises(Refused, match=reason):
            api("createVlanIpRange", **{**more, **given})
    with pytest.raises(Refused, match="431 Ranges of guests' addresses are for all who use the network"):
        api("dedicatePublicIpRange", id=shown[0]["id"], domainid=factory.root.id)
    (last,) = [one for one in shown if one["startip"] == SECOND["startip"]]
    api("updateVlanIpRange", id=last["id"], endip="203.0.113.29")
    assert factory.first(Network, id=flat["id"]).last_address == "203.0.113.29"
    for one in shown:
        api("deleteVlanIpRange", id=one["id"])
    assert factory.first(Network, id=flat["id"]).cidr == ""


def test_virtual_machines_are_in_it_without_a_network_named(api, cloud, user, factory, flat, wanted):
    plain = {name: value for name, value in wanted.items() if name != "networkids"}
    with pytest.raises(Refused, match=r"431 The zone .* is Basic: networkids are not for it"):
        api("deployVirtualMachine", user, **plain, networkids=flat["id"])
    group = api("createSecurityGroup", user, name="web")["securitygroup"]
    api("authorizeSecurityGroupIngress", user, securitygroupid=group["id"], protocol="tcp", startport=80, endport=80,
        cidrlist="0.0.0.0/0")  # fmt: skip
    given = plain | {"securitygroupids": group["id"], "ipaddress": "203.0.113.21"}
    second = run(api, cloud, user, "deployVirtualMachine", **given)["virtualmachine"]
    first = run(api, cloud, user, "deployVirtualMachine", **plain)["virtualmachine"]
    assert [[one["name"] for one in vm["securitygroup"]] for vm in (first, second)] == [["default"], ["web"]]
    assert second["nic"][0]["ipaddress"] == "203.0.113.21"
    assert first["nic"][0]["gateway"] == "203.0.113.1"
    router = factory.first(Router, network_id=flat["id"])
    (leg,) = next(spec for spec in specs(cloud) if spec.id == router.id).legs
    assert leg.gateway == "203.0.113.1"
    for view in views(cloud, flat["id"]):
        assert (view.overlay, view.key, view.is_flat, view.has_groups, view.gateway_outside) == (
            "vlan", 0, True, True, True,
        )  # fmt: skip
    with pytest.raises(Refused, match=r"533 .*in none of the ranges of network guests"):
        api("deployVirtualMachine", user, **plain, ipaddress="203.0.113.15")
    used = {nic.address for nic in rows(factory, Nic, network_id=flat["id"])}
    assert all(1 <= int(address.rpartition(".")[2]) % 10 + 1 <= 4 for address in used)
    held = factory.first(VlanIpRange, start_ip="203.0.113.20")
    with pytest.raises(Refused, match=r"431 .* addresses of the range 203.0.113.20-203.0.113.23 are in use"):
        api("deleteVlanIpRange", id=held.id)


def test_groups_follow_a_virtual_machine_that_starts_on_another_host(api, cloud, user, factory, flat, wanted):
    plain = {name: value for name, value in wanted.items() if name != "networkids"}
    change(factory, ServiceOffering, cloud.offering_id, storage_type="shared")
    factory(StoragePool, zone_id=cloud.zone_id, name="both", driver="simulator", path=str(cloud.directory / "both"),
            capacity=100 * GIB, scope="ZONE")  # fmt: skip
    vm = run(api, cloud, user, "deployVirtualMachine", **plain)["virtualmachine"]
    run(api, cloud, user, "deployVirtualMachine", **plain)
    (group,) = vm["securitygroup"]

    def where() -> tuple[str, set[tuple[str, ...]]]:
        """The host of the machine, and the groups that all hosts know it to be in."""
        (nic,) = rows(factory, Nic, vm_id=vm["id"])
        seen = [one for view in views(cloud, flat["id"]) for one in view.nics if one.id == nic.id]
        assert {one.host_id for one in seen} == {nic.host_id}
        return nic.host_id, {tuple(key for key in one.groups if key == group["id"]) for one in seen}

    before, groups = where()
    assert groups == {(group["id"],)}
    run(api, cloud, user, "stopVirtualMachine", id=vm["id"])
    other = next(host_id for host_id in cloud.hosts if host_id != before)
    run(api, cloud, None, "startVirtualMachine", id=vm["id"], hostid=other)
    assert where() == (other, {(group["id"],)})
    for view in views(cloud, flat["id"]):
        assert group["id"] in {policy.id for policy in view.groups}


def test_what_explains_the_way_knows_of_the_outside(api, cloud, user, flat, wanted):
    plain = {name: value for name, value in wanted.items() if name != "networkids"}
    vm = run(api, cloud, user, "deployVirtualMachine", **plain)["virtualmachine"]
    api("authorizeSecurityGroupIngress", user, securitygroupid=vm["securitygroup"][0]["id"], protocol="tcp",
        startport=80, endport=80, cidrlist="192.0.2.0/24")  # fmt: skip
    cloud.settle()
    out = {"virtualmachineid": vm["id"], "toipaddress": "192.0.2.9", "protocol": "udp", "port": 53}
    answer = run(api, cloud, user, "explainReachability", **out)["reachability"]
    assert (answer["reachable"], answer["agrees"], answer["stopcount"]) == (True, True, 1)
    for port, is_reachable in ((80, True), (81, False)):
        given = {"sourceipaddress": "192.0.2.9", "tovirtualmachineid": vm["id"], "protocol": "tcp", "port": port}
        answer = run(api, cloud, user, "explainReachability", **given)["reachability"]
        assert (answer["reachable"], answer["agrees"], answer["stopcount"]) == (is_reachable, True, 1)


def test_a_zone_with_security_groups_puts_machines_into_its_shared_network(api, cloud, user, factory, wanted):
    plain = {name: value for name, value in wanted.items() if name != "networkids"}
    change(factory, Zone, cloud.zone_id, security_groups=True)
    change(factory, Network, cloud.network_id, removed=factory.first(Zone, id=cloud.zone_id).created)
    given = {"zoneid": cloud.zone_id, "networkofferingid": factory.first(NetworkOffering, name=SERVICE).id}
    ends = {"gateway": "10.9.0.1", "netmask": "255.255.255.0", "startip": "10.9.0.100", "endip": "10.9.0.120"}
    shared = api("createNetwork", name="shared", **ends, **given)["network"]
    vm = run(api, cloud, user, "deployVirtualMachine", **plain)["virtualmachine"]
    assert [nic["networkid"] for nic in vm["nic"]] == [shared["id"]]
    assert [group["name"] for group in vm["securitygroup"]] == ["default"]
