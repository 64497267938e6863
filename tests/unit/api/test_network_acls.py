"""Network ACL lists and their items through the API, with the in-process cloud."""

from __future__ import annotations

import hashlib

import pytest

from agents.contract import RuleHits
from manager import acl_hits, db
from manager.models import Network, NetworkAclHits, NetworkAclItem, NetworkAclList, NetworkOffering, Vpc, VpcOffering
from manager.models.acl import DEFAULT_ALLOW, DEFAULT_DENY
from network import simulator_switch
from network.errors import InvalidViewError
from network.types import EVERYTHING_LEAVES, PolicyRule, Traffic
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import change, costs, live_cloud, run


@pytest.fixture
def tier(factory, tmp_path):
    """The cloud, its user, a VPC, a list of it, and a network of it with that list and a guest."""
    cloud, user = live_cloud(factory, tmp_path)
    vpc = factory(Vpc, account_id=cloud.account_id, zone_id=cloud.zone_id)
    acl = factory(NetworkAclList, account_id=cloud.account_id, vpc_id=vpc.id, name="web")
    change(factory, Network, cloud.network_id, vpc_id=vpc.id, acl_id=acl.id)
    cloud.deploy()
    cloud.settle()
    return cloud, user, vpc, acl


def held(cloud) -> tuple[PolicyRule, ...]:
    """The rules that all hosts of the tier have, but for the one that lets everything leave while no item says more."""
    views = [view for runner in cloud.runners.values() if runner.host.switch
             for view in runner.host.switch.views.values()]  # fmt: skip
    assert views
    assert len({view.acl for view in views}) == 1
    rules = views[0].acl.rules
    assert (EVERYTHING_LEAVES in rules) == all(
        rule.direction == "ingress" for rule in rules if rule != EVERYTHING_LEAVES
    )
    return tuple(rule for rule in rules if rule != EVERYTHING_LEAVES)


def create(api, cloud, user, acl, **given):
    shown = run(api, cloud, user, "createNetworkACL", aclid=acl.id, **{"protocol": "tcp", **given})["networkacl"]
    return shown["id"]


def numbers(api, user, acl) -> list[tuple[int, str]]:
    return [(item["number"], item["id"]) for item in api("listNetworkACLs", user, aclid=acl.id)["networkacl"]]


def test_every_cloud_has_two_lists_that_nobody_changes(api, tier, admin):
    cloud, user, vpc, _ = tier
    lists = {row["name"]: row for row in api("listNetworkACLLists", user)["networkacllist"]}
    assert lists["default_deny"]["id"] == DEFAULT_DENY
    assert lists["default_allow"] == {
        "id": DEFAULT_ALLOW, "name": "default_allow", "description": "Default Network ACL Allow All"}  # fmt: skip
    items = api("listNetworkACLs", user, aclid=DEFAULT_DENY)["networkacl"]
    assert [(item["number"], item["action"], item["traffictype"], item["protocol"]) for item in items] == [
        (1, "Deny", "Ingress", "all"),
        (2, "Deny", "Egress", "all"),
    ]
    for caller in (user, None):
        with pytest.raises(Refused, match=r"431 The network ACL default_deny is a default one, which cannot be"):
            api("createNetworkACL", caller, aclid=DEFAULT_DENY, protocol="tcp")
    with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
        api("deleteNetworkACL", user, id=items[0]["id"])
    with pytest.raises(Refused, match=r"431 .*is a default one"):
        api("deleteNetworkACL", admin, id=items[0]["id"])
    with pytest.raises(Refused, match=r"431 .*is a default one"):
        api("deleteNetworkACLList", admin, id=DEFAULT_ALLOW)
    assert api("listNetworkACLLists", user, vpcid=vpc.id)["count"] == 3
    assert api("listNetworkACLLists", user, networkid=cloud.network_id)["networkacllist"][0]["name"] == "web"


