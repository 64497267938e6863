"""Extensions: programs of the operator's, their custom actions, and each run of one."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import ColumnElement, Double, ForeignKey, Index, String, Text, and_, select
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import ID, STATE, Base, Entity, utcnow
from manager.secrets import SealedJson

ROLE_BITS = {"Admin": 1, "ResourceAdmin": 2, "DomainAdmin": 4, "User": 8}
"""CloudStack's bit of each type of role."""


class Extension(Entity, Base):
    """A program. `path` is relative to the directory of extensions of each management server."""

    __tablename__ = "extensions"

    name: Mapped[str]
    description: Mapped[str] = mapped_column(Text, default="")
    type: Mapped[str] = mapped_column(STATE, default="Orchestrator")
    path: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(STATE, default="Enabled")
    details: Mapped[dict[str, Any]] = mapped_column(SealedJson, default=dict)


class ExtensionResource(Entity, Base):
    """The registration of an extension with a cluster: its actions may run on the virtual machines there."""

    __tablename__ = "extension_resources"

    extension_id: Mapped[str] = mapped_column(ForeignKey("extensions.id"), index=True)
    cluster_id: Mapped[str] = mapped_column(ForeignKey("clusters.id"), index=True)
    details: Mapped[dict[str, Any]] = mapped_column(SealedJson, default=dict)


class ExtensionSight(Base):
    """What a management server found at an extension's path when it looked last, by the database's clock.

    `reason` says why the program cannot be run there; it is empty where it can.
    """

    __tablename__ = "extension_sights"

    extension_id: Mapped[str] = mapped_column(ForeignKey("extensions.id"), primary_key=True)
    server: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str] = mapped_column(Text, default="")
    seen: Mapped[float] = mapped_column(Double())


class CustomAction(Entity, Base):
    """A thing that an extension does when it is asked to.

    `parameters` are {name, type, validationformat, required, valueoptions}; `allowed_roles` is the sum of ROLE_BITS;
    `timeout` is in seconds.
    """

    __tablename__ = "custom_actions"

    extension_id: Mapped[str] = mapped_column(ForeignKey("extensions.id"), index=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(Text, default="")
    resource_type: Mapped[str] = mapped_column(STATE, default="VirtualMachine")
    allowed_roles: Mapped[int] = mapped_column(default=ROLE_BITS["Admin"])
    parameters: Mapped[list[Any]] = mapped_column(default=list)
    success_message: Mapped[str] = mapped_column(Text, default="")
    error_message: Mapped[str] = mapped_column(Text, default="")
    timeout: Mapped[int] = mapped_column(default=5)
    enabled: Mapped[bool] = mapped_column(default=False)
    details: Mapped[dict[str, Any]] = mapped_column(SealedJson, default=dict)


def runnable_by(role_type: str) -> ColumnElement[bool]:
    """The actions that roles of this type may run, as things stand."""
    in_use = select(Extension.id).where(Extension.state == "Enabled", Extension.removed.is_(None))
    allowed = CustomAction.allowed_roles.bitwise_and(ROLE_BITS[role_type]) != 0
    return and_(CustomAction.enabled, allowed, CustomAction.extension_id.in_(in_use))


class ActionRun(Base):
    """One run of a custom action, with what it needs as that was when it was asked for.

    `status` is open, running, done (the program ended), failed (it was not started) or unknown (the process that ran
    it was lost). Who runs it moves it to running first, until `due_at` (database clock), and counts `attempts`; an
    open one that no server can begin is given up at `due_at`. `server` is who has it. `answer` is {ended, code, output,
    errors}.
    """

    __tablename__ = "action_runs"
    __table_args__ = (Index("ix_action_runs_status", "status", "created"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    action_id: Mapped[str] = mapped_column(ForeignKey("custom_actions.id"), index=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    vm_name: Mapped[str]
    name: Mapped[str]
    path: Mapped[str] = mapped_column(Text)
    timeout: Mapped[int]
    repeatable: Mapped[bool] = mapped_column(default=False)
    payload: Mapped[dict[str, Any]] = mapped_column(SealedJson, default=dict)
    status: Mapped[str] = mapped_column(STATE, default="open")
    attempts: Mapped[int] = mapped_column(default=0)
    server: Mapped[str] = mapped_column(String(255), default="")
    due_at: Mapped[float] = mapped_column(Double(), default=0.0)
    reason: Mapped[str] = mapped_column(Text, default="")
    answer: Mapped[dict[str, Any]] = mapped_column(SealedJson, default=dict)
    created: Mapped[dt.datetime] = mapped_column(default=utcnow)
    ended: Mapped[dt.datetime | None]
