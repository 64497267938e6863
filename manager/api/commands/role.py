"""Roles: which commands the users of an account may use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from manager import access
from manager.api.call import Call
from manager.api.command import STAFF, ListRequest, Page, command
from manager.api.fields import Choice, Ref, Text
from manager.api.response import Bool, Response, Shown, Str
from manager.models import Role

TYPES = ("Admin", "ResourceAdmin", "DomainAdmin", "User")


class RoleResponse(Response):
    object_key = "role"
    shows = Role
    id = Str("the role's id")
    name = Str("its name")
    type = Str("Admin, ResourceAdmin, DomainAdmin or User")
    description = Str("what it is for")
    isdefault = Bool("whether it came with the cloud")
    ispublic = Bool("whether all administrators see it")
    state = Str("enabled")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[Role]) -> list[Shown]:
        return [
            {
                "id": row.id,
                "name": row.name,
                "type": row.type,
                "description": row.description,
                "isdefault": row.is_default,
                "ispublic": True,
                "state": "enabled",
            }
            for row in rows
        ]


class ListRoles(ListRequest):
    id = Ref(Role, "only this role")
    name = Text("only the role of this name")
    type = Choice("only roles of this type", TYPES)


@command("listRoles", ListRoles, RoleResponse, roles=STAFF)
def list_roles(call: Call, **filters: Any) -> Page:
    """List roles."""
    query = select(Role).where(access.reach(call, Role, access.READ), Role.removed.is_(None))
    if filters["id"] is not None:
        query = query.where(Role.id == filters["id"].id)
    if filters["name"] is not None:
        query = query.where(Role.name == filters["name"])
    if filters["type"] is not None:
        query = query.where(Role.type == filters["type"])
    if filters["keyword"]:
        query = query.where(Role.name.contains(filters["keyword"], autoescape=True))
    return call.paged(query.order_by(Role.name, Role.id))
