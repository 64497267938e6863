"""Runs of custom actions: rows that any management server with the program takes up, each attempt noted first.

A program has effects outside, so that what a crash left half done is not begun again, unless its action says that it
may be; the job then fails with the sentence that nobody knows.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from manager.configuration import value
from manager.db import epoch, transaction, write
from manager.messages import ring
from manager.models import ActionRun, Extension, ExtensionSight, WorkflowRow, utcnow
from manager.programs import SPARE_SECONDS, Ended, Unfit, program_at, run_program
from manager.workflows.engine import Await, Outcome, Run, Step, StepFailed, workflow

START_SECONDS = 60.0
SIGHT_SECONDS = 15.0
SIGHT_COUNTS_SECONDS = 60.0
LOST_SECONDS = 2 * SPARE_SECONDS
"""How long after its timeout a run counts as lost: later than its keeper is killed."""
TOGETHER = 20
MOST_ATTEMPTS = 3
OPEN, RUNNING, DONE, FAILED, UNKNOWN = "open", "running", "done", "failed", "unknown"

UNKNOWN_TEXT = (
    "It is not known whether the program of the action {} did its work: the management server {} was lost while it "
    "ran. It is not run again by itself; look at what it did, and then run it again."
)


@dataclass(frozen=True, slots=True)
class Taken:
    """A run that this process has moved to running, and the program's absolute path."""

    row: ActionRun
    program: str


def due_to_start() -> Any:
    """When an open run must have begun."""
    return epoch() + START_SECONDS


def await_program(run: Run) -> Outcome:
    """Wait until a management server has run the program. What is decided here is committed before it is told."""
    row: ActionRun = run.subject(ActionRun)
    if row.status == DONE:
        return None
    if row.status in (FAILED, UNKNOWN):
        raise StepFailed(row.reason)
    if _settle_overdue(run.session, row):
        ring(run.session, run.row.id)
    return Await(run.row.id)


def _settle_overdue(session: Session, row: ActionRun) -> bool:
    """Close a run that nobody can begin or whose server was lost, or offer that again if it may be."""
    overdue = update(ActionRun).where(
        ActionRun.id == row.id,
        ActionRun.status == row.status,
        ActionRun.attempts == row.attempts,
        ActionRun.due_at < epoch(),
    )
    values: dict[str, Any]
    if row.status == OPEN and row.reason:
        text = f"No management server could begin the action {row.name} within {START_SECONDS:.0f} s: {row.reason}"
        values = {"status": FAILED, "reason": text, "ended": utcnow()}
    elif row.status == OPEN:
        values = {"due_at": due_to_start()}  # all are at work; it waits for its turn
    elif row.repeatable and row.attempts < MOST_ATTEMPTS:
        values = {"status": OPEN, "due_at": due_to_start()}
    else:
        values = {"status": UNKNOWN, "reason": UNKNOWN_TEXT.format(row.name, row.server), "ended": utcnow()}
    return bool(write(session, overdue.values(values)))


def withdraw(run: Run) -> Outcome:
    """See to it that the program of a job that fails is not begun any more; one that runs is waited for."""
    row = run.session.get(ActionRun, run.row.subject_id)
    if row is None or row.status not in (OPEN, RUNNING):
        return None
    waiting = update(ActionRun).where(ActionRun.id == row.id, ActionRun.status == OPEN)
    if not write(run.session, waiting.values(status=FAILED, reason="The job was cancelled.", ended=utcnow())):
        _settle_overdue(run.session, row)
    return Await(run.row.id)


run_action = workflow("extension.run", ActionRun, [Step(await_program, undo=withdraw)])


def run_next(server: str) -> bool:
    """Take up an open run whose program is on this management server, and run it; False when there is none."""
    taken = take_next(server)
    if taken is not None:
        carry_out(taken)
    return taken is not None


def take_next(server: str) -> Taken | None:
    """An open run whose program is on this management server, which counts as begun from here on."""
    with transaction() as session:
        return _take(session, server)


def carry_out(taken: Taken) -> None:
    row = taken.row
    _note(row, run_program(taken.program, row.name, row.payload, row.timeout))


def _take(session: Session, server: str) -> Taken | None:
    query = select(ActionRun).where(ActionRun.status == OPEN).order_by(ActionRun.created, ActionRun.id)
    for row in session.scalars(query.limit(TOGETHER).with_for_update(skip_locked=True)):
        try:
            program = program_at(row.path)
        except Unfit as error:
            row.reason = f"{server}: {error}"
            continue
        row.status, row.server, row.reason = RUNNING, server, ""
        row.attempts += 1
        row.due_at = epoch() + (row.timeout + LOST_SECONDS)
        session.flush()
        return Taken(row, program)
    return None


def _note(row: ActionRun, ended: Ended) -> None:
    """Store what came of it, unless the run was given up for lost since."""
    values: dict[str, Any] = {"status": DONE, "ended": utcnow()}
    values["answer"] = {"ended": ended.how, "code": ended.code, "output": ended.output, "errors": ended.errors}
    if ended.how == "unstarted":
        values |= {"status": FAILED, "reason": f"The program of {row.name} could not be started: {ended.reason}."}
    elif ended.how == "lost":
        values |= {"status": UNKNOWN, "reason": UNKNOWN_TEXT.format(row.name, row.server)}
    with transaction() as session:
        mine = (ActionRun.id == row.id, ActionRun.attempts == row.attempts, ActionRun.status == RUNNING)
        write(session, update(ActionRun).where(*mine).values(values))
        open_job = select(WorkflowRow.id).where(WorkflowRow.subject_id == row.id, WorkflowRow.status == "running")
        for workflow_id in session.scalars(open_job).all():
            ring(session, workflow_id)


def look_at_programs(server: str) -> None:
    """Note for each extension whether its program can be run on this management server."""
    with transaction() as session:
        known = {row.extension_id: row for row in session.scalars(select(ExtensionSight).filter_by(server=server))}
        now = session.scalar(select(epoch()))
        for extension in session.scalars(select(Extension).where(Extension.removed.is_(None))).all():
            row = known.pop(extension.id, None)
            if row is None:
                row = ExtensionSight(extension_id=extension.id, server=server)
                session.add(row)
            row.reason, row.seen = unfitness(extension.path), now or 0.0
        for row in known.values():
            session.delete(row)


def unfitness(path: str) -> str:
    """Why the program cannot be run on this management server; '' when it can."""
    try:
        program_at(path)
    except Unfit as error:
        return str(error)
    return ""


def forget_runs() -> None:
    """Delete runs that ended job.expire.minutes ago and whose jobs are forgotten."""
    with transaction() as session:
        before = utcnow() - dt.timedelta(minutes=value(session, "job.expire.minutes"))
        jobs = select(func.count()).where(WorkflowRow.subject_id == ActionRun.id).scalar_subquery()
        write(session, delete(ActionRun).where(ActionRun.ended < before, jobs == 0))
