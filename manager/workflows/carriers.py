"""Jobs whose changes travel together: a carrier tells all that is wanted when it starts, and each job waits for one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from manager.db import epoch
from manager.models import Host, WorkflowRow
from manager.workflows.engine import Ask, Await, Run, StepFailed, Workflow, command_row

OWED = -1
"""The position of commands that no step waits for."""


def locked(session: Session, model: type[Any], thing_id: str) -> Any:
    """The row as it is now, locked until this transaction ends."""
    query = select(model).where(model.id == thing_id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one()


def carried_by(
    run: Run, carrier: Workflow, thing: Any, applied: int, failure: str, revision: int | None = None
) -> Await | None:
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


def or_owe(run: Run, asks: Sequence[Ask], down: Collection[str] | None = None) -> list[Ask]:
    """Those of `asks` whose hosts are not Down. Those that are, are owed theirs: sent until they are answered, which
    nobody waits for. `down` are the agents of Down hosts, for whoever knows them.
    """
    if down is None and asks:
        query = select(Host.agent_id).where(Host.state == "Down", Host.agent_id.in_({ask.agent_id for ask in asks}))
        down = set(run.session.scalars(query))
    if not down:
        return list(asks)
    run.session.add_all(
        command_row(run, ask, OWED, status="owed", due_at=epoch()) for ask in asks if ask.agent_id in down
    )
    return [ask for ask in asks if ask.agent_id not in down]
