"""Destroyed VMs are expunged once the expunge delay has passed, and expunging that failed is tried again."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.orm import Session

from manager.configuration import value
from manager.db import transaction
from manager.models import Vm, Volume, WorkflowRow, utcnow
from manager.workflows.engine import Busy
from manager.workflows.vm import expunge_vm

BATCH = 50


def expunge_due() -> None:
    """Start what is due: expunge.delay after the destruction, expunge.interval after an expunging that failed."""
    with transaction() as session:
        due = _due(session)
    for vm_id in due:
        try:
            with transaction() as session:
                expunge_vm.start(session, session.get_one(Vm, vm_id), expunge=True)
        except Busy:
            continue


def _due(session: Session) -> list[str]:
    now = utcnow()
    delayed = now - dt.timedelta(seconds=value(session, "expunge.delay"))
    repeated = now - dt.timedelta(seconds=value(session, "expunge.interval"))
    begun = exists().where(Volume.vm_id == Vm.id, Volume.state == "Expunging", Volume.removed.is_(None))
    last = func.max(WorkflowRow.ended)
    jobs = and_(WorkflowRow.subject_id == Vm.id, WorkflowRow.name.in_(("vm.destroy", "vm.expunge")))
    query = (
        select(Vm.id)
        .outerjoin(WorkflowRow, jobs)
        .where(Vm.state == "Destroyed", Vm.removed.is_(None))
        .group_by(Vm.id)
        .having(or_(last.is_(None), last < delayed, and_(begun, last < repeated)))
        .limit(BATCH)
    )
    return list(session.scalars(query))
