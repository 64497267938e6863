"""Tenant networks and public addresses through the API, with the workflows of the in-process cloud."""

from __future__ import annotations

import pytest

from manager import db
from manager.models import (
    Account,
    Domain,
    Host,
    Network,
    NetworkOffering,
    Nic,
    PhysicalNetwork,
    PublicAddress,
    ResourceLimit,
    ResourceUse,
    Router,
    Tag,
    TrafficType,
    TunnelKey,
    VlanIpRange,
    Vm,
    Zone,
)
from manager.workflows.views import picture
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import costs, live_cloud


@pytest.fixture
def place(factory):
    """A zone where networks can be made, and an offering: what createNetwork needs."""
    zone = factory(Zone, name="z1")
    physical = factory(PhysicalNetwork, zone_id=zone.id, name="ph1", state="Enabled", key_start=5, key_end=40)
    factory(TrafficType, physical_network_id=physical.id)
    offering = factory(NetworkOffering, name="isolated", services={"Dhcp": "VirtualRouter"})
    return {"zoneid": zone.id, "networkofferingid": offering.id}


def test_a_new_network_has_the_zones_defaults(api, tenant, factory, place):
    made = api("createNetwork", tenant, name="net", displaytext="my net", **place)["network"]
    assert (made["cidr"], made["gateway"], made["netmask"]) == ("10.1.1.0/24", "10.1.1.1", "255.255.255.0")
    assert (made["state"], made["type"], made["traffictype"]) == ("Allocated", "Isolated", "Guest")
    assert made["networkdomain"] == f"a{tenant.account.number}.cs.cloud.internal"
    assert (made["account"], made["zonename"], made["networkofferingname"]) == ("tenant", "z1", "isolated")
    assert (made["dns1"], made["privatemtu"], made["canusefordeploy"]) == ("192.0.2.1", 1458, True)
    assert made["service"][0]["provider"] == [{"name": "VirtualRouter"}]
    assert not {"broadcasturi", "physicalnetworkid"} & set(made)
    row = factory.first(Network, id=made["id"])
    assert factory.first(TunnelKey, network_id=made["id"]).key == row.key
    assert 5 <= row.key <= 40
    assert factory.first(ResourceUse, account_id=tenant.account.id).networks == 1
    assert api("listNetworks", tenant)["network"] == [made]
    (seen,) = api("listNetworks", listall=True)["network"]
    assert seen["broadcasturi"] == f"gre://{row.key}"
    assert seen["physicalnetworkid"] == row.physical_network_id


def test_tenants_may_have_the_same_addresses(api, tenant, place):
    mask = {"gateway": "192.168.7.254", "netmask": "255.255.255.0"}
    first = api("createNetwork", tenant, name="a", **mask, **place)["network"]
    second = api("createNetwork", tenant, name="b", networkdomain="b.example", **mask, **place)["network"]
    assert first["cidr"] == second["cidr"] == "192.168.7.0/24"
    assert (second["gateway"], second["networkdomain"]) == ("192.168.7.254", "b.example")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"gateway": "10.2.2.1"}, "431 The gateway and the netmask of a network come together"),
        ({"netmask": "255.255.255.0"}, "431 The gateway and the netmask of a network come together"),
        ({"gateway": "10.2.2.300", "netmask": "255.255.255.0"}, "431 The gateway 10.2.2.300 is not an IPv4 address"),
        ({"gateway": "10.2.2.1", "netmask": "255.0.255.0"}, "431 The netmask 255.0.255.0 is not one"),
        ({"gateway": "10.2.2.0", "netmask": "255.255.255.0"}, "431 The gateway 10.2.2.0 is no host address"),
        ({"gateway": "10.2.2.255", "netmask": "255.255.255.0"}, "431 The gateway 10.2.2.255 is no host address"),
        ({"gateway": "10.2.2.1", "netmask": "255.255.255.252"}, "431 The range 10.2.2.0/30 has the prefix /30"),
        ({"gateway": "10.2.2.1", "netmask": "255.0.0.0"}, "431 The range 10.0.0.0/8 has the prefix /8"),
        ({"gateway": "8.8.8.1", "netmask": "255.255.255.0"}, "431 The range 8.8.8.0/24 is not a private one"),
        ({"networkdomain": "-bad-.x"}, "431 -bad-.x is not a DNS suffix"),
        ({"name": ""}, "431 Invalid value provided for API arg: name"),
        ({"zoneid": None}, "431 .*missing parameter zoneid"),
        ({"networkofferingid": "00000000-0000-0000-0000-000000000000"}, "431 .*Invalid parameter networkofferingid"),
    ],
)
def test_bad_input_is_refused_and_nothing_stays(api, tenant, factory, place, given, reason):
    with pytest.raises(Refused, match=reason):
        api("createNetwork", tenant, **{"name": "net", **place, **given})
    assert api("listNetworks", tenant) == {}
    assert factory.first(ResourceUse, account_id=tenant.account.id).networks == 0


