"""Destroyed VMs are expunged once the expunge delay has passed."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import select

from manager.configuration import value
from manager.db import transaction
from manager.models import Vm, WorkflowRow, utcnow
from manager.workflows.engine import Busy
from manager.workflows.vm import expunge_vm

BATCH = 50


def expunge_due() -> None:
    """Start the expunging of VMs that were destroyed longer ago than expunge.delay seconds."""
    with transaction() as session:
        before = utcnow() - dt.timedelta(seconds=value(session, "expunge.delay"))
        destroyed = (
            select(WorkflowRow.subject_id)
            .where(WorkflowRow.name == "vm.destroy", WorkflowRow.status == "done", WorkflowRow.ended < before)
            .scalar_subquery()
        )
        query = select(Vm.id).where(Vm.state == "Destroyed", Vm.removed.is_(None), Vm.id.in_(destroyed)).limit(BATCH)
        due = list(session.scalars(query))
    for vm_id in due:
        try:
            with transaction() as session:
                expunge_vm.start(session, session.get_one(Vm, vm_id), expunge=True)
        except Busy:
            continue
