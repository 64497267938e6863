"""Roles: which commands the users of an account may use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import delete, func, select

from manager import access, roles
from manager.api.call import Call
from manager.api.command import STAFF, Given, ListRequest, Page, Request, command
from manager.api.errors import Denied, Invalid
from manager.api.fields import Choice, Flag, MapList, Ref, Text
from manager.api.response import Bool, Response, Shown, Str, SuccessResponse
from manager.db import write
from manager.models import Account, Role, RolePermission
from manager.workflows.account import end_sessions

TYPES = ("Admin", "ResourceAdmin", "DomainAdmin", "User")
STATES = (roles.ENABLED, roles.DISABLED)
RULE_PARTS = {"rule", "permission", "description"}
MOST_RULES = 2000
MOST_LETTERS = 255


class RoleResponse(Response):
    object_key = "role"
    shows = Role
    id = Str("the role's id")
    name = Str("its name")
    type = Str("Admin, ResourceAdmin, DomainAdmin or User")
    description = Str("what it is for")
    isdefault = Bool("whether it came with the cloud")
    ispublic = Bool("whether administrators of domains see it")
    state = Str("enabled or disabled")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[Role]) -> list[Shown]:
        return [
            {
                "id": row.id,
                "name": row.name,
                "type": row.type,
                "description": row.description,
                "isdefault": row.is_default,
                "ispublic": row.is_public,
                "state": row.state,
            }
            for row in rows
        ]


class ListRoles(ListRequest):
    id = Ref(Role, "only this role")
    name = Text("only the role of this name")
    type = Choice("only roles of this type", TYPES)
    state = Choice("only roles in this state", STATES)


@command("listRoles", ListRoles, RoleResponse, roles=STAFF)
def list_roles(call: Call, **filters: Any) -> Page:
    """List roles."""
    query = select(Role).where(access.reach(call, Role, access.READ), Role.removed.is_(None))
    if filters["id"] is not None:
        query = query.where(Role.id == filters["id"].id)
    for name in ("name", "type", "state"):
        if filters[name] is not None:
            query = query.where(getattr(Role, name) == filters[name])
    if filters["keyword"]:
        query = query.where(Role.name.contains(filters["keyword"], autoescape=True))
    return call.paged(query.order_by(Role.name, Role.id))


class CreateRole(Request):
    name = Text("its name, new in the cloud", required=True)
    type = Choice("its type, unless roleid is given", TYPES)
    roleid = Ref(Role, "the role whose type and rules it takes over, unless type is given")
    description = Text("what it is for")
    ispublic = Flag("whether administrators of domains see it", default=True)


@command("createRole", CreateRole, RoleResponse, creates=True, event="ROLE.CREATE")
def create_role(call: Call, given: Given) -> Role:
    """Make a role, without rules or with those of another role."""
    if (given.type is None) == (given.roleid is None):
        raise Invalid("A role needs either a type or a roleid to take type and rules from, and not both.")
    source: Role | None = given.roleid
    role = Role(
        name=given.name,
        type=source.type if source else given.type,
        description=given.description or (source.description if source else ""),
        is_public=given.ispublic,
        live=given.name.lower(),
    )
    with granting(call, role):
        call.add(role, taken=_taken(given.name))
        if source is not None:
            rules = access.rules_of(roles.known_role(call.session, source.id))
            add_rules(call, role, ((rule, permission, "") for rule, permission in rules))
    return role


def _taken(name: str) -> str:
    return f"A role named {name} exists already."


def add_rules(call: Call, role: Role, rules: Iterable[tuple[str, str, str]]) -> None:
    """Store rules (pattern, permission, description) of a role that has none."""
    call.session.add_all(
        RolePermission(role_id=role.id, rule=rule, permission=permission, description=text, position=position)
        for position, (rule, permission, text) in enumerate(rules)
    )


def changeable(call: Call, role: Role) -> Role:
    """The role, locked: two changes of its rules never mix.

    :raises Invalid: it came with the cloud
    """
    if role.is_default:
        raise Denied(f"The role {role.name} came with the cloud and stays as it is; make another from it to change.")
    call.session.refresh(role, with_for_update=True)
    return role


@contextmanager
def granting(call: Call, role: Role, *, taken: str = "") -> Iterator[None]:
    """Change the role and its rules inside; all is stored at the end, and all processes know after the commit.

    :raises ApiError: the role permits more than the caller's own did before, or `taken`: what is unique is not
    """
    own = call.permitted
    yield
    call.flush(taken=taken)
    beyond = access.excess(roles.read_roles(call.session)[role.id], own)
    if beyond:
        raise Denied(f"The role {role.name} would permit more than your own role {own.name}: {beyond}.")
    roles.changed(call.session)


class UpdateRole(Request):
    id = Ref(Role, "the role", required=True)
    name = Text("its new name")
    description = Text("what it is for")
    ispublic = Flag("whether administrators of domains see it")
    type = Choice("its new type, while no account has the role", TYPES)


@command("updateRole", UpdateRole, RoleResponse, event="ROLE.UPDATE")
def update_role(call: Call, given: Given) -> Role:
    """Change a role."""
    role = changeable(call, given.id)
    if given.type is not None and given.type != role.type:
        _demand_unused(call, role, "change its type")
    with granting(call, role, taken=_taken(given.name or role.name)):
        role.type = given.type or role.type
        if given.name:
            role.name, role.live = given.name, given.name.lower()
        if given.description is not None:
            role.description = given.description
        if given.ispublic is not None:
            role.is_public = given.ispublic
    return role


def _demand_unused(call: Call, role: Role, purpose: str) -> None:
    query = select(func.count(Account.id)).where(Account.role_id == role.id, Account.removed.is_(None))
    count = call.session.scalar(query) or 0
    if count:
        raise Invalid(f"The role {role.name} is that of {count} accounts; give them another role to {purpose}.")


class OneRole(Request):
    id = Ref(Role, "the role", required=True)


@command("deleteRole", OneRole, SuccessResponse, event="ROLE.DELETE")
def delete_role(call: Call, id: Role) -> bool:
    """Remove a role that no account has."""
    role = changeable(call, id)
    _demand_unused(call, role, "delete it")
    write(call.session, delete(RolePermission).where(RolePermission.role_id == role.id))
    role.remove()
    roles.changed(call.session)
    return True


@command("enableRole", OneRole, SuccessResponse, event="ROLE.ENABLE")
def enable_role(call: Call, id: Role) -> bool:
    """Let the users of a role use its commands again."""
    role = changeable(call, id)
    with granting(call, role):
        role.state = roles.ENABLED
    end_sessions(call.session, Account.role_id == role.id)  # one that a login opened meanwhile does not come back
    return True


@command("disableRole", OneRole, SuccessResponse, event="ROLE.DISABLE")
def disable_role(call: Call, id: Role) -> bool:
    """Let the users of a role use no command."""
    role = changeable(call, id)
    if role.id == call.role.id:
        raise Invalid(f"The role {role.name} is your own; whoever has another must disable it.")
    role.state = roles.DISABLED
    end_sessions(call.session, Account.role_id == role.id)
    roles.changed(call.session)
    return True


class ImportRole(Request):
    name = Text("its name", required=True)
    rules = MapList("its rules in order: rules[0].rule, rules[0].permission and rules[0].description", required=True)
    type = Choice("its type", TYPES)
    description = Text("what it is for")
    ispublic = Flag("whether administrators of domains see it", default=True)
    forced = Flag("put it in the place of a role of that name", default=False)


@command("importRole", ImportRole, RoleResponse, event="ROLE.IMPORT")
def import_role(call: Call, given: Given) -> Role:
    """Make a role with rules that listRolePermissions gave, or give them to the role of that name."""
    rules = [_imported(entry) for entry in given.rules]
    if len(rules) > MOST_RULES or len({rule.lower() for rule, _, _ in rules}) < len(rules):
        raise Invalid(f"A role has at most {MOST_RULES} rules, each pattern once.")
    old = call.session.scalar(select(Role).where(Role.live == given.name.lower()))
    if old is not None and not given.forced:
        raise Invalid(f"{_taken(given.name)} With forced=true this one takes its place.")
    if old is None and given.type is None:
        raise Invalid("A new role needs a type.")
    role = changeable(call, old) if old is not None else Role(name=given.name, live=given.name.lower())
    if old is not None and given.type not in (None, role.type):
        _demand_unused(call, role, "change its type")
    with granting(call, role):
        role.type = given.type or role.type
        role.description = given.description if given.description is not None else role.description or ""
        role.is_public = given.ispublic
        call.add(role, taken=_taken(given.name))
        write(call.session, delete(RolePermission).where(RolePermission.role_id == role.id))
        add_rules(call, role, rules)
    return role


def _imported(entry: dict[str, str]) -> tuple[str, str, str]:
    if not {"rule", "permission"} <= set(entry) <= RULE_PARTS:
        raise Invalid("Each entry of rules holds a rule and a permission, and may hold a description; nothing else.")
    return checked_rule(entry["rule"]), checked_permission(entry["permission"]), entry.get("description", "")[:255]


def checked_rule(rule: str) -> str:
    """:raises Invalid: it is no name of a command, nor a pattern"""
    if not rule.replace("*", "").isascii() or not rule.replace("*", "a").isalnum() or len(rule) > MOST_LETTERS:
        raise Invalid(f"The rule {rule} is neither a command's name nor a pattern of letters, digits and *.")
    return rule


def checked_permission(permission: str) -> str:
    """:raises Invalid: it is neither allow nor deny"""
    if permission.lower() not in (roles.ALLOW, roles.DENY):
        raise Invalid(f"A permission is allow or deny, not {permission}.")
    return permission.lower()
