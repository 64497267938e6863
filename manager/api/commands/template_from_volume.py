"""Templates made of the root volumes of virtual machines."""

from __future__ import annotations

from manager.api.call import Call
from manager.api.command import EVERYONE, Given, Request, command
from manager.api.commands.job_hold import hold_stopped
from manager.api.commands.template import QUOTA, check_flags, store_of
from manager.api.commands.template_response import TemplateResponse
from manager.api.errors import ApiError, Invalid, missing
from manager.api.fields import Flag, MapOf, Ref, Text
from manager.models import Account, OsType, Template, Vm, Volume, WorkflowRow, Zone
from manager.placement import limits
from manager.workflows.template import capture_template, lend_vm


class CreateTemplate(Request):
    name = Text("its name", required=True)
    displaytext = Text("what it is; the name when absent", max_length=4096)
    ostypeid = Ref(OsType, "its operating system", required=True)
    volumeid = Ref(Volume, "the root volume of a Stopped virtual machine", right="manage")
    ispublic = Flag("whether everyone may use it", default=False)
    isfeatured = Flag("whether it is shown first; for root administrators", default=False)
    passwordenabled = Flag("whether the guest takes a password", default=False)
    sshkeyenabled = Flag("whether the guest takes an SSH key", default=False)
    requireshvm = Flag("whether it needs hardware virtualization", default=True)
    details = MapOf("details for virtual machines that start from it")


@command(
    "createTemplate",
    CreateTemplate,
    TemplateResponse,
    is_async=True,
    creates=True,
    roles=EVERYONE,
    event="TEMPLATE.CREATE",
)
def create_template(call: Call, given: Given) -> WorkflowRow:
    """Make a template of the root volume of a Stopped VM, for the account of the VM. The VM stays Stopped meanwhile."""
    volume: Volume | None = given.volumeid
    if volume is None:
        raise missing(call.command, "volumeid")
    check_flags(call, given.isfeatured)
    vm = _stopped_vm(call, volume)
    store = store_of(call, call.session.get_one(Zone, volume.zone_id))
    try:
        limits.claim(call.session, call.session.get_one(Account, volume.account_id), templates=1)
    except limits.LimitReached as error:
        raise ApiError(QUOTA, str(error)) from error
    template = Template(
        name=given.name,
        display_text=given.displaytext or given.name,
        account_id=volume.account_id,
        zone_id=volume.zone_id,
        image_store_id=store.id,
        os_type_id=given.ostypeid.id,
        hypervisor=vm.hypervisor,
        format="QCOW2",
        url="",
        is_public=given.ispublic,
        is_featured=given.isfeatured,
        password_enabled=given.passwordenabled,
        ssh_key_enabled=given.sshkeyenabled,
        requires_hvm=given.requireshvm,
        details=given.details or {},
    )
    call.subject = call.add(template)
    place = {"volume_id": volume.id, "host_id": vm.last_host_id}
    job = capture_template.start(call.session, template, call=call, awaited=True, **place)
    lend_vm.start(call.session, vm, borrower=job.id)
    return job


def _stopped_vm(call: Call, volume: Volume) -> Vm:
    """The VM whose root volume it is, which has no job at work.

    :raises Invalid: it is no root volume, was never made, or its VM is not Stopped
    """
    if volume.type != "ROOT" or volume.vm_id is None:
        raise Invalid(f"The volume {volume.name} ({volume.id}) is not the root volume of a virtual machine.")
    vm = call.session.get_one(Vm, volume.vm_id)
    hold_stopped(call, vm, "to make a template of its volume")
    if volume.state != "Ready" or volume.pool_id is None:
        raise Invalid(f"The volume {volume.name} ({volume.id}) is {volume.state}, not Ready: its VM has never run.")
    return vm
