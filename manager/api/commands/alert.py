"""Alerts: troubles that operators are told of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, or_, select, update

from manager import alerts
from manager.api.call import Call
from manager.api.command import Given, ListRequest, Page, Request, SuccessResponse, command
from manager.api.commands.event import in_time
from manager.api.errors import Invalid
from manager.api.fields import Date, Integer, ListOf, Ref, Text
from manager.api.response import Int, Response, Shown, Str, When
from manager.db import write
from manager.models import Alert, Pod, WorkflowRow, Zone, utcnow

LARGEST_TYPE = 32767


class AlertResponse(Response):
    object_key = "alert"
    shows = Alert
    id = Str("the alert's id")
    type = Int("its type, as listAlertTypes tells it")
    name = Str("the name of the type")
    description = Str("what the trouble is")
    sent = When("when it was raised")
    resolved = When("when the trouble was over")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[Alert]) -> list[Shown]:
        return [
            {
                "id": row.id,
                "type": row.type,
                "name": row.name,
                "description": row.description,
                "sent": row.sent,
                "resolved": row.resolved,
            }
            for row in rows
        ]


class ListAlerts(ListRequest):
    id = Ref(Alert, "only this alert")
    type = Text("only alerts of this type, by its number")
    name = Text("only alerts of the type of this name")


@command("listAlerts", ListAlerts, AlertResponse)
def list_alerts(call: Call, given: Given) -> Page:
    """List alerts that are not put away, the latest first."""
    query = select(Alert).where(Alert.archived.is_(False), Alert.sent.is_not(None))
    if given.id is not None:
        query = query.where(Alert.number == given.id.number)
    if given.type:
        query = query.where(Alert.type == _number(given.type))
    if given.name:
        query = query.where(Alert.name == given.name)
    if given.keyword:
        found = (Alert.name.contains(given.keyword, autoescape=True),
                 Alert.description.contains(given.keyword, autoescape=True))  # fmt: skip
        query = query.where(or_(*found))
    return call.paged(query.order_by(Alert.number.desc()))


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > LARGEST_TYPE:
        raise Invalid(f"The type {text} is not the number of an alert type.")
    return int(text)


class Chosen(Request):
    ids = ListOf(Ref(Alert, ""), "these alerts")
    type = Text("alerts of this type, by its number")
    startdate = Date("alerts from this time on")
    enddate = Date("alerts until this time", end_of_day=True)


def _chosen(given: Given) -> list[ColumnElement[bool]]:
    """:raises Invalid: nothing says which alerts are meant"""
    found: list[ColumnElement[bool]] = in_time(Alert.sent, given.startdate, given.enddate)
    if given.ids:
        found.append(Alert.number.in_([alert.number for alert in given.ids]))
    if given.type:
        found.append(Alert.type == _number(given.type))
    if not found:
        raise Invalid("One of the parameters ids, type, startdate and enddate must say which alerts are meant.")
    return [*found, Alert.sent.is_not(None)]


@command("archiveAlerts", Chosen, SuccessResponse, event="ALERT.ARCHIVE")
def archive_alerts(call: Call, given: Given) -> bool:
    """Put alerts away. That of a trouble that lasts is not raised again before it was over."""
    _put_away(call, _chosen(given))
    return True


@command("deleteAlerts", Chosen, SuccessResponse, event="ALERT.DELETE")
def delete_alerts(call: Call, given: Given) -> bool:
    """Remove alerts; that of a trouble that lasts is only put away, so that it is not raised anew at once."""
    chosen = _chosen(given)
    _put_away(call, chosen)
    write(call.session, delete(Alert).where(*chosen, Alert.open.is_(None)))
    return True


def _put_away(call: Call, chosen: list[ColumnElement[bool]]) -> None:
    """What no look at the cloud ends is over when it is put away, and raised anew when it happens again."""
    write(call.session, update(Alert).where(*chosen).values(archived=True))
    once = Alert.open.startswith(f"{alerts.ONCE}:")
    write(call.session, update(Alert).where(*chosen, once).values(open=None, resolved=utcnow()))


class GenerateAlert(Request):
    type = Integer("its type, as listAlertTypes tells it, or a number of your own", required=True, most=LARGEST_TYPE)
    name = Text("the name of the type", required=True)
    description = Text("what the trouble is", max_length=999, lines=True, required=True)
    zoneid = Ref(Zone, "the zone that it concerns")
    podid = Ref(Pod, "the pod that it concerns")


@command("generateAlert", GenerateAlert, SuccessResponse, is_async=True, event="ALERT.GENERATE")
def generate_alert(call: Call, given: Given) -> WorkflowRow:
    """Raise an alert."""
    known = alerts.TYPES.get(given.type)
    if known is not None and known.lower() != given.name.lower():
        raise Invalid(f"The alert type {given.type} is {known}, not {given.name}; take another number for your own.")
    if given.podid is not None and given.zoneid is not None and given.podid.zone_id != given.zoneid.id:
        raise Invalid(f"The pod {given.podid.name} is not in the zone {given.zoneid.name}.")
    places: dict[str, Any] = {
        "zone_id": given.zoneid.id if given.zoneid else None,
        "pod_id": given.podid.id if given.podid else None,
    }
    alert = Alert(type=given.type, name=known or given.name, description=given.description, sent=utcnow(), **places)
    return call.job_done(call.add(alert))


class AlertTypeResponse(Response):
    object_key = "alerttype"
    alerttypeid = Int("the type's number")
    name = Str("its name")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[int]) -> list[Shown]:
        return [{"alerttypeid": row, "name": alerts.TYPES[row]} for row in rows]


@command("listAlertTypes", Request, AlertTypeResponse)
def list_alert_types(_call: Call) -> Page:
    """List the types of alerts that the cloud raises by itself."""
    return Page(list(alerts.TYPES), len(alerts.TYPES))
