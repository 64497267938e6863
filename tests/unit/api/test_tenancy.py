"""The life of domains, accounts and users: changed, moved, locked, disabled, deleted, and who is kept out when."""

import pytest
from sqlalchemy import select, update

from manager import db
from manager.api.administrators import demand_another
from manager.api.call import Call
from manager.api.command import COMMANDS
from manager.api.errors import Invalid
from manager.models import Account, Domain, LoginSession, Role, Vm, WorkflowRow, Zone
from tests.client import Caller, Refused
from tests.unit.api.site import result
from tests.unit.api.test_sessions import key_of, list_apis, log_in

PERSON = {"firstname": "Jo", "lastname": "Doe", "email": "jo@example.org", "password": "long-enough"}


class Tree:
    """ROOT/west with its administrator wanda and the user will; ROOT/west/deep with dora."""

    def __init__(self, engine, factory):
        self.west = factory.domain("west")
        self.deep = factory.domain("deep", self.west)
        self.callers = {}
        for name, domain in (("wanda", self.west), ("will", self.west), ("dora", self.deep)):
            factory.user(name, factory.account(name, domain, type=2 if name == "wanda" else 0))
            self.callers[name] = Caller.of(engine, name)

    def account(self, name):
        return self.callers[name].account.id

    def user(self, name):
        return self.callers[name].user.id


@pytest.fixture
def tree(engine, factory):
    return Tree(engine, factory)


def job_of(engine, answer):
    with db.transaction(engine) as session:
        return session.get_one(WorkflowRow, answer["jobid"])


# --- domains ---


def test_a_renamed_domain_takes_those_below_along(api, tree, factory):
    decoy = factory.domain("we_t")
    shown = api("updateDomain", id=tree.west.id, name="we%t", networkdomain="w.example")["domain"]
    assert (shown["name"], shown["path"], shown["networkdomain"]) == ("we%t", "ROOT/we%t", "w.example")
    paths = {domain["id"]: domain["path"] for domain in api("listDomains", listall=True)["domain"]}
    assert paths[tree.deep.id] == "ROOT/we%t/deep"
    assert paths[decoy.id] == "ROOT/we_t"
    again = api("updateDomain", id=decoy.id, name="other")["domain"]
    assert again["path"] == "ROOT/other"
    assert factory.first(Domain, id=tree.deep.id).path == "/we%t/deep/"
    assert api("listUsers", tree.callers["wanda"], listall=True)["count"] == 3
    assert "networkdomain" not in api("updateDomain", id=tree.west.id, networkdomain="")["domain"]


def test_a_domain_moves_with_those_below_and_never_below_itself(api, tree, factory):
    east = factory.domain("east")
    shown = api("moveDomain", domainid=tree.west.id, parentdomainid=east.id)["domain"]
    assert (shown["path"], shown["level"], shown["parentdomainname"]) == ("ROOT/east/west", 2, "east")
    deep = factory.first(Domain, id=tree.deep.id)
    assert (deep.path, deep.level) == ("/east/west/deep/", 3)
    assert api("listUsers", tree.callers["wanda"], listall=True)["count"] == 3
    factory.domain("west")
    for given, text in (
        ({"domainid": east.id, "parentdomainid": tree.deep.id}, "431 The domain ROOT/east cannot stand below itself"),
        ({"domainid": east.id, "parentdomainid": east.id}, "431 The domain ROOT/east cannot stand below itself"),
        ({"domainid": factory.root.id, "parentdomainid": east.id}, "431 The domain ROOT stays above all others"),
        ({"domainid": tree.west.id, "parentdomainid": east.id}, "431 The domain west stands in ROOT/east already"),
        ({"domainid": tree.west.id, "parentdomainid": factory.root.id}, "431 The domain ROOT has a domain west"),
    ):
        with pytest.raises(Refused, match=text):
            api("moveDomain", **given)
    assert factory.first(Domain, id=tree.deep.id).path == "/east/west/deep/"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"name": "a/b"}, "431 A domain cannot be named"),
        ({"name": "EAST"}, "431 The domain ROOT has a domain EAST already"),
        ({"name": "x" * 250}, r"431 The path of the domain .* or of one below it, has 4.. characters; at most 400"),
        ({"networkdomain": "-"}, "431 The network domain - is not"),
    ],
)
def test_bad_changes_of_a_domain_are_refused(api, tree, factory, given, text):
    factory.domain("east")
    factory.domain("y" * 200, tree.west)
    with pytest.raises(Refused, match=text):
        api("updateDomain", id=tree.west.id, **given)
    assert factory.first(Domain, id=tree.deep.id).path == "/west/deep/"


