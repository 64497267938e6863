"""Webhooks: receivers of events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select, update

from manager import access
from manager.api.call import Call
from manager.api.command import (
    ADMINS,
    EVERYONE,
    AccountListRequest,
    Given,
    OwnedRequest,
    Page,
    Request,
    SuccessResponse,
    command,
)
from manager.api.commands.place import named, with_keyword
from manager.api.errors import Denied, Invalid
from manager.api.fields import Choice, Flag, Ref, Text
from manager.api.response import Bool, Response, Shown, Str, When
from manager.api.rows import owners_of
from manager.db import write
from manager.models import Account, Webhook, WebhookDelivery, utcnow
from manager.workflows.webhooks import may_have
from storage.addresses import URL_LIMIT, split_url
from storage.errors import SourceRefused

STATES = ("Enabled", "Disabled")
SCOPES = ("Local", "Domain", "Global")


class WebhookResponse(Response):
    object_key = "webhook"
    shows = Webhook
    id = Str("the webhook's id")
    name = Str("its name")
    description = Str("what it is for")
    state = Str("Enabled or Disabled")
    account = Str("the account that it belongs to")
    projectid = Str("the id of the project that it belongs to, in place of the account")
    project = Str("the project that it belongs to")
    domainid = Str("the id of that account's domain")
    domain = Str("that account's domain")
    domainpath = Str("the path of that account's domain")
    payloadurl = Str("where events are sent to")
    secretkey = Str("the key that signs what is sent")
    sslverification = Bool("whether the receiver's certificate is checked")
    scope = Str("Local: events of the account; Domain: of its domain and all below; Global: all")
    created = When("when it was created")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Webhook]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        return [
            {
                "id": row.id,
                "name": row.name,
                "description": row.description,
                "state": row.state,
                **owners[row.account_id],
                "payloadurl": row.payload_url,
                "secretkey": row.secret_key,
                "sslverification": row.ssl_verification,
                "scope": row.scope,
                "created": row.created,
            }
            for row in rows
        ]


def checked_url(text: str) -> str:
    """:raises Invalid: it is no http or https URL, or has a user name or password in it"""
    try:
        scheme = split_url(text).scheme
    except SourceRefused as error:
        raise Invalid(f"The payload URL cannot be used. {error}") from error
    if scheme == "file":
        raise Invalid("The payload URL must be http or https.")
    return text


class CreateWebhook(OwnedRequest):
    name = Text("its name", required=True)
    description = Text("what it is for", max_length=4096)
    state = Choice("whether it gets events at once", STATES, default="Enabled")
    payloadurl = Text("where to send events: http or https, with a public address", max_length=URL_LIMIT, required=True)
    secretkey = Text("a key that signs what is sent, by HMAC-SHA256 in the header X-CS-Signature")
    sslverification = Flag("whether to check the receiver's certificate", default=True)
    scope = Choice("which events: Local, Domain or Global", SCOPES, default="Local", roles=ADMINS)


@command("createWebhook", CreateWebhook, WebhookResponse, creates=True, roles=EVERYONE, event="WEBHOOK.CREATE")
def create_webhook(call: Call, given: Given) -> Webhook:
    """Create a receiver of events."""
    owner = call.owner
    _demand_scope(owner, given.scope)
    name = named("webhook", given.name)
    webhook = Webhook(
        name=name,
        description=given.description or "",
        state=given.state,
        account_id=owner.id,
        payload_url=checked_url(given.payloadurl),
        secret_key=given.secretkey or None,
        ssl_verification=given.sslverification,
        scope=given.scope,
        live=f"{owner.id}/{name.lower()}",
    )
    stored: Webhook = call.add(webhook, taken=f"The account {owner.name} has a webhook {name} already.")
    return stored


def _demand_scope(owner: Account, scope: str) -> None:
    if not may_have(scope, owner.type):
        raise Denied(f"The account {owner.name} cannot have a webhook of scope {scope}, which shows others' events.")


class UpdateWebhook(Request):
    id = Ref(Webhook, "the webhook", required=True)
    name = Text("its new name")
    description = Text("what it is for", max_length=4096)
    state = Choice("whether it gets events", STATES)
    payloadurl = Text("where to send events", max_length=URL_LIMIT)
    secretkey = Text("a new key; empty for none")
    sslverification = Flag("whether to check the receiver's certificate")
    scope = Choice("which events: Local, Domain or Global", SCOPES, roles=ADMINS)


@command("updateWebhook", UpdateWebhook, WebhookResponse, roles=EVERYONE, event="WEBHOOK.UPDATE")
def update_webhook(call: Call, given: Given) -> Webhook:
    """Change a webhook; what waits to be sent to one that is disabled is given up."""
    webhook: Webhook = given.id
    if given.scope is not None:
        _demand_scope(call.session.get_one(Account, webhook.account_id), given.scope)
        webhook.scope = given.scope
    if given.description is not None:
        webhook.description = given.description
    if given.payloadurl:
        webhook.payload_url = checked_url(given.payloadurl)
    if given.secretkey is not None:
        webhook.secret_key = given.secretkey or None
    if given.sslverification is not None:
        webhook.ssl_verification = given.sslverification
    if given.state is not None:
        webhook.state = given.state
    if webhook.state == "Disabled":
        _give_up(call, webhook)
    if given.name:
        webhook.name = named("webhook", given.name)
        webhook.live = f"{webhook.account_id}/{webhook.name.lower()}"
    call.flush(taken=f"There is a webhook {webhook.name} of that account already.")
    return webhook


def _give_up(call: Call, webhook: Webhook) -> None:
    waiting = (WebhookDelivery.webhook_id == webhook.id, WebhookDelivery.status == "open")
    values: dict[str, Any] = {"status": "failed", "ended": utcnow(), "response": "The webhook was disabled."}
    write(call.session, update(WebhookDelivery).where(*waiting).values(values))


class DeleteWebhook(Request):
    id = Ref(Webhook, "the webhook", required=True)


@command("deleteWebhook", DeleteWebhook, SuccessResponse, roles=EVERYONE, event="WEBHOOK.DELETE")
def delete_webhook(call: Call, id: Webhook) -> bool:
    """Remove a webhook and its deliveries."""
    write(call.session, delete(WebhookDelivery).where(WebhookDelivery.webhook_id == id.id))
    id.remove()
    return True


class ListWebhooks(AccountListRequest):
    id = Ref(Webhook, "only this webhook")
    name = Text("only webhooks of this name")
    state = Choice("only webhooks in this state", STATES)
    scope = Choice("only webhooks of this scope", SCOPES, roles=ADMINS)


@command("listWebhooks", ListWebhooks, WebhookResponse, roles=EVERYONE)
def list_webhooks(call: Call, given: Given) -> Page:
    """List webhooks."""
    query = select(Webhook).where(access.visible(call, Webhook))
    columns = ((Webhook.id, given.id.id if given.id else None), (Webhook.name, given.name),
               (Webhook.state, given.state), (Webhook.scope, given.scope))  # fmt: skip
    query = query.where(*(column == wanted for column, wanted in columns if wanted))
    return call.paged(with_keyword(query, given.keyword, Webhook.name).order_by(Webhook.name, Webhook.id))
