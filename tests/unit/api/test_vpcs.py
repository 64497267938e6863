"""VPCs and their tiers through the API, with the workflows of the in-process cloud."""

from __future__ import annotations

import pytest

from manager.models import (
    Account,
    Host,
    Network,
    NetworkAclList,
    NetworkOffering,
    PublicAddress,
    ResourceUse,
    Router,
    Vpc,
    VpcOffering,
)
from network.types import Forwarding, Opening, StaticNat, Traffic
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import costs, live_cloud, run

TIER_OFFERING = "DefaultIsolatedNetworkOfferingForVpcNetworks"
MASK = "255.255.255.0"


@pytest.fixture
def site(factory, tmp_path):
    """A cloud, and a user of its tenant."""
    return live_cloud(factory, tmp_path)


def done(api, cloud, answer, caller=None):
    """The result of a job that the cloud carries to its end."""
    cloud.settle()
    job = api("queryAsyncJobResult", caller, jobid=answer["jobid"])
    assert job["jobstatus"] == 1, job
    return job["jobresult"]


def refused(api, cloud, answer, caller=None) -> str:
    cloud.settle()
    job = api("queryAsyncJobResult", caller, jobid=answer["jobid"])
    assert job["jobstatus"] == 2, job
    return job["jobresult"]["errortext"]


def new_vpc(api, factory, cloud, user, name="shop", **given) -> dict:
    offering = factory.first(VpcOffering, name="Default VPC offering")
    wanted = {"zoneid": cloud.zone_id, "vpcofferingid": offering.id, "cidr": "10.0.0.0/16", **given}
    return done(api, cloud, api("createVPC", user, name=name, **wanted), user)["vpc"]


def new_tier(api, factory, cloud, user, vpc, number=1, **given) -> dict:
    offering = factory.first(NetworkOffering, name=TIER_OFFERING)
    wanted = {"gateway": f"10.0.{number}.1", "netmask": MASK, "zoneid": cloud.zone_id, "vpcid": vpc["id"],
              "networkofferingid": offering.id, "name": f"tier{number}", **given}  # fmt: skip
    return api("createNetwork", user, **wanted)["network"]


def specs_of(cloud):
    """The wanted states of all routers that hosts run."""
    return [spec for runner in cloud.runners.values() if runner.host.routers
            for spec in runner.host.routers.specs.values()]  # fmt: skip


def router_of(cloud):
    (spec,) = specs_of(cloud)
    return spec


def test_a_new_vpc_has_a_router_with_a_public_address_and_no_leg(api, factory, site):
    cloud, user = site
    vpc = new_vpc(api, factory, cloud, user, networkdomain="shop.example")
    assert (vpc["state"], vpc["cidr"], vpc["networkdomain"]) == ("Enabled", "10.0.0.0/16", "shop.example")
    assert (vpc["vpcofferingname"], vpc["network"], vpc["redundantvpcrouter"]) == ("Default VPC offering", [], False)
    assert {one["name"] for one in vpc["service"]} >= {"Dhcp", "Dns", "SourceNat", "StaticNat", "NetworkACL"}
    spec = router_of(cloud)
    assert (spec.vpc_id, spec.inside, spec.legs) == (vpc["id"], "10.0.0.0/16", ())
    (address,) = api("listPublicIpAddresses", user, vpcid=vpc["id"])["publicipaddress"]
    assert (address["issourcenat"], address["vpcname"], address["ipaddress"]) == (True, "shop", spec.public.address)
    (router,) = api("listRouters", vpcid=vpc["id"], listall=True)["router"]
    assert (router["vpcname"], router["state"], router["publicip"]) == ("shop", "Running", address["ipaddress"])
    assert api("listVPCs", user)["vpc"] == [vpc]
    assert api("listVPCs", user, supportedservices="Dhcp,NetworkACL", cidr="10.0.0.0/16", keyword="ho")["count"] == 1
    assert api("listVPCs", user, supportedservices="Firewall") == api("listVPCs", user, restartrequired=True) == {}
    account = factory.first(Account, id=cloud.account_id)
    api("updateResourceCount", account=account.name, domainid=account.domain_id)
    use = factory.first(ResourceUse, account_id=cloud.account_id)
    assert (use.vpcs, use.public_addresses) == (1, 1)
    api(
        "createTags", user, resourcetype="vpc", resourceids=vpc["id"], params={"tags[0].key": "k", "tags[0].value": "v"}
    )
    assert api("listVPCs", user, params={"tags[0].key": "k", "tags[0].value": "v"})["count"] == 1
    assert api("listVPCs", user, params={"tags[0].key": "k", "tags[0].value": "w"}) == {}