def test_everything_leaves_until_an_item_says_what_may(api, tier):
    """As in CloudStack, by the words of its router's own configuration."""
    cloud, user, _, acl = tier
    create(api, cloud, user, acl, startport=80, endport=80)
    assert [(rule.direction, rule.allow) for rule in held(cloud)] == [("ingress", True)]
    item = create(api, cloud, user, acl, startport=25, endport=25, traffictype="Egress", action="deny")
    assert [(rule.direction, rule.allow) for rule in held(cloud)] == [("ingress", True), ("egress", False)]
    run(api, cloud, user, "deleteNetworkACL", id=item)
    assert [rule.direction for rule in held(cloud)] == ["ingress"]


def test_a_list_from_its_making_to_its_end(api, tier, admin):
    cloud, user, vpc, _ = tier
    answer = api("createNetworkACLList", user, name=" db ", vpcid=vpc.id, description="for databases")
    assert api.wrapper == "createnetworkacllistresponse"
    (shown,) = api("listNetworkACLLists", user, id=answer["id"])["networkacllist"]
    assert (shown["name"], shown["description"], shown["vpcid"]) == ("db", "for databases", vpc.id)
    assert (shown["vpcname"], "fordisplay" in shown) == (vpc.name, False)
    run(api, cloud, user, "updateNetworkACLList", id=shown["id"], name="data", description="")
    (shown,) = api("listNetworkACLLists", user, id=answer["id"])["networkacllist"]
    assert (shown["name"], shown["description"]) == ("data", "")
    run(api, cloud, admin, "updateNetworkACLList", id=shown["id"], fordisplay=False)
    assert api("listNetworkACLLists", user, id=shown["id"]) == {}
    assert api("listNetworkACLLists", admin, id=shown["id"], fordisplay=False)["count"] == 1
    assert run(api, cloud, user, "deleteNetworkACLList", id=shown["id"]) == {"success": True}
    assert api("listNetworkACLLists", admin, id=shown["id"]) == {}
    with pytest.raises(Refused, match=r"431 .*missing parameter vpcid"):
        api("createNetworkACLList", user, name="x")


def test_a_list_for_all_vpcs_is_an_administrators(api, tier, admin):
    cloud, user, _, _ = tier
    shared = run(api, cloud, admin, "createNetworkACLList", name="shared")["networkacllist"]["id"]
    run(api, cloud, user, "replaceNetworkACLList", aclid=shared, networkid=cloud.network_id)
    with pytest.raises(Refused, match=r"531 The network ACL shared is for all VPCs"):
        api("createNetworkACL", user, aclid=shared, protocol="tcp")
    with pytest.raises(Refused, match=r"531 The network ACL shared is for all VPCs"):
        api("createNetworkACL", user, networkid=cloud.network_id, protocol="tcp")
    with pytest.raises(Refused, match=r"431 .*Invalid parameter id"):
        api("deleteNetworkACLList", user, id=shared)
    with pytest.raises(Refused, match=r"431 The network ACL shared cannot be removed: the tiers net1 have it"):
        api("deleteNetworkACLList", admin, id=shared)
    answer = api("createNetworkACL", admin, aclid=shared, protocol="all", action="deny")
    cloud.settle()
    assert held(cloud) == (PolicyRule(answer["id"], "ingress", Traffic("all"), allow=False),)