def test_the_smallest_range(api, tenant, place):
    made = api("createNetwork", tenant, name="net", gateway="10.2.2.1", netmask="255.255.255.248", **place)
    assert made["network"]["cidr"] == "10.2.2.0/29"


def test_zone_offering_and_physical_network_must_be_enabled(api, tenant, factory, place):
    offering = factory.first(NetworkOffering, id=place["networkofferingid"])
    factory.change(offering, state="Disabled")
    with pytest.raises(Refused, match="431 The network offering isolated is Disabled"):
        api("createNetwork", tenant, name="net", **place)
    factory.change(offering, state="Enabled")
    zone = factory.first(Zone, id=place["zoneid"])
    factory.change(zone, allocation_state="Disabled")
    with pytest.raises(Refused, match="531 The zone z1 is disabled"):
        api("createNetwork", tenant, name="net", **place)
    api("createNetwork", name="of root", **place)
    factory.change(zone, allocation_state="Enabled")
    physical = factory.first(PhysicalNetwork, zone_id=zone.id)
    traffic = factory.first(TrafficType, physical_network_id=physical.id)
    for thing, values in (
        (physical, {"state": "Disabled"}),
        (physical, {"state": "Enabled", "isolation_methods": "STT"}),
        (traffic, {"traffic_type": "Public"}),
    ):
        factory.change(thing, **values)
        with pytest.raises(Refused, match=r"431 There is none in zone z1 that is enabled, carries guest traffic"):
            api("createNetwork", tenant, name="net", **place)


def test_a_physical_network_of_another_zone_is_refused(api, factory, place):
    other = factory(PhysicalNetwork, state="Enabled", name="far")
    factory(TrafficType, physical_network_id=other.id)
    with pytest.raises(Refused, match="431 The physical network far is none in zone z1"):
        api("createNetwork", name="net", physicalnetworkid=other.id, **place)


def test_gre_keys_run_out(api, factory, place):
    physical = factory.first(PhysicalNetwork, zone_id=place["zoneid"])
    factory.change(physical, key_start=9, key_end=10)
    keys = {api("createNetwork", name=f"n{i}", **place)["network"]["broadcasturi"] for i in range(2)}
    assert keys == {"gre://9", "gre://10"}
    with pytest.raises(Refused, match="533 All tunnel keys 9-10 of ph1 are used up"):
        api("createNetwork", name="n3", **place)
    assert api("listNetworks")["count"] == 2


def test_limits_hold(api, tenant, factory, place):
    factory(ResourceLimit, account_id=tenant.account.id, resource="networks", maximum=1)
    api("createNetwork", tenant, name="one", **place)
    with pytest.raises(Refused, match="535 Account tenant may hold 1 networks; it holds 1"):
        api("createNetwork", tenant, name="two", **place)
    api("createNetwork", name="roots", **place)


