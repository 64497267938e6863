"""Steps of destroying and expunging a virtual machine."""

from __future__ import annotations

from agents.contract import RemoveVolume
from manager.models import Host
from manager.models.states import VM_MOVES
from manager.placement import limits
from manager.workflows.engine import Ask, Outcome, Run
from manager.workflows.specs import pool_spec
from manager.workflows.vm_read import disks_of, forget_holdings, vm_of


def mark_destroyed(run: Run) -> Outcome:
    vm = vm_of(run)
    if vm.state in ("Stopped", "Error"):
        was_error = vm.state == "Error"
        VM_MOVES.move(vm, "destroy")
        if not was_error:
            limits.release(run.session, vm.account_id, vms=1, cpus=vm.cpus, memory=vm.memory)
    return None


def begin_expunging(run: Run) -> Outcome:
    vm = vm_of(run)
    if not run.arguments.get("expunge"):
        return None
    VM_MOVES.move(vm, "expunge")
    return None


def remove_volumes(run: Run) -> Outcome:
    """No undo: a volume whose removal was begun is not to be trusted; expunging is tried until it succeeds.

    The volumes of a host that was removed from the cloud are gone with it.
    """
    vm = vm_of(run)
    if vm.state != "Expunging":
        return None
    asks: list[Ask] = []
    for disk in disks_of(run):
        if disk.pool is not None:
            disk.volume.state = "Expunging"
            host = run.session.get_one(Host, str(disk.pool.host_id or vm.last_host_id))
            if host.removed is None:
                command = RemoveVolume(disk.volume.id, pool_spec(disk.pool), expunged=vm.id)
                asks.append(Ask(host.agent_id, command, vm.generation))
    return asks


def back_to_destroyed(run: Run) -> Outcome:
    vm = vm_of(run)
    if vm.state == "Expunging":
        vm.state = "Destroyed"
        vm.reason = run.row.error or ""
    return None


def mark_expunged(run: Run) -> Outcome:
    vm = vm_of(run)
    if vm.state != "Expunging" or vm.removed is not None:
        return None
    forget_holdings(run, vm, counted=True)
    vm.remove()
    return None
