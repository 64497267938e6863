"""Handlers of the life of a virtual machine."""

from __future__ import annotations

from agents.contract import ReadConsole, RebootVm, StartVm, StopVm, VmSpec
from agents.host.host import VM, Host
from agents.runner import handles


@handles(StartVm)
def start_vm(host: Host, command: StartVm) -> None:
    vm = command.vm
    host.hold(command.networks)
    host.start(vm)
    host.journal.want(VM, vm.id, vm.generation, vm)


@handles(StopVm)
def stop_vm(host: Host, command: StopVm) -> None:
    known = host.journal.wanted_one(VM, command.vm_id, VmSpec)
    host.journal.drop(VM, command.vm_id)
    host.hypervisor.stop(command.vm_id, forced=command.forced, grace=command.grace)
    for nic_id in {*command.nic_ids, *(nic.id for nic in (known.nics if known else ()))}:
        host.switch.unplug(nic_id)
    host.hold(command.networks)


@handles(RebootVm)
def reboot_vm(host: Host, command: RebootVm) -> None:
    host.hypervisor.reboot(command.vm_id, forced=command.forced, grace=command.grace)


@handles(ReadConsole)
def read_console(host: Host, command: ReadConsole) -> str:
    return str(host.hypervisor.console(command.vm_id, command.limit))
