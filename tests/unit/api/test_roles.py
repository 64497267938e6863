"""Roles: their rules, who may change them, and how soon it counts."""

import pytest
from sqlalchemy import delete

from manager import db, roles
from manager.api.command import COMMANDS
from manager.models import Account, Role, RolePermission
from tests.client import Caller, Refused


def rules_of(api, role_id):
    rows = api("listRolePermissions", roleid=role_id).get("rolepermission", [])
    return [(row["rule"], row["permission"]) for row in rows]


def someone(factory, role_id, kind=0):
    """A caller of a new account of that type with that role."""
    account = factory.account("rolf")
    factory.change(account, role_id=role_id, type=kind)
    factory.user("rolf", account)
    return Caller.of(factory.engine, "rolf")


OPEN = {name for name, command in COMMANDS.items() if command.is_open}


def may(api, caller):
    """What the role lets the caller use besides what is open to everybody."""
    return {entry["name"] for entry in api("listApis", caller)["api"]} - OPEN


def make(api, *rules, kind="User", name="custom"):
    role = api("createRole", name=name, type=kind)["role"]["id"]
    for rule, permission in rules:
        api("createRolePermission", roleid=role, rule=rule, permission=permission)
    return role


def test_default_roles_are_cloudstacks(api):
    shown = {role["name"]: (role["type"], role["isdefault"], role["state"]) for role in api("listRoles")["role"]}
    assert shown == {
        "Root Admin": ("Admin", True, "enabled"),
        "Resource Admin": ("ResourceAdmin", True, "enabled"),
        "Domain Admin": ("DomainAdmin", True, "enabled"),
        "User": ("User", True, "enabled"),
        "Read-Only Admin - Default": ("Admin", True, "enabled"),
        "Read-Only User - Default": ("User", True, "enabled"),
        "Support Admin - Default": ("Admin", True, "enabled"),
        "Support User - Default": ("User", True, "enabled"),
    }


@pytest.mark.parametrize(
    ("role", "kind", "allowed", "denied"),
    [
        ("Read-Only Admin - Default", 1, {"listHosts", "listConfigurations", "queryAsyncJobResult"},
         {"createZone", "startVirtualMachine", "updateUser"}),
        ("Support Admin - Default", 1, {"listHosts", "createServiceOffering", "stopVirtualMachine"},
         {"createZone", "deployVirtualMachine", "registerUserKeys"}),
        ("Read-Only User - Default", 0, {"listVirtualMachines", "queryAsyncJobResult"},
         {"listHosts", "listRoles", "stopVirtualMachine"}),
        ("Support User - Default", 0, {"stopVirtualMachine", "registerTemplate", "listNetworks"},
         {"deployVirtualMachine", "createServiceOffering", "listHosts"}),
        ("Resource Admin", 3, {"listVirtualMachines", "listRoles"}, {"createAccount", "createZone"}),
    ],
)  # fmt: skip
def test_what_default_roles_permit(api, factory, role, kind, allowed, denied):
    caller = someone(factory, factory.first(Role, name=role).id, kind)
    found = may(api, caller)
    assert allowed <= found
    assert not denied & found
    assert {"listApis"} <= found <= set(COMMANDS)
    for name in denied:
        with pytest.raises(Refused, match="432"):
            api(name, caller)


def test_rules_of_default_roles_are_shown_and_stay(api, factory):
    root, user = (factory.first(Role, name=name).id for name in ("Root Admin", "User"))
    assert rules_of(api, root) == [("*", "allow")]
    assert ("deployVirtualMachine", "allow") in rules_of(api, user)
    assert ("createZone", "allow") not in rules_of(api, user)
    first = api("listRolePermissions", roleid=user)["rolepermission"][0]
    assert first == api("listRolePermissions", roleid=user)["rolepermission"][0]
    assert first["rolename"] == "User"
    for command, given in (("updateRole", {"id": user, "name": "x"}), ("deleteRole", {"id": user}),
                           ("disableRole", {"id": user}),
                           ("createRolePermission", {"roleid": user, "rule": "x", "permission": "allow"})):  # fmt: skip
        with pytest.raises(Refused, match="531 The role User came with the cloud"):
            api(command, **given)
    with pytest.raises(Refused, match="531 The role User came with the cloud"):
        api("importRole", name="user", forced=True, params={"rules[0].rule": "*", "rules[0].permission": "allow"})


