"""Regions: the clouds that know each other; this one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from manager.api.call import Call
from manager.api.command import EVERYONE, ListRequest, Page, Request, command
from manager.api.commands.place import named, narrowed, split_url, with_keyword
from manager.api.errors import Invalid
from manager.api.fields import Integer, Ref, Text
from manager.api.response import Bool, Int, Response, Shown, Str, SuccessResponse
from manager.models import PortableRange, Region


class RegionResponse(Response):
    object_key = "region"
    shows = Region
    id = Int("the region's id")
    name = Str("its name")
    endpoint = Str("the URL of its API")
    gslbserviceenabled = Bool("whether it balances load between regions: false")
    portableipserviceenabled = Bool("whether it has addresses that move between its zones")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Region]) -> list[Shown]:
        query = select(PortableRange.region_id).where(PortableRange.removed.is_(None)).distinct()
        portable = set(call.session.scalars(query))
        return [
            {
                "id": row.id,
                "name": row.name,
                "endpoint": row.endpoint,
                "gslbserviceenabled": False,
                "portableipserviceenabled": row.id in portable,
            }
            for row in rows
        ]


OWN = 1
"""The id of the region that this cloud is."""


class ListRegions(ListRequest):
    id = Integer("only this region")
    name = Text("only the region of this name")


@command("listRegions", ListRegions, RegionResponse, roles=EVERYONE)
def list_regions(call: Call, **filters: Any) -> Page:
    """List regions."""
    query = narrowed(select(Region), filters, {"id": Region.id, "name": Region.name})
    return call.paged(with_keyword(query, filters["keyword"], Region.name).order_by(Region.id))


class AddRegion(Request):
    id = Integer("its number, new among the regions", least=1, most=255, required=True)
    name = Text("its name, new among the regions", required=True)
    endpoint = Text("the URL of its API", required=True)


@command("addRegion", AddRegion, RegionResponse, event="REGION.ADD")
def add_region(call: Call, id: int, name: str, endpoint: str) -> Region:
    """Make another region known, so that clients find its API."""
    region = Region(id=id, name=named("region", name), endpoint=_url(endpoint))
    stored: Region = call.add(region, taken=f"There is a region {id}, or one named {name}, already.")
    return stored


def _url(text: str) -> str:
    parts = split_url(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in text:
        raise Invalid(f"The endpoint {text} is not an http or https URL with a host, without user name and password.")
    return text


class UpdateRegion(Request):
    id = Ref(Region, "the region", required=True, kind="integer")
    name = Text("another name")
    endpoint = Text("another URL of its API")


@command("updateRegion", UpdateRegion, RegionResponse, event="REGION.UPDATE")
def update_region(call: Call, id: Region, name: str | None, endpoint: str | None) -> Region:
    """Change how a region is known."""
    if name is not None:
        id.name = named("region", name)
    if endpoint is not None:
        id.endpoint = _url(endpoint)
    call.flush(taken=f"There is a region named {name} already.")
    return id


class RemoveRegion(Request):
    id = Ref(Region, "the region", required=True, kind="integer")


@command("removeRegion", RemoveRegion, SuccessResponse, event="REGION.DELETE")
def remove_region(call: Call, id: Region) -> bool:
    """Forget another region. The own one stays."""
    if id.id == OWN:
        raise Invalid(f"The region {id.name} is this cloud; it cannot be removed.")
    call.session.delete(id)
    return True
