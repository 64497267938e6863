"""Taking away all that an account owns, each thing by its own workflow, one kind after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from manager.db import write
from manager.models import Network, SshKeyPair, Tag, Template, Vm, Volume, WorkflowRow
from manager.workflows.engine import Await, Run, StepFailed
from manager.workflows.network import delete_network
from manager.workflows.template import delete_template
from manager.workflows.vm import destroy_vm, expunge_vm, stop_vm

BATCH = 20
Begin = Callable[[Session, Any], WorkflowRow]


def _expunge(session: Session, vm: Vm) -> WorkflowRow:
    if vm.state in ("Destroyed", "Expunging"):
        return expunge_vm.start(session, vm, expunge=True)
    return destroy_vm.start(session, vm, expunge=True, forced=True)


REMOVALS: tuple[tuple[type[Any], Begin], ...] = (
    (Vm, _expunge),
    (Network, delete_network.start),
    (Template, delete_template.start),
)
"""What is removed by a workflow, in the order of dependence."""

ROWS: tuple[type[Any], ...] = (SshKeyPair,)
"""What is removed by removing its row."""

HOLDING: tuple[type[Any], ...] = (Vm, Volume, Network, Template)
"""What an account must not own any more when it goes."""


def remove_all(run: Run, account_id: str) -> Await | None:
    """Remove what the account owns; to be visited until None.

    :raises StepFailed: something could not be removed
    """
    for model, begin in REMOVALS:
        query = select(model).where(model.account_id == account_id, model.removed.is_(None))
        waiting = work_on(run, list(run.session.scalars(query.order_by(model.id).limit(BATCH))), begin)
        if waiting is not None:
            return waiting
    for model in ROWS:
        for row in run.session.scalars(select(model).where(model.account_id == account_id, model.removed.is_(None))):
            row.remove()
    write(run.session, delete(Tag).where(Tag.account_id == account_id))
    return None


def stop_all(run: Run, account_id: str) -> Await | None:
    """Stop the account's VMs that run; to be visited until None.

    :raises StepFailed: one could not be stopped
    """
    query = select(Vm).where(Vm.account_id == account_id, Vm.removed.is_(None))
    query = query.where(Vm.state.in_(("Starting", "Running", "Stopping"))).order_by(Vm.id).limit(BATCH)
    return work_on(run, list(run.session.scalars(query)), lambda session, vm: stop_vm.start(session, vm, forced=False))


def work_on(run: Run, things: list[Any], begin: Begin) -> Await | None:
    """Have a workflow at work on each thing, and wait for one of them.

    One that is open already is waited for. A thing that is still there after its own workflow has failed.
    """
    waited_for: str | None = None
    for thing in things:
        holds = f"{thing.__tablename__}:{thing.id}"
        open_id = run.session.scalar(select(WorkflowRow.id).filter_by(holds=holds))
        if open_id is None:
            earlier = run.recall(holds)
            if earlier is not None:
                row = run.session.get(WorkflowRow, earlier)
                reason = row.error if row and row.error else "it is still there after its job."
                raise StepFailed(f"{thing.__tablename__} {thing.id}: {reason}", row.error_code if row else 530)
            open_id = begin(run.session, thing).id
            run.note(**{holds: open_id})
        waited_for = waited_for or open_id
    return None if waited_for is None else Await(waited_for)


def held_by(session: Session, account_id: str) -> dict[str, int]:
    """By the table's name: how many living things the account owns of what must go first; only what there is."""
    found = {}
    for model in HOLDING:
        query = select(model.id).where(model.account_id == account_id, model.removed.is_(None))
        count = len(session.scalars(query).all())
        if count:
            found[model.__tablename__] = count
    return found
