"""Accounts, users, keys, domains, roles."""

import pytest

from manager import db, identity_seed
from manager.models import Account, Role, User, Vm
from manager.placement import limits
from tests.client import Caller, Refused

PERSON = {"firstname": "Jo", "lastname": "Doe", "email": "jo@example.org", "password": "long-enough"}


def test_the_seed_is_made_once(engine, factory):
    with db.transaction(engine) as session:
        again = identity_seed.seed(session, password="other")
    assert again.password is None
    roles = {role.name: role.type for role in (factory.first(Role, name=n) for n in
             ("Root Admin", "Resource Admin", "Domain Admin", "User"))}  # fmt: skip
    assert set(roles.values()) == {"Admin", "ResourceAdmin", "DomainAdmin", "User"}
    assert {factory.first(Account, name=name).number for name in ("system", "admin")} == {1, 2}


def test_an_account_from_creation_to_its_first_signed_call(api, engine):
    made = api("createAccount", accounttype=0, username="jo", **PERSON)["account"]
    assert (made["name"], made["accounttype"], made["roletype"], made["state"]) == ("jo", 0, "User", "enabled")
    assert (made["domain"], made["domainpath"], made["isdefault"]) == ("ROOT", "ROOT", False)
    (user,) = made["user"]
    assert (user["username"], user["account"], "apikey" in user) == ("jo", "jo", False)
    keys = api("registerUserKeys", id=user["id"])["userkeys"]
    jo = Caller(keys["apikey"], keys["secretkey"], None, None)
    shown = {"apikey": keys["apikey"], "secretkey": keys["secretkey"], "apikeyaccess": True}
    assert api("getUserKeys", jo, id=user["id"])["userkeys"] == shown
    assert api("listAccounts", jo)["account"][0]["user"][0]["apikey"] == keys["apikey"]
    assert api("getUser", jo, userapikey=keys["apikey"])["user"]["id"] == user["id"]
    assert "secretkey" not in api("listUsers", jo)["user"][0]


def test_accounts_in_a_domain_with_a_role(api, factory):
    domain = api("createDomain", name="west", networkdomain="west.example")["domain"]
    assert (domain["path"], domain["level"], domain["parentdomainname"], domain["haschild"]) == (
        "ROOT/west",
        1,
        "ROOT",
        False,
    )
    role = factory.first(Role, name="Domain Admin").id
    made = api("createAccount", account="ops", roleid=role, domainid=domain["id"], username="jo", **PERSON,
               params={"accountdetails[0].team": "a"})["account"]  # fmt: skip
    assert (made["name"], made["accounttype"], made["domainid"]) == ("ops", 2, domain["id"])
    assert made["accountdetails"] == {"team": "a"}
    user = api("createUser", account="ops", domainid=domain["id"], username="flo", **PERSON)["user"]
    assert (user["account"], user["roletype"], user["iscallerchilddomain"]) == ("ops", "DomainAdmin", True)
    assert api("listUsers", domainid=domain["id"])["count"] == 2
    assert api("listUsers", listall=True, username="flo")["count"] == 1


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"username": "admin"}, "has a user admin already|has an account admin already"),
        ({"account": "admin"}, "has an account admin already"),
        ({"account": "ADMIN"}, "has an account ADMIN already"),
        ({"accounttype": None}, "needs a roleid or an accounttype"),
        ({"accounttype": 4}, "not within 0 and 3"),
        ({"password": "abc"}, "at least 4 characters"),
        ({"networkdomain": "-x-"}, "not a DNS suffix"),
        ({"domainid": "1"}, "entity does not exist"),
        ({"email": None}, "missing parameter email"),
    ],
)
def test_bad_accounts_are_refused_and_leave_nothing(api, changes, text):
    before = api("listAccounts", listall=True)["count"]
    with pytest.raises(Refused, match=f"431 .*({text})"):
        api("createAccount", **{"accounttype": 0, "username": "jo", **PERSON, **changes})
    assert api("listAccounts", listall=True)["count"] == before


def test_accounts_show_what_they_hold_of_their_limits(api, tenant, engine, factory):
    with db.transaction(engine) as session:
        account = session.get_one(Account, tenant.account.id)
        limits.claim(session, account, vms=2, cpus=3, memory=512 * 2**20, primary_storage=3 * 2**30)
    factory(Vm, account_id=tenant.account.id, state="Running")
    factory(Vm, account_id=tenant.account.id)
    shown = api("listAccounts", tenant)["account"][0]
    assert (shown["vmlimit"], shown["vmtotal"], shown["vmavailable"]) == ("20", 2, "18")
    assert (shown["memorylimit"], shown["memorytotal"], shown["memoryavailable"]) == ("40960", 512, "40448")
    assert (shown["primarystoragetotal"], shown["cputotal"]) == (3, 3)
    assert (shown["vmrunning"], shown["vmstopped"]) == (1, 1)
    assert api("listAccounts")["account"][0]["vmlimit"] == "Unlimited"


