"""Offerings that are for some domains or zones only."""

import pytest

from manager.models import DiskOffering, NetworkOffering, ServiceOffering, Template, Zone
from tests.client import Caller, Refused
from tests.unit.api.site import counted

SERVICES = {"serviceproviderlist[0].service": "Dhcp", "serviceproviderlist[0].provider": "VirtualRouter"}
KINDS = {
    "ServiceOffering": ("serviceoffering", {"cpunumber": 1, "cpuspeed": 500, "memory": 64}, ServiceOffering),
    "DiskOffering": ("diskoffering", {"disksize": 1}, DiskOffering),
    "NetworkOffering": (
        "networkoffering",
        {"guestiptype": "Isolated", "traffictype": "Guest", "enable": True, "supportedservices": "Dhcp",
         "params": SERVICES},
        NetworkOffering,
    ),
}  # fmt: skip


class Tree:
    """ROOT (rita), ROOT/west (its administrator wanda, will), ROOT/west/deep (dora), ROOT/east (ed)."""

    def __init__(self, api, engine, factory):
        self.api = api
        self.west = factory.domain("west")
        self.deep = factory.domain("deep", self.west)
        self.east = factory.domain("east")
        self.callers = {"admin": api.admin}
        places = {"rita": None, "wanda": self.west, "will": self.west, "dora": self.deep, "ed": self.east}
        for name, domain in places.items():
            factory.user(name, factory.account(name, domain, type=2 if name == "wanda" else 0))
            self.callers[name] = Caller.of(engine, name)

    def seen(self, kind, name, **given):
        """Who sees the offering of that name in the list of all."""
        key = KINDS[kind][0]
        found = set()
        for who, caller in self.callers.items():
            shown = self.api(f"list{kind}s", caller, **given).get(key, [])
            if name in {one["name"] for one in shown}:
                found.add(who)
        return found

    def make(self, kind, name="x", **given):
        key, values, _ = KINDS[kind]
        return self.api(f"create{kind}", name=name, displaytext=name, **{**values, **given})[key]


@pytest.fixture
def tree(api, engine, factory):
    return Tree(api, engine, factory)


EVERYONE = {"admin", "rita", "wanda", "will", "dora", "ed"}


@pytest.mark.parametrize("kind", KINDS)
def test_offerings_are_seen_in_their_domains_and_below(tree, api, kind):
    made = tree.make(kind, domainid=f"{tree.west.id},{tree.deep.id}")
    assert (made["domainid"], made["domain"]) == (tree.west.id, "ROOT/west")
    assert "zoneid" not in made
    assert tree.seen(kind, "x") == {"admin", "wanda", "will", "dora"}
    key = KINDS[kind][0]
    for who in ("ed", "rita"):
        with pytest.raises(Refused, match=r"431 .*entity does not exist"):
            api(f"list{kind}s", tree.callers[who], id=made["id"])
    changed = api(f"update{kind}", id=made["id"], domainid=tree.deep.id)[key]
    assert changed["domain"] == "ROOT/west/deep"
    assert tree.seen(kind, "x") == {"admin", "dora"}
    assert api(f"list{kind}s", tree.callers["wanda"], id=made["id"])["count"] == 1
    changed = api(f"update{kind}", id=made["id"], domainid="public")[key]
    assert "domainid" not in changed
    assert tree.seen(kind, "x") == EVERYONE


@pytest.mark.parametrize("kind", ["ServiceOffering", "DiskOffering"])
def test_administrators_list_what_is_for_the_domains_below(tree, api, kind):
    tree.make(kind, domainid=tree.deep.id)
    key = KINDS[kind][0]
    listing = lambda who, **given: [o["name"] for o in api(f"list{kind}s", tree.callers[who], **given).get(key, [])]  # noqa: E731
    assert listing("wanda") == []
    assert listing("wanda", isrecursive=True) == ["x"]
    assert listing("admin", domainid=tree.west.id) == []
    assert listing("admin", domainid=tree.west.id, isrecursive=True) == listing("admin", domainid=tree.deep.id) == ["x"]
    with pytest.raises(Refused, match="531 The parameter isrecursive is for administrators"):
        listing("will", isrecursive=True)


@pytest.mark.parametrize("kind", KINDS)
def test_offerings_are_seen_in_their_zones(tree, api, factory, kind):
    here, there = factory(Zone, name="here"), factory(Zone, name="there")
    made = tree.make(kind, zoneid=f"{here.id},{here.id}")
    assert (made["zoneid"], made["zone"]) == (here.id, "here")
    assert tree.seen(kind, "x") == tree.seen(kind, "x", zoneid=here.id) == EVERYONE
    assert tree.seen(kind, "x", zoneid=there.id) == set()
    changed = api(f"update{kind}", id=made["id"], zoneid="all")[KINDS[kind][0]]
    assert "zoneid" not in changed
    assert tree.seen(kind, "x", zoneid=there.id) == EVERYONE
    with pytest.raises(Refused, match=r"431 .*entity does not exist"):
        api(f"update{kind}", id=made["id"], zoneid="nowhere")


@pytest.mark.parametrize("kind", KINDS)
def test_lists_take_the_same_statements_for_any_number_of_offerings(tree, api, engine, factory, kind):
    zone = factory(Zone)

    def statements():
        with counted(engine) as seen:
            api(f"list{kind}s", tree.callers["will"])
        return len(seen)

    tree.make(kind, name="a", domainid=tree.west.id, zoneid=zone.id)
    api(f"list{kind}s", tree.callers["will"])
    few = statements()
    for number in range(5):
        tree.make(kind, name=f"b{number}", domainid=f"{tree.west.id},{tree.east.id}", zoneid=zone.id)
    assert statements() == few


def test_an_offering_is_refused_where_it_is_not_for_the_owner_or_the_zone(tree, api, factory):
    zone, elsewhere = factory(Zone), factory(Zone)
    network = tree.make("NetworkOffering", domainid=tree.west.id)["id"]
    give = {"name": "n", "zoneid": zone.id, "networkofferingid": network}
    with pytest.raises(Refused, match=r"431 .*entity does not exist"):
        api("createNetwork", tree.callers["ed"], **give)
    with pytest.raises(Refused, match="531 The offering x is not for the domain ROOT/east of ed"):
        api("createNetwork", account="ed", domainid=tree.east.id, **give)
    api("updateNetworkOffering", id=network, zoneid=elsewhere.id)
    with pytest.raises(Refused, match="431 The offering x is not for the zone"):
        api("createNetwork", tree.callers["will"], **give)
    deep = tree.make("ServiceOffering", domainid=tree.deep.id)["id"]
    template = factory(Template, is_public=True, state="Ready").id
    deploy = {"zoneid": zone.id, "templateid": template, "serviceofferingid": deep}
    with pytest.raises(Refused, match="531 The offering x is not for the domain ROOT/west of wanda"):
        api("deployVirtualMachine", tree.callers["wanda"], **deploy)
    with pytest.raises(Refused, match=r"431 .*serviceofferingid"):
        api("deployVirtualMachine", tree.callers["will"], **deploy)
