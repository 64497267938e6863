"""Steps of stopping and rebooting a virtual machine, and of reading its console."""

from __future__ import annotations

from agents.contract import ReadConsole, RebootVm, StopVm
from manager.models.states import VM_MOVES
from manager.workflows.crowds import await_told
from manager.workflows.engine import Ask, Outcome, Run, StepFailed
from manager.workflows.views import picture
from manager.workflows.vm_read import (
    agent_of,
    ask_of,
    leave_host,
    networks_of,
    nics_of,
    part,
    place_nics,
    tell,
    vm_of,
)

STOP_GRACE = 60
CONSOLE_BYTES = 65536


def begin_stopping(run: Run) -> Outcome:
    vm = vm_of(run)
    if vm.state == "Running":
        VM_MOVES.move(vm, "stop")
        vm.reason = run.arguments.get("reason", "")
    return None


def stay_running(run: Run) -> Outcome:
    """The agent could not stop it: it counts as running, in its place, until it is known to be off."""
    vm = vm_of(run)
    if vm.state == "Stopping":
        VM_MOVES.move(vm, "stay")
        vm.reason = run.row.error or ""
    return None


def stop_domain(run: Run) -> Outcome:
    vm = vm_of(run)
    if vm.state != "Stopping" or vm.host_id is None:
        return None
    place_nics(run, None)
    others, own = tell(run, vm.host_id, leaving=True)
    run.note(others=[part(ask) for ask in others])
    command = StopVm(
        vm.id,
        vm.instance_name,
        forced=bool(run.arguments.get("forced")),
        grace=STOP_GRACE,
        nic_ids=tuple(nic.id for nic in nics_of(run)),
        networks=own,
    )
    return [Ask(agent_of(run, vm.host_id), command, vm.generation)]


def replug(run: Run) -> Outcome:
    vm = vm_of(run)
    if vm.state != "Stopping" or vm.host_id is None:
        return None
    place_nics(run, vm.host_id)
    asks: list[Ask] = []
    for network_id in networks_of(run):
        asks += picture(run.session, network_id).asks()
    return asks


def tell_others(run: Run) -> Outcome:
    """Now that the guest is off, the other hosts forget its NIC."""
    return await_told(run) or [ask_of(part) for part in run.recall("others") or ()]


def mark_stopped(run: Run) -> Outcome:
    vm = vm_of(run)
    if vm.state == "Stopping":
        leave_host(run)
        VM_MOVES.move(vm, "stopped")
    return None


def stay_off(run: Run) -> Outcome:
    """Undo of what comes after the end of the guest, which is off whatever failed then."""
    vm = vm_of(run)
    if vm.state == "Stopping":
        mark_stopped(run)
        vm.reason = run.row.error or ""
    return None


def reboot_domain(run: Run) -> Outcome:
    vm = vm_of(run)
    if vm.state != "Running" or vm.host_id is None:
        raise StepFailed(f"The virtual machine {vm.id} is {vm.state}; only a Running one can be rebooted.", 431)
    command = RebootVm(vm.id, vm.instance_name, forced=bool(run.arguments.get("forced")))
    return [Ask(agent_of(run, vm.host_id), command, vm.generation)]


def ask_console(run: Run) -> Outcome:
    vm = vm_of(run)
    host_id = vm.host_id or vm.last_host_id
    if host_id is None:
        raise StepFailed(f"The virtual machine {vm.id} has never run, so it has no console output.", 431)
    return [Ask(agent_of(run, host_id), ReadConsole(vm.id, vm.instance_name, CONSOLE_BYTES), vm.generation)]


def keep_console(run: Run, answers: list[object]) -> None:
    run.note(output=str(answers[0]))