def test_lists_of_accounts_and_domains_take_their_filters(api, factory):
    for name, kind in (("a1", 0), ("a2", 2), ("b1", 0)):
        factory.account(name, type=kind)
    found = lambda **filters: [a["name"] for a in api("listAccounts", listall=True, **filters)["account"]]  # noqa: E731
    assert found(keyword="a") == ["a1", "a2", "admin"]
    assert found(accounttype=2) == ["a2"]
    assert found(name="b1") == ["b1"]
    api("disableAccount", id=factory.first(Account, name="b1").id, lock=True)
    assert found(state="locked") == ["b1"]
    api("enableAccount", id=factory.first(Account, name="b1").id)
    deep = factory.domain("deep", factory.domain("west"))
    paths = lambda command, **filters: [d["path"] for d in api(command, **filters).get("domain", [])]  # noqa: E731
    assert paths("listDomains") == ["ROOT", "ROOT/west", "ROOT/west/deep"]
    assert paths("listDomains", level=1) == ["ROOT/west"]
    assert paths("listDomains", id=deep.id) == ["ROOT/west/deep"]
    assert paths("listDomains", name="deep") == paths("listDomains", keyword="ee") == ["ROOT/west/deep"]
    assert paths("listDomainChildren") == ["ROOT/west"]
    assert paths("listDomainChildren", isrecursive=True) == ["ROOT/west", "ROOT/west/deep"]
    assert paths("listDomainChildren", id=deep.id) == []
    assert "User" in [role["name"] for role in api("listRoles", type="useR")["role"]]
    assert [role["name"] for role in api("listRoles", keyword="Resource")["role"]] == ["Resource Admin"]


@pytest.mark.parametrize("name", ["a/b", " "])
def test_bad_domains_are_refused(api, name):
    with pytest.raises(Refused, match=r"431 A domain cannot be named"):
        api("createDomain", name=name)


def test_domains_are_unique_among_siblings_whatever_their_case(api):
    west = api("createDomain", name="west")["domain"]
    api("createDomain", name="west", parentdomainid=west["id"])
    with pytest.raises(Refused, match=r"431 The domain ROOT has a domain WEST already"):
        api("createDomain", name="WEST")


def test_users_are_updated_disabled_and_deleted(api, tenant, factory):
    user = tenant.user.id
    shown = api("updateUser", tenant, id=user, firstname="New", email="n@example.org", timezone="Europe/Berlin")["user"]
    assert (shown["firstname"], shown["email"], shown["timezone"]) == ("New", "n@example.org", "Europe/Berlin")
    with pytest.raises(Refused, match=r"431 To change your own password"):
        api("updateUser", tenant, id=user, password="another")
    with pytest.raises(Refused, match=r"431 The parameter currentpassword is not"):
        api("updateUser", tenant, id=user, password="another", currentpassword="wrong")
    api("updateUser", tenant, id=user, password="another", currentpassword="password")
    with pytest.raises(Refused, match=r"431 .*user admin already"):
        api("updateUser", id=user, username="admin")
    job = api("disableUser", id=user)
    assert api("queryAsyncJobResult", jobid=job["jobid"])["jobresult"]["user"]["state"] == "disabled"
    assert api("enableUser", id=user)["user"]["state"] == "enabled"
    for command in ("disableUser", "deleteUser"):
        with pytest.raises(Refused, match=r"431 The user admin is yourself"):
            api(command, id=api.admin.user.id)
    with pytest.raises(Refused, match=r"431 .*is your own"):
        api("disableAccount", id=api.admin.account.id, lock=False)
    assert api("deleteUser", id=user) == {"success": True}
    assert api("listUsers", id=user) == {}
    assert factory.first(User, id=user).live is None


def test_a_co_user_does_not_change_anothers_password(api, tenant, factory, engine):
    factory.user("friend", tenant.account)
    friend = Caller.of(engine, "friend")
    with pytest.raises(Refused, match=r"531 The password of the user tenant"):
        api("updateUser", friend, id=tenant.user.id, password="another")
    factory.user("keyless", tenant.account)
    with pytest.raises(Refused, match=r"431 .*no keys"):
        api("getUserKeys", id=factory.first(User, username="keyless").id)
    with pytest.raises(Refused, match=r"431 There is no user with that API key"):
        api("getUser", friend, userapikey=api.admin.key)
