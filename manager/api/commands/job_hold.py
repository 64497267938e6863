"""A thing held still while a call changes it: no job is at work on it, and none begins before the call has ended."""

from __future__ import annotations

from typing import Any

from sqlalchemy.exc import IntegrityError

from manager.api.call import Call
from manager.api.errors import Invalid
from manager.models import Vm, WorkflowRow
from manager.workflows.engine import Busy


def hold(call: Call, thing: Any) -> None:
    """See that no job is at work on the thing, and have those that begin meanwhile wait for the end of this call.

    The row takes the place that an open workflow would have; it is gone before anyone can see it.

    :raises Busy: a workflow is open for the thing
    """
    kind = type(thing).__tablename__
    holds = f"{kind}:{thing.id}"
    place = WorkflowRow(name="hold", status="done", subject_type=kind, subject_id=thing.id, holds=holds)
    call.session.add(place)
    try:
        call.session.flush()
    except IntegrityError as error:
        call.session.rollback()
        raise Busy(holds) from error
    call.session.delete(place)
    call.session.refresh(thing, with_for_update=True)


def hold_stopped(call: Call, vm: Vm, purpose: str) -> None:
    """As `hold`, for a VM that must be Stopped; `purpose` is what for, such as 'to get another password'.

    :raises Invalid: it is not
    """
    hold(call, vm)
    if vm.state != "Stopped":
        raise Invalid(f"The virtual machine {vm.id} is {vm.state}; {purpose} it must be Stopped.")
