"""What ended long ago is forgotten: jobs with their commands, client tokens, events, alerts, figures, captures."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import delete, select

from manager.configuration import value
from manager.db import transaction, write
from manager.models import (
    AgentCommandRow,
    Alert,
    ClientToken,
    EventRow,
    PacketCapture,
    Vm,
    VmFigures,
    WorkflowRow,
    utcnow,
)

BATCH = 500
EVENTS_BATCH = 5000


def forget_old() -> None:
    """Delete jobs that ended job.expire.minutes ago. Stuck ones stay, and those whose commands are still owed."""
    with transaction() as session:
        before = utcnow() - dt.timedelta(minutes=value(session, "job.expire.minutes"))
        owed = select(AgentCommandRow.workflow_id).where(AgentCommandRow.status.in_(("open", "owed")))
        query = select(WorkflowRow.id).where(
            WorkflowRow.ended < before, WorkflowRow.holds.is_(None), WorkflowRow.id.not_in(owed)
        )
        old = list(session.scalars(query.limit(BATCH)))
        if old:
            write(session, delete(AgentCommandRow).where(AgentCommandRow.workflow_id.in_(old)))
            write(session, delete(WorkflowRow).where(WorkflowRow.id.in_(old)))
        write(session, delete(ClientToken).where(ClientToken.created < before))


def forget_captures() -> None:
    """Delete packet captures whose time is over."""
    with transaction() as session:
        write(session, delete(PacketCapture).where(PacketCapture.expires < utcnow()))


def forget_figures() -> None:
    """Delete the figures of VMs that are gone for good."""
    with transaction() as session:
        gone = select(VmFigures.vm_id).join(Vm, Vm.id == VmFigures.vm_id).where(Vm.removed.is_not(None))
        ids = session.scalars(gone.limit(BATCH)).all()
        if ids:
            write(session, delete(VmFigures).where(VmFigures.vm_id.in_(ids)))


def forget_notices() -> None:
    """Delete events and ended alerts whose days are over; those of a large batch at a time."""
    for setting, model, ended in (
        ("event.purge.delay", EventRow, EventRow.announced.is_(True)),
        ("alert.purge.delay", Alert, Alert.open.is_(None)),
    ):
        with transaction() as session:
            days = int(value(session, setting))
            old = select(model.number).where(model.created < utcnow() - dt.timedelta(days=days), ended)
            numbers = session.scalars(old.limit(EVENTS_BATCH)).all() if days else []
            if numbers:
                write(session, delete(model).where(model.number.in_(numbers)))
