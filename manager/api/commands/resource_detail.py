"""Details of virtual machines and templates: free names and values that are shown with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from manager import access
from manager.api.call import Call
from manager.api.command import EVERYONE, AccountListRequest, Page, Request, Response, SuccessResponse, command
from manager.api.errors import Invalid
from manager.api.fields import MapOf, Text, Uuid
from manager.api.response import Bool, Shown, Str
from manager.models import Template, Vm, WorkflowRow

DETAILED: dict[str, type[Any]] = {"UserVm": Vm, "Template": Template}
LONGEST = 1024


def _kind(name: str) -> str:
    for kind in DETAILED:
        if kind.lower() == name.lower():
            return kind
    raise Invalid(f"There are no details of {name}; the resource type is one of {', '.join(DETAILED)}.")


def _thing(call: Call, kind: str, identifier: str) -> Any:
    """The thing, whose row stays locked until the call ends: details are changed one after the other."""
    (thing,) = access.entities(call, DETAILED[kind], "resourceid", [identifier], access.MANAGE)
    call.subject = thing
    call.session.refresh(thing, with_for_update=True)
    return thing


class AddResourceDetail(Request):
    resourcetype = Text("UserVm or Template", required=True)
    resourceid = Uuid("the thing", required=True)
    details = MapOf("the details", max_length=LONGEST, required=True)


@command(
    "addResourceDetail",
    AddResourceDetail,
    SuccessResponse,
    is_async=True,
    roles=EVERYONE,
    event="RESOURCE.DETAIL.CREATE",
)
def add_resource_detail(call: Call, resourcetype: str, resourceid: str, details: dict[str, str]) -> WorkflowRow:
    """Put details on a thing; one of a name that it has takes the place of that."""
    thing = _thing(call, _kind(resourcetype), resourceid)
    thing.details = {**(thing.details or {}), **details}
    call.flush()
    return call.job_done(thing)


class RemoveResourceDetail(Request):
    resourcetype = Text("UserVm or Template", required=True)
    resourceid = Uuid("the thing", required=True)
    key = Text("the name of the detail; all when absent")


@command(
    "removeResourceDetail",
    RemoveResourceDetail,
    SuccessResponse,
    is_async=True,
    roles=EVERYONE,
    event="RESOURCE.DETAIL.REMOVE",
)
def remove_resource_detail(call: Call, resourcetype: str, resourceid: str, key: str | None) -> WorkflowRow:
    """Take a detail, or all, off a thing."""
    thing = _thing(call, _kind(resourcetype), resourceid)
    thing.details = {name: value for name, value in (thing.details or {}).items() if key is not None and name != key}
    call.flush()
    return call.job_done(thing)


class ResourceDetailResponse(Response):
    object_key = "resourcedetail"
    resourceid = Str("the id of the thing that it is on")
    resourcetype = Str("the kind of that thing")
    key = Str("the detail's name")
    value = Str("its value")
    fordisplay = Bool("always true")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[Shown]) -> list[Shown]:
        return list(rows)


class ListResourceDetails(AccountListRequest):
    resourcetype = Text("UserVm or Template", required=True)
    resourceid = Uuid("only details of this thing")
    key = Text("only the detail of this name")
    value = Text("only details of this value")


@command("listResourceDetails", ListResourceDetails, ResourceDetailResponse, roles=EVERYONE)
def list_resource_details(call: Call, **filters: Any) -> Page:
    """List details of virtual machines or templates."""
    kind = _kind(filters["resourcetype"])
    model = DETAILED[kind]
    query = select(model.id, model.details).where(access.visible(call, model)).order_by(model.id)
    if filters["resourceid"] is not None:
        query = query.where(model.id == filters["resourceid"])
    rows = [
        {"resourceid": thing_id, "resourcetype": kind, "key": key, "value": str(value), "fordisplay": True}
        for thing_id, details in call.session.execute(query)
        for key, value in sorted((details or {}).items())
        if filters["key"] in (None, key)
        and filters["value"] in (None, str(value))
        and (filters["keyword"] or "").lower() in key.lower()
    ]
    return call.window(rows)
