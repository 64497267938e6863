"""Limits of accounts, domains and projects, as they are set, shown, held and counted anew."""

import pytest

from manager import db
from manager.models import Account, DomainUse, Network, ResourceUse, Template, Vm, Volume
from manager.models.resources import BY_KEY, BY_NAME, RESOURCES
from manager.placement import limits
from manager.placement.limits import LimitReached
from manager.recount import drift
from tests.client import Caller, Refused

GIB, MIB = 2**30, 2**20


class Tree:
    """ROOT/top/low with the users ann (low) and tom (top), and their administrator boss (top)."""

    def __init__(self, api, engine, factory):
        self.api, self.engine, self.factory = api, engine, factory
        self.top = factory.domain("top")
        self.low = factory.domain("low", self.top)
        self.callers = {}
        for name, domain, kind in (("ann", self.low, 0), ("tom", self.top, 0), ("boss", self.top, 2)):
            factory.user(name, factory.account(name, domain, type=kind))
            self.callers[name] = Caller.of(engine, name)

    def __call__(self, command, who=None, **given):
        return self.api(command, self.callers[who] if who else None, **given)

    def limit(self, name, maximum, who=None, **given):
        return self("updateResourceLimit", who, resourcetype=BY_NAME[name].number, max=maximum, **given)[
            "resourcelimit"
        ]

    def shown(self, who=None, **given):
        return {
            row["resourcetypename"]: row["max"] for row in self("listResourceLimits", who, **given)["resourcelimit"]
        }

    def claim(self, who, **wanted):
        with db.transaction(self.engine) as session:
            limits.claim(session, session.get_one(Account, self.callers[who].account.id), **wanted)

    def release(self, who, **held):
        with db.transaction(self.engine) as session:
            limits.release(session, self.callers[who].account.id, **held)

    def use(self, holder):
        model, key = (ResourceUse, "account_id") if isinstance(holder, Account) else (DomainUse, "domain_id")
        return self.factory.first(model, **{key: holder.id})


@pytest.fixture
def tree(api, engine, factory):
    return Tree(api, engine, factory)


def test_defaults_of_every_type_are_cloudstacks(tree):
    of_account = tree.shown("ann")
    assert list(of_account) == [resource.name for resource in RESOURCES]
    assert (of_account["user_vm"], of_account["cpu"], of_account["memory"], of_account["project"]) == (
        20,
        40,
        40960,
        10,
    )
    of_domain = tree.shown(domainid=tree.low.id)
    assert (of_domain["user_vm"], of_domain["primary_storage"], of_domain["project"]) == (40, 400, 50)
    assert set(tree.shown().values()) == {-1} == set(tree.shown(domainid=tree.factory.root.id).values())
    tree("updateConfiguration", name="max.account.user.vms", value=7)
    assert tree.shown("ann", resourcetype=0) == {"user_vm": 7} == tree.shown("ann", resourcetypename="user_vm")
    with pytest.raises(Refused, match=r"431 There is no resource type pony; the types are user_vm,"):
        tree.shown(resourcetypename="pony")


def test_a_domain_has_the_limit_of_the_nearest_above_it_with_one(tree):
    tree.limit("volume", 90, domainid=tree.top.id)
    assert tree.shown(domainid=tree.low.id)["volume"] == 90
    with pytest.raises(Refused, match=r"431 The domain ROOT/top above it may hold 90 volumes"):
        tree.limit("volume", 91, domainid=tree.low.id)
    shown = tree.limit("volume", 5, domainid=tree.low.id)
    assert (shown["max"], shown["domainpath"], shown["resourcetype"]) == (5, "ROOT/top/low", "2")
    assert tree.shown(domainid=tree.low.id)["volume"] == 5
    assert tree.shown(domainid=tree.top.id)["volume"] == 90


