"""Leases of VMs: their owners are told some days before, and then what the lease says is done, once.

A VM that is protected against deletion is not destroyed; its owner is told that its lease has ended all the same.
"""

from __future__ import annotations

import datetime as dt

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from manager.configuration import value
from manager.db import transaction, write
from manager.models import EventRow, Vm, utcnow
from manager.workflows.engine import Busy
from manager.workflows.vm import destroy_vm, stop_vm

ENABLED = "instance.lease.enabled"
STOP, DESTROY = "STOP", "DESTROY"
PENDING, TOLD, DONE = "PENDING", "TOLD", "DONE"
EXPIRING, EXPIRED = "VM.LEASE.EXPIRING", "VM.LEASE.EXPIRED"
BATCH = 50
RESTING = ("Running", "Stopped", "Error")


def end_leases() -> None:
    """Tell of the leases that end soon, and carry out those that have ended; nothing while leases are off."""
    with transaction() as session:
        if not value(session, ENABLED):
            return
        _tell_soon(session)
        ended = (Vm.lease_ends <= utcnow(), Vm.lease_state != DONE, Vm.removed.is_(None))
        query = select(Vm.id).where(*ended, Vm.state.in_((*RESTING, "Destroyed"))).order_by(Vm.lease_ends)
        due = list(session.scalars(query.limit(BATCH)))
    for vm_id in due:
        try:
            with transaction() as session:
                _carry_out(session, vm_id)
        except Busy:
            continue


def _tell_soon(session: Session) -> None:
    soon = utcnow() + dt.timedelta(days=value(session, "instance.lease.expiryevent.daysbefore"))
    coming = (Vm.lease_ends <= soon, Vm.lease_ends > utcnow(), Vm.lease_state == PENDING, Vm.removed.is_(None))
    for vm in session.scalars(select(Vm).where(*coming).limit(BATCH)):
        told = update(Vm).where(Vm.id == vm.id, Vm.lease_state == PENDING).values(lease_state=TOLD)
        if write(session, told):
            _note(session, vm, EXPIRING, f"The lease of {vm.name} ends at {vm.lease_ends}; then: {vm.lease_action}.")


def _carry_out(session: Session, vm_id: str) -> None:
    """Who sets the lease's state does it, in the same transaction; a VM that is busy has its turn later."""
    ended = or_(Vm.lease_state != DONE, Vm.lease_state.is_(None))
    if not write(session, update(Vm).where(Vm.id == vm_id, ended, Vm.lease_ends <= utcnow()).values(lease_state=DONE)):
        return
    vm = session.get_one(Vm, vm_id, populate_existing=True)
    if vm.lease_action == DESTROY and vm.delete_protection:
        what = "it is protected against deletion, and stays"
    elif vm.lease_action == DESTROY and vm.state in RESTING:
        what = "it is destroyed"
        destroy_vm.start(session, vm, expunge=False, forced=False)
    elif vm.lease_action == STOP and vm.state == "Running":
        what = "it is stopped"
        stop_vm.start(session, vm, forced=False, reason="Its lease has ended.")
    else:
        what = f"it is {vm.state} already"
    _note(session, vm, EXPIRED, f"The lease of {vm.name} has ended: {what}.")


def _note(session: Session, vm: Vm, kind: str, text: str) -> None:
    about = {"resource_type": "VirtualMachine", "resource_id": vm.id, "resource_name": vm.name}
    session.add(EventRow(type=kind, description=text, account_id=vm.account_id, parameters={}, **about))