def test_root_and_the_own_domain_keep_their_place(api, tree, factory):
    with pytest.raises(Refused, match="431 The domain ROOT keeps its name"):
        api("updateDomain", id=factory.root.id, name="x")
    with pytest.raises(Refused, match="431 The domain ROOT cannot be deleted"):
        api("deleteDomain", id=factory.root.id, cleanup=True)
    for command in ("deleteDomain", "updateDomain"):
        with pytest.raises(Refused, match=r"431 .*entity does not exist"):
            api(command, tree.callers["wanda"], id=tree.west.id)
    assert api("updateDomain", tree.callers["wanda"], id=tree.deep.id, name="low")["domain"]["path"] == "ROOT/west/low"


def test_a_domain_with_something_in_it_says_what(api, tree, factory):
    with pytest.raises(Refused, match="431 The domain ROOT/west still holds 2 accounts and 1 domains; delete those"):
        api("deleteDomain", id=tree.west.id)
    with pytest.raises(Refused, match=r"431 The domain ROOT/west/deep still holds 1 accounts; .* cleanup=true"):
        api("deleteDomain", id=tree.deep.id)
    assert factory.first(Domain, id=tree.west.id).state == "Active"


def test_nothing_enters_or_is_made_in_a_domain_that_is_being_deleted(api, tree, engine):
    job = job_of(engine, api("deleteDomain", id=tree.west.id, cleanup=True))
    assert (job.name, job.status) == ("domain.delete", "running")
    for caller in tree.callers.values():
        with pytest.raises(Refused, match="401"):
            api("listApis", caller)
    with pytest.raises(Refused, match="431 The domain ROOT/west/deep is being deleted"):
        api("createAccount", accounttype=0, username="jo", domainid=tree.deep.id, **PERSON)
    with pytest.raises(Refused, match="431 The domain ROOT/west is being deleted"):
        api("createDomain", name="new", parentdomainid=tree.west.id)
    with pytest.raises(Refused, match=r"536 .*is busy"):
        api("deleteDomain", id=tree.west.id, cleanup=True)


def test_children_are_listed_by_level_or_all(api, tree):
    paths = lambda caller, **given: [d["path"] for d in api("listDomainChildren", caller, **given).get("domain", [])]  # noqa: E731
    assert paths(None) == ["ROOT/west"]
    assert paths(None, listall=True) == ["ROOT/west", "ROOT/west/deep"]
    assert paths(tree.callers["wanda"]) == paths(tree.callers["wanda"], listall=True) == ["ROOT/west/deep"]


# --- accounts ---


def test_an_account_is_changed(api, tree):
    given = {"newname": "bill", "networkdomain": "b.example", "params": {"accountdetails[0].team": "a"}}
    shown = api("updateAccount", account="will", domainid=tree.west.id, **given)["account"]
    assert (shown["name"], shown["networkdomain"], shown["accountdetails"]) == ("bill", "b.example", {"team": "a"})
    with pytest.raises(Refused, match="431 The domain ROOT/west has an account WANDA already"):
        api("updateAccount", id=tree.account("will"), newname="WANDA")
    with pytest.raises(Refused, match="431 Give the account's id, or its account and domainid"):
        api("updateAccount", account="bill")
    with pytest.raises(Refused, match="531 There is no account nobody"):
        api("updateAccount", account="nobody", domainid=tree.west.id)


def test_roles_of_accounts_are_given_by_those_above(api, tree, factory):
    role = lambda name: factory.first(Role, name=name).id  # noqa: E731
    shown = api("updateAccount", tree.callers["wanda"], id=tree.account("will"), roleid=role("Domain Admin"))["account"]
    assert (shown["accounttype"], shown["roletype"]) == (2, "DomainAdmin")
    with pytest.raises(Refused, match=r"431 .*roleid"):
        api("updateAccount", tree.callers["wanda"], id=tree.account("will"), roleid=role("Read-Only Admin - Default"))
    with pytest.raises(Refused, match="531 A root administrator's account is made by a root administrator, in the"):
        api("updateAccount", id=tree.account("will"), roleid=role("Root Admin"))
    with pytest.raises(Refused, match="431 The account admin is your own"):
        api("updateAccount", id=api.admin.account.id, roleid=role("User"))
    made = api("createAccount", accounttype=3, username="rex", domainid=tree.west.id, **PERSON)["account"]
    assert (made["accounttype"], made["roletype"]) == (3, "ResourceAdmin")