def test_a_vpc_may_wait_for_its_router_until_a_guest_starts(api, factory, site):
    cloud, user = site
    vpc = new_vpc(api, factory, cloud, user, start=False)
    assert specs_of(cloud) == []
    tier = new_tier(api, factory, cloud, user, vpc)
    cloud.deploy("web", tier["id"])
    cloud.settle()
    assert [leg.cidr for leg in router_of(cloud).legs] == ["10.0.1.0/24"]


def test_tiers_are_legs_of_one_router_with_their_guests(api, factory, site):
    cloud, user = site
    vpc = new_vpc(api, factory, cloud, user)
    tiers = [new_tier(api, factory, cloud, user, vpc, number) for number in (1, 2, 3)]
    assert tiers[0]["vpcid"] == vpc["id"]
    assert (tiers[0]["vpcname"], tiers[0]["networkdomain"]) == ("shop", vpc["networkdomain"])
    for tier in tiers:
        cloud.deploy(f"vm-{tier['name']}", tier["id"])
    cloud.settle()
    spec = router_of(cloud)
    assert sorted(leg.cidr for leg in spec.legs) == ["10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24"]
    assert [len(leg.leases) for leg in spec.legs] == [1, 1, 1]
    assert not any(leg.closed for leg in spec.legs)
    views = [view for runner in cloud.runners.values() if runner.host.routers for view in runner.host.views()]
    assert all(view.acl is not None and not any(rule.allow for rule in view.acl.rules) for view in views)
    assert tiers[0]["aclname"] == "default_deny"
    assert {leg.nic.host_id for leg in spec.legs} == {factory.first(Router, vpc_id=vpc["id"]).host_id}
    shown = api("listVPCs", user, id=vpc["id"])["vpc"][0]
    assert [one["state"] for one in shown["network"]] == ["Implemented"] * 3
    assert api("listNetworks", user, vpcid=vpc["id"])["count"] == 3
    assert api("listNetworks", user, forvpc=False)["count"] == 1
    (router,) = api("listRouters", forvpc=True, listall=True)["router"]
    assert api("listRouters", networkid=tier["id"], listall=True)["router"] == [router]
    assert len(router["nic"]) == 4
    assert cloud.leftovers()["drift"] == []


def test_a_tier_goes_without_the_others_and_the_vpc_when_none_is_left(api, factory, site):
    cloud, user = site
    vpc = new_vpc(api, factory, cloud, user)
    first, second = (new_tier(api, factory, cloud, user, vpc, number) for number in (1, 2))
    vms = [cloud.deploy(name, tier["id"]) for name, tier in (("a", first), ("b", second))]
    cloud.settle()
    with pytest.raises(Refused, match="431 The VPC shop still has 2 tiers"):
        api("deleteVPC", user, id=vpc["id"])
    with pytest.raises(Refused, match="431 The network tier1 still has 1 NICs"):
        api("deleteNetwork", user, id=first["id"])
    cloud.destroy(vms[0])
    cloud.settle()
    done(api, cloud, api("deleteNetwork", user, id=first["id"]), user)
    assert [leg.cidr for leg in router_of(cloud).legs] == ["10.0.2.0/24"]
    assert new_tier(api, factory, cloud, user, vpc, 1)["cidr"] == "10.0.1.0/24"
    cloud.destroy(vms[1])
    cloud.settle()
    for tier in api("listNetworks", user, vpcid=vpc["id"])["network"]:
        done(api, cloud, api("deleteNetwork", user, id=tier["id"]), user)
    done(api, cloud, api("deleteVPC", user, id=vpc["id"]), user)
    assert specs_of(cloud) == []
    assert api("listVPCs", user) == {}
    use = factory.first(ResourceUse, account_id=cloud.account_id)
    assert (use.vpcs, use.networks, use.public_addresses) == (0, 1, 0)
    assert cloud.leftovers()["ports"] == cloud.leftovers()["routers"] == []


