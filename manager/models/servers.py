"""Management servers: the machines whose processes answer calls and run workflows."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import Double
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import STATE, Base, Entity


class ManagementServer(Entity, Base):
    """One row for all processes of a server, which beat: `last_seen` is by the database's clock.

    `wanted` is Up, or what an administrator prepares it for: PreparingForMaintenance or PreparingForShutDown.
    `since` is when that was said, `idle_since` from when on its workers have had nothing to do, NULL while they have;
    both by the database's clock. `facts` are figures of the machine: processors, memory_total and memory_free (bytes),
    collected (seconds since 1970).
    """

    __tablename__ = "management_servers"

    name: Mapped[str]
    address: Mapped[str] = mapped_column(default="")
    version: Mapped[str] = mapped_column(default="")
    kernel: Mapped[str] = mapped_column(default="")
    distribution: Mapped[str] = mapped_column(default="")
    booted: Mapped[dt.datetime | None]
    started: Mapped[dt.datetime | None]
    stopped: Mapped[dt.datetime | None]
    last_seen: Mapped[float] = mapped_column(Double(), default=0.0)
    wanted: Mapped[str] = mapped_column(STATE, default="Up")
    since: Mapped[float] = mapped_column(Double(), default=0.0)
    idle_since: Mapped[float | None] = mapped_column(Double())
    facts: Mapped[dict[str, Any]] = mapped_column(default=dict)