def test_whose_limits_an_administrator_sets(tree):
    ann = {"account": "ann", "domainid": tree.low.id}
    assert tree.limit("user_vm", 3, "boss", **ann)["account"] == "ann"
    assert tree.shown("ann")["user_vm"] == 3 == tree.shown("boss", **ann)["user_vm"]
    tree.limit("user_vm", 4, "boss", domainid=tree.low.id)
    for given in ({"domainid": tree.top.id}, {"account": "boss", "domainid": tree.top.id}):
        with pytest.raises(Refused, match=r"[45]31"):
            tree.limit("user_vm", 9, "boss", **given)
    with pytest.raises(Refused, match=r"432"):
        tree.limit("user_vm", 9, "ann", **ann)
    with pytest.raises(Refused, match=r"531|431"):
        tree.shown("tom", **ann)
    for given, reason in (
        ({}, "whom it binds"),
        ({"domainid": tree.factory.root.id}, "ROOT has no limits"),
        ({"account": "admin", "domainid": tree.factory.root.id}, "root administrator's"),
    ):
        with pytest.raises(Refused, match=f"431 .*{reason}"):
            tree.limit("user_vm", 9, **given)
    with pytest.raises(Refused, match=r"431 .*-2 is not within -1"):
        tree.limit("user_vm", -2, **ann)


