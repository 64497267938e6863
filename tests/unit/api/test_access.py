"""Who sees and touches what."""

import pytest

from manager import access
from manager.api.command import COMMANDS
from manager.api.commands import load_all
from manager.api.fields import Date, Integer, ListOf, MapList, Ref, Uuid
from manager.models import Account, Domain, Network, Role, RolePermission, SshKeyPair, User, Zone, new_id
from tests.client import Caller, Refused

load_all()


class People:
    """ROOT (rita), ROOT/west (its administrator wanda, users will and wes), ROOT/west/deep (dora), ROOT/east (ed)."""

    def __init__(self, engine, factory):
        self.west = factory.domain("west")
        self.deep = factory.domain("deep", self.west)
        self.east = factory.domain("east")
        places = {"wanda": self.west, "will": self.west, "wes": self.west, "dora": self.deep, "ed": self.east,
                  "rita": None}  # fmt: skip
        self.callers, self.pairs = {}, {}
        for name, domain in places.items():
            account = factory.account(name, domain, type=2 if name == "wanda" else 0)
            factory.user(name, account)
            self.callers[name] = Caller.of(engine, name)
            self.pairs[name] = factory(SshKeyPair, name=f"of-{name}", account_id=account.id)
        self.callers["admin"] = Caller.of(engine, "admin")
        self.pairs["admin"] = factory(SshKeyPair, name="of-admin", account_id=self.callers["admin"].account.id)


@pytest.fixture
def people(engine, factory):
    return People(engine, factory)


def plausible(name, field, factory):
    """A value that loads, for a parameter that must be given."""
    if isinstance(field, MapList):
        return {f"{name}[0].key": "k", f"{name}[0].value": "v"}
    if isinstance(field, ListOf):
        return plausible(name, field.inner, factory)
    if isinstance(field, Ref):
        return {name: factory(field.model).id}
    if isinstance(field, Integer):
        return {name: str(max(field.least, 1))}
    if isinstance(field, (Date, Uuid)):
        return {name: "2026-01-31" if isinstance(field, Date) else new_id()}
    return {name: field.allowed[0] if field.allowed else "x"}


REACH = {
    "admin": {"admin", "wanda", "will", "wes", "dora", "ed", "rita"},
    "wanda": {"wanda", "will", "wes", "dora"},
    "will": {"will"},
    "ed": {"ed"},
    "rita": {"rita"},
}


def names(answer):
    return {pair["name"].removeprefix("of-") for pair in answer.get("sshkeypair", [])}


@pytest.mark.parametrize("who", REACH)
def test_lists_show_the_own_and_with_listall_the_reachable(api, people, who):
    caller = people.callers[who]
    assert names(api("listSSHKeyPairs", caller)) == {who}
    assert names(api("listSSHKeyPairs", caller, listall=True)) == REACH[who]
    assert api("listSSHKeyPairs", caller, listall=True)["count"] == len(REACH[who])


@pytest.mark.parametrize("who", REACH)
def test_an_identifier_opens_only_what_is_reachable(api, people, who):
    for owner, pair in people.pairs.items():
        if owner in REACH[who]:
            assert names(api("listSSHKeyPairs", people.callers[who], id=pair.id)) == {owner}
        else:
            with pytest.raises(Refused, match=r"431 .*entity does not exist"):
                api("listSSHKeyPairs", people.callers[who], id=pair.id)


def test_lists_of_a_domain(api, people):
    admin, wanda = people.callers["admin"], people.callers["wanda"]
    for caller in (admin, wanda):
        assert names(api("listSSHKeyPairs", caller, domainid=people.west.id)) == {"wanda", "will", "wes"}
        assert names(api("listSSHKeyPairs", caller, domainid=people.west.id, isrecursive=True)) == REACH["wanda"]
        assert names(api("listSSHKeyPairs", caller, domainid=people.deep.id, account="dora")) == {"dora"}
    for domain in (people.east.id, people.callers["admin"].account.domain_id):
        with pytest.raises(Refused, match=r"431 .*domainid"):
            api("listSSHKeyPairs", wanda, domainid=domain)
    assert names(api("listSSHKeyPairs", people.callers["will"], domainid=people.west.id)) == {"will"}
    with pytest.raises(Refused, match=r"531 There is no account wes"):
        api("listSSHKeyPairs", people.callers["will"], domainid=people.west.id, account="wes")
    with pytest.raises(Refused, match=r"431 .*needs domainid"):
        api("listSSHKeyPairs", people.callers["admin"], account="wes")


def test_a_domain_administrator_in_root_does_not_reach_root_administrators(api, people, engine, factory):
    factory.user("ron", factory.account("ron", type=2))
    ron = Caller.of(engine, "ron")
    assert names(api("listSSHKeyPairs", ron, listall=True)) == REACH["admin"] - {"admin"}
    assert "admin" not in names(api("listSSHKeyPairs", ron, domainid=factory.root.id, isrecursive=True))
    root_user = people.callers["admin"].user.id
    for command in ("registerUserKeys", "getUserKeys", "disableUser", "deleteUser"):
        with pytest.raises(Refused, match=r"431 .*entity does not exist"):
            api(command, ron, id=root_user)
    with pytest.raises(Refused, match=r"531 A root administrator's account is made by a root administrator"):
        api(
            "createAccount",
            ron,
            accounttype=1,
            username="x",
            password="long-enough",
            firstname="F",
            lastname="L",
            email="e",
        )


