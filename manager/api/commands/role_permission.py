"""The rules of roles: each allows or denies commands, and the first that matches counts."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from manager import access, roles
from manager.api.call import Call
from manager.api.command import Page, Request, command
from manager.api.commands.role import changeable, checked_permission, checked_rule, granting
from manager.api.errors import Invalid
from manager.api.fields import ListOf, Ref, Text
from manager.api.response import Response, Shown, Str, SuccessResponse
from manager.api.rows import by_id
from manager.models import Role, RolePermission


class RolePermissionResponse(Response):
    object_key = "rolepermission"
    shows = RolePermission
    id = Str("the rule's id")
    roleid = Str("the id of its role")
    rolename = Str("its role")
    rule = Str("a command's name, or a pattern with *")
    permission = Str("allow or deny")
    description = Str("what it is for")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Any]) -> list[Shown]:
        names = by_id(call, Role, {row.role_id for row in rows})
        return [
            {
                "id": row.id,
                "roleid": row.role_id,
                "rolename": names[row.role_id].name,
                "rule": row.rule,
                "permission": row.permission,
                "description": row.description or None,
            }
            for row in rows
        ]


class ListRolePermissions(Request):
    roleid = Ref(Role, "only the rules of this role")


@command("listRolePermissions", ListRolePermissions, RolePermissionResponse)
def list_role_permissions(call: Call, roleid: Role | None) -> Page:
    """List the rules of roles in the order in which they are tried."""
    query = select(Role).where(Role.removed.is_(None)).order_by(Role.name)
    wanted = [roleid] if roleid is not None else call.session.scalars(query).all()
    stored = select(RolePermission).where(RolePermission.role_id.in_([role.id for role in wanted]))
    rows: list[Any] = list(call.session.scalars(stored.order_by(RolePermission.role_id, RolePermission.position)))
    for role in wanted:
        if role.is_default:
            rows += _declared(call, role)
    return Page(rows, len(rows))


def _declared(call: Call, role: Role) -> list[RolePermission]:
    """The rules of a default role, which no table holds; their ids are the same at every call."""
    known = roles.known_role(call.session, role.id)
    return [
        RolePermission(
            id=str(uuid.uuid5(uuid.UUID(role.id), rule)), role_id=role.id, rule=rule, permission=permission,
            description="", position=position,
        )
        for position, (rule, permission) in enumerate(access.rules_of(known))
    ]  # fmt: skip


class CreateRolePermission(Request):
    roleid = Ref(Role, "the role", required=True, right=access.MANAGE)
    rule = Text("a command's name, or a pattern with *", required=True)
    permission = Text("allow or deny", required=True)
    description = Text("what it is for")


@command(
    "createRolePermission",
    CreateRolePermission,
    RolePermissionResponse,
    creates=True,
    event="ROLE.PERMISSION.CREATE",
)
def create_role_permission(
    call: Call, roleid: Role, rule: str, permission: str, description: str | None
) -> RolePermission:
    """Add a rule to a role, behind the rules that it has."""
    role = changeable(call, roleid)
    last = call.session.scalar(select(func.max(RolePermission.position)).where(RolePermission.role_id == role.id))
    made = RolePermission(
        role_id=role.id,
        rule=checked_rule(rule),
        permission=checked_permission(permission),
        description=description or "",
        position=0 if last is None else last + 1,
    )
    with granting(call, role):
        call.add(made, taken=f"The role {role.name} has a rule {rule} already.")
    return made


class UpdateRolePermission(Request):
    roleid = Ref(Role, "the role", required=True, right=access.MANAGE)
    ruleorder = ListOf(Ref(RolePermission, "", right=access.MANAGE), "all rules of the role in their new order")
    ruleid = Ref(RolePermission, "the rule to change", right=access.MANAGE)
    permission = Text("allow or deny")


@command("updateRolePermission", UpdateRolePermission, SuccessResponse, event="ROLE.PERMISSION.UPDATE")
def update_role_permission(
    call: Call,
    roleid: Role,
    ruleorder: list[RolePermission] | None,
    ruleid: RolePermission | None,
    permission: str | None,
) -> bool:
    """Change the order of a role's rules, or what one of them says."""
    role = changeable(call, roleid)
    if (ruleorder is None) == (ruleid is None) or (ruleid is None) != (permission is None):
        raise Invalid("Give either ruleorder, or ruleid with permission.")
    call.subject = role
    with granting(call, role):
        if ruleorder is not None:
            _reorder(call, role, ruleorder)
        elif ruleid is not None and permission is not None:
            if ruleid.role_id != role.id:
                raise Invalid(f"The rule {ruleid.id} is none of the role {role.name}.")
            ruleid.permission = checked_permission(permission)
    return True


def _reorder(call: Call, role: Role, wanted: list[RolePermission]) -> None:
    held = set(call.session.scalars(select(RolePermission.id).where(RolePermission.role_id == role.id)))
    if len(wanted) != len(held) or {rule.id for rule in wanted} != held:
        raise Invalid(
            f"The parameter ruleorder must name each of the {len(held)} rules of the role {role.name} once; "
            "list them again, they may have changed."
        )
    for position, rule in enumerate(wanted):
        rule.position = position


class DeleteRolePermission(Request):
    id = Ref(RolePermission, "the rule", required=True)


@command("deleteRolePermission", DeleteRolePermission, SuccessResponse, event="ROLE.PERMISSION.DELETE")
def delete_role_permission(call: Call, id: RolePermission) -> bool:
    """Remove a rule of a role."""
    role = changeable(call, call.session.get_one(Role, id.role_id))
    call.subject = role
    with granting(call, role):
        call.session.delete(id)
    return True