def test_the_suffix_of_account_domain_and_zone_come_first(api, tenant, factory, place):
    def suffix(**given):
        return api("createNetwork", tenant, name="n", **place, **given)["network"]["networkdomain"]

    factory.change(factory.first(Zone, id=place["zoneid"]), network_domain="zone.example")
    assert suffix() == "zone.example"
    factory.change(factory.first(Domain, path="/"), network_domain="domain.example")
    assert suffix() == "domain.example"
    factory.change(factory.first(Account, id=tenant.account.id), network_domain="account.example")
    assert suffix() == "account.example"
    assert suffix(networkdomain="own.example") == "own.example"


def test_an_administrator_makes_one_for_another_account(api, tenant, factory, place):
    made = api("createNetwork", name="net", account="tenant", domainid=factory.root.id, **place)["network"]
    assert made["account"] == "tenant"
    assert api("listNetworks", tenant)["count"] == 1


def test_who_sees_and_changes_what(api, tenant, factory):
    network = factory(Network, account_id=tenant.account.id)
    factory.user("stranger")
    stranger = Caller.of(factory.engine, "stranger")
    assert api("listNetworks", stranger, listall=True) == {}
    for command in ("updateNetwork", "deleteNetwork", "restartNetwork"):
        with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
            api(command, stranger, id=network.id)
    job = api("updateNetwork", tenant, id=network.id, name="new", displaytext="newer")["jobid"]
    result = api("queryAsyncJobResult", tenant, jobid=job)["jobresult"]["network"]
    assert (result["name"], result["displaytext"]) == ("new", "newer")
    api("updateNetwork", tenant, id=network.id)
    assert api("listNetworks", tenant)["network"][0]["name"] == "new"


def test_filters(api, tenant, factory):
    mine = {"account_id": tenant.account.id}
    full = factory(NetworkOffering, services={"Dhcp": "VirtualRouter", "SourceNat": "VirtualRouter"})
    one = factory(Network, name="one", offering_id=full.id, **mine)
    two = factory(Network, name="two", state="Destroy", **mine)
    factory(Network, name="gone", removed=one.created, **mine)
    factory(Tag, resource_id=two.id, resource_type="Network", key="k", value="v", **mine)

    def names(**given):
        return [network["name"] for network in api("listNetworks", tenant, **given).get("network", [])]

    assert names() == names(type="isolated", traffictype="GUEST", acltype="account", forvpc=False) == [
        "one",
        "two",
    ] or (names() == ["two", "one"])
    assert names(name="one") == names(keyword="ne") == names(id=one.id) == names(zoneid=one.zone_id) == ["one"]
    assert names(networkofferingid=full.id) == names(supportedservices="dhcp,SourceNat") == ["one"]
    assert names(canusefordeploy=True) == ["one"]
    assert names(canusefordeploy=False) == names(params={"tags[0].key": "k", "tags[0].value": "v"}) == ["two"]
    assert names(type="Shared") == names(issystem=True) == names(forvpc=True) == names(traffictype="Public") == []
    assert names(supportedservices="Vpn") == []


def test_restart_and_deletion_say_what_stands_against_them(api, tenant, factory):
    network = factory(Network, account_id=tenant.account.id, name="net")
    with pytest.raises(Refused, match="431 The network net is Allocated; only an implemented network"):
        api("restartNetwork", tenant, id=network.id)
    factory(Nic, network_id=network.id, vm_id=factory(Vm, account_id=tenant.account.id).id)
    with pytest.raises(Refused, match="431 The network net still has 1 NICs of virtual machines"):
        api("deleteNetwork", tenant, id=network.id)
    leaving = factory(Network, account_id=tenant.account.id, state="Shutdown")
    job = api("deleteNetwork", tenant, id=leaving.id)["jobid"]
    with pytest.raises(Refused, match=f"536 .*busy with job {job}"):
        api("deleteNetwork", tenant, id=leaving.id)


def test_a_client_token_makes_one(api, tenant, place):
    first = api("createNetwork", tenant, name="net", clienttoken="t", **place)
    assert api("createNetwork", tenant, name="net", clienttoken="t", **place) == first
    assert api("listNetworks", tenant)["count"] == 1
    with pytest.raises(Refused, match="431 The client token t was used before"):
        api("createNetwork", tenant, name="other", clienttoken="t", **place)


