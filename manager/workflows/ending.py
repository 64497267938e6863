"""The end of a workflow: its row is closed, its subject is free, its event is written, who waits is woken."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import false, insert, literal, null, select
from sqlalchemy.orm import Session

from manager.messages import ring
from manager.models import EventRow, WorkflowRow, new_id, utcnow

AWAITED = "awaited"
"""The argument of a workflow that others may wait for."""


def end(session: Session, row: WorkflowRow, status: str) -> None:
    """Close `row` as done, failed or stuck. A stuck one keeps its subject until an operator retries or gives up.

    When a workflow is awaited, those are rung that wait for it, as their rows tell. Who waits for another kind looks
    again by itself.
    """
    row.status = status
    row.ended = utcnow()
    row.wake_at = None
    if status != "stuck":
        row.holds = None
    session.flush()
    if row.command:
        _record(session, row, "Completed", row.ended)
    if row.arguments.get(AWAITED):
        for waiter in session.scalars(select(WorkflowRow.id).filter_by(waiting_for=row.id, status="running")):
            ring(session, waiter)


def note_start(session: Session, row: WorkflowRow) -> None:
    """Write the event of a job that a worker takes up for the first time."""
    if row.command and not row.fence:
        _record(session, row, "Started", utcnow())


def _record(session: Session, row: WorkflowRow, state: str, time: dt.datetime) -> None:
    """Write an event of the job from that of its call, which has the job's id; none where there is none."""
    start = EventRow
    good = row.status in ("done", "running")
    values: dict[Any, Any] = {
        start.id: literal(new_id()),
        start.type: start.type,
        start.level: literal("INFO" if good else "ERROR"),
        start.state: literal(state),
        start.description: start.description if good else start.description + literal(f": {row.error}"),
        start.account_id: literal(row.account_id) if row.account_id else null(),
        start.user_id: literal(row.user_id) if row.user_id else null(),
        start.source: start.source,
        start.user_agent: start.user_agent,
        start.resource_type: start.resource_type,
        start.resource_id: literal(row.subject_id),
        start.resource_name: start.resource_name,
        start.archived: false(),
        start.announced: false(),
        start.workflow_id: literal(row.id),
        start.start_number: start.number,
        start.created: literal(time, start.created.type),
    }
    begun = select(*values.values()).where(start.id == row.id)
    session.execute(insert(EventRow).from_select([column.key for column in values], begun, include_defaults=False))
