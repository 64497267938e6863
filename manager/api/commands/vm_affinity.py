"""The affinity groups of one virtual machine."""

from __future__ import annotations

from sqlalchemy import delete

from manager.api.call import Call
from manager.api.command import EVERYONE, Given, Request, command
from manager.api.commands.affinity_group import group_ids_field, group_names_field, join_groups, named_groups
from manager.api.commands.job_hold import hold_stopped
from manager.api.commands.vm_response import VmResponse
from manager.api.fields import Ref
from manager.db import write
from manager.models import Account, AffinityMember, Vm, WorkflowRow


class UpdateVmAffinityGroup(Request):
    id = Ref(Vm, "the VM, which is Stopped", required=True)
    affinitygroupids = group_ids_field()
    affinitygroupnames = group_names_field()


@command(
    "updateVMAffinityGroup",
    UpdateVmAffinityGroup,
    VmResponse,
    is_async=True,
    roles=EVERYONE,
    event="VM.AFFINITY.GROUP.UPDATE",
)
def update_vm_affinity_group(call: Call, given: Given) -> WorkflowRow:
    """Put a Stopped VM into these affinity groups and out of all others; out of all when none is named."""
    vm: Vm = given.id
    groups = named_groups(call, call.session.get_one(Account, vm.account_id), given)
    hold_stopped(call, vm, "to change its affinity groups")
    write(call.session, delete(AffinityMember).where(AffinityMember.vm_id == vm.id))
    join_groups(call, vm, groups)
    call.flush()
    return call.job_done(vm)
