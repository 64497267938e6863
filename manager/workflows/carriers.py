"""Jobs whose changes travel together: a carrier tells all that is wanted when it starts, and each job waits for one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from manager.models import WorkflowRow
from manager.workflows.engine import Await, Outcome, Run, StepFailed, Workflow


def carried_by(
    run: Run, carrier: Workflow, thing: Any, applied: int, failure: str, revision: int | None = None
) -> Outcome:
    """Wait until a carrier of the locked `thing` was answered that knew this job's `revision`; `applied` are told.

    A job that concerns several things gives the `revision` of each. Starts a carrier when none is under way. It notes
    in its memory the `revision` that it tells.

    :raises StepFailed: the carrier that had it was not answered well; `failure` says what that means
    """
    revision = run.arguments["revision"] if revision is None else revision
    if applied >= revision:
        return None
    key = f"carrier:{thing.id}"
    known = run.recall(key) or {}
    waited_for = known.get("id")
    if waited_for is not None:
        row = run.session.get_one(WorkflowRow, waited_for)
        had_mine = known["started"] or row.memory.get("revision", 0) >= revision
        if row.status not in ("running", "done") and had_mine:
            raise StepFailed(f"{failure}: {row.error}", row.error_code)
    open_one = run.session.scalar(select(WorkflowRow).filter_by(holds=carrier.holds(thing.id)))
    begun = open_one or carrier.start(run.session, thing)
    # A job may look again while its own carrier is still under way, which stays its own.
    mine = open_one is None or (begun.id == waited_for and known["started"])
    run.note(**{key: {"id": begun.id, "started": mine}})
    return Await(begun.id)
