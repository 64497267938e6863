"""Regions: the clouds that know each other; this one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from manager.api.call import Call
from manager.api.command import EVERYONE, ListRequest, Page, command
from manager.api.commands.place import narrowed, with_keyword
from manager.api.fields import Integer, Text
from manager.api.response import Bool, Int, Response, Shown, Str
from manager.models import Region


class RegionResponse(Response):
    object_key = "region"
    shows = Region
    id = Int("the region's id")
    name = Str("its name")
    endpoint = Str("the URL of its API")
    gslbserviceenabled = Bool("whether it balances load between regions: false")
    portableipserviceenabled = Bool("whether addresses move between its zones: false")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Region]) -> list[Shown]:  # noqa: ARG003 - a region shows itself alone
        none = {"gslbserviceenabled": False, "portableipserviceenabled": False}
        return [{"id": row.id, "name": row.name, "endpoint": row.endpoint, **none} for row in rows]


class ListRegions(ListRequest):
    id = Integer("only this region")
    name = Text("only the region of this name")


@command("listRegions", ListRegions, RegionResponse, roles=EVERYONE)
def list_regions(call: Call, **filters: Any) -> Page:
    """List regions."""
    query = narrowed(select(Region), filters, {"id": Region.id, "name": Region.name})
    return call.paged(with_keyword(query, filters["keyword"], Region.name).order_by(Region.id))
