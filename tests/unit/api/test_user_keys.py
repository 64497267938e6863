"""Keys of users: several each, their time, sources and rules, and whether they sign at all."""

from __future__ import annotations

import datetime as dt
import threading

import pytest
from sqlalchemy import select

from manager import db
from manager.models import ApiKey, utcnow
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import statements

UNVERIFIED = r"401 unable to verify user credentials and/or request signature"


@pytest.fixture
def register(api, tenant):
    """Registers keys of the tenant, by the tenant; gives who signs with them, and the answer."""

    def made(**given) -> tuple[Caller, dict]:
        keys = api("registerUserKeys", tenant, id=tenant.user.id, **given)["userkeys"]
        return Caller(keys["apikey"], keys["secretkey"], tenant.user, tenant.account), keys

    return made


def day(days: int) -> str:
    return (utcnow() + dt.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S+0000")


def zones(api, caller):
    return api("listZones", caller)


def test_keys_with_a_name_stand_beside_those_without(api, tenant, register):
    ci, made = register(name="ci", description="of the pipeline")
    assert zones(api, ci) == {}
    assert (made["name"], made["description"], made["state"], made["username"]) == (
        "ci", "of the pipeline", "ENABLED", "tenant",
    )  # fmt: skip
    assert api("getUserKeys", ci, id=tenant.user.id)["userkeys"]["apikey"] == tenant.key
    fresh, _ = register()
    with pytest.raises(Refused, match=UNVERIFIED):
        zones(api, tenant)
    assert zones(api, ci) == zones(api, fresh) == {}
    assert api("getUserKeys", ci, id=tenant.user.id)["userkeys"]["secretkey"] == fresh.secret
    assert api("listUsers", ci, id=tenant.user.id)["user"][0]["apikey"] == fresh.key
    with pytest.raises(Refused, match=r"431 The user tenant has keys named ci already\."):
        api("registerUserKeys", ci, id=tenant.user.id, name="ci")


def test_lists_show_keys_and_never_secret_ones(api, tenant, register, factory):
    _, made = register(name="ci", params={"rules[0].rule": "list*", "rules[0].permission": "allow"})
    other = factory.user("other")
    factory(ApiKey, user_id=other.id, name="others")
    listed = api("listUserKeys", tenant)
    assert (listed["count"], {row.get("name") for row in listed["userapikey"]}) == (2, {None, "ci"})
    assert made["secretkey"] not in str(listed)
    assert tenant.secret not in str(listed)
    assert api("listUserKeys", tenant, keyword="CI"[:1].lower())["count"] == 1
    (row,) = api("listUserKeys", tenant, keypairid=made["id"], showpermissions=True)["userapikey"]
    assert row["permissions"] == [{"rule": "list*", "permission": "allow"}]
    assert "permissions" not in api("listUserKeys", tenant, apikeyfilter=made["apikey"])["userapikey"][0]
    assert api("listUserKeyRules", tenant, keypairid=made["id"])["keypermission"] == row["permissions"]
    assert api("listUserKeys", listall=True)["count"] == 4
    assert api("listUserKeys", userid=other.id)["userapikey"][0]["name"] == "others"
    with pytest.raises(Refused, match=r"431 .*userid"):
        api("listUserKeys", tenant, userid=other.id)
    with pytest.raises(Refused, match=r"531 .*listall"):
        api("listUserKeys", tenant, listall=True)


def test_listing_costs_the_same_statements_for_many(api, tenant, factory, engine):
    def cost() -> int:
        with statements(engine) as sent:
            api("listUserKeys", tenant, showpermissions=True)
        return len(sent)

    factory(ApiKey, user_id=tenant.user.id)
    one = cost()
    for _ in range(30):
        factory(ApiKey, user_id=tenant.user.id)
    assert cost() == one


def test_deleted_keys_sign_no_more(api, tenant, register, factory):
    ci, made = register(name="ci")
    job = api("deleteUserKeys", ci, keypairid=made["id"])
    assert api("queryAsyncJobResult", tenant, jobid=job["jobid"])["jobresult"] == {"success": True}
    with pytest.raises(Refused, match=UNVERIFIED):
        zones(api, ci)
    with pytest.raises(Refused, match=r"431 .*keypairid"):
        api("deleteUserKeys", tenant, keypairid=made["id"])
    foreign = factory(ApiKey, user_id=factory.user("other").id)
    with pytest.raises(Refused, match=r"431 .*keypairid"):
        api("deleteUserKeys", tenant, keypairid=foreign.id)
    assert factory.first(ApiKey, id=foreign.id) is not None


def test_keys_end_with_their_user(api, tenant, register, factory):
    register(name="ci")
    api("deleteUser", id=tenant.user.id)
    with db.transaction(factory.engine) as session:
        assert session.scalars(select(ApiKey).filter_by(user_id=tenant.user.id)).all() == []


def test_keys_sign_within_their_time_only(api, register, factory):
    assert zones(api, register(name="ends", enddate=day(1))[0]) == {}
    ci, made = register(name="ci", startdate=day(-1), enddate=day(1))
    assert zones(api, ci) == {}
    row = factory.first(ApiKey, id=made["id"])
    for change, state in (
        ({"starts": None, "expires": utcnow() - dt.timedelta(seconds=2)}, "EXPIRED"),
        ({"starts": utcnow() + dt.timedelta(hours=1), "expires": None}, "PENDING"),
    ):
        factory.change(row, **change)
        assert api("listUserKeys", keypairid=made["id"])["userapikey"][0]["state"] == state
        with pytest.raises(Refused, match=UNVERIFIED):
            zones(api, ci)
    factory.change(row, starts=utcnow() - dt.timedelta(seconds=2))
    assert zones(api, ci) == {}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"enddate": day(-1)}, "enddate must be later than startdate and than now"),
        ({"startdate": day(3), "enddate": day(2)}, "enddate must be later than startdate and than now"),
        ({"allowedcidrs": "10.0.0.0/8,10.0.0.0/99"}, "allowedcidrs cannot be read: 10.0.0.0/99 is not a CIDR"),
        ({"params": {"rules[0].rule": "list*"}}, "A permission is allow or deny"),
        ({"params": {"rules[0].permission": "allow"}}, "Each of the rules has a rule, a permission"),
        ({"params": {"rules[0].rule": "li st", "rules[0].permission": "allow"}}, "neither a command's name nor"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(api, tenant, register, given, text):
    with pytest.raises(Refused, match=rf"431 .*{text}"):
        register(**given)
    assert zones(api, tenant) == {}


def test_a_user_has_a_hundred_pairs_at_most(api, tenant, register, factory):
    for _ in range(99):
        factory(ApiKey, user_id=tenant.user.id)
    with pytest.raises(Refused, match=r"431 The user tenant has 100 pairs of keys, which is the limit"):
        register(name="one more")
    register()


def test_racing_calls_leave_one_pair_without_a_name(any_api, any_engine, any_factory):
    user = any_factory.user("raced")
    gate, answers = threading.Barrier(6), []

    def call():
        one = type(any_api)(any_api.app, any_api.admin)
        gate.wait()
        answers.append(one("registerUserKeys", id=user.id)["userkeys"]["apikey"])

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(answers)) == 6
    assert any_api("listUserKeys", userid=user.id)["count"] == 1
    assert any_api("getUserKeys", id=user.id)["userkeys"]["apikey"] in answers


