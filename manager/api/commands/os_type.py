"""Guest operating systems and their categories."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from manager.api.call import Call
from manager.api.command import EVERYONE, IconListRequest, ListRequest, Page, command
from manager.api.fields import Ref, Text
from manager.api.response import Bool, Response, Shown, Str, When
from manager.api.rows import by_id
from manager.models import OsCategory, OsType


class OsTypeResponse(Response):
    object_key = "ostype"
    shows = OsType
    id = Str("the operating system's id")
    description = Str("its name")
    oscategoryid = Str("the id of its category")
    oscategoryname = Str("the name of its category")
    isuserdefined = Bool("always false")
    fordisplay = Bool("always true")

    @classmethod
    def render(cls, call: Call, rows: Sequence[OsType]) -> list[Shown]:
        categories = by_id(call, OsCategory, (row.category_id for row in rows))
        return [
            {
                "id": row.id,
                "description": row.name,
                "oscategoryid": row.category_id,
                "oscategoryname": categories[row.category_id].name,
                "isuserdefined": False,
                "fordisplay": True,
            }
            for row in rows
        ]


class ListOsTypes(ListRequest):
    id = Ref(OsType, "only this operating system")
    oscategoryid = Ref(OsCategory, "only operating systems of this category")
    description = Text("only the operating system of this name")


@command("listOsTypes", ListOsTypes, OsTypeResponse, roles=EVERYONE)
def list_os_types(
    call: Call, id: OsType | None, oscategoryid: OsCategory | None, description: str | None, keyword: str | None
) -> Page:
    """List guest operating systems."""
    query = select(OsType).where(OsType.removed.is_(None))
    if id is not None:
        query = query.where(OsType.id == id.id)
    if oscategoryid is not None:
        query = query.where(OsType.category_id == oscategoryid.id)
    if description is not None:
        query = query.where(OsType.name == description)
    if keyword:
        query = query.where(OsType.name.contains(keyword, autoescape=True))
    return call.paged(query.order_by(OsType.name, OsType.id))


class OsCategoryResponse(Response):
    object_key = "oscategory"
    shows = OsCategory
    id = Str("the category's id")
    name = Str("its name")
    created = When("when it was made")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[OsCategory]) -> list[Shown]:
        return [{"id": row.id, "name": row.name, "created": row.created} for row in rows]


class ListOsCategories(IconListRequest):
    id = Ref(OsCategory, "only this category")
    name = Text("only the category of this name")


@command("listOsCategories", ListOsCategories, OsCategoryResponse, roles=EVERYONE)
def list_os_categories(call: Call, id: OsCategory | None, name: str | None, keyword: str | None) -> Page:
    """List categories of guest operating systems."""
    query = select(OsCategory).where(OsCategory.removed.is_(None))
    if id is not None:
        query = query.where(OsCategory.id == id.id)
    if name is not None:
        query = query.where(OsCategory.name == name)
    if keyword:
        query = query.where(OsCategory.name.contains(keyword, autoescape=True))
    return call.paged(query.order_by(OsCategory.name, OsCategory.id))