def test_an_item_from_add_to_deleting(api, tier):
    cloud, user, _, acl = tier
    answer = api("createNetworkACL", user, aclid=acl.id, protocol="TCP", startport=80, endport=90, number=7,
                 cidrlist="192.0.2.0/24,198.51.100.0/24", reason="the web", traffictype="ingress")  # fmt: skip
    (item,) = api("listNetworkACLs", user, id=answer["id"])["networkacl"]
    assert (item["state"], item["jobid"]) == ("Add", answer["jobid"])
    cloud.settle()
    (item,) = api("listNetworkACLs", user, id=answer["id"])["networkacl"]
    assert item == {
        "id": answer["id"], "aclid": acl.id, "aclname": "web", "number": 7, "action": "Allow", "state": "Active",
        "traffictype": "Ingress", "protocol": "tcp", "startport": "80", "endport": "90", "reason": "the web",
        "cidrlist": "192.0.2.0/24,198.51.100.0/24", "tags": [], "hits": 0,
    }  # fmt: skip
    traffic = Traffic("tcp", 80, 90, sources=("192.0.2.0/24", "198.51.100.0/24"))
    assert held(cloud) == (PolicyRule(item["id"], "ingress", traffic),)
    out = create(api, cloud, user, acl, protocol="icmp", icmptype=8, icmpcode=-1, traffictype="Egress", action="Deny",
                 cidrlist="203.0.113.0/24")  # fmt: skip
    wanted = Traffic("icmp", icmp_type=8, destinations=("203.0.113.0/24",))
    assert held(cloud)[1] == PolicyRule(out, "egress", wanted, allow=False)
    assert numbers(api, user, acl) == [(7, item["id"]), (8, out)]
    for given, count in (({"traffictype": "Egress"}, 1), ({"action": "allow"}, 1), ({"protocol": "TCP"}, 1),
                         ({"networkid": cloud.network_id}, 2), ({"keyword": "the w"}, 1)):  # fmt: skip
        assert api("listNetworkACLs", user, aclid=acl.id, **given)["count"] == count
    answer = api("deleteNetworkACL", user, id=item["id"])
    assert api("listNetworkACLs", user, id=item["id"])["networkacl"][0]["state"] == "Deleting"
    cloud.settle()
    assert [rule.id for rule in held(cloud)] == [out]
    assert numbers(api, user, acl) == [(8, out)]


def test_hosts_tell_what_items_have_decided_and_only_of_tiers_that_they_hold(api, factory, tier):
    cloud, user, vpc, acl = tier
    item = create(api, cloud, user, acl, startport=80)
    other = factory(NetworkAclItem, list_id=factory(NetworkAclList, vpc_id=vpc.id).id)
    (holder,) = [runner for runner in cloud.runners.values() if runner.host.switch and runner.host.hypervisor.domains()]
    holder.host.switch.hits = {item: 5}
    (told,) = holder.host.inventory().rule_hits
    assert told == RuleHits(item, 5)
    for counted, shown in ((told.packets, 5), (12, 12), (12, 12), (3, 15)):  # the last after a restart of the switch
        with db.transaction(factory.engine) as session:
            acl_hits.note(session, holder.agent_id, [RuleHits(item, counted), RuleHits(other.id, 9)])
        assert api("listNetworkACLs", user, id=item)["networkacl"][0]["hits"] == shown
    assert factory.first(NetworkAclHits, item_id=item).packets == 15
    with db.transaction(factory.engine) as session:
        assert acl_hits.hits_of(session, [other.id]) == {}


def test_an_item_for_the_list_of_a_tier(api, factory, tier):
    cloud, user, _, acl = tier
    item = run(api, cloud, user, "createNetworkACL", networkid=cloud.network_id, protocol="tcp")["networkacl"]
    assert item["aclid"] == acl.id
    with pytest.raises(Refused, match=r"431 .*missing parameter aclid"):
        api("createNetworkACL", user, protocol="tcp")
    with pytest.raises(Refused, match=r"431 The parameters aclid and networkid exclude each other"):
        api("createNetworkACL", user, networkid=cloud.network_id, aclid=acl.id, protocol="tcp")


