"""Where kinds of networks, VPCs, security groups and overlays meet each other."""

from __future__ import annotations

import pytest

from manager import configuration
from manager.models import Network, NetworkOffering, PhysicalNetwork, PublicAddress
from tests.client import Caller, Refused
from tests.unit.api.groups_world import views
from tests.unit.api.live_cloud import change, rows, run
from tests.unit.api.test_shared_networks import RANGE, names
from tests.unit.api.test_vpcs import TIER_OFFERING, new_tier, new_vpc

PORTABLE = {"gateway": "203.0.113.1", "netmask": "255.255.255.0", "startip": "203.0.113.10", "endip": "203.0.113.11"}


@pytest.fixture
def vpc(api, factory, cloud, user) -> dict:
    return new_vpc(api, factory, cloud, user)


@pytest.fixture
def place(factory, cloud):
    def of(offering: str) -> dict[str, str]:
        return {"zoneid": cloud.zone_id, "networkofferingid": factory.first(NetworkOffering, name=offering).id}

    return of


def test_all_kinds_are_told_apart_in_lists(api, factory, cloud, user, vpc, place):
    new_tier(api, factory, cloud, user, vpc)
    api("createNetwork", name="shared", **RANGE, **place("DefaultSharedNetworkOffering"))
    api("createNetwork", user, name="wire", **place("DefaultL2NetworkOffering"))
    own = {"net1", "tier1", "wire"}
    assert names(api, user) == own | {"shared"}
    assert names(api, user, vpcid=vpc["id"]) == names(api, user, forvpc=True) == {"tier1"}
    assert names(api, user, forvpc=False) == {"net1", "wire", "shared"}
    assert names(api, user, type="isolated", forvpc=False) == {"net1"}
    assert names(api, user, type="L2") == {"wire"}
    assert names(api, user, acltype="Domain") == names(api, user, networkfilter="Domain") == {"shared"}
    assert names(api, user, acltype="Account", forvpc=True) == {"tier1"}


def test_no_tier_is_of_another_kind(api, factory, cloud, user, vpc, place):
    given = {"name": "wrong", "vpcid": vpc["id"], "gateway": "10.0.1.1", "netmask": "255.255.255.0"}
    with pytest.raises(Refused, match="431 The network offering DefaultL2NetworkOffering is for networks not of VPCs"):
        api("createNetwork", user, **given, **place("DefaultL2NetworkOffering"))
    with pytest.raises(Refused, match=r"431 Networks of the offering .* only Shared ones can have the acltype Domain"):
        new_tier(api, factory, cloud, user, vpc, acltype="Domain")
    kind = {"guestiptype": "Shared", "traffictype": "Guest", "forvpc": True, "supportedservices": "Dhcp"}
    with pytest.raises(Refused, match="431 Tiers of VPCs are Isolated networks; Shared ones cannot be forvpc"):
        api("createNetworkOffering", name="wrong", **kind)


def test_a_persistent_tier_is_implemented_when_it_is_made(api, factory, cloud, user, vpc):
    factory.change(factory.first(NetworkOffering, name=TIER_OFFERING), persistent=True)
    tier = new_tier(api, factory, cloud, user, vpc)
    cloud.settle()
    assert factory.first(Network, id=tier["id"]).state == "Implemented"


def test_a_permitted_account_does_not_change_the_list_of_a_tier(api, factory, cloud, user, vpc, engine):
    tier = new_tier(api, factory, cloud, user, vpc)
    friend = Caller.of(engine, factory.user("friend").username)
    api("createNetworkPermissions", user, networkid=tier["id"], accounts="friend")
    assert names(api, friend) == {"tier1"}
    with pytest.raises(Refused, match=r"431 .*networkid"):
        api("createNetworkACL", friend, networkid=tier["id"], protocol="all")


