"""Events: what was done in the cloud, when and by whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import or_, select

from manager import access
from manager.api.call import Call
from manager.api.command import COMMANDS, EVERYONE, AccountListRequest, Page, Request, command
from manager.api.fields import Choice, Date, Ref, Text, Uuid
from manager.api.response import Bool, Response, Shown, Str, When
from manager.api.rows import by_id, owners_of
from manager.models import EventRow, User


class EventResponse(Response):
    object_key = "event"
    shows = EventRow
    id = Str("the event's id")
    type = Str("what was done")
    level = Str("INFO, WARN or ERROR")
    state = Str("Scheduled, Started or Completed")
    description = Str("what was done, and to what")
    username = Str("who did it")
    account = Str("the account that it belongs to")
    projectid = Str("the id of the project that owns it, in place of the account")
    project = Str("the project that owns it")
    domainid = Str("the id of that account's domain")
    domain = Str("that account's domain")
    domainpath = Str("the path of that account's domain")
    resourceid = Str("the id of what it was done to")
    resourcetype = Str("the kind of thing it was done to")
    parentid = Str("the id of the event that began it")
    created = When("when it happened")
    archived = Bool("whether it is put away")

    @classmethod
    def render(cls, call: Call, rows: Sequence[EventRow]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        users = by_id(call, User, (row.user_id for row in rows))
        starts = _starts(call, rows)
        return [
            {
                "id": row.id,
                "type": row.type,
                "level": row.level,
                "state": row.state,
                "description": row.description,
                "username": users[row.user_id].username if row.user_id in users else None,
                **owners[row.account_id],
                "resourceid": row.resource_id,
                "resourcetype": row.resource_type or None,
                "parentid": starts.get(row.start_number),
                "created": row.created,
                "archived": False,
            }
            for row in rows
        ]


def _starts(call: Call, rows: Sequence[EventRow]) -> dict[int | None, str]:
    numbers = {row.start_number for row in rows} - {None}
    if not numbers:
        return {}
    query = select(EventRow.number, EventRow.id).where(EventRow.number.in_(numbers))
    return {row.number: row.id for row in call.session.execute(query)}


class ListEvents(AccountListRequest):
    id = Ref(EventRow, "only this event")
    type = Text("only events of this type")
    level = Choice("only events of this level", ("INFO", "WARN", "ERROR"))
    state = Choice("only events in this state", ("Created", "Scheduled", "Started", "Completed"))
    startdate = Date("only events from this time on")
    enddate = Date("only events until this time", end_of_day=True)
    startid = Ref(EventRow, "only this event and those that it began")
    resourceid = Uuid("only events of the thing with this id")
    resourcetype = Text("only events of this kind of thing")


@command("listEvents", ListEvents, EventResponse, roles=EVERYONE)
def list_events(call: Call, **filters: Any) -> Page:
    """List events, the latest first."""
    query = select(EventRow).where(access.visible(call, EventRow))
    columns = {"type": EventRow.type, "level": EventRow.level, "state": EventRow.state,
               "resourceid": EventRow.resource_id, "resourcetype": EventRow.resource_type}  # fmt: skip
    for name, column in columns.items():
        if filters[name] is not None:
            query = query.where(column == filters[name])
    if filters["id"] is not None:
        query = query.where(EventRow.id == filters["id"].id)
    if filters["startdate"] is not None:
        query = query.where(EventRow.created >= filters["startdate"])
    if filters["enddate"] is not None:
        query = query.where(EventRow.created <= filters["enddate"])
    if filters["startid"] is not None:
        number = filters["startid"].number
        query = query.where(or_(EventRow.number == number, EventRow.start_number == number))
    if filters["keyword"]:
        part = filters["keyword"]
        found = (EventRow.type.contains(part, autoescape=True), EventRow.description.contains(part, autoescape=True))
        query = query.where(or_(*found))
    return call.paged(query.order_by(EventRow.number.desc()))


class EventTypeResponse(Response):
    object_key = "eventtype"
    name = Str("the type of event")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[str]) -> list[Shown]:
        return [{"name": row} for row in rows]


@command("listEventTypes", Request, EventTypeResponse, roles=EVERYONE)
def list_event_types(_call: Call) -> Page:
    """List the types of events that there are."""
    rows = sorted({api.event for api in COMMANDS.values()} - {""})
    return Page(rows, len(rows))
