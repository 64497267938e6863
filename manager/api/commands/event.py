"""Events: what was done in the cloud, when and by whom."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, or_, select, update

from manager import access
from manager.api.call import Call
from manager.api.command import COMMANDS, EVERYONE, AccountListRequest, Page, Request, SuccessResponse, command
from manager.api.errors import Invalid
from manager.api.fields import Choice, Date, Flag, Integer, ListOf, Ref, Text, Uuid
from manager.api.response import Bool, Map, Response, Shown, Str, When
from manager.api.rows import by_id, owners_of
from manager.db import write
from manager.models import EventRow, User, utcnow
from manager.workflows.vm_leases import EXPIRED, EXPIRING


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
    resourcename = Str("its name at that time")
    parentid = Str("the id of the event that began it")
    created = When("when it happened")
    archived = Bool("whether it is put away")
    jobid = Str("the id of the job that does it")
    sourceaddress = Str("the network address that it was asked from; for root administrators and who asked")
    useragent = Str("the program that asked, as it names itself; likewise")
    parameters = Map("what it was asked with, without secrets; likewise")
    changes = Map("columns of the thing with their values [before, after]", root_only=True)

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
                "resourcename": row.resource_name or None,
                "parentid": starts.get(row.start_number),
                "created": row.created,
                "archived": row.archived,
                "jobid": row.workflow_id,
                "changes": row.changes,
                **(_asked(row) if call.is_root_admin or _is_own(call, users.get(row.user_id)) else {}),
            }
            for row in rows
        ]


def _is_own(call: Call, user: User | None) -> bool:
    return user is not None and user.account_id == call.account.id


def _asked(row: EventRow) -> Shown:
    return {
        "sourceaddress": row.source or None,
        "useragent": row.user_agent or None,
        "parameters": row.parameters or None,
    }


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
    entrytime = Integer("only events of the last so many seconds; goes with duration", least=1)
    duration = Integer("without those of the last so many seconds; goes with entrytime", least=0)
    startid = Ref(EventRow, "only this event and those that it began")
    resourceid = Uuid("only events of the thing with this id")
    resourcetype = Text("only events of this kind of thing")
    archived = Flag("list those that are put away, in place of the others", default=False)


@command("listEvents", ListEvents, EventResponse, roles=EVERYONE)
def list_events(call: Call, **filters: Any) -> Page:
    """List events, the latest first."""
    query = select(EventRow).where(access.visible(call, EventRow), EventRow.archived.is_(filters["archived"]))
    columns = {"type": EventRow.type, "level": EventRow.level, "state": EventRow.state,
               "resourceid": EventRow.resource_id, "resourcetype": EventRow.resource_type}  # fmt: skip
    for name, column in columns.items():
        if filters[name] is not None:
            query = query.where(column == filters[name])
    if filters["id"] is not None:
        query = query.where(EventRow.id == filters["id"].id)
    query = query.where(*in_time(EventRow.created, filters["startdate"], filters["enddate"]))
    query = query.where(*_in_age(filters["entrytime"], filters["duration"]))
    if filters["startid"] is not None:
        number = filters["startid"].number
        query = query.where(or_(EventRow.number == number, EventRow.start_number == number))
    if filters["keyword"]:
        part = filters["keyword"]
        found = (EventRow.type.contains(part, autoescape=True), EventRow.description.contains(part, autoescape=True))
        query = query.where(or_(*found))
    return call.paged(query.order_by(EventRow.number.desc()))


def _in_age(oldest: int | None, youngest: int | None) -> list[ColumnElement[bool]]:
    """Both in seconds."""
    if oldest is None and youngest is None:
        return []
    if oldest is None or youngest is None:
        raise Invalid("entrytime and duration go together.")
    if oldest <= youngest:
        raise Invalid(f"entrytime ({oldest} s) must be greater than duration ({youngest} s).")
    now = utcnow()
    return in_time(EventRow.created, now - dt.timedelta(seconds=oldest), now - dt.timedelta(seconds=youngest))


class Chosen(Request):
    ids = ListOf(Ref(EventRow, ""), "these events")
    type = Text("events of this type")
    startdate = Date("events from this time on")
    enddate = Date("events until this time", end_of_day=True)


def _chosen(call: Call, chosen: dict[str, Any]) -> list[ColumnElement[bool]]:
    """The events that the caller manages and that all that is given admits.

    :raises Invalid: nothing is given, or the times are the wrong way round
    """
    found: list[ColumnElement[bool]] = []
    if chosen["ids"]:
        found.append(EventRow.number.in_([event.number for event in chosen["ids"]]))
    if chosen["type"]:
        found.append(EventRow.type == chosen["type"])
    found += in_time(EventRow.created, chosen["startdate"], chosen["enddate"])
    if not found:
        raise Invalid("One of the parameters ids, type, startdate and enddate must say which events are meant.")
    return [access.reach(call, EventRow, access.MANAGE), *found]


def in_time(column: Any, start: dt.datetime | None, end: dt.datetime | None) -> list[ColumnElement[bool]]:
    """Conditions that `column` lies within two times, as far as they are given.

    :raises Invalid: they are the wrong way round
    """
    if start is not None and end is not None and start > end:
        raise Invalid(f"The startdate {start} is after the enddate {end}.")
    found: list[ColumnElement[bool]] = []
    if start is not None:
        found.append(column >= start)
    if end is not None:
        found.append(column <= end)
    return found


@command("archiveEvents", Chosen, SuccessResponse, roles=EVERYONE, event="EVENT.ARCHIVE")
def archive_events(call: Call, **chosen: Any) -> bool:
    """Put events away, so that listEvents shows them only when asked for archived ones."""
    write(call.session, update(EventRow).where(*_chosen(call, chosen)).values(archived=True))
    return True


@command("deleteEvents", Chosen, SuccessResponse, roles=EVERYONE, event="EVENT.DELETE")
def delete_events(call: Call, **chosen: Any) -> bool:
    """Remove events; that, too, leaves an event, with who did it and which were meant."""
    write(call.session, delete(EventRow).where(*_chosen(call, chosen)))
    return True


class EventTypeResponse(Response):
    object_key = "eventtype"
    name = Str("the type of event")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[str]) -> list[Shown]:
        return [{"name": row} for row in rows]


@command("listEventTypes", Request, EventTypeResponse, roles=EVERYONE)
def list_event_types(_call: Call) -> Page:
    """List the types of events that there are."""
    rows = sorted({*(api.event for api in COMMANDS.values()), EXPIRING, EXPIRED} - {""})
    return Page(rows, len(rows))