def test_life_of_a_network_in_a_cloud(api, factory, tmp_path):
    cloud, user = live_cloud(factory, tmp_path)
    offering = api("listNetworkOfferings", user, availability="Required")["networkoffering"][0]["id"]
    made = api("createNetwork", user, name="mine", zoneid=cloud.zone_id, networkofferingid=offering)["network"]
    vm_id = cloud.deploy(network_id=made["id"])
    cloud.settle()
    (shown,) = api("listNetworks", user, id=made["id"])["network"]
    assert shown["state"] == "Implemented"
    (public,) = api("listPublicIpAddresses", user, associatednetworkid=made["id"])["publicipaddress"]
    assert (public["issourcenat"], public["state"], public["associatednetworkname"]) == (True, "Allocated", "mine")
    assert (public["zonename"], public["account"]) == ("z1", "tenant")
    assert "vlanid" not in public
    for cleanup in (False, True):
        job = api("restartNetwork", user, id=made["id"], cleanup=cleanup)["jobid"]
        cloud.settle()
        assert api("queryAsyncJobResult", user, jobid=job)["jobresult"] == {"success": True}
        assert api("listNetworks", user, id=made["id"])["network"][0]["state"] == "Implemented"
    with pytest.raises(Refused, match="431 The network mine still has 1 NICs"):
        api("deleteNetwork", user, id=made["id"])
    cloud.destroy(vm_id)
    cloud.settle()
    job = api("deleteNetwork", user, id=made["id"])["jobid"]
    cloud.settle()
    assert api("queryAsyncJobResult", user, jobid=job)["jobresult"] == {"success": True}
    assert api("listNetworks", user, id=made["id"]) == {}
    assert api("listPublicIpAddresses", user) == {}
    left = cloud.leftovers()
    assert not any(value for name, value in left.items() if name != "use")
    assert left["use"][-1] == 1


def test_a_restart_that_fails_tells_why(api, factory, tmp_path):
    cloud, user = live_cloud(factory, tmp_path)
    cloud.deploy()
    cloud.settle()
    for host_id in cloud.hosts:
        factory.change(factory.first(Host, id=host_id), resource_state="Disabled")
    job = api("restartNetwork", user, id=cloud.network_id, cleanup=True)["jobid"]
    cloud.settle()
    result = api("queryAsyncJobResult", user, jobid=job)
    assert result["jobstatus"] == 2
    assert result["jobresult"]["errortext"] == "No host of zone z1 is Up and Enabled, so the router has no place."


def test_public_addresses(api, tenant, factory):
    network = factory(Network, account_id=tenant.account.id, name="net")
    span = factory(VlanIpRange)
    held = factory(
        PublicAddress, zone_id=span.zone_id, range_id=span.id, network_id=network.id, account_id=tenant.account.id,
        source_nat=True, address="198.51.100.7",
    )  # fmt: skip
    free = factory(PublicAddress, zone_id=span.zone_id, range_id=span.id, address="198.51.100.8")

    def ids(caller=tenant, **given):
        found = api("listPublicIpAddresses", caller, **given).get("publicipaddress", [])
        return [one["ipaddress"] for one in found]

    assert ids() == ids(issourcenat=True) == ids(id=held.id) == ["198.51.100.7"]
    assert ids(allocatedonly=False) == ids(associatednetworkid=network.id) == ids(keyword="100.7") == ["198.51.100.7"]
    assert ids(issourcenat=False) == ids(state="Free") == ids(isstaticnat=True) == ids(ipaddress="198.51.100.8") == []
    assert ids(api.admin) == []
    assert ids(api.admin, state="Free") == ids(api.admin, id=free.id) == ["198.51.100.8"]
    assert sorted(ids(api.admin, listall=True, allocatedonly=False)) == ["198.51.100.7", "198.51.100.8"]
    assert ids(api.admin, listall=True, vlanid=span.id) == ids(api.admin, listall=True, zoneid=span.zone_id)
    assert ids(api.admin, listall=True, physicalnetworkid=span.physical_network_id) == ["198.51.100.7"]
    with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
        ids(id=free.id)
    factory(
        Tag, resource_id=held.id, resource_type="PublicIpAddress", key="k", value="v", account_id=network.account_id
    )
    assert ids(params={"tags[0].key": "k", "tags[0].value": "v"}) == ["198.51.100.7"]
    assert ids(params={"tags[0].key": "k", "tags[0].value": "w"}) == []
    (shown,) = api("listPublicIpAddresses", tenant, id=held.id)["publicipaddress"]
    assert shown["tags"] == [{"key": "k", "value": "v"}]