def test_first_match_counts_and_the_rest_is_denied(api, factory):
    role = make(api, ("delete*", "deny"), ("*SSHKeyPair*", "allow"), ("LISTAPIS", "Allow"))
    caller = someone(factory, role)
    wanted = {name for name in COMMANDS if "SSHKeyPair" in name and not name.startswith("delete")}
    assert may(api, caller) == wanted | {"listApis"}
    rules = [row["id"] for row in api("listRolePermissions", roleid=role)["rolepermission"]]
    api("updateRolePermission", roleid=role, ruleorder=",".join([rules[1], rules[0], rules[2]]))
    assert rules_of(api, role)[:2] == [("*SSHKeyPair*", "allow"), ("delete*", "deny")]
    assert "deleteSSHKeyPair" in may(api, caller)
    api("updateRolePermission", roleid=role, ruleid=rules[1], permission="deny")
    assert may(api, caller) == {"listApis"}
    api("deleteRolePermission", id=rules[1])
    assert rules_of(api, role) == [("delete*", "deny"), ("LISTAPIS", "allow")]


@pytest.mark.parametrize(
    ("command", "given", "text"),
    [
        ("createRole", {"name": "x"}, "431 A role needs either"),
        ("createRole", {"name": "CUSTOM", "type": "User"}, "431 A role named CUSTOM exists already"),
        ("createRolePermission", {"rule": "a b", "permission": "allow"}, "431 The rule a b is neither"),
        ("createRolePermission", {"rule": "listZones", "permission": "maybe"}, "431 A permission is allow or deny"),
        ("createRolePermission", {"rule": "listApis", "permission": "deny"}, "431 .* has a rule listApis already"),
        ("updateRolePermission", {"permission": "deny"}, "431 Give either ruleorder"),
        ("updateRolePermission", {"ruleorder": ""}, "431"),
    ],
)
def test_bad_roles_and_rules_are_refused(api, command, given, text):
    role = make(api, ("listApis", "allow"))
    if command != "createRole":
        given = {"roleid": role, **given}
    with pytest.raises(Refused, match=text):
        api(command, **given)
    assert rules_of(api, role) == [("listApis", "allow")]
    assert api("listRoles", keyword="custom")["count"] == 1


def test_an_order_names_each_rule_of_the_role_once(api):
    role, other = make(api, ("a", "allow"), ("b", "allow")), make(api, ("c", "allow"), name="other")
    ids = [row["id"] for row in api("listRolePermissions", roleid=role)["rolepermission"]]
    (foreign,) = api("listRolePermissions", roleid=other)["rolepermission"]
    for order in ([ids[0]], [ids[0], ids[0]], [ids[0], foreign["id"]], [*ids, foreign["id"]]):
        with pytest.raises(Refused, match="431 The parameter ruleorder must name each of the 2 rules"):
            api("updateRolePermission", roleid=role, ruleorder=",".join(order))
    with pytest.raises(Refused, match=r"431 .* is none of the role custom"):
        api("updateRolePermission", roleid=role, ruleid=foreign["id"], permission="deny")


def test_a_role_is_made_from_another_and_exported_and_imported(api, factory):
    source = make(api, ("deleteSSHKeyPair", "deny"), ("*SSHKeyPair*", "allow"))
    copy = api("createRole", name="copy", roleid=source, ispublic=False)["role"]
    assert (copy["type"], copy["ispublic"]) == ("User", False)
    assert rules_of(api, copy["id"]) == rules_of(api, source)
    exported = {}
    for index, row in enumerate(api("listRolePermissions", roleid=source)["rolepermission"]):
        exported |= {f"rules[{index}].{name}": row[name] for name in ("rule", "permission")}
    made = api("importRole", name="imported", type="User", params=exported)["role"]
    assert rules_of(api, made["id"]) == rules_of(api, source)
    with pytest.raises(Refused, match=r"431 A role named imported exists already.* forced=true"):
        api("importRole", name="imported", type="User", params=exported)
    again = api("importRole", name="Imported", forced=True, description="new",
                params={"rules[0].rule": "listZones", "rules[0].permission": "ALLOW"})["role"]  # fmt: skip
    assert (again["id"], again["description"]) == (made["id"], "new")
    assert rules_of(api, made["id"]) == [("listZones", "allow")]
    user = api("createRole", name="as user", roleid=factory.first(Role, name="User").id)["role"]["id"]
    caller = someone(factory, user)
    assert may(api, caller) == {name for name, command in COMMANDS.items() if "User" in command.roles} - OPEN


