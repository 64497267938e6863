"""Zones, regions and hypervisors."""

import pytest

from manager.models import Pod, Region, Tag, Vm, Zone
from tests.client import Refused
from tests.unit.api import site
from tests.unit.api.site import statements_of


def test_a_zone_is_made_disabled_and_shown(api):
    made = api("createZone", name="z1", domain="z1.example.org", localstorageenabled="true", **site.ZONE)["zone"]
    assert made["allocationstate"] == "Disabled"
    assert made["networktype"] == "Advanced"
    assert made["guestcidraddress"] == "10.1.1.0/24"
    assert (made["dns1"], made["internaldns1"], made["domain"]) == ("192.0.2.53", "192.0.2.54", "z1.example.org")
    assert made["localstorageenabled"] is True
    assert made["securitygroupsenabled"] is False
    assert made["tags"] == []
    assert api("listZones") == {"count": 1, "zone": [made]}


def test_the_same_client_token_makes_one_zone(api):
    first = api("createZone", name="z1", clienttoken="t", **site.ZONE)
    assert api("createZone", name="z1", clienttoken="t", **site.ZONE) == first
    assert api("listZones")["count"] == 1


def test_tenants_see_zones_without_what_is_the_operators(api, tenant):
    site.zone(api)
    (shown,) = api("listZones", tenant, showcapacities="true")["zone"]
    assert shown["name"] == "z1"
    assert not {"dns1", "internaldns1", "guestcidraddress", "capacity"} & set(shown)
    with pytest.raises(Refused, match="432"):
        api("createZone", tenant, name="z2", **site.ZONE)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"name": "Z1"}, "431 A zone named Z1 exists already"),
        ({"name": "  "}, "431 The zone needs a name"),
        ({"networktype": "Core"}, "431 .*Core is none of Advanced, Basic"),
        ({"networktype": "Basic", "guestcidraddress": "10.1.1.0/24"}, "431 The parameter guestcidraddress is not for"),
        ({"dns1": "192.0.2.300"}, "431 The dns1 192.0.2.300 is not an IPv4 address"),
        ({"internaldns2": "x"}, "431 The internaldns2 x is not an IPv4 address"),
        ({"guestcidraddress": "10.1.1.1/24"}, "431 The guestcidraddress 10.1.1.1/24 is not an IPv4 network"),
        ({"guestcidraddress": "10.1.1.0"}, "431 The guestcidraddress 10.1.1.0 has no prefix length"),
        ({"domain": "not a domain"}, "431 not a domain is not a DNS suffix"),
    ],
)
def test_bad_zones_are_refused_with_the_reason(api, given, reason):
    site.zone(api)
    with pytest.raises(Refused, match=reason):
        api("createZone", **{"name": "z2", **site.ZONE, **given})
    assert api("listZones")["count"] == 1


def test_zones_are_found(api, tenant, factory):
    one, two = factory(Zone, name="alpha"), factory(Zone, name="beta", network_type="Basic")
    factory(Tag, resource_id=two.id, resource_type="Zone", key="k", value="v", account_id=tenant.account.id)
    factory(Vm, zone_id=two.id, account_id=tenant.account.id)

    def names(caller=None, **filters):
        return [zone["name"] for zone in api("listZones", caller, **filters).get("zone", [])]

    assert names(name="beta") == ["beta"]
    assert names(id=one.id) == ["alpha"]
    assert names(ids=f"{one.id},{two.id}") == ["alpha", "beta"]
    assert names(keyword="lph") == ["alpha"]
    assert names(networktype="Basic") == ["beta"]
    assert names(params={"tags[0].key": "k", "tags[0].value": "v"}) == ["beta"]
    assert names(params={"tags[0].key": "k", "tags[0].value": "w"}) == []
    zone_names = names(tenant, available="false")
    assert zone_names == ["beta"]
    (tagged,) = api("listZones", id=two.id)["zone"]
    assert [(tag["key"], tag["value"]) for tag in tagged["tags"]] == [("k", "v")]


def test_a_zone_changes(api):
    zone_id = site.zone(api)
    changed = api(
        "updateZone", id=zone_id, name="other", dns1="192.0.2.9", dns2="192.0.2.10", internaldns2="192.0.2.11",
        domain="d.example.org", guestcidraddress="10.9.0.0/16", localstorageenabled="true",
    )["zone"]  # fmt: skip
    assert (changed["name"], changed["dns1"], changed["dns2"]) == ("other", "192.0.2.9", "192.0.2.10")
    assert (changed["guestcidraddress"], changed["domain"]) == ("10.9.0.0/16", "d.example.org")
    assert changed["localstorageenabled"] is True
    assert api("listZones", id=zone_id)["zone"] == [changed]
    assert "dns2" not in api("updateZone", id=zone_id, dns2="")["zone"]
    site.zone(api, "z1")
    with pytest.raises(Refused, match="431 There is a zone named z1 already"):
        api("updateZone", id=zone_id, name="z1")