def test_lists_cost_the_same_at_any_length(api, tenant, factory, engine):
    found = costs(
        engine,
        lambda: factory(Network, account_id=tenant.account.id),
        lambda: api("listNetworks", tenant, supportedservices=""),
    )
    assert found == {1: found[1], 50: found[1]}
    assert found[1] <= 10


def test_lists_of_public_addresses_cost_the_same_at_any_length(api, tenant, factory, engine):
    def make():
        network = factory(Network, account_id=tenant.account.id)
        factory(PublicAddress, network_id=network.id, account_id=tenant.account.id)

    found = costs(engine, make, lambda: api("listPublicIpAddresses", listall=True))
    assert found == {1: found[1], 50: found[1]}
    assert found[1] <= 11


def test_networks_on_every_database(any_api, any_factory):
    zone = any_factory(Zone)
    physical = any_factory(PhysicalNetwork, zone_id=zone.id, state="Enabled", key_end=3)
    any_factory(TrafficType, physical_network_id=physical.id)
    offering = any_factory(NetworkOffering, services={"Dhcp": "VirtualRouter"})
    for name in ("a", "b", "c"):
        any_api("createNetwork", name=name, zoneid=zone.id, networkofferingid=offering.id)
    with pytest.raises(Refused, match="533 All tunnel keys 1-3"):
        any_api("createNetwork", name="d", zoneid=zone.id, networkofferingid=offering.id)
    assert any_api("listNetworks", canusefordeploy=True, supportedservices="dhcp")["count"] == 3
    assert any_api("listPublicIpAddresses", issourcenat=True, listall=True) == {}


def test_a_network_over_vxlan(api, factory, place):
    """It is told to the hosts as such, its number fits into 24 bits, and its guests have the 8 bytes less."""
    physical = factory.first(PhysicalNetwork, zone_id=place["zoneid"])
    factory.change(physical, isolation_methods="VXLAN", key_start=2**24 - 1, key_end=2**24 - 1)
    made = api("createNetwork", name="net", **place)["network"]
    with pytest.raises(Refused, match="431 The privatemtu 1451 does not lie within 576 and 1450"):
        api("createNetwork", name="more", privatemtu=1451, **place)
    (seen,) = api("listNetworks", id=made["id"])["network"]
    assert (seen["broadcastdomaintype"], seen["broadcasturi"]) == ("Vxlan", f"vxlan://{2**24 - 1}")
    assert seen["privatemtu"] == 1450
    with db.transaction(factory.engine) as session:
        router = factory(Router, network_id=made["id"], zone_id=place["zoneid"])
        factory(Nic, network_id=made["id"], router_id=router.id, host_id=factory(Host, zone_id=place["zoneid"]).id)
        (command,) = picture(session, made["id"]).commands.values()
    assert (command.view.overlay, command.view.key, command.view.mtu) == ("vxlan", 2**24 - 1, 1450)


def test_a_persistent_network_is_implemented_when_it_is_made(api, cloud, user, factory):
    factory.change(factory.first(NetworkOffering, name="gold"), persistent=True)
    given = {"zoneid": cloud.zone_id, "networkofferingid": factory.first(NetworkOffering, name="gold").id}
    made = api("createNetwork", user, name="there", **given)["network"]
    assert made["ispersistent"] is True
    cloud.settle()
    assert factory.first(Network, id=made["id"]).state == "Implemented"
    assert factory.first(Router, network_id=made["id"]).state == "Running"
