"""What is told to people and programs: alerts, annotations, webhooks and their deliveries."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import Double, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import ID, STATE, Base, Entity, new_id, utcnow
from manager.models.work import BIG_KEY
from manager.secrets import Sealed


class Alert(Base):
    """A trouble that operators are told of. `open` names its cause while it lasts and is NULL afterwards: its unique
    key admits one alert a cause. `sent` is NULL as long as a trouble that passes by itself might do so.
    """

    __tablename__ = "alerts"

    number: Mapped[int] = mapped_column(BIG_KEY, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(ID, unique=True, default=new_id)
    open: Mapped[str | None] = mapped_column(String(200), unique=True)
    type: Mapped[int] = mapped_column(index=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(Text)
    zone_id: Mapped[str | None] = mapped_column(ID)
    pod_id: Mapped[str | None] = mapped_column(ID)
    created: Mapped[dt.datetime] = mapped_column(default=utcnow)
    sent: Mapped[dt.datetime | None] = mapped_column(index=True)
    resolved: Mapped[dt.datetime | None]
    archived: Mapped[bool] = mapped_column(default=False)


class Annotation(Base):
    """A note of a user on a thing. With `admins_only` none but root administrators see it."""

    __tablename__ = "annotations"
    __table_args__ = (Index("ix_annotations_entity", "entity_type", "entity_id"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    entity_type: Mapped[str] = mapped_column(STATE)
    entity_id: Mapped[str] = mapped_column(ID)
    text: Mapped[str] = mapped_column(Text)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    admins_only: Mapped[bool] = mapped_column(default=False)
    created: Mapped[dt.datetime] = mapped_column(default=utcnow)
    removed: Mapped[dt.datetime | None]


class Webhook(Entity, Base):
    """A receiver of events: those of its account (Local), of its domain and all below (Domain), or all (Global)."""

    __tablename__ = "webhooks"

    name: Mapped[str]
    description: Mapped[str] = mapped_column(Text, default="")
    state: Mapped[str] = mapped_column(STATE, default="Enabled")
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    payload_url: Mapped[str] = mapped_column(Text)
    secret_key: Mapped[str | None] = mapped_column(Sealed)
    ssl_verification: Mapped[bool] = mapped_column(default=True)
    scope: Mapped[str] = mapped_column(STATE, default="Local")


class WebhookDelivery(Base):
    """A message to a receiver, as it was when the message was made. `status` is open, done or failed; an open one is
    due at `due_at` (database clock), and whoever takes it moves that on first.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (Index("ix_webhook_deliveries_due", "status", "due_at"),)

    number: Mapped[int] = mapped_column(BIG_KEY, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(ID, unique=True, default=new_id)
    webhook_id: Mapped[str | None] = mapped_column(ForeignKey("webhooks.id"), index=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    event_id: Mapped[str | None] = mapped_column(ID)
    event_type: Mapped[str] = mapped_column(String(64), default="")
    payload_url: Mapped[str] = mapped_column(Text)
    secret_key: Mapped[str | None] = mapped_column(Sealed)
    ssl_verification: Mapped[bool] = mapped_column(default=True)
    payload: Mapped[str] = mapped_column(Text)
    headers: Mapped[str] = mapped_column(Text, default="")
    response: Mapped[str] = mapped_column(Text, default="")
    status: Mapped[str] = mapped_column(STATE, default="open")
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[float] = mapped_column(Double(), default=0.0)
    created: Mapped[dt.datetime] = mapped_column(default=utcnow)
    started: Mapped[dt.datetime | None]
    ended: Mapped[dt.datetime | None]