def test_a_tier_without_a_list_gets_one_with_its_first_item(api, factory, tier):
    cloud, user, vpc, _ = tier
    change(factory, Network, cloud.network_id, acl_id=None)
    item, second = (
        run(api, cloud, user, "createNetworkACL", networkid=cloud.network_id, protocol=name)["networkacl"]
        for name in ("tcp", "udp")
    )
    shown = api("listNetworkACLLists", user, id=item["aclid"])["networkacllist"]
    assert [(row["name"], row["vpcid"]) for row in shown] == [("ACL of net1", vpc.id)]
    assert (second["aclid"], second["number"]) == (item["aclid"], 2)
    assert [rule.id for rule in held(cloud)] == [item["id"], second["id"]]
    change(factory, Network, cloud.network_id, acl_id=None, vpc_id=None)
    with pytest.raises(Refused, match=r"431 The network net1 is no tier of a VPC"):
        api("createNetworkACL", user, networkid=cloud.network_id, protocol="tcp")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"protocol": "x"}, "The protocol x is none of tcp, udp, icmp, all, or a number from 0 to 255"),
        ({"icmptype": 8}, "ICMP types and codes are for the protocol icmp, not for tcp"),
        ({"protocol": "all", "startport": 8}, "Ports are for the protocols tcp and udp, not for all"),
        ({"startport": 9, "endport": 8}, "The port range 9-8 begins after its end"),
        ({"startport": 65536}, "65536 is not within 1 and 65535"),
        ({"cidrlist": "10.0.0.1/8"}, "The cidrlist 10.0.0.1/8 is not an IPv4 network"),
        ({"number": 0}, "0 is not within 1 and 1000000000"),
        ({"number": 5}, "The network ACL web has an item with the number 5 already"),
        ({"action": "x"}, "x is none of Allow, Deny"),
        ({"traffictype": "x"}, "x is none of Ingress, Egress"),
    ],
)
def test_items_that_cannot_be(api, tier, given, reason):
    cloud, user, _, acl = tier
    create(api, cloud, user, acl, number=5)
    with pytest.raises(Refused, match=rf"431 .*{reason}"):
        api("createNetworkACL", user, aclid=acl.id, **{"protocol": "tcp", **given})
    other = create(api, cloud, user, acl, number=6)
    with pytest.raises(Refused, match=rf"431 .*{reason}"):
        api("updateNetworkACLItem", user, id=other, **given)
    assert len(held(cloud)) == 2


def test_an_item_changes_in_part_or_whole(api, tier):
    cloud, user, _, acl = tier
    item = create(api, cloud, user, acl, startport=80, endport=90, cidrlist="192.0.2.0/24", reason="r", number=3)
    shown = run(api, cloud, user, "updateNetworkACLItem", id=item, action="Deny", number=9)["networkacl"]
    assert (shown["action"], shown["number"], shown["startport"], shown["endport"]) == ("Deny", 9, "80", "90")
    assert held(cloud)[0].traffic == Traffic("tcp", 80, 90, sources=("192.0.2.0/24",))
    shown = run(api, cloud, user, "updateNetworkACLItem", id=item, startport=443)["networkacl"]
    assert (shown["startport"], shown["endport"], shown["reason"]) == ("443", "443", "r")
    shown = run(api, cloud, user, "updateNetworkACLItem", id=item, protocol="icmp", icmptype=8)["networkacl"]
    assert ("startport" in shown, shown["icmptype"], shown["icmpcode"]) == (False, 8, -1)
    shown = run(api, cloud, user, "updateNetworkACLItem", id=item, partialupgrade=False, protocol="udp")["networkacl"]
    assert (shown["cidrlist"], shown["action"], "reason" in shown, shown["number"]) == ("0.0.0.0/0", "Allow", False, 9)
    assert held(cloud) == (PolicyRule(item, "ingress", Traffic("udp")),)