def ruled(*rules: tuple[str, str]) -> dict[str, str]:
    return {
        f"rules[{place}].{field}": value
        for place, rule in enumerate(rules)
        for field, value in zip(("rule", "permission"), rule, strict=True)
    }


def test_rules_of_keys_narrow_the_role(api, tenant, register):
    looker, _ = register(name="looks", params=ruled(("listZones", "deny"), ("list*", "allow"), ("addHost", "allow")))
    assert api("listSSHKeyPairs", looker) == {}
    for name in ("listZones", "createSSHKeyPair", "addHost"):
        with pytest.raises(Refused, match=rf"432 The API \[{name}\] does not exist or is not available"):
            api(name, looker, name="k")
    offered = {row["name"] for row in api("listApis", looker)["api"]}
    assert "listSSHKeyPairs" in offered
    assert not {"listZones", "createSSHKeyPair", "addHost"} & offered
    api("createSSHKeyPair", tenant, name="k")


def test_a_narrow_key_cannot_get_what_it_lacks(api, tenant, register, admin):
    """Neither by keys without rules, nor by a password, nor by an account or a role that may do more."""
    people = ("registerUserKeys", "getUserKeys", "updateUser", "deleteUserKeys", "createUser", "listUserKeys")
    narrow, made = register(name="narrow", params=ruled(*((name, "allow") for name in people)))
    mine = tenant.user.id
    for name, given in (
        ("registerUserKeys", {"id": mine}),
        ("registerUserKeys", {"id": mine, "name": "wide"}),
        ("getUserKeys", {"id": mine}),
        ("updateUser", {"id": mine, "password": "new-password", "currentpassword": "password"}),
        ("deleteUserKeys", {"keypairid": made["id"]}),
    ):
        with pytest.raises(Refused, match=r"431 .*entity does not exist"):
            api(name, narrow, **given)
    assert api("listUserKeys", narrow)["count"] == 2
    keys = api(
        "registerUserKeys", id=admin.user.id, name="narrow",
        params=ruled(*((name, "allow") for name in (*people, "createAccount", "createRole", "listRoles"))),
    )["userkeys"]  # fmt: skip
    root = Caller(keys["apikey"], keys["secretkey"], admin.user, admin.account)
    person = {"firstname": "F", "lastname": "L", "email": "e", "password": "password"}
    with pytest.raises(Refused, match=r"531 .*would permit more than your own role Root Admin"):
        api("createAccount", root, accounttype=1, username="twin", **person)
    with pytest.raises(Refused, match=r"531 .*that you may act for"):
        api("createUser", root, account="admin", username="twin", domainid=admin.account.domain_id, **person)
    with pytest.raises(Refused, match=r"431 .*entity does not exist"):
        api("registerUserKeys", root, id=admin.user.id)
    role = next(role for role in api("listRoles", root)["role"] if role["name"] == "Root Admin")
    with pytest.raises(Refused, match=r"531 .*would permit more"):
        api("createRole", root, name="twin", roleid=role["id"])