@pytest.mark.parametrize("who", ["wanda", "will", "ed", "rita"])
def test_no_identifier_of_another_opens_any_command(api, people, factory, who):
    """Every parameter that is an identifier, of every command the caller may use, given what another tenant owns."""
    caller = people.callers[who]
    stranger = people.callers["ed" if who != "ed" else "rita"]
    foreign = {
        Account: stranger.account.id,
        User: stranger.user.id,
        SshKeyPair: people.pairs[stranger.user.username].id,
        Domain: people.east.id if who != "ed" else people.west.id,
    }
    role = {"wanda": "DomainAdmin"}.get(who, "User")
    tried = 0
    for name, command in COMMANDS.items():
        if role not in command.roles or command.is_open:
            continue
        for parameter, field in command.parameters.items():
            target = field.inner if isinstance(field, ListOf) else field
            if not isinstance(target, Ref) or target.model not in foreign:
                continue
            given = {}
            for n, f in command.parameters.items():
                if f.required and n != parameter:
                    given |= plausible(n, f, factory)
                    if isinstance(f, Ref) and f.model is Network:
                        factory.change(factory.first(Network, id=given[n]), account_id=caller.account.id)
            with pytest.raises(Refused) as refused:
                api(name, caller, method="POST", params={**given, parameter: foreign[target.model]})
            wanted = f"Invalid parameter {parameter} value={foreign[target.model]} due to"
            assert wanted in refused.value.text, (name, refused.value.text)
            tried += 1
    assert tried > 10


def test_a_removed_thing_is_an_empty_list_and_unknown_elsewhere(api, people, factory):
    gone = people.pairs["will"]
    factory.change(gone, removed=gone.created, live=None)
    assert api("listSSHKeyPairs", people.callers["will"], id=gone.id) == {}
    with pytest.raises(Refused, match=r"431"):
        api("listSSHKeyPairs", people.callers["ed"], id=gone.id)
    removed = people.callers["wes"].user
    api("deleteUser", id=removed.id)
    with pytest.raises(Refused, match=r"431 .*entity does not exist"):
        api("registerUserKeys", id=removed.id)


@pytest.mark.parametrize("change", ["user", "account", "domain", "removed", "keys"])
def test_who_is_shut_out_gets_401(api, people, factory, change):
    will = people.callers["will"]
    assert api("listApis", will, name="login")
    if change == "user":
        api("disableUser", id=will.user.id)
    elif change == "account":
        api("disableAccount", id=will.account.id, lock=False)
    elif change == "domain":
        factory.change(people.west, state="Inactive")
    elif change == "removed":
        api("deleteUser", id=will.user.id)
    else:
        api("registerUserKeys", id=will.user.id)
    with pytest.raises(Refused, match=r"^401 unable to verify user credentials and/or request signature$"):
        api("listApis", will, name="login")


def test_custom_roles_are_rules_of_which_the_first_match_counts(api, people, factory):
    rules = [["deny", "deleteSSHKeyPair"], ["allow", "*SSHKeyPair*"], ["allow", "updateConfiguration"]]
    role = factory(Role, name="keys", type="User", live="keys")
    for position, (permission, rule) in enumerate(rules):
        factory(RolePermission, role_id=role.id, rule=rule, permission=permission, position=position)
    factory.change(people.callers["will"].account, role_id=role.id)
    will = people.callers["will"]
    assert api("listSSHKeyPairs", will)["count"] == 1
    for command in ("deleteSSHKeyPair", "listEvents", "updateConfiguration"):
        with pytest.raises(Refused, match=r"432"):
            api(command, will, name="x")


def test_listed_apis_are_those_of_the_role(api, people):
    of_admin = {entry["name"] for entry in api("listApis")["api"]}
    of_wanda = {entry["name"] for entry in api("listApis", people.callers["wanda"])["api"]}
    of_will = {entry["name"] for entry in api("listApis", people.callers["will"])["api"]}
    assert of_will < of_wanda < of_admin
    assert "updateConfiguration" in of_admin - of_wanda
    assert "createAccount" in of_wanda - of_will
    assert of_admin >= set(COMMANDS) - {"turnSSHKeyPair"}


def test_public_things_are_read_by_all_and_managed_by_root(factory, people, engine):
    """`reach` of a model without an owner: zones are public, everything else is root's."""
    from sqlalchemy import select

    from manager import db
    from manager.api.call import Call
    from manager.models import Pod

    factory(Pod)
    with db.transaction(engine) as session:
        will = people.callers["will"]
        role = session.get_one(Role, will.account.role_id)
        call = Call(session, will.user, will.account, people.west, role, COMMANDS["listApis"])
        for model, right, seen in ((Zone, access.USE, 1), (Zone, access.MANAGE, 0), (Pod, access.READ, 0)):
            assert len(session.scalars(select(model).where(access.reach(call, model, right))).all()) == seen


def test_shell_metadata_has_no_null_and_the_right_types(api):
    for entry in api("listApis")["api"]:
        assert isinstance(entry["isasync"], bool)
        assert all(isinstance(entry[name], str) for name in ("name", "description", "related"))
        for parameter in entry["params"]:
            assert all(isinstance(parameter[name], str) for name in ("name", "description", "type"))
            assert isinstance(parameter["required"], bool)
            assert isinstance(parameter["length"], int)
            if parameter["type"] == "uuid" and "related" in parameter:
                assert isinstance(parameter["related"], str)
        assert all(isinstance(field["name"], str) for field in entry["response"])
    (users,) = api("listApis", name="deleteUser")["api"]
    assert users["params"][0]["related"].startswith("listUsers,")
