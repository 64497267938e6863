"""Work in rows: workflows (CloudStack's async jobs), agent commands, events, leases, tokens, settings."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import JSON, BigInteger, Double, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import ID, STATE, Base, new_id, utcnow
from manager.secrets import SealedJson

BIG_KEY = BigInteger().with_variant(Integer, "sqlite")


class WorkflowRow(Base):
    """A workflow: where it stands in its list of steps, and what came of it.

    `status` is running, done, failed (unwound) or stuck (an undo failed; an operator is called). `holds` is the
    subject while the workflow is open and NULL afterwards: its unique key admits one open workflow a subject.
    `asked` counts the commands of the present step. `wake_at` (database clock) is when the sweeper looks again.
    `trace` is a list of {step, undoing, state, reason, at}.
    """

    __tablename__ = "workflows"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(STATE, default="running")
    subject_type: Mapped[str] = mapped_column(String(64))
    subject_id: Mapped[str] = mapped_column(ID, index=True)
    holds: Mapped[str | None] = mapped_column(String(110), unique=True)
    position: Mapped[int] = mapped_column(default=0)
    undoing: Mapped[bool] = mapped_column(default=False)
    cancelled: Mapped[bool] = mapped_column(default=False)
    asked: Mapped[int] = mapped_column(default=0)
    waiting_for: Mapped[str | None] = mapped_column(ID, index=True)
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    wake_at: Mapped[float | None] = mapped_column(Double(), index=True)
    attempts: Mapped[int] = mapped_column(default=0)
    arguments: Mapped[dict[str, Any]] = mapped_column(default=dict)
    memory: Mapped[dict[str, Any]] = mapped_column(SealedJson, default=dict)
    trace: Mapped[list[Any]] = mapped_column(default=list)
    error: Mapped[str | None] = mapped_column(Text)
    error_code: Mapped[int] = mapped_column(default=530)
    command: Mapped[str] = mapped_column(String(64), default="")
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"), index=True)
    user_id: Mapped[str | None] = mapped_column(ID)
    event_id: Mapped[int | None] = mapped_column(BigInteger)
    created: Mapped[dt.datetime] = mapped_column(default=utcnow)
    ended: Mapped[dt.datetime | None]


class AgentCommandRow(Base):
    """A command to an agent: stored with the step that asks, sent after commit, sent again until answered.

    `sequence` orders all commands; an agent refuses one older than the last it ran for that subject. `status` is
    open, done, failed, or owed: the workflow went on without the answer because the host is down, and the
    command (always an undo) is still sent when it returns.
    """

    __tablename__ = "agent_commands"
    __table_args__ = (
        Index("ix_agent_commands_workflow", "workflow_id", "position", "undoing"),
        Index("ix_agent_commands_due", "status", "due_at"),
    )

    sequence: Mapped[int] = mapped_column(BIG_KEY, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(ID, unique=True, default=new_id)
    workflow_id: Mapped[str] = mapped_column(ID)
    position: Mapped[int]
    undoing: Mapped[bool]
    agent_id: Mapped[str] = mapped_column(ForeignKey("agents.id"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(110), index=True)
    generation: Mapped[int] = mapped_column(BigInteger, default=0)
    arguments: Mapped[dict[str, Any]] = mapped_column(SealedJson, default=dict)
    status: Mapped[str] = mapped_column(STATE, default="open")
    sent: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[float] = mapped_column(Double(), default=0.0)
    deadline: Mapped[float] = mapped_column(Double(), default=0.0)
    answer: Mapped[dict[str, Any] | None] = mapped_column(SealedJson)
    error: Mapped[str | None] = mapped_column(Text)


class EventRow(Base):
    """What was done, or refused. `parameters` are those of the call without secrets; `changes` maps columns of the
    thing to [before, after]. `announced`: webhooks that want it have their deliveries.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_announced", "announced", "number"),
        Index("ix_events_account_shown", "account_id", "archived", "number"),
    )

    number: Mapped[int] = mapped_column(BIG_KEY, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(ID, unique=True, default=new_id)
    type: Mapped[str] = mapped_column(String(64))
    level: Mapped[str] = mapped_column(STATE, default="INFO")
    state: Mapped[str] = mapped_column(STATE, default="Completed")
    description: Mapped[str] = mapped_column(Text)
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"))
    user_id: Mapped[str | None] = mapped_column(ID)
    source: Mapped[str] = mapped_column(default="")
    user_agent: Mapped[str] = mapped_column(default="")
    parameters: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    changes: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    resource_type: Mapped[str] = mapped_column(String(64), default="")
    resource_id: Mapped[str | None] = mapped_column(ID, index=True)
    resource_name: Mapped[str] = mapped_column(default="")
    archived: Mapped[bool] = mapped_column(default=False)
    announced: Mapped[bool] = mapped_column(default=False)
    workflow_id: Mapped[str | None] = mapped_column(ID)
    start_number: Mapped[int | None] = mapped_column(BigInteger)
    created: Mapped[dt.datetime] = mapped_column(default=utcnow, index=True)


class LeaseRow(Base):
    """A duty that one process at a time has, until `until` by the database's clock; `fence` grows at each take."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[str]
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    until: Mapped[float] = mapped_column(Double())


class ClientToken(Base):
    """The answer once given to a create call with a client token; `digest` is SHA-256 of its parameters."""

    __tablename__ = "client_tokens"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    token: Mapped[str] = mapped_column(String(128), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    answer: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created: Mapped[dt.datetime] = mapped_column(default=utcnow)


class Configuration(Base):
    """A global setting that differs from its declared default."""

    __tablename__ = "configuration"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class ScopedSetting(Base):
    """A setting's value for one zone, domain or account; `scope` is the table of what `scope_id` names."""

    __tablename__ = "scoped_settings"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    scope: Mapped[str] = mapped_column(STATE, primary_key=True)
    scope_id: Mapped[str] = mapped_column(ID, primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class Counter(Base):
    """The last number given out of a named series (account, vm, router numbers)."""

    __tablename__ = "counters"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    last: Mapped[int] = mapped_column(BigInteger, default=0)


class Inventory(Base):
    """What an agent last found on its host (agents.contract.HostInventory), and when, by the database's clock."""

    __tablename__ = "inventories"

    agent_id: Mapped[str] = mapped_column(ForeignKey("agents.id"), primary_key=True)
    at: Mapped[float] = mapped_column(Double())
    incarnation: Mapped[str]
    sequence: Mapped[int] = mapped_column(BigInteger)
    body: Mapped[dict[str, Any]] = mapped_column(default=dict)
