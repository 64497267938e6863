"""Webhooks: events become deliveries, deliveries are rows, and any orchestrator sends those that are due."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import http.client
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from manager.cidrs import networks_in
from manager.configuration import value
from manager.db import epoch, transaction, write
from manager.models import Account, Domain, EventRow, Webhook, WebhookDelivery, utcnow
from manager.models.identity import DOMAIN_ADMIN, ROOT_ADMIN
from storage.addresses import Network, split_url
from storage.errors import StorageError
from storage.pinned import Bounds, Message, answer_of

BATCH = 500
SENT_TOGETHER = 8
CLAIM_SECONDS = 180.0
FIRST_PAUSE = 10.0
LONGEST_PAUSE = 3600.0
RESPONSE_BYTES = 4096
LOOSE_DAYS = 1
TRIAL = "TEST.WEBHOOK"


@dataclass(frozen=True, slots=True)
class Receiver:
    """A webhook with whose events it may have: by its account, by a domain's path, or all."""

    webhook: Webhook
    path: str

    def wants(self, event: EventRow, path: str) -> bool:
        if event.created < self.webhook.created:
            return False
        if self.webhook.scope == "Local":
            return event.account_id == self.webhook.account_id
        return self.webhook.scope == "Global" or path.startswith(self.path)


def announce() -> int:
    """Make deliveries of events that have none yet, in the transaction that marks them; how many events."""
    with transaction() as session:
        new = select(EventRow).where(EventRow.announced.is_(False)).order_by(EventRow.number).limit(BATCH)
        events = session.scalars(new.with_for_update(skip_locked=True)).all()
        if not events:
            return 0
        receivers = _receivers(session)
        if receivers:
            paths = _paths(session, {event.account_id for event in events})
            for event in events:
                told = _payload(event)
                path = paths.get(event.account_id, "/")
                session.add_all(
                    delivery_of(receiver.webhook, told, event) for receiver in receivers if receiver.wants(event, path)
                )
        write(session, update(EventRow).where(EventRow.number.in_([e.number for e in events])).values(announced=True))
        return len(events)


def _receivers(session: Session) -> list[Receiver]:
    """Enabled webhooks whose owners are, and may still have what the scope says."""
    query = (
        select(Webhook, Account.type, Domain.path)
        .join(Account, Account.id == Webhook.account_id)
        .join(Domain, Domain.id == Account.domain_id)
        .where(Webhook.removed.is_(None), Webhook.state == "Enabled")
        .where(Account.removed.is_(None), Account.state == "enabled", Domain.state == "Active")
    )
    rows = session.execute(query).all()
    return [Receiver(webhook, path) for webhook, kind, path in rows if may_have(webhook.scope, kind)]


def may_have(scope: str, account_type: int) -> bool:
    """Whether an account of that type may have a webhook of that scope."""
    return scope == "Local" or account_type == ROOT_ADMIN or (scope == "Domain" and account_type == DOMAIN_ADMIN)


def _paths(session: Session, account_ids: set[str | None]) -> dict[str | None, str]:
    query = select(Account.id, Domain.path).join(Domain, Domain.id == Account.domain_id)
    return {row.id: row.path for row in session.execute(query.where(Account.id.in_(account_ids)))}


def _payload(event: EventRow) -> str:
    """What CloudStack's event bus tells of an event."""
    told = {
        "event": event.type,
        "eventuuid": event.id,
        "eventDateTime": event.created.strftime("%Y-%m-%d %H:%M:%S %z"),
        "status": event.state,
        "level": event.level,
        "description": event.description,
        "account": event.account_id,
        "user": event.user_id,
        "entity": event.resource_type,
        "entityuuid": event.resource_id,
        "jobId": event.workflow_id,
    }
    return msgspec.json.encode({name: value for name, value in told.items() if value is not None}).decode()


def delivery_of(webhook: Webhook, payload: str, event: EventRow | None = None) -> WebhookDelivery:
    return WebhookDelivery(
        webhook_id=webhook.id,
        account_id=webhook.account_id,
        event_id=event.id if event else None,
        event_type=event.type if event else TRIAL,
        payload_url=webhook.payload_url,
        secret_key=webhook.secret_key,
        ssl_verification=webhook.ssl_verification,
        payload=payload,
    )


# --- sending ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Terms:
    """How deliveries are made, by the settings."""

    networks: tuple[Network, ...]
    seconds: float
    tries: int


def deliver_due() -> int:
    """Send what is due, some at the same time; how many. Nothing is sent within a transaction."""
    with transaction() as session:
        terms = _terms(session)
        due = _claim(session)
    if due:
        with ThreadPoolExecutor(SENT_TOGETHER) as pool:
            for delivery, outcome in zip(due, pool.map(lambda one: post(one, terms), due), strict=True):
                _note(delivery, outcome, terms)
    return len(due)