def test_a_claim_counts_in_the_account_and_in_all_domains_above_it(tree):
    tree.claim("ann", vms=2, memory=3 * MIB)
    tree.claim("tom", vms=1, memory=MIB)
    ann = tree.callers["ann"].account
    assert [(tree.use(holder).vms, tree.use(holder).memory // MIB) for holder in (ann, tree.low, tree.top)] == [
        (2, 3), (2, 3), (3, 4),
    ]  # fmt: skip
    tree.release("ann", vms=2, memory=3 * MIB)
    assert [tree.use(holder).vms for holder in (ann, tree.low, tree.top)] == [0, 0, 1]
    shown = {row["name"]: row for row in tree("listDomains", listall=True)["domain"]}
    assert (shown["top"]["vmtotal"], shown["top"]["vmlimit"], shown["top"]["vmavailable"]) == (1, "40", "39")
    assert (shown["ROOT"]["vmtotal"], shown["ROOT"]["vmlimit"]) == (1, "Unlimited")


@pytest.mark.parametrize(
    ("holder", "sentence"),
    [
        ("ann", "Account ann may hold 1 virtual machines; it holds 0, asked for 2 more."),
        ("low", "Domain ROOT/top/low may hold 1 virtual machines; it holds 0, asked for 2 more."),
        ("top", "Domain ROOT/top may hold 1 virtual machines; it holds 0, asked for 2 more."),
    ],
)
def test_a_refused_claim_names_what_binds_and_counts_nothing(tree, holder, sentence):
    given = {"account": "ann", "domainid": tree.low.id} if holder == "ann" else {"domainid": getattr(tree, holder).id}
    if holder == "ann":
        tree.limit("user_vm", 1, **given)
    else:
        tree.limit("user_vm", 1, **given)
        if holder == "top":
            tree.limit("user_vm", -1, domainid=tree.low.id)
    with db.transaction(tree.engine) as session:  # commits, as a caller that goes on after the refusal
        with pytest.raises(LimitReached) as refused:
            limits.claim(session, session.get_one(Account, tree.callers["ann"].account.id), vms=2, cpus=1)
        assert str(refused.value) == sentence
    for place in (tree.callers["ann"].account, tree.low, tree.top):
        assert (tree.use(place).vms, tree.use(place).cpus) == (0, 0)


def test_units_are_told_in_refusals_and_shown_in_lists(tree):
    tree.limit("memory", 64, account="ann", domainid=tree.low.id)
    with pytest.raises(LimitReached, match=r"Account ann may hold 64 MiB of memory; it holds 0, asked for 65 more"):
        tree.claim("ann", memory=65 * MIB)
    tree.claim("ann", memory=64 * MIB, primary_storage=3 * GIB // 2, secondary_storage=GIB // 2)
    (shown,) = tree("listAccounts", "ann")["account"]
    assert (shown["memorylimit"], shown["memorytotal"], shown["memoryavailable"]) == ("64", 64, "0")
    assert (shown["primarystoragetotal"], shown["primarystorageavailable"]) == (1, "198")
    assert (shown["secondarystoragetotal"], shown["secondarystoragelimit"]) == (0.5, "400")


def test_a_project_has_limits_of_its_own(tree):
    project = tree("createProject", "ann", name="web")["id"]
    assert tree.shown("ann", projectid=project)["user_vm"] == 20
    assert "project" not in tree.shown("ann", projectid=project)
    shown = tree.limit("network", 0, "boss", projectid=project)
    assert (shown["projectid"], shown["project"]) == (project, "web")
    assert "account" not in shown
    account = tree.factory.first(Account, type=5)
    with (
        db.transaction(tree.engine) as session,
        pytest.raises(LimitReached, match=r"Project web may hold 0 networks; it holds 0, asked for 1 more"),
    ):
        limits.claim(session, session.get_one(Account, account.id), networks=1)
    tree("updateConfiguration", name="max.project.volumes", value=2)
    assert tree.shown("ann", projectid=project)["volume"] == 2
    tree.limit("project", 1, domainid=tree.top.id)
    with pytest.raises(Refused, match=r"535 Domain ROOT/top/low may hold 1 projects; it holds 1, asked for 1 more"):
        tree("createProject", "ann", name="second")


def test_counts_are_counted_anew_and_agree_with_the_recount(tree, factory):
    ann = tree.callers["ann"].account
    factory(Vm, account_id=ann.id, cpus=2, memory=64 * MIB)
    factory(Vm, account_id=ann.id, cpus=2, memory=64 * MIB, state="Destroyed")
    factory(Volume, account_id=ann.id, size=2 * GIB)
    factory(Network, account_id=ann.id)
    factory(Template, account_id=ann.id, physical_size=5)

    def wrong():
        with db.transaction(tree.engine) as session:
            return {finding.detail.split(" counts")[0] for finding in drift(session) if finding.type == "counter"}

    assert {"Account ann"} <= wrong()
    counted = tree("updateResourceCount", account="ann", domainid=tree.low.id)["resourcecount"]
    found = {row["resourcetypename"]: row["resourcecount"] for row in counted}
    assert (found["user_vm"], found["cpu"], found["memory"], found["volume"]) == (1, 2, 64, 1)
    assert (found["primary_storage"], found["template"], found["secondary_storage"]) == (2 * GIB, 1, 5)
    assert not {"Account ann", "Domain top", "Domain low"} & wrong()
    factory(Vm, account_id=tree.callers["tom"].account.id)
    (row,) = tree("updateResourceCount", domainid=tree.top.id, resourcetype=0)["resourcecount"]
    assert row["resourcecount"] == 2
    assert "account" not in row
    assert not {"Account tom", "Domain top", "Domain low"} & wrong()
    (row,) = tree("updateResourceCount", "boss", domainid=tree.low.id, resourcetype=0)["resourcecount"]
    assert row["resourcecount"] == 1


def test_every_resource_has_a_counter_for_accounts_and_domains():
    for key in BY_KEY:
        assert hasattr(ResourceUse, key)
        assert hasattr(DomainUse, key)


def test_counts_of_domains_hold_for_names_of_any_letters(any_engine, any_factory):
    """A prefix of a path is measured in characters, not in bytes."""
    top = any_factory.domain("é_%")
    low = any_factory.domain("ü", top)
    any_factory.domain("éxy")
    account = any_factory.account("ann", low)
    with db.transaction(any_engine) as session:
        limits.claim(session, session.get_one(Account, account.id), networks=1)
    any_factory(Network, account_id=account.id)
    with db.transaction(any_engine) as session:
        assert [finding.detail for finding in drift(session) if finding.type == "counter"] == []
    assert any_factory.first(DomainUse, domain_id=top.id).networks == 1