def test_an_acl_list_holds_the_guests_of_a_tier_from_its_start(api, factory, site):
    cloud, user = site
    vpc = new_vpc(api, factory, cloud, user)
    acl = api("listNetworkACLLists", user, name="default_allow")["networkacllist"][0]["id"]
    tier = new_tier(api, factory, cloud, user, vpc, aclid=acl)
    assert (tier["aclid"], tier["aclname"]) == (acl, "default_allow")
    cloud.deploy("web", tier["id"])
    cloud.settle()
    views = [view for runner in cloud.runners.values() if runner.host.routers for view in runner.host.views()]
    assert all(all(rule.allow for rule in view.acl.rules) for view in views)


def test_several_vpcs_may_have_the_same_addresses(api, factory, site):
    cloud, user = site
    for name in ("one", "two"):
        vpc = new_vpc(api, factory, cloud, user, name)
        cloud.deploy(name, new_tier(api, factory, cloud, user, vpc)["id"])
    cloud.settle()
    first, second = specs_of(cloud)
    assert first.legs[0].cidr == second.legs[0].cidr == "10.0.1.0/24"
    assert first.public.address != second.public.address


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"gateway": "10.1.1.1"}, "431 The range 10.1.1.0/24 is not a part of 10.0.0.0/16, the range of VPC shop"),
        ({"gateway": "10.0.1.129", "netmask": "255.255.255.128"}, "overlaps 10.0.1.0/24, which the tier tier1 of VPC"),
        ({"gateway": "10.0.9.1", "netmask": "255.255.255.252"}, "431 The range 10.0.9.0/30 is too small for a tier"),
        ({"gateway": None}, "431 A tier needs a gateway and a netmask"),
        ({"networkdomain": "own.example"}, "431 A tier has no networkdomain of its own"),
        ({"dns1": "192.0.2.9"}, "431 A tier has no dns1 of its own"),
        ({"aclid": "other"}, "431 The ACL list other is not one of VPC shop"),
        ({"vpcid": None}, "is for networks of VPCs; createNetwork needs a vpcid"),
        ({"networkofferingid": "isolated"}, "is for networks not of VPCs; choose one with forvpc"),
    ],
)
def test_bad_tiers_are_refused_and_leave_nothing(api, factory, site, given, reason):
    cloud, user = site
    vpc = new_vpc(api, factory, cloud, user)
    new_tier(api, factory, cloud, user, vpc)
    if given.get("networkofferingid"):
        given = {"networkofferingid": factory.first(NetworkOffering, availability="Required").id}
    if given.get("aclid"):
        owner = factory.first(Account, id=cloud.account_id).id
        other = factory(NetworkAclList, name="other", account_id=owner, vpc_id=factory(Vpc, account_id=owner).id)
        given = {"aclid": other.id}
    with pytest.raises(Refused, match=reason):
        new_tier(api, factory, cloud, user, vpc, **{"number": 7, **given})
    assert api("listNetworks", user, vpcid=vpc["id"])["count"] == 1


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"cidr": "10.0.0.1/16"}, "431 The cidr 10.0.0.1/16 is not an IPv4 network"),
        ({"cidr": "8.0.0.0/16"}, "431 The range 8.0.0.0/16 is not a private one"),
        ({"cidr": "10.0.0.0/30"}, "431 The range 10.0.0.0/30 has the prefix /30"),
        ({"dns2": "192.0.2.9"}, "431 A VPC with a dns2 needs a dns1"),
        ({"publicmtu": 100}, "431 The publicmtu 100 does not lie within"),
        ({"sourcenatipaddress": "198.51.100.99"}, "431 The public address 198.51.100.99 is not free"),
    ],
)
def test_bad_vpcs_are_refused_and_leave_nothing(api, factory, site, given, reason):
    cloud, user = site
    offering = factory.first(VpcOffering, name="Default VPC offering")
    wanted = {"zoneid": cloud.zone_id, "vpcofferingid": offering.id, "cidr": "10.0.0.0/16", **given}
    with pytest.raises(Refused, match=reason):
        api("createVPC", Caller.of(factory.engine, "admin") if "publicmtu" in given else user, name="x", **wanted)
    assert api("listVPCs", listall=True) == {}
    assert factory.first(ResourceUse, account_id=cloud.account_id).vpcs == 0