def test_a_role_in_use_keeps_its_type_and_is_not_deleted(api, factory):
    role = make(api, ("*", "allow"))
    someone(factory, role)
    for command, given in (("deleteRole", {}), ("updateRole", {"type": "DomainAdmin"})):
        with pytest.raises(Refused, match="431 The role custom is that of 1 accounts"):
            api(command, id=role, **given)
    shown = api("updateRole", id=role, name="renamed", description="d", ispublic=False)["role"]
    assert (shown["name"], shown["description"], shown["ispublic"]) == ("renamed", "d", False)
    api("updateAccount", id=factory.first(Account, name="rolf").id, roleid=factory.first(Role, name="User").id)
    assert api("deleteRole", id=role) == {"success": True}
    assert api("listRoles", id=role) == {}


def test_who_has_a_disabled_role_may_do_nothing(api, factory):
    role = make(api, ("*", "allow"))
    caller = someone(factory, role)
    assert api("listSSHKeyPairs", caller) == {}
    api("disableRole", id=role)
    assert api("listRoles", state="disabled")["role"][0]["id"] == role
    with pytest.raises(Refused, match="432"):
        api("listSSHKeyPairs", caller)
    api("enableRole", id=role)
    assert api("listSSHKeyPairs", caller) == {}


def test_nobody_gives_what_they_do_not_have(api, factory):
    """A root administrator of a narrow role, which may change roles, accounts and users."""
    narrow = make(api, ("updateZone", "deny"), ("*Role*", "allow"), ("*Account*", "allow"), ("*User*", "allow"),
                  ("listApis", "allow"), kind="Admin", name="narrow")  # fmt: skip
    caller = someone(factory, narrow, 1)
    friend = factory.account("friend", type=1)
    factory.change(friend, role_id=narrow)
    wide, user = (factory.first(Role, name=name).id for name in ("Root Admin", "User"))
    refused = [
        ("createRolePermission", {"roleid": narrow, "rule": "createZone", "permission": "allow"}),
        ("createRolePermission", {"roleid": narrow, "rule": "*", "permission": "allow"}),
        ("createRole", {"name": "x", "roleid": wide}),
        ("createRole", {"name": "x", "roleid": user}),
        ("updateAccount", {"id": friend.id, "roleid": wide}),
        ("createAccount", {"roleid": user, "username": "x", "password": "long-enough", "firstname": "f",
                           "lastname": "l", "email": "e"}),
    ]  # fmt: skip
    for command, given in refused:
        with pytest.raises(Refused, match=r"531 The role .* would permit more than your own role narrow"):
            api(command, caller, **given)
    for command in ("registerUserKeys", "getUserKeys", "updateUser", "deleteUser", "disableUser"):
        with pytest.raises(Refused, match=r"431 .*entity does not exist"):
            api(command, caller, id=api.admin.user.id)
    with pytest.raises(Refused, match="531 There is no account admin"):
        api("createUser", caller, account="admin", domainid=factory.root.id, username="x", password="long-enough",
            firstname="f", lastname="l", email="e")  # fmt: skip
    assert len(rules_of(api, narrow)) == 5
    less = api("createRole", caller, name="less", type="Admin")["role"]["id"]
    api("createRolePermission", caller, roleid=less, rule="listRoles", permission="allow")


def test_another_process_follows_within_seconds(api, factory, engine, monkeypatch):
    """The cache holds what was read; once its time is over, a change that this process did not see counts."""
    caller = someone(factory, make(api, ("listSSHKeyPairs", "allow")))
    assert api("listSSHKeyPairs", caller) == {}
    with db.transaction(engine) as session:
        session.execute(delete(RolePermission))
    assert api("listSSHKeyPairs", caller) == {}
    monkeypatch.setattr(roles, "_cache", (0.0, roles._cache[1]))
    with pytest.raises(Refused, match="432"):
        api("listSSHKeyPairs", caller)