def test_items_move(api, tier):
    cloud, user, _, acl = tier
    one, two, three = (create(api, cloud, user, acl, startport=port) for port in (1, 2, 3))

    def moved(item, **given):
        run(api, cloud, user, "moveNetworkAclItem", id=item, **given)
        assert [rule.id for rule in held(cloud)] == [found for _, found in numbers(api, user, acl)]
        return numbers(api, user, acl)

    assert moved(three, nextaclruleid=one) == [(1, three), (2, one), (3, two)]
    assert moved(three, previousaclruleid=two) == [(2, one), (3, two), (4, three)]
    assert moved(three, previousaclruleid=one, nextaclruleid=two) == [(2, one), (3, three), (4, two)]
    known = hashlib.md5(f"{one}{three}{two}".encode(), usedforsecurity=False).hexdigest()
    assert moved(two, previousaclruleid=one, aclconsistencyhash=known) == [(2, one), (3, two), (4, three)]
    with pytest.raises(Refused, match=r"431 The network ACL web is not as the caller knows it"):
        api("moveNetworkAclItem", user, id=two, previousaclruleid=three, aclconsistencyhash=known)
    with pytest.raises(Refused, match=r"431 One of the parameters previousaclruleid and nextaclruleid is needed"):
        api("moveNetworkAclItem", user, id=two)
    with pytest.raises(Refused, match=r"431 .* is itself"):
        api("moveNetworkAclItem", user, id=two, previousaclruleid=two)
    with pytest.raises(Refused, match=r"431 The items .* are no neighbours"):
        api("moveNetworkAclItem", user, id=two, previousaclruleid=three, nextaclruleid=one)
    default = api("listNetworkACLs", user, aclid=DEFAULT_DENY)["networkacl"][0]["id"]
    with pytest.raises(Refused, match=r"431 .* is not in the same network ACL"):
        api("moveNetworkAclItem", user, id=two, previousaclruleid=default)


def test_a_tier_is_given_another_list(api, factory, tier):
    cloud, user, _, acl = tier
    run(api, cloud, user, "replaceNetworkACLList", aclid=DEFAULT_ALLOW, networkid=cloud.network_id)
    assert [(rule.direction, rule.allow, rule.traffic) for rule in held(cloud)] == [
        ("ingress", True, Traffic("all")),
        ("egress", True, Traffic("all")),
    ]
    foreign = factory(NetworkAclList, account_id=cloud.account_id, vpc_id=factory(Vpc).id, name="foreign")
    with pytest.raises(Refused, match=r"531 The network ACL foreign is another VPC's"):
        api("replaceNetworkACLList", user, aclid=foreign.id, networkid=cloud.network_id)
    change(factory, Network, cloud.network_id, vpc_id=None)
    with pytest.raises(Refused, match=r"431 The network net1 is no tier of a VPC"):
        api("replaceNetworkACLList", user, aclid=acl.id, networkid=cloud.network_id)
    with pytest.raises(Refused, match=r"431 .*missing parameter networkid"):
        api("replaceNetworkACLList", user, aclid=acl.id)


