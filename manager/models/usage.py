"""What accounts use over time: spans as they begin and end, traffic as hosts count it, and records made of both."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import BigInteger, Double, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import ID, Base, utcnow
from manager.models.work import BIG_KEY


class UsageSpan(Base):
    """One resource in one kind of use by one account, with unchanging `facts`, from `started` to `ended`.

    Times are in seconds by the database's clock. `open` is 'type:resource id' while it lasts and NULL afterwards: its
    unique key admits one open span of a kind a resource. Records hold what lies before `counted`; `counted_from` and
    `job_id` tell what the last job added to them.
    """

    __tablename__ = "usage_spans"
    __table_args__ = (Index("ix_usage_spans_ended", "ended", "counted"),)

    number: Mapped[int] = mapped_column(BIG_KEY, primary_key=True, autoincrement=True)
    open: Mapped[str | None] = mapped_column(String(64), unique=True)
    type: Mapped[int]
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    zone_id: Mapped[str | None] = mapped_column(ID)
    resource_id: Mapped[str] = mapped_column(ID, index=True)
    facts: Mapped[dict[str, Any]] = mapped_column(default=dict)
    started: Mapped[float] = mapped_column(Double())
    ended: Mapped[float | None] = mapped_column(Double())
    counted: Mapped[float | None] = mapped_column(Double())
    counted_from: Mapped[float | None] = mapped_column(Double())
    job_id: Mapped[int | None] = mapped_column(BigInteger, index=True)


class UsageTraffic(Base):
    """Bytes of a NIC as its guest sees them. `last_*` are the host's counters as last told in `placement`, which
    begin anew with each; `received` and `sent` are what no record holds yet.
    """

    __tablename__ = "usage_traffic"

    nic_id: Mapped[str] = mapped_column(ID, primary_key=True)
    network_id: Mapped[str] = mapped_column(ID)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    zone_id: Mapped[str] = mapped_column(ID)
    facts: Mapped[dict[str, Any]] = mapped_column(default=dict)
    placement: Mapped[str] = mapped_column(String(80), default="")
    last_received: Mapped[int] = mapped_column(BigInteger, default=0)
    last_sent: Mapped[int] = mapped_column(BigInteger, default=0)
    received: Mapped[int] = mapped_column(BigInteger, default=0)
    sent: Mapped[int] = mapped_column(BigInteger, default=0)


class NetworkTraffic(Base):
    """Bytes that the guests of a network received and sent since it was made. The row stays after the network, as a
    part of what its account had.
    """

    __tablename__ = "network_traffic"

    network_id: Mapped[str] = mapped_column(ID, primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    received: Mapped[int] = mapped_column(BigInteger, default=0)
    sent: Mapped[int] = mapped_column(BigInteger, default=0)


class UsageJob(Base):
    """A period whose use is in records. `begun` is unique: of two that count the same period one is refused."""

    __tablename__ = "usage_jobs"

    id: Mapped[int] = mapped_column(BIG_KEY, primary_key=True, autoincrement=True)
    begun: Mapped[float] = mapped_column(Double(), unique=True)
    until: Mapped[float] = mapped_column(Double())
    host_name: Mapped[str]
    created: Mapped[dt.datetime] = mapped_column(default=utcnow)


class UsageRecord(Base):
    """What was used within a period: hours of a span, or bytes of traffic. A `hidden` one is in no list."""

    __tablename__ = "usage_records"
    __table_args__ = (Index("ix_usage_records_account_started", "account_id", "started"),)

    number: Mapped[int] = mapped_column(BIG_KEY, primary_key=True, autoincrement=True)
    job_id: Mapped[int] = mapped_column(BigInteger, index=True)
    type: Mapped[int]
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    zone_id: Mapped[str | None] = mapped_column(ID)
    resource_id: Mapped[str] = mapped_column(ID, index=True)
    facts: Mapped[dict[str, Any]] = mapped_column(default=dict)
    started: Mapped[dt.datetime] = mapped_column(index=True)
    ended: Mapped[dt.datetime]
    raw: Mapped[float] = mapped_column(Double())
    hidden: Mapped[bool] = mapped_column(default=False)