def test_a_resource_administrator_reaches_the_things_of_its_domain(api, tree, factory, engine):
    factory.change(tree.callers["wanda"].account, type=3, role_id=factory.first(Role, name="Resource Admin").id)
    factory(Vm, account_id=tree.account("dora"))
    factory(Vm)
    assert api("listVirtualMachines", tree.callers["wanda"], listall=True)["count"] == 1
    with pytest.raises(Refused, match="432"):
        api("createUser", tree.callers["wanda"], account="will", username="x", **PERSON)


def test_accounts_are_listed_by_what_they_are(api, tree, factory):
    factory.change(tree.callers["will"].account, cleanup_needed=True)
    names = lambda **given: [a["name"] for a in api("listAccounts", listall=True, **given).get("account", [])]  # noqa: E731
    assert names(iscleanuprequired=True) == ["will"]
    assert "will" not in names(iscleanuprequired=False)
    assert names(accounttype=3) == []
    brief = api("listAccounts", id=tree.account("will"), details="min")["account"][0]
    full = api("listAccounts", id=tree.account("will"), details="all,resource")["account"][0]
    assert ("vmlimit" in brief, "vmlimit" in full) == (False, True)
    assert brief["iscleanuprequired"] is True
    zone = factory(Zone)
    marked = result(api, api("markDefaultZoneForAccount", account="will", domainid=tree.west.id, zoneid=zone.id))
    assert marked["account"]["defaultzoneid"] == zone.id


def test_a_disabled_account_is_kept_out_and_nothing_is_made_for_it(api, tree, engine):
    job = job_of(engine, api("disableAccount", account="will", domainid=tree.west.id, lock=False))
    assert (job.name, job.subject_id) == ("account.disable", tree.account("will"))
    with pytest.raises(Refused, match="401"):
        api("listApis", tree.callers["will"])
    with pytest.raises(Refused, match="531 The account will is disabled; nothing is made for it"):
        api("createSSHKeyPair", account="will", domainid=tree.west.id, name="k")
    with pytest.raises(Refused, match=r"536 .*is busy"):
        api("enableAccount", id=tree.account("will"))
    with pytest.raises(Refused, match="431 The account will is disabled; only an enabled account can be locked"):
        api("lockAccount", account="will", domainid=tree.west.id)
    with db.transaction(engine) as session:
        session.execute(update(WorkflowRow).values(status="done", holds=None))
    assert api("enableAccount", id=tree.account("will"))["account"]["state"] == "enabled"
    assert api("listApis", tree.callers["will"])


def test_a_locked_account_keeps_what_runs(api, tree, engine):
    shown = api("lockAccount", account="will", domainid=tree.west.id)["account"]
    assert shown["state"] == "locked"
    with pytest.raises(Refused, match="401"):
        api("listApis", tree.callers["will"])
    api("enableAccount", account="will", domainid=tree.west.id)
    again = result(api, api("disableAccount", id=tree.account("will"), lock=True))
    assert again["account"]["state"] == "locked"


def test_the_deletion_of_an_account_is_a_job_with_steps(api, tree, engine, factory):
    answer = api("deleteAccount", tree.callers["wanda"], id=tree.account("will"))
    assert job_of(engine, answer).name == "account.delete"
    steps = [step["name"] for step in api("listJobSteps", jobid=answer["jobid"])["jobstep"]]
    assert steps[0] == "begin_deleting"
    account = factory.first(Account, id=tree.account("will"))
    assert (account.state, account.cleanup_needed) == ("disabled", True)
    with pytest.raises(Refused, match="401"):
        api("listApis", tree.callers["will"])
    with pytest.raises(Refused, match=r"536 .*is busy with job"):
        api("deleteAccount", id=tree.account("will"))


def test_the_own_account_and_the_clouds_stay(api, factory):
    system = factory.first(Account, name="system").id
    with pytest.raises(Refused, match="431 The account admin is your own; another administrator must delete it"):
        api("deleteAccount", id=api.admin.account.id)
    for command in ("deleteAccount", "updateAccount", "enableAccount"):
        with pytest.raises(Refused, match="531 The account system is the cloud's own"):
            api(command, id=system)
    second = factory.account("second", type=1)
    factory.user("second", second)
    assert api("deleteAccount", id=second.id)["jobid"]


