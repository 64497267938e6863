"""Handlers of NICs that come to running virtual machines, and leave them."""

from __future__ import annotations

from agents.contract import PlugNic, UnplugNic
from agents.host.host import VM, Host
from agents.runner import handles


@handles(PlugNic)
def plug_nic(host: Host, command: PlugNic) -> None:
    vm = command.vm
    nic = next(one for one in vm.nics if one.id == command.nic_id)
    host.hold(command.networks)
    is_new = host.switch.plug(nic.id, nic.mac)
    try:
        host.make_so()
        host.hypervisor.attach(vm.id, nic)
    except Exception:
        if is_new:
            host.switch.unplug(nic.id)
        raise
    host.journal.want(VM, vm.id, vm.generation, vm)


@handles(UnplugNic)
def unplug_nic(host: Host, command: UnplugNic) -> None:
    """The guest lets go first: until then the NIC works as before."""
    vm = command.vm
    host.hypervisor.detach(vm.id, command.nic)
    if host.journal.wanted_one(VM, vm.id, type(vm)) is not None:
        host.journal.want(VM, vm.id, vm.generation, vm)
    host.switch.unplug(command.nic.id)
    host.hold(command.networks)
