"""The end of a workflow: its row is closed, its subject is free, its event is written, who waits is woken."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from manager.messages import ring
from manager.models import EventRow, WorkflowRow, utcnow


def end(session: Session, row: WorkflowRow, status: str) -> None:
    """Close `row` as done, failed or stuck. A stuck one keeps its subject until an operator retries or gives up."""
    row.status = status
    row.ended = utcnow()
    row.wake_at = None
    if status != "stuck":
        row.holds = None
    session.flush()
    if row.event_id is not None:
        _record(session, row)
    for waiter in session.scalars(select(WorkflowRow.id).filter_by(waiting_for=row.id, status="running")):
        ring(session, waiter)


def _record(session: Session, row: WorkflowRow) -> None:
    start = session.get(EventRow, row.event_id)
    if start is None:
        return
    good = row.status == "done"
    session.add(
        EventRow(
            type=start.type,
            level="INFO" if good else "ERROR",
            state="Completed",
            description=start.description if good else f"{start.description}: {row.error}",
            account_id=row.account_id,
            user_id=row.user_id,
            source=start.source,
            resource_type=start.resource_type,
            resource_id=row.subject_id,
            workflow_id=row.id,
            start_number=start.number,
        )
    )