def test_an_address_of_the_vpc_leads_into_the_tier_of_its_rules(api, factory, site):
    cloud, user = site
    vpc = new_vpc(api, factory, cloud, user)
    first, second = (new_tier(api, factory, cloud, user, vpc, number) for number in (1, 2))
    web, app = cloud.deploy("web", first["id"]), cloud.deploy("app", second["id"])
    cloud.settle()
    address = done(api, cloud, api("associateIpAddress", user, vpcid=vpc["id"]), user)["ipaddress"]
    assert (address["vpcid"], address["issourcenat"], address["state"]) == (vpc["id"], False, "Allocated")
    assert "associatednetworkid" not in address
    port = {"ipaddressid": address["id"], "protocol": "tcp", "publicport": 80, "privateport": 8080}
    with pytest.raises(Refused, match=r"431 The public address .* belongs to a VPC; give networkid"):
        api("createPortForwardingRule", user, virtualmachineid=web, **port)
    with pytest.raises(Refused, match="431 The network net1 is not a tier of the VPC"):
        api("createPortForwardingRule", user, virtualmachineid=web, networkid=cloud.network_id, **port)
    answer = api("createPortForwardingRule", user, virtualmachineid=web, networkid=first["id"], **port)
    rule = done(api, cloud, answer, user)["portforwardingrule"]
    guest = rule["vmguestip"]
    spec = router_of(cloud)
    assert spec.addresses == (address["ipaddress"],)
    assert spec.forwardings == (Forwarding(address["ipaddress"], "tcp", 80, 80, guest, 8080),)
    assert spec.openings == (Opening(address["ipaddress"], Traffic("tcp", 80, 80)),)
    with pytest.raises(Refused, match=r"431 The public address .* has rules that lead to the tier tier1"):
        api("createPortForwardingRule", user, virtualmachineid=app, networkid=second["id"], **{**port, "publicport": 9})
    done(api, cloud, api("deletePortForwardingRule", user, id=rule["id"]), user)
    assert api("enableStaticNat", user, ipaddressid=address["id"], virtualmachineid=app, networkid=second["id"])
    cloud.settle()
    shown = api("listPublicIpAddresses", user, id=address["id"])["publicipaddress"][0]
    assert (shown["associatednetworkname"], shown["isstaticnat"]) == ("tier2", True)
    assert router_of(cloud).static_nats == (StaticNat(address["ipaddress"], shown["vmipaddress"]),)
    done(api, cloud, api("disassociateIpAddress", user, id=address["id"]), user)
    assert router_of(cloud).static_nats == router_of(cloud).addresses == ()
    assert factory.first(ResourceUse, account_id=cloud.account_id).public_addresses == 1


def test_the_source_nat_of_a_vpc_stays_with_it_and_has_no_rules(api, factory, site):
    cloud, user = site
    vpc = new_vpc(api, factory, cloud, user)
    tier = new_tier(api, factory, cloud, user, vpc)
    vm = cloud.deploy("web", tier["id"])
    (address,) = api("listPublicIpAddresses", user, vpcid=vpc["id"])["publicipaddress"]
    with pytest.raises(Refused, match=r"431 .* is the source NAT of its VPC; it goes with the VPC"):
        api("disassociateIpAddress", user, id=address["id"])
    with pytest.raises(Refused, match=r"431 .* is the source NAT of its VPC; rules need another one"):
        api("enableStaticNat", user, ipaddressid=address["id"], virtualmachineid=vm, networkid=tier["id"])
    more = done(api, cloud, api("associateIpAddress", user, networkid=tier["id"]), user)["ipaddress"]
    assert more["vpcid"] == vpc["id"]
    done(api, cloud, api("disassociateIpAddress", user, id=more["id"]), user)
    assert factory.first(PublicAddress, id=more["id"]).account_id is None


def test_restart_makes_the_router_anew_with_the_same_addresses(api, factory, site):
    cloud, user = site
    vpc = new_vpc(api, factory, cloud, user)
    for number in (1, 2):
        cloud.deploy(f"vm{number}", new_tier(api, factory, cloud, user, vpc, number)["id"])
    cloud.settle()
    before = router_of(cloud)
    for cleanup in (True, False):
        done(api, cloud, api("restartVPC", user, id=vpc["id"], cleanup=cleanup), user)
        after = router_of(cloud)
        assert after.generation > before.generation
        assert [leg.nic.address for leg in after.legs] == [leg.nic.address for leg in before.legs]
        assert after.public.address == before.public.address
        assert cloud.leftovers()["drift"] == []
    router = api("listRouters", vpcid=vpc["id"], listall=True)["router"][0]
    done(api, cloud, api("rebootRouter", id=router["id"]))
    with pytest.raises(Refused, match=r"431 The router .* is that of VPC shop"):
        api("destroyRouter", id=router["id"])
    tier = api("listNetworks", user, vpcid=vpc["id"])["network"][0]
    done(api, cloud, api("restartNetwork", user, id=tier["id"]), user)
    with pytest.raises(Refused, match=r"431 The network .* is a tier; restartVPC with cleanup"):
        api("restartNetwork", user, id=tier["id"], cleanup=True)


