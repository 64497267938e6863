"""Deliveries of webhooks: what was sent to receivers, and what they said."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, or_, select

from manager import access
from manager.api.call import Call
from manager.api.command import EVERYONE, Given, ListRequest, Page, Request, SuccessResponse, command
from manager.api.commands.event import in_time
from manager.api.commands.webhook import checked_url
from manager.api.errors import Invalid
from manager.api.fields import Date, Flag, Ref, Text
from manager.api.response import Bool, Response, Shown, Str, When
from manager.api.rows import by_id
from manager.db import write
from manager.models import Webhook, WebhookDelivery
from manager.workflows.webhooks import TRIAL, delivery_of
from storage.addresses import URL_LIMIT

LONGEST_PAYLOAD = 16_000


class WebhookDeliveryResponse(Response):
    object_key = "webhookdelivery"
    shows = WebhookDelivery
    id = Str("the delivery's id")
    eventid = Str("the id of the event that it tells of")
    eventtype = Str("the type of that event")
    webhookid = Str("the id of the webhook")
    webhookname = Str("its name")
    headers = Str("the headers that were sent")
    payload = Str("what was sent")
    success = Bool("whether the receiver took it; absent while it waits or is tried again")
    response = Str("what the receiver answered last, or why it did not")
    startdate = When("when it was first tried")
    enddate = When("when it was taken or given up")

    @classmethod
    def render(cls, call: Call, rows: Sequence[WebhookDelivery]) -> list[Shown]:
        webhooks = by_id(call, Webhook, (row.webhook_id for row in rows))
        return [
            {
                "id": row.id,
                "eventid": row.event_id,
                "eventtype": row.event_type,
                "webhookid": row.webhook_id,
                "webhookname": webhooks[row.webhook_id].name if row.webhook_id in webhooks else None,
                "headers": row.headers or None,
                "payload": row.payload,
                "success": None if row.status == "open" else row.status == "done",
                "response": row.response or None,
                "startdate": row.started or row.created,
                "enddate": row.ended,
            }
            for row in rows
        ]


class ExecuteWebhookDelivery(Request):
    id = Ref(WebhookDelivery, "a delivery to make once more")
    webhookid = Ref(Webhook, "the webhook to make a delivery to, for a trial", right="manage")
    payloadurl = Text("where to send a trial, in place of webhookid", max_length=URL_LIMIT)
    secretkey = Text("with payloadurl: the key that signs the trial")
    sslverification = Flag("with payloadurl: whether to check the receiver's certificate", default=True)
    payload = Text("what to send in a trial", max_length=LONGEST_PAYLOAD, lines=True)


@command(
    "executeWebhookDelivery",
    ExecuteWebhookDelivery,
    WebhookDeliveryResponse,
    roles=EVERYONE,
    event="WEBHOOK.DELIVERY.EXECUTE",
)
def execute_webhook_delivery(call: Call, given: Given) -> WebhookDelivery:
    """Make a delivery once more, or a trial. It is sent at once after this answer; the lists tell what came of it."""
    if sum(one is not None for one in (given.id, given.webhookid, given.payloadurl)) != 1:
        raise Invalid("One of the parameters id, webhookid and payloadurl must say what to deliver where.")
    if given.id is not None:
        delivery = _again(given.id)
    elif given.webhookid is not None:
        delivery = delivery_of(given.webhookid, given.payload or "{}")
    else:
        delivery = WebhookDelivery(
            account_id=call.account.id,
            event_type=TRIAL,
            payload_url=checked_url(given.payloadurl),
            secret_key=given.secretkey or None,
            ssl_verification=given.sslverification,
            payload=given.payload or "{}",
        )
    stored: WebhookDelivery = call.add(delivery)
    call.subject = stored
    return stored


def _again(old: WebhookDelivery) -> WebhookDelivery:
    same = ("webhook_id", "account_id", "event_id", "event_type", "payload_url", "secret_key", "ssl_verification",
            "payload")  # fmt: skip
    return WebhookDelivery(**{name: getattr(old, name) for name in same})


class ListWebhookDeliveries(ListRequest):
    id = Ref(WebhookDelivery, "only this delivery")
    webhookid = Ref(Webhook, "only deliveries of this webhook")
    startdate = Date("only deliveries from this time on")
    enddate = Date("only deliveries until this time", end_of_day=True)
    eventtype = Text("only deliveries of events of this type")


@command("listWebhookDeliveries", ListWebhookDeliveries, WebhookDeliveryResponse, roles=EVERYONE)
def list_webhook_deliveries(call: Call, given: Given) -> Page:
    """List deliveries, the latest first."""
    query = select(WebhookDelivery).where(*_matching(call, given, access.READ))
    if given.eventtype:
        query = query.where(WebhookDelivery.event_type == given.eventtype)
    if given.keyword:
        found = (WebhookDelivery.event_type, WebhookDelivery.payload)
        query = query.where(or_(*(column.contains(given.keyword, autoescape=True) for column in found)))
    return call.paged(query.order_by(WebhookDelivery.number.desc()))


def _matching(call: Call, given: Given, right: str) -> list[ColumnElement[bool]]:
    start: dt.datetime | None = given.startdate
    found: list[Any] = [access.reach(call, WebhookDelivery, right)]
    found += in_time(WebhookDelivery.created, start, given.enddate)
    if given.id is not None:
        found.append(WebhookDelivery.number == given.id.number)
    if given.webhookid is not None:
        found.append(WebhookDelivery.webhook_id == given.webhookid.id)
    return found


class DeleteWebhookDelivery(Request):
    id = Ref(WebhookDelivery, "this delivery")
    webhookid = Ref(Webhook, "deliveries of this webhook", right="manage")
    startdate = Date("deliveries from this time on")
    enddate = Date("deliveries until this time", end_of_day=True)


@command(
    "deleteWebhookDelivery",
    DeleteWebhookDelivery,
    SuccessResponse,
    roles=EVERYONE,
    event="WEBHOOK.DELIVERY.DELETE",
)
def delete_webhook_delivery(call: Call, given: Given) -> bool:
    """Remove deliveries; those that wait are not sent any more."""
    chosen = _matching(call, given, access.MANAGE)
    if len(chosen) == 1:
        raise Invalid("One of the parameters id, webhookid, startdate and enddate must say which deliveries are meant.")
    write(call.session, delete(WebhookDelivery).where(*chosen))
    return True