def test_a_zone_is_enabled_once_it_can_carry_guests(api):
    zone_id = site.zone(api)
    with pytest.raises(Refused, match="431 The zone z1 cannot be enabled: none of its physical networks"):
        api("updateZone", id=zone_id, allocationstate="Enabled")
    network_id = site.physical_network(api, zone_id)
    api("addTrafficType", physicalnetworkid=network_id, traffictype="Guest")
    assert api("updateZone", id=zone_id, allocationstate="Enabled")["zone"]["allocationstate"] == "Enabled"
    assert api("updateZone", id=zone_id, allocationstate="Disabled")["zone"]["allocationstate"] == "Disabled"


def test_a_zone_goes_when_it_is_empty(api, factory):
    zone_id = site.zone(api)
    pod_id = site.pod(api, zone_id)
    network_id = site.physical_network(api, zone_id)
    with pytest.raises(Refused, match="431 The zone z1 cannot be removed: it still has 1 pods"):
        api("deleteZone", id=zone_id)
    api("deletePod", id=pod_id)
    vm = factory(Vm, zone_id=zone_id)
    with pytest.raises(Refused, match=r"431 .* 1 virtual machines"):
        api("deleteZone", id=zone_id)
    factory.change(vm, removed=vm.created)
    with pytest.raises(Refused, match=r"431 .* 1 physical networks"):
        api("deleteZone", id=zone_id)
    api("deletePhysicalNetwork", id=network_id)
    assert api("deleteZone", id=zone_id) == {"success": True}
    assert api("listZones") == {}
    assert api("listZones", id=zone_id) == {}
    site.zone(api)


def test_lists_of_zones_take_the_same_statements_for_one_and_for_fifty(api, engine, factory):
    factory(Zone)
    one = statements_of(engine, api, "listZones", 1, showcapacities="true")
    for _ in range(49):
        factory(Zone)
    assert statements_of(engine, api, "listZones", 50, showcapacities="true") == one
    assert statements_of(engine, api, "listZones", 50) <= 5


def test_what_is_gone_cannot_be_filled(api, factory):
    zone_id = site.zone(api)
    api("deleteZone", id=zone_id)
    with pytest.raises(Refused, match=f"431 .*Invalid parameter zoneid value={zone_id}"):
        site.pod(api, zone_id)
    assert factory.first(Zone, id=zone_id).live is None
    with pytest.raises(Exception, match="No row"):
        factory.first(Pod)


def test_regions_are_listed(api, tenant, factory):
    factory(Region, id=7, name="Local", endpoint="http://localhost/client/")
    (region,) = api("listRegions", tenant)["region"]
    assert (region["id"], region["name"]) == (7, "Local")
    assert api("listRegions", id=8) == {}


def test_hypervisors_are_listed(api, tenant):
    zone_id = site.zone(api)
    assert api("listHypervisors", tenant) == {"count": 2, "hypervisor": [{"name": "KVM"}, {"name": "Simulator"}]}
    assert api("listHypervisors", zoneid=zone_id) == {}
    site.cluster(api, zone_id, site.pod(api, zone_id), hypervisor="Simulator")
    assert api("listHypervisors", zoneid=zone_id)["hypervisor"] == [{"name": "Simulator"}]


def test_a_zone_can_be_kept_for_a_domain_from_the_start(api, tenant, factory):
    domain = factory.domain("sales")
    made = api("createZone", name="z1", domainid=domain.id, **site.ZONE)["zone"]
    assert (made["domainid"], made["domainname"]) == (domain.id, "sales")
    assert api("listDedicatedZones")["dedicatedzone"][0]["zoneid"] == made["id"]
    site.zone(api, "z2")
    assert api("listZones", domainid=domain.id) == {"count": 1, "zone": [made]}
    assert [("domainid" in zone) for zone in api("listZones", tenant)["zone"]] == [False, False]
    api("releaseDedicatedZone", zoneid=made["id"])
    assert "domainid" not in api("listZones", id=made["id"])["zone"][0]
    with pytest.raises(Refused, match=r"431 .*Invalid parameter domainid"):
        api("createZone", name="z3", domainid=made["id"], **site.ZONE)
    assert api("listZones", name="z3") == {}