def test_a_new_tier_denies_all_or_has_the_list_it_is_given(api, factory, tier):
    cloud, user, _, _ = tier
    offering = factory.first(VpcOffering, name="Default VPC offering")
    for_tiers = factory.first(NetworkOffering, name="DefaultIsolatedNetworkOfferingForVpcNetworks").id
    plain = factory.first(NetworkOffering, name="DefaultIsolatedNetworkOfferingWithSourceNatService").id
    vpc = run(api, cloud, user, "createVPC", name="v", displaytext="v", zoneid=cloud.zone_id, cidr="10.2.0.0/16",
              vpcofferingid=offering.id)["vpc"]  # fmt: skip
    mine = run(api, cloud, user, "createNetworkACLList", name="mine", vpcid=vpc["id"])["networkacllist"]["id"]

    def made(number, offering=for_tiers, vpcid=vpc["id"], **given):
        place = {"gateway": f"10.2.{number}.1", "netmask": "255.255.255.0"}
        return api("createNetwork", user, name=f"t{number}", zoneid=cloud.zone_id, networkofferingid=offering,
                   **({"vpcid": vpcid} if vpcid else {}), **place, **given)["network"]  # fmt: skip

    first, second = made(1), made(2, aclid=mine)
    assert (first["aclid"], first["aclname"], second["aclname"]) == (DEFAULT_DENY, "default_deny", "mine")
    foreign = factory(NetworkAclList, account_id=cloud.account_id, vpc_id=factory(Vpc).id, name="foreign")
    with pytest.raises(Refused, match=r"431 The ACL list foreign is not one of VPC v"):
        made(3, aclid=foreign.id)
    with pytest.raises(Refused, match=r"431 An aclid is for tiers of VPCs"):
        made(3, offering=plain, vpcid=None, aclid=mine)
    with pytest.raises(Refused, match=r"431 The network ACL mine cannot be removed: the tiers t2 have it"):
        api("deleteNetworkACLList", user, id=mine)
    for made_one in (first, second):
        run(api, cloud, user, "deleteNetwork", id=made_one["id"])
    run(api, cloud, user, "deleteVPC", id=vpc["id"])
    assert factory.first(NetworkAclList, id=mine).removed is not None


def test_others_see_and_change_nothing_of_it(api, factory, tier):
    cloud, user, vpc, acl = tier
    item = create(api, cloud, user, acl)
    stranger = Caller.of(factory.engine, factory.user("stranger").username)
    assert api("listNetworkACLLists", stranger, listall=True)["count"] == 2
    assert {row["aclid"] for row in api("listNetworkACLs", stranger, listall=True)["networkacl"]} == {
        DEFAULT_ALLOW, DEFAULT_DENY}  # fmt: skip
    for command, given in (("deleteNetworkACL", {"id": item}), ("updateNetworkACLItem", {"id": item}),
                           ("createNetworkACL", {"aclid": acl.id, "protocol": "tcp"}),
                           ("deleteNetworkACLList", {"id": acl.id}), ("listNetworkACLs", {"aclid": acl.id}),
                           ("createNetworkACLList", {"name": "x", "vpcid": vpc.id}),
                           ("replaceNetworkACLList", {"aclid": DEFAULT_ALLOW, "networkid": cloud.network_id}),
                           ("moveNetworkAclItem", {"id": item, "nextaclruleid": item})):  # fmt: skip
        with pytest.raises(Refused, match=r"431 .*Invalid parameter"):
            api(command, stranger, **given)


def test_an_item_that_no_host_takes_is_taken_back(api, tier, monkeypatch):
    cloud, user, _, acl = tier

    def refuse(view):
        if view.acl.rules != (EVERYTHING_LEAVES,):
            raise InvalidViewError("The host does not like it.")

    with monkeypatch.context() as patch:
        patch.setattr(simulator_switch, "check_view", refuse)
        answer = api("createNetworkACL", user, aclid=acl.id, protocol="tcp")
        cloud.settle()
    job = api("queryAsyncJobResult", user, jobid=answer["jobid"])
    assert "The host does not like it" in job["jobresult"]["errortext"]
    assert held(cloud) == ()
    assert api("listNetworkACLs", user, id=answer["id"]) == {}
    create(api, cloud, user, acl)
    assert len(held(cloud)) == 1


def test_lists_cost_the_same_however_many_there_are(api, factory, tier):
    cloud, user, vpc, acl = tier
    made = iter(range(1, 100))
    items = costs(factory.engine,
                  lambda: factory(NetworkAclItem, list_id=acl.id, account_id=cloud.account_id, number=next(made)),
                  lambda: api("listNetworkACLs", user, aclid=acl.id))  # fmt: skip
    assert items[1] == items[50]
    lists = costs(factory.engine, lambda: factory(NetworkAclList, account_id=cloud.account_id, vpc_id=vpc.id),
                  lambda: api("listNetworkACLLists", user))  # fmt: skip
    assert len(set(lists.values())) == 1