def test_a_portable_address_of_a_vpc_is_the_regions_again(api, cloud, user, vpc, factory):
    api("createPortableIpRange", regionid=1, vlan="77", **PORTABLE)
    given = {"vpcid": vpc["id"], "isportable": True, "ipaddress": "203.0.113.11"}
    for _ in range(2):
        address = run(api, cloud, user, "associateIpAddress", **given)["ipaddress"]
        assert (address["vpcid"], address["isportable"]) == (vpc["id"], True)
        run(api, cloud, user, "disassociateIpAddress", id=address["id"])
    run(api, cloud, user, "associateIpAddress", **given)
    run(api, cloud, user, "deleteVPC", id=vpc["id"])
    assert rows(factory, PublicAddress, portable=True) == []


def test_an_address_of_a_vpc_is_kept_in_quarantine_and_no_address_of_one_is_free(api, cloud, user, vpc, factory):
    api("updateConfiguration", name="public.ip.address.quarantine.duration", value="60")
    configuration.forget()
    address = run(api, cloud, user, "associateIpAddress", vpcid=vpc["id"])["ipaddress"]
    with pytest.raises(Refused, match=r"431 The public address .* is not free"):
        api("associateIpAddress", user, networkid=cloud.network_id, ipaddress=address["ipaddress"])
    run(api, cloud, user, "disassociateIpAddress", id=address["id"])
    row = factory.first(PublicAddress, id=address["id"])
    assert (row.account_id, row.vpc_id, row.quarantined_for) == (None, None, cloud.account_id)
    (shown,) = api("listQuarantinedIps")["quarantinedips"]
    assert shown["ipaddress"] == address["ipaddress"]


def test_guests_of_a_shared_network_with_groups_are_held_to_them(api, cloud, user, factory, wanted, place):
    shared = api("createNetwork", name="shared", **RANGE, **place("DefaultSharedNetworkOfferingWithSGService"))
    given = wanted | {"networkids": shared["network"]["id"]}
    vm = run(api, cloud, user, "deployVirtualMachine", **given)["virtualmachine"]
    assert [group["name"] for group in vm["securitygroup"]] == ["default"]
    for view in views(cloud, shared["network"]["id"]):
        assert (view.has_groups, view.gateway_outside) == (True, True)


def test_keys_of_vxlan_have_24_bits(api, cloud, factory, place, user):
    change(factory, PhysicalNetwork, cloud.physical_id, isolation_methods="VXLAN", key_start=1, key_end=2**24 - 1)
    with pytest.raises(Refused, match="431 The vlan 16777216 is no VXLAN key: a number from 1 to 16777215"):
        api("createNetwork", name="n", vlan=str(2**24), **RANGE, **place("DefaultSharedNetworkOffering"))
    given = {"account": "tenant", "domainid": factory.root.id, "physicalnetworkid": cloud.physical_id}
    with pytest.raises(Refused, match="431 The vlan 10-16777216 is not a range of VXLAN keys"):
        api("dedicateGuestVlanRange", vlanrange="10-16777216", **given)


def test_what_explains_the_way_knows_of_wires_and_gateways_outside(api, cloud, user, wanted, place):
    wire = api("createNetwork", user, name="wire", **place("DefaultL2NetworkOffering"))["network"]["id"]
    shared = api("createNetwork", name="s", **RANGE, **place("DefaultSharedNetworkOffering"))["network"]["id"]
    one, two = (
        run(api, cloud, user, "deployVirtualMachine", **(wanted | {"networkids": network}))["virtualmachine"]
        for network in (wire, shared)
    )
    ask = {"toipaddress": "203.0.113.9", "protocol": "tcp", "port": 80}
    with pytest.raises(Refused, match=r"431 The virtual machine .* has no NIC with an address; in networks of layer 2"):
        api("explainReachability", user, virtualmachineid=one["id"], **ask)
    answer = run(api, cloud, user, "explainReachability", virtualmachineid=two["id"], **ask)["reachability"]
    assert answer["reachable"] is False
    assert answer["reason"].startswith("The gateway 10.9.0.1 is none of the network's NICs")