def test_its_router_is_stopped_and_started(api, factory, site):
    cloud, user = site
    vpc = new_vpc(api, factory, cloud, user)
    tier = new_tier(api, factory, cloud, user, vpc)["id"]
    cloud.deploy("vm1", tier)
    cloud.settle()
    before = router_of(cloud)
    stopped = run(api, cloud, None, "stopRouter", id=before.id)["router"]
    assert (stopped["state"], stopped.get("hostid")) == ("Stopped", None)
    with pytest.raises(Refused, match=r"is Stopped; to stop it must be Running"):
        api("stopRouter", id=before.id)
    assert cloud.leftovers()["drift"] == []
    assert cloud.leftovers()["routers"] == []
    started = run(api, cloud, None, "startRouter", id=before.id)["router"]
    assert (started["state"], started["id"]) == ("Running", before.id)
    after = router_of(cloud)
    assert ([leg.nic.address for leg in after.legs], after.public.address) == (
        [leg.nic.address for leg in before.legs], before.public.address
    )  # fmt: skip
    assert cloud.leftovers()["drift"] == []


def test_a_vpc_and_its_router_may_be_told_another_mtu(api, factory, site):
    cloud, user = site
    vpc = new_vpc(api, factory, cloud, user)
    shown = done(api, cloud, api("updateVPC", user, id=vpc["id"], name="new", displaytext="a shop"), user)["vpc"]
    assert (shown["name"], shown["displaytext"]) == ("new", "a shop")
    shown = done(api, cloud, api("updateVPC", id=vpc["id"], publicmtu=1400, fordisplay=False))["vpc"]
    assert shown["publicmtu"] == router_of(cloud).public.mtu == 1400
    assert api("listVPCs", user) == {}
    assert api("listVPCs", listall=True, fordisplay=False)["count"] == 1


def test_a_vpc_belongs_to_its_account(api, factory, site):
    cloud, user = site
    vpc = new_vpc(api, factory, cloud, user)
    stranger = Caller.of(factory.engine, factory.user("stranger").username)
    assert api("listVPCs", stranger, listall=True) == {}
    for command in ("deleteVPC", "restartVPC", "updateVPC"):
        with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
            api(command, stranger, id=vpc["id"])
    with pytest.raises(Refused, match=r"431 .*Invalid parameter vpcid"):
        new_tier(api, factory, cloud, stranger, vpc)
    made = new_tier(api, factory, cloud, Caller.of(factory.engine, "admin"), vpc)
    assert made["account"] == factory.first(Account, id=cloud.account_id).name


def test_a_vpc_that_finds_no_place_leaves_nothing(api, factory, site):
    cloud, user = site
    for host in cloud.hosts:
        factory.change(factory.first(Host, id=host), resource_state="Disabled")
    offering = factory.first(VpcOffering, name="Default VPC offering")
    answer = api("createVPC", user, name="x", zoneid=cloud.zone_id, vpcofferingid=offering.id, cidr="10.0.0.0/16")
    assert "so the router has no place" in refused(api, cloud, answer, user)
    assert api("listVPCs", user) == {}
    use = factory.first(ResourceUse, account_id=cloud.account_id)
    assert (use.vpcs, use.public_addresses) == (0, 0)


def test_lists_of_vpcs_cost_the_same_for_one_and_for_many(api, factory, site):
    cloud, _ = site
    account = factory.first(Account, id=cloud.account_id)
    zone = cloud.zone_id

    def make():
        vpc = factory(Vpc, account_id=account.id, zone_id=zone)
        factory(Network, account_id=account.id, zone_id=zone, vpc_id=vpc.id)

    found = costs(factory.engine, make, lambda: api("listVPCs", listall=True))
    assert len(set(found.values())) == 1