@pytest.mark.parametrize(
    ("user", "account", "signs"),
    [
        ("Inherit", "Inherit", True),
        ("Disabled", "Enabled", False),
        ("Enabled", "Disabled", True),
        ("inherit", "disabled", False),
        ("Inherit", "Enabled", True),
    ],
)
def test_the_user_goes_before_the_account(api, tenant, user, account, signs):
    api("updateUser", id=tenant.user.id, apikeyaccess=user)
    api("updateAccount", id=tenant.account.id, apikeyaccess=account)
    assert api("getUserKeys", id=tenant.user.id)["userkeys"]["apikeyaccess"] is signs
    if signs:
        assert zones(api, tenant) == {}
        return
    with pytest.raises(Refused, match=UNVERIFIED):
        zones(api, tenant)


def test_the_setting_counts_for_a_domain_where_nothing_else_is_said(api, engine, factory):
    domain = factory.domain("west")
    will = factory.user("will", factory.account("will", domain))
    caller = Caller.of(engine, will.username)
    api("updateConfiguration", name="api.key.access", value=False, domainid=domain.id)
    with pytest.raises(Refused, match=UNVERIFIED):
        zones(api, caller)
    assert api("listUsers", listall=True, username="will", apikeyaccess="inherit")["count"] == 1
    api("updateUser", id=will.id, apikeyaccess="enabled")
    assert zones(api, caller) == {}
    assert api("listUsers", listall=True, apikeyaccess="enabled")["user"][0]["apikeyaccess"] == "Enabled"
    assert api("listAccounts", listall=True, apikeyaccess="enabled") == {}
    with pytest.raises(Refused, match=r"531 .*apikeyaccess"):
        api("updateUser", caller, id=will.id, apikeyaccess="Enabled")