def _terms(session: Session) -> Terms:
    return Terms(
        networks_in(value(session, "webhook.allowed.networks")),
        float(value(session, "webhook.delivery.timeout")),
        int(value(session, "webhook.delivery.tries")),
    )


def _claim(session: Session) -> Sequence[WebhookDelivery]:
    """Take deliveries that are due: nobody else does until CLAIM_SECONDS have passed, should this process die."""
    query = (
        select(WebhookDelivery)
        .where(WebhookDelivery.status == "open", WebhookDelivery.due_at <= epoch())
        .order_by(WebhookDelivery.due_at, WebhookDelivery.number)
        .limit(SENT_TOGETHER * 2)
        .with_for_update(skip_locked=True)
    )
    found = session.scalars(query).all()
    for delivery in found:
        delivery.attempts += 1
        delivery.due_at = epoch() + CLAIM_SECONDS
        delivery.started = delivery.started or utcnow()
    session.flush()
    return found


@dataclass(frozen=True, slots=True)
class Outcome:
    headers: str
    response: str
    ok: bool


def headers_of(delivery: WebhookDelivery) -> dict[str, str]:
    """The headers of a delivery, among them HMAC-SHA256 of the body under the secret key, in hexadecimal."""
    body = delivery.payload.encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"CS-Hookshot/{delivery.id[:8]}",
        "X-CS-Event": delivery.event_type,
        "X-CS-Event-ID": delivery.event_id or "",
        "X-CS-Delivery-ID": delivery.id,
    }
    if delivery.secret_key:
        headers["X-CS-Signature"] = hmac.new(delivery.secret_key.encode(), body, hashlib.sha256).hexdigest()
    return {name: text for name, text in headers.items() if text}


def post(delivery: WebhookDelivery, terms: Terms) -> Outcome:
    """Send the delivery once. Redirects are not followed: they are no success."""
    headers = headers_of(delivery)
    shown = "\n".join(f"{name}: {text}" for name, text in headers.items())
    message = Message("POST", headers, delivery.payload.encode(), verified=delivery.ssl_verification)
    try:
        parts = split_url(delivery.payload_url)
        if parts.scheme == "file":
            return Outcome(shown, "The URL is not http or https.", ok=False)
        bounds = Bounds(terms.networks, time.monotonic() + terms.seconds, terms.seconds)
        with answer_of(parts, bounds, message) as answer:
            text = answer.read(RESPONSE_BYTES).decode(errors="replace").replace("\0", "")
            told = f"{answer.status} {answer.reason}\n{text}"
            return Outcome(shown, told, ok=200 <= answer.status < 300)  # noqa: PLR2004 - HTTP's codes of success
    except StorageError as error:
        return Outcome(shown, str(error), ok=False)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Outcome(shown, f"The receiver did not answer: {error or type(error).__name__}.", ok=False)


def _note(delivery: WebhookDelivery, outcome: Outcome, terms: Terms) -> None:
    """Store what came of it, unless another has taken the delivery since; a failed one is due again, ever later."""
    values: dict[str, Any] = {"headers": outcome.headers, "response": outcome.response}
    if outcome.ok or delivery.attempts >= terms.tries:
        values |= {"status": "done" if outcome.ok else "failed", "ended": utcnow()}
    else:
        values["due_at"] = epoch() + min(FIRST_PAUSE * 2 ** (delivery.attempts - 1), LONGEST_PAUSE)
    with transaction() as session:
        mine = (WebhookDelivery.number == delivery.number, WebhookDelivery.attempts == delivery.attempts)
        write(session, update(WebhookDelivery).where(*mine, WebhookDelivery.status == "open").values(values))


def forget_deliveries() -> None:
    """Keep the last webhook.deliveries.limit ended deliveries of each webhook, and trials without one for a day."""
    ended = WebhookDelivery.status != "open"
    with transaction() as session:
        most = int(value(session, "webhook.deliveries.limit"))
        held = select(WebhookDelivery.webhook_id).where(ended, WebhookDelivery.webhook_id.is_not(None))
        many = held.group_by(WebhookDelivery.webhook_id).having(func.count() > most)
        for webhook_id in session.scalars(many).all():
            numbers = select(WebhookDelivery.number).where(ended, WebhookDelivery.webhook_id == webhook_id)
            _forget(session, session.scalars(numbers.order_by(WebhookDelivery.number.desc()).offset(most)).all())
        old = WebhookDelivery.created < utcnow() - dt.timedelta(days=LOOSE_DAYS)
        write(session, delete(WebhookDelivery).where(ended, WebhookDelivery.webhook_id.is_(None), old))


def _forget(session: Session, numbers: Iterable[int]) -> None:
    write(session, delete(WebhookDelivery).where(WebhookDelivery.number.in_(list(numbers))))