def test_two_administrators_do_not_shut_each_other_out(api, factory, engine):
    """What the second of two such calls finds, once the first has ended."""
    second = factory.account("second", type=1)
    factory.user("second", second)
    root = factory.root
    with db.transaction(engine) as session:
        role = session.get_one(Role, second.role_id)
        call = Call(session, api.admin.user, api.admin.account, root, role, COMMANDS["deleteAccount"])
        demand_another(call, Account.id == second.id)
        session.execute(update(Account).where(Account.name == "admin").values(state="disabled"))
        with pytest.raises(Invalid, match="Nobody with the role Root Admin would be left"):
            demand_another(call, Account.id == second.id)
        session.rollback()


# --- users ---


def test_users_are_locked_and_enabled(api, tree):
    assert api("lockUser", tree.callers["wanda"], id=tree.user("will"))["user"]["state"] == "locked"
    with pytest.raises(Refused, match="401"):
        api("listApis", tree.callers["will"])
    assert api("listUsers", listall=True, state="locked")["user"][0]["username"] == "will"
    api("enableUser", id=tree.user("will"))
    result(api, api("disableUser", id=tree.user("will")))
    with pytest.raises(Refused, match="431 The user will is disabled; only an enabled user can be locked"):
        api("lockUser", id=tree.user("will"))
    assert api("listUsers", listall=True, usersource="native")["count"] == 4


def test_a_user_moves_to_another_account_of_its_domain(api, tree, factory):
    wes = factory.account("wes", tree.west)
    assert api("moveUser", id=tree.user("will"), account="wes") == {"success": True}
    assert api("listUsers", tree.callers["will"])["user"][0]["account"] == "wes"
    api("moveUser", id=tree.user("will"), accountid=tree.account("will"))
    for given, text in (
        ({"accountid": tree.account("dora")}, "431 The account dora is not in ROOT/west"),
        ({"account": "dora"}, "531 There is no account dora"),
        ({"account": "wes", "accountid": wes.id}, "431 Give either"),
        ({}, "431 Give either"),
    ):
        with pytest.raises(Refused, match=text):
            api("moveUser", id=tree.user("will"), **given)
    with pytest.raises(Refused, match="431 The user admin is yourself"):
        api("moveUser", id=api.admin.user.id, account="system")


@pytest.mark.parametrize(
    "change", ["lockUser", "disableUser", "lockAccount", "disableAccount", "role", "move", "password", "disableRole"]
)
def test_sessions_end_and_nobody_logs_in_again_who_may_not(api, tree, factory, engine, change):
    browser = api.app.test_client()
    key = key_of(log_in(browser, "will", "password", domain="west"))
    assert list_apis(browser, sessionkey=key).status_code == 200
    user = role = factory.first(Role, name="Domain Admin").id
    if change == "disableRole":
        user = api("createRole", name="all", roleid=factory.first(Role, name="User").id)["role"]["id"]
        api("updateAccount", id=tree.account("will"), roleid=user)
        key = key_of(log_in(browser, "will", "password", domain="west"))
        assert list_apis(browser, sessionkey=key).status_code == 200
    factory.account("wes", tree.west)
    calls = {
        "lockUser": lambda: api("lockUser", id=tree.user("will")),
        "disableUser": lambda: api("disableUser", id=tree.user("will")),
        "lockAccount": lambda: api("lockAccount", account="will", domainid=tree.west.id),
        "disableAccount": lambda: api("disableAccount", id=tree.account("will"), lock=False),
        "role": lambda: api("updateAccount", id=tree.account("will"), roleid=role),
        "move": lambda: api("moveUser", id=tree.user("will"), account="wes"),
        "password": lambda: api("updateUser", id=tree.user("will"), password="another-one"),
        "disableRole": lambda: api("disableRole", id=user),
    }
    calls[change]()
    assert list_apis(browser, sessionkey=key).status_code == 401
    with db.transaction(engine) as session:
        assert session.scalars(select(LoginSession).where(LoginSession.user_id == tree.user("will"))).all() == []
    again = log_in(browser, "will", "another-one" if change == "password" else "password", domain="west")
    shut_out = change in ("lockUser", "disableUser", "lockAccount", "disableAccount")
    assert again.status_code == (531 if shut_out else 200)
