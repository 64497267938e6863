"""A virtual machine held still while a call changes it."""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError

from manager.api.call import Call
from manager.api.errors import Invalid
from manager.models import Vm, WorkflowRow
from manager.workflows.engine import Busy


def hold(call: Call, vm: Vm) -> None:
    """See that no job is at work on the VM, and have those that begin meanwhile wait for the end of this call.

    The row takes the place that an open workflow of the VM would have; it is gone before anyone can see it.

    :raises Busy: a workflow is open for the VM
    """
    holds = f"{Vm.__tablename__}:{vm.id}"
    place = WorkflowRow(name="hold", status="done", subject_type=Vm.__tablename__, subject_id=vm.id, holds=holds)
    call.session.add(place)
    try:
        call.session.flush()
    except IntegrityError as error:
        call.session.rollback()
        raise Busy(holds) from error
    call.session.delete(place)
    call.session.refresh(vm, with_for_update=True)


def hold_stopped(call: Call, vm: Vm, purpose: str) -> None:
    """As `hold`, for a VM that must be Stopped; `purpose` is what for, such as 'to get another password'.

    :raises Invalid: it is not
    """
    hold(call, vm)
    if vm.state != "Stopped":
        raise Invalid(f"The virtual machine {vm.id} is {vm.state}; {purpose} it must be Stopped.")
