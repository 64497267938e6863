"""Changes of a whole virtual machine: another size, another root volume."""

from __future__ import annotations

from sqlalchemy import select

from manager.api.call import Call
from manager.api.command import EVERYONE, Request, command
from manager.api.commands.job_hold import hold_stopped
from manager.api.commands.vm_deploy import new_password, root_size, shape_of, usable_template
from manager.api.commands.vm_response import DeployedVmResponse, VmResponse
from manager.api.errors import Invalid
from manager.api.fields import MapOf, Ref, Size
from manager.models import Account, ServiceOffering, Template, Vm, Volume, WorkflowRow, Zone
from manager.placement import limits
from manager.workflows.vm import restore_vm


class ScaleVm(Request):
    id = Ref(Vm, "the VM, which is Stopped", required=True)
    serviceofferingid = Ref(ServiceOffering, "its CPUs and memory from now on", required=True)
    details = MapOf("cpuNumber, cpuSpeed (MHz) and memory (MiB) for a custom offering")


@command("scaleVirtualMachine", ScaleVm, VmResponse, is_async=True, roles=EVERYONE, event="VM.UPGRADE")
def scale_virtual_machine(
    call: Call, id: Vm, serviceofferingid: ServiceOffering, details: dict[str, str] | None
) -> WorkflowRow:
    """Give a Stopped VM the CPUs and memory of another service offering. A Running one must be stopped first."""
    _scale(call, id, serviceofferingid, details)
    return call.job_done(id)


@command("changeServiceForVirtualMachine", ScaleVm, VmResponse, roles=EVERYONE, event="VM.UPGRADE")
def change_service(call: Call, id: Vm, serviceofferingid: ServiceOffering, details: dict[str, str] | None) -> Vm:
    """Give a Stopped VM the CPUs and memory of another service offering."""
    _scale(call, id, serviceofferingid, details)
    return id


def _scale(call: Call, vm: Vm, offering: ServiceOffering, details: dict[str, str] | None) -> None:
    """:raises ApiError: the VM is not Stopped, the offering does not suit it, or a limit stands against it"""
    shape = shape_of(offering, details)
    if shape.details:
        raise Invalid(f"The detail {next(iter(shape.details))} is none of cpuNumber, cpuSpeed and memory.")
    hold_stopped(call, vm, "to get another service offering (its size cannot change while it runs)")
    present = call.session.get_one(ServiceOffering, vm.service_offering_id)
    if offering.storage_type != present.storage_type:
        raise Invalid(
            f"The service offering {offering.name} has {offering.storage_type} storage; the volumes of the virtual "
            f"machine {vm.id} lie on {present.storage_type} storage."
        )
    root = root_of(call, vm)
    if root is not None and root.size < offering.root_disk_size:
        raise Invalid(
            f"The root volume of the virtual machine {vm.id} has {root.size} bytes, less than the "
            f"{offering.root_disk_size} of the service offering {offering.name}."
        )
    more = {"cpus": shape.cpus - vm.cpus, "memory": shape.memory - vm.memory}
    _count(call, vm, more)
    vm.service_offering_id = offering.id
    vm.cpus, vm.cpu_mhz, vm.memory = shape.cpus, shape.cpu_mhz, shape.memory
    call.flush()


def _count(call: Call, vm: Vm, more: dict[str, int]) -> None:
    """Count the differences, which may be negative, against the VM's account."""
    grown = {name: amount for name, amount in more.items() if amount > 0}
    shrunk = {name: -amount for name, amount in more.items() if amount < 0}
    if grown:
        limits.claim(call.session, call.session.get_one(Account, vm.account_id), **grown)
    if shrunk:
        limits.release(call.session, vm.account_id, **shrunk)


def root_of(call: Call, vm: Vm) -> Volume | None:
    query = select(Volume).where(Volume.vm_id == vm.id, Volume.type == "ROOT", Volume.removed.is_(None))
    return call.session.scalar(query)


class RestoreVm(Request):
    virtualmachineid = Ref(Vm, "the VM, which is Running or Stopped", required=True, right="manage")
    templateid = Ref(Template, "what its root volume is made of from now on; the present template when absent")
    rootdisksize = Size("the size of the new root volume in GiB, at least the template's; the old size when absent")


@command(
    "restoreVirtualMachine", RestoreVm, DeployedVmResponse, is_async=True, roles=EVERYONE, event="VM.RESTORE"
)  # fmt: skip
def restore_virtual_machine(
    call: Call, virtualmachineid: Vm, templateid: Template | None, rootdisksize: int | None
) -> WorkflowRow:
    """Make the root volume of a VM anew of its template, or of another: what was on it is lost.

    A VM that runs is stopped first and started again.
    """
    vm = virtualmachineid
    call.subject = vm
    if vm.state not in ("Running", "Stopped"):
        raise Invalid(f"The virtual machine {vm.id} is {vm.state}; to be restored it must be Running or Stopped.")
    root = root_of(call, vm)
    if root is None:
        raise Invalid(f"The virtual machine {vm.id} has no root volume.")
    template = templateid or call.session.get_one(Template, vm.template_id)
    usable_template(call, template, call.session.get_one(Zone, vm.zone_id))
    if template.hypervisor != vm.hypervisor:
        raise Invalid(f"The template {template.name} is for {template.hypervisor}, not for {vm.hypervisor}.")
    offering = call.session.get_one(ServiceOffering, vm.service_offering_id)
    size = root_size(template, offering, rootdisksize or root.size)
    if size > root.size:
        _count(call, vm, {"primary_storage": size - root.size})
    job = restore_vm.start(
        call.session, vm, call=call, template_id=template.id, size=size, old_size=root.size, forced=False
    )
    job.memory = {"password": new_password(call) if template.password_enabled else None}
    return job
