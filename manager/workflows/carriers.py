"""Jobs whose changes travel together: a carrier tells all that is wanted when it starts, and each job waits for one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from manager.models import WorkflowRow
from manager.workflows.engine import Await, Outcome, Run, StepFailed, Workflow


def carried_by(run: Run, carrier: Workflow, thing: Any, applied: int, failure: str) -> Outcome:
    """Wait until a carrier of the locked `thing` was answered that knew this job's `revision`; `applied` are told.

    Starts a carrier when none is under way. It notes in its memory the `revision` that it tells.

    :raises StepFailed: the carrier that had it was not answered well; `failure` says what that means
    """
    revision = run.arguments["revision"]
    if applied >= revision:
        return None
    waited_for = run.recall("carrier")
    if waited_for is not None:
        row = run.session.get_one(WorkflowRow, waited_for)
        had_mine = run.recall("started") or row.memory.get("revision", 0) >= revision
        if row.status not in ("running", "done") and had_mine:
            raise StepFailed(f"{failure}: {row.error}", row.error_code)
    open_one = run.session.scalar(select(WorkflowRow).filter_by(holds=carrier.holds(thing.id)))
    begun = open_one or carrier.start(run.session, thing)
    # A job may look again while its own carrier is still under way, which stays its own.
    mine = open_one is None or (begun.id == waited_for and bool(run.recall("started")))
    run.note(carrier=begun.id, started=mine)
    return Await(begun.id)
