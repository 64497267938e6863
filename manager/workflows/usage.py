"""Usage records: what spans and traffic came to within a period, each moment and each byte in exactly one record."""

from __future__ import annotations

import datetime as dt
import socket
from typing import Any

from sqlalchemy import Float, delete, false, func, insert, literal, or_, select, true, type_coerce, update
from sqlalchemy import case as sql_case
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from manager import configuration
from manager.db import epoch, transaction, write
from manager.models import Network, Nic, UsageJob, UsageRecord, UsageSpan, UsageTraffic
from manager.models.meters import BYTES_RECEIVED, BYTES_SENT, IP_ADDRESS, METERS, Meter, key_of, record_change

DUTY, DUTY_SECONDS = "watch", 90.0
"""The lease of who counts usage, and for how long it is taken."""
HOUR = 3600.0
DAY = 24 * HOUR
SPAN_DAYS = 31
SETTLE_SECONDS = 120.0
CATCH_UP = 50


def count_due() -> None:
    """Make the records of all periods that ended a while ago, and forget what is kept no longer."""
    for _ in range(CATCH_UP):
        with transaction() as session:
            until = _due(session)
        if until is None or not count_until(until):
            break
    forget_old_records()


def _due(session: Session) -> float | None:
    """The end of the oldest period that is over and has no records; None where there is none, or nothing to count."""
    length = 60.0 * float(configuration.value(session, "usage.stats.job.aggregation.range"))
    now = float(session.scalar(select(epoch())) or 0.0)
    begun = _last(session)
    if begun is None:
        return None
    until = (begun // length + 1) * length
    return until if until + SETTLE_SECONDS <= now else None


def _last(session: Session) -> float | None:
    """Until when use is in records; before the first job, since when there is any."""
    last = session.scalar(select(func.max(UsageJob.until)))
    return last if last is not None else session.scalar(select(func.min(UsageSpan.started)))


def count_until(until: float) -> bool:
    """As `count`, in a transaction of its own; False where another counts the same at this moment."""
    try:
        with transaction() as session:
            return count(session, until)
    except IntegrityError:
        return False


def count(session: Session, until: float) -> bool:
    """Put into records all use before `until` (database clock) that is in none; False where there is nothing left.

    The job's row is stored first: its unique beginning lets one of two counters go on.

    :raises sqlalchemy.exc.IntegrityError: another counts the same period
    """
    begun = _last(session)
    if begun is None or begun >= until:
        return False
    job = UsageJob(begun=begun, until=until, host_name=socket.gethostname())
    session.add(job)
    session.flush()
    _count_spans(session, job)
    _count_traffic(session, job)
    return True


def _count_spans(session: Session, job: UsageJob) -> None:
    """First move the spans' marks, which waits for changes under way, then make records of what was passed."""
    span = UsageSpan
    start = func.coalesce(span.counted, span.started)
    end = sql_case((span.ended < job.until, span.ended), else_=job.until)
    moved = update(span).where(
        start < end, or_(span.ended.is_(None), span.counted.is_(None), span.counted < span.ended)
    )
    # MariaDB sets one column after the other, so the old mark is kept before it moves.
    write(session, moved.ordered_values((span.counted_from, start), (span.counted, end), (span.job_id, job.id)))
    hours = type_coerce((span.counted - span.counted_from) / HOUR, Float)
    columns = _columns(job, span, span.type, hours)
    hiding = span.facts["network_id"].as_string().in_(select(Network.id).where(Network.hide_address_usage))
    columns["hidden"] = sql_case(((span.type == IP_ADDRESS) & hiding, true()), else_=false())
    made = select(*columns.values()).where(span.job_id == job.id)
    session.execute(insert(UsageRecord).from_select(list(columns), made, include_defaults=False))


def _count_traffic(session: Session, job: UsageJob) -> None:
    counted = UsageTraffic
    session.execute(select(counted.nic_id).with_for_update()).all()
    for kind, amount in ((BYTES_SENT, counted.sent), (BYTES_RECEIVED, counted.received)):
        columns = _columns(job, counted, literal(kind), amount)
        columns["resource_id"] = counted.network_id
        made = select(*columns.values()).where(amount > 0)
        session.execute(insert(UsageRecord).from_select(list(columns), made, include_defaults=False))
    write(session, delete(counted).where(counted.nic_id.not_in(select(Nic.id))))
    write(session, update(counted).where(or_(counted.sent > 0, counted.received > 0)).values(sent=0, received=0))


def _columns(job: UsageJob, source: Any, kind: Any, raw: Any) -> dict[str, Any]:
    """The columns of a record, by name, as SQL over the rows of `source`."""
    started, ended = (dt.datetime.fromtimestamp(int(time), dt.UTC) for time in (job.begun, job.until))
    time_type = UsageRecord.started.type
    return {
        "job_id": literal(job.id),
        "type": kind,
        "account_id": source.account_id,
        "zone_id": source.zone_id,
        "resource_id": getattr(source, "resource_id", None),
        "facts": source.facts,
        "started": literal(started, time_type),
        "ended": literal(ended, time_type),
        "raw": raw,
        "hidden": false(),
    }


def forget_old_records() -> None:
    """Remove records older than usage.records.retention.days (0: none), and spans that have long been in records."""
    with transaction() as session:
        days = int(configuration.value(session, "usage.records.retention.days"))
        if days:
            remove_records(session, days)
        past = epoch() - SPAN_DAYS * DAY
        write(session, delete(UsageSpan).where(UsageSpan.ended < past, UsageSpan.counted >= UsageSpan.ended))


def remove_records(session: Session, days: int) -> int:
    """Remove records of periods that ended more than `days` days ago; how many."""
    before = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
    return write(session, delete(UsageRecord).where(UsageRecord.ended < before))


def adopt() -> None:
    """Begin spans of things that have none, as those have that were there before usage was measured."""
    for model, meter in METERS.items():
        key = literal(key_of(meter.kinds[0], "")) + model.id
        without = ~select(UsageSpan.number).where(UsageSpan.open == key).exists()
        living = [model.removed.is_(None)] if hasattr(model, "removed") else []
        with transaction() as session:
            found = session.scalars(select(model.id).where(without, *living)).all()
        for identifier in found:
            _adopt(meter, identifier)


def _adopt(meter: Meter, identifier: str) -> None:
    try:
        with transaction() as session:
            session.execute(select(meter.model.id).where(meter.model.id == identifier).with_for_update()).all()
            rows = session.execute(meter.reading().where(meter.model.id == identifier)).all()
            record_change(session, meter, [(None, row) for row in rows])
    except IntegrityError:
        return
