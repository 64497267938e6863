"""Virtual machines: list, start, stop, reboot, destroy, expunge, recover, update."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import ColumnElement, cast, or_, select
from sqlalchemy import Text as TextColumn

from manager import access, configuration
from manager.api.call import Call
from manager.api.command import (
    EVERYONE,
    ROOT,
    AccountListRequest,
    CountedListRequest,
    Given,
    IconListRequest,
    Page,
    Request,
    SuccessResponse,
    command,
)
from manager.api.commands import security_member as security
from manager.api.commands.instance_group import group_of
from manager.api.commands.job_hold import hold, hold_stopped
from manager.api.commands.vm_deploy import checked_name
from manager.api.commands.vm_lease import NO_LEASE, action_field, days_field, take_lease
from manager.api.commands.vm_more import wants_figures
from manager.api.commands.vm_options import check_details, cluster_field, place_of, planner_of_start, pod_field
from manager.api.commands.vm_response import PARTS, VmResponse, described
from manager.api.commands.vm_user_data import change_user_data, details_field, id_field, text_field
from manager.api.errors import Denied, Invalid
from manager.api.fields import Choice, Flag, ListOf, MapOf, Ref, Text
from manager.models import (
    Account,
    AffinityGroup,
    AffinityMember,
    Cluster,
    Host,
    InstanceGroup,
    Network,
    Nic,
    OsType,
    Pod,
    SecurityGroup,
    SecurityMember,
    ServiceOffering,
    StoragePool,
    Tag,
    Template,
    User,
    UserData,
    Vm,
    Volume,
    WorkflowRow,
    Zone,
)
from manager.models.states import VM_MOVES
from manager.placement import limits
from manager.workflows.vm import destroy_vm, expunge_vm, reboot_vm, start_vm, stop_vm

USERS_MAY_EXPUNGE = "allow.user.expunge.recover.vm"
FORCE_DESTROYING = "vm.destroy.forcestop"
ENDING = ("Destroyed", "Expunging")
PRESENT = "Present"


class ListVms(IconListRequest, CountedListRequest, AccountListRequest):
    id = Ref(Vm, "only this virtual machine")
    ids = ListOf(Ref(Vm, ""), "only these virtual machines")
    name = Text("a part of the name")
    state = Choice(
        "only those in this state; Present: all but Destroyed and Expunging", [PRESENT, *sorted(VM_MOVES.states)]
    )
    zoneid = Ref(Zone, "only those in this zone")
    hostid = Ref(Host, "only those on this host", roles=ROOT)
    networkid = Ref(Network, "only those in this network")
    templateid = Ref(Template, "only those of this template")
    groupid = Ref(InstanceGroup, "only those of this group")
    affinitygroupid = Ref(AffinityGroup, "only those of this affinity group")
    securitygroupid = Ref(SecurityGroup, "only those in this security group")
    userdataid = Ref(UserData, "only those of this registered user data")
    serviceofferingid = Ref(ServiceOffering, "only those of this service offering")
    hypervisor = Text("only those on this kind of hypervisor")
    displayvm = Flag("whether users see it", roles=ROOT)
    podid = Ref(Pod, "only those on hosts of this pod", roles=ROOT)
    clusterid = Ref(Cluster, "only those on hosts of this cluster", roles=ROOT)
    storageid = Ref(StoragePool, "only those with a volume on this storage pool", roles=ROOT)
    userid = Ref(User, "only those that this user deployed")
    keypair = Text("only those with the SSH key pair of this name")
    haenable = Flag("only those that are started again elsewhere when their host fails, or that are not")
    leased = Flag("only those with a lease, or without")
    tags = MapOf("only those with all these tags")
    details = ListOf(Choice("", PARTS), f"the parts to show: {', '.join(PARTS)}; min for none of them")
    accumulate = Flag(
        "figures of stats since each was made; else since the last report but one, or as the setting says"
    )
    userdata = Flag("show the user data as well", default=False)


@command("listVirtualMachines", ListVms, VmResponse, roles=EVERYONE)
def list_virtual_machines(call: Call, given: Given) -> Page:
    """List virtual machines."""
    wanted = [access.visible(call, Vm), *_matching(given), *_tagged(given.tags)]
    if not call.is_root_admin:
        wanted.append(Vm.display.is_(True))
    if call.role.type == "User" and not _users_may_expunge(call):
        wanted.append(Vm.state.not_in(ENDING))
    counted = select(Vm.id).where(*wanted)
    call.parameters["details"], call.parameters["accumulate"] = given.details, given.accumulate
    query = described(user_data=given.userdata, figures=wants_figures(call, given.details)).where(*wanted)
    return call.paged(query.order_by(Vm.number), counted=counted)


def _matching(given: Given) -> list[ColumnElement[bool]]:
    columns: dict[str, Any] = {
        "id": Vm.id,
        "zoneid": Vm.zone_id,
        "hostid": Vm.host_id,
        "templateid": Vm.template_id,
        "groupid": Vm.group_id,
        "userdataid": Vm.user_data_id,
        "serviceofferingid": Vm.service_offering_id,
        "userid": Vm.user_id,
    }
    found: list[ColumnElement[bool]] = [
        column == getattr(given, name).id for name, column in columns.items() if getattr(given, name) is not None
    ]
    if given.ids is not None:
        found.append(Vm.id.in_([vm.id for vm in given.ids]))
    if given.networkid is not None:
        found.append(Vm.id.in_(select(Nic.vm_id).where(Nic.network_id == given.networkid.id)))
    found += _at(given)
    if given.affinitygroupid is not None:
        members = select(AffinityMember.vm_id).where(AffinityMember.group_id == given.affinitygroupid.id)
        found.append(Vm.id.in_(members))
    if given.securitygroupid is not None:
        inside = select(SecurityMember.vm_id).where(SecurityMember.group_id == given.securitygroupid.id)
        found.append(Vm.id.in_(inside))
    if given.state is not None:
        found.append(Vm.state.not_in(ENDING) if given.state == PRESENT else Vm.state == given.state)
    if given.hypervisor:
        found.append(Vm.hypervisor == given.hypervisor)
    if given.displayvm is not None:
        found.append(Vm.display.is_(given.displayvm))
    if given.name:
        found.append(_named(given.name))
    if given.keyword:
        found.append(or_(_named(given.keyword), Vm.instance_name.contains(given.keyword, autoescape=True)))
    return found


def _at(given: Given) -> list[ColumnElement[bool]]:
    """By where they are, what they hold and what they are promised."""
    found: list[ColumnElement[bool]] = []
    for place, column in ((given.podid, Host.pod_id), (given.clusterid, Host.cluster_id)):
        if place is not None:
            found.append(Vm.host_id.in_(select(Host.id).where(column == place.id)))
    if given.storageid is not None:
        held = select(Volume.vm_id).where(Volume.pool_id == given.storageid.id, Volume.removed.is_(None))
        found.append(Vm.id.in_(held))
    if given.keypair:
        found.append(cast(Vm.key_pairs, TextColumn).contains(json.dumps(given.keypair), autoescape=True))
    if given.haenable is not None:
        found.append(Vm.ha_enabled.is_(given.haenable))
    if given.leased is not None:
        found.append(Vm.lease_ends.is_not(None) if given.leased else Vm.lease_ends.is_(None))
    return found


def _named(part: str) -> ColumnElement[bool]:
    return or_(Vm.name.contains(part, autoescape=True), Vm.display_name.contains(part, autoescape=True))


def _tagged(tags: dict[str, str] | None) -> list[ColumnElement[bool]]:
    pairs = (tags or {}).items()
    return [Vm.id.in_(select(Tag.resource_id).where(Tag.key == key, Tag.value == value)) for key, value in pairs]


class StartVm(Request):
    id = Ref(Vm, "the VM to start", required=True)
    hostid = Ref(Host, "the host to start it on", roles=ROOT)
    clusterid = cluster_field()
    podid = pod_field()
    deploymentplanner = planner_of_start()


@command("startVirtualMachine", StartVm, VmResponse, is_async=True, roles=EVERYONE, event="VM.START")
def start_virtual_machine(call: Call, given: Given) -> WorkflowRow:
    """Start a Stopped VM."""
    vm: Vm = given.id
    VM_MOVES.demand(vm, "start")
    access.demand_active_owner(call, vm)
    place = place_of(call.session.get_one(Zone, vm.zone_id), given)
    return start_vm.start(call.session, vm, call=call, **place)


class StopVm(Request):
    id = Ref(Vm, "the VM to stop", required=True)
    forced = Flag("power off at once, without asking the guest", default=False)


@command("stopVirtualMachine", StopVm, VmResponse, is_async=True, roles=EVERYONE, event="VM.STOP")
def stop_virtual_machine(call: Call, id: Vm, forced: bool) -> WorkflowRow:
    """Stop a Running VM. Its addresses and volumes stay."""
    VM_MOVES.demand(id, "stop")
    return stop_vm.start(call.session, id, call=call, forced=forced)


class RebootVm(Request):
    id = Ref(Vm, "the VM to reboot", required=True)
    forced = Flag("reset at once, without asking the guest", default=False)


@command("rebootVirtualMachine", RebootVm, VmResponse, is_async=True, roles=EVERYONE, event="VM.REBOOT")
def reboot_virtual_machine(call: Call, id: Vm, forced: bool) -> WorkflowRow:
    """Restart the guest of a Running VM, in its place."""
    if id.state != "Running":
        raise Invalid(f"The virtual machine {id.id} is {id.state}; to reboot it must be Running.")
    return reboot_vm.start(call.session, id, call=call, forced=forced)


class DestroyVm(Request):
    id = Ref(Vm, "the VM to destroy", required=True)
    expunge = Flag("remove it and its volumes for good at once", default=False)


@command("destroyVirtualMachine", DestroyVm, VmResponse, is_async=True, roles=EVERYONE, event="VM.DESTROY")
def destroy_virtual_machine(call: Call, id: Vm, expunge: bool) -> WorkflowRow:
    """Destroy a VM, which is stopped first; it can be recovered until it is expunged."""
    if expunge:
        _demand_expunging(call)
    demand_unprotected(id)
    if id.state != "Running" and not (expunge and id.state in VM_MOVES.table["expunge"]):
        VM_MOVES.demand(id, "destroy")
    forced = _is_set(call, FORCE_DESTROYING)
    return destroy_vm.start(call.session, id, call=call, expunge=expunge, forced=forced)


class ExpungeVm(Request):
    id = Ref(Vm, "the VM to expunge", required=True)


@command("expungeVirtualMachine", ExpungeVm, SuccessResponse, is_async=True, roles=EVERYONE, event="VM.EXPUNGE")
def expunge_virtual_machine(call: Call, id: Vm) -> WorkflowRow:
    """Remove a Destroyed VM and its volumes for good."""
    _demand_expunging(call)
    demand_unprotected(id)
    VM_MOVES.demand(id, "expunge")
    return expunge_vm.start(call.session, id, call=call, expunge=True)


def demand_unprotected(vm: Vm) -> None:
    """:raises Invalid: the VM is protected against deletion"""
    if vm.delete_protection:
        raise Invalid(
            f"The virtual machine {vm.name} ({vm.id}) is protected against deletion; updateVirtualMachine with "
            "deleteprotection=false ends that."
        )


def _demand_expunging(call: Call) -> None:
    if call.role.type == "User" and not _users_may_expunge(call):
        raise Denied(f"Users may expunge and recover only where the setting {USERS_MAY_EXPUNGE} is true.")


def _users_may_expunge(call: Call) -> bool:
    return bool(configuration.value(call.session, USERS_MAY_EXPUNGE, call.account))


def _is_set(call: Call, name: str) -> bool:
    return name in configuration.SETTINGS and bool(configuration.value(call.session, name))


class RecoverVm(Request):
    id = Ref(Vm, "the VM to recover", required=True)


@command("recoverVirtualMachine", RecoverVm, VmResponse, roles=EVERYONE, event="VM.RECOVER")
def recover_virtual_machine(call: Call, id: Vm) -> Vm:
    """Make a Destroyed VM a Stopped one again."""
    _demand_expunging(call)
    hold(call, id)
    VM_MOVES.demand(id, "recover")
    volumes = call.session.scalars(select(Volume.state).where(Volume.vm_id == id.id, Volume.removed.is_(None))).all()
    if not volumes or {"Expunging", "Expunged"} & set(volumes):
        raise Invalid(f"The volumes of the virtual machine {id.id} are gone or going, so it cannot be recovered.")
    limits.claim(call.session, call.session.get_one(Account, id.account_id), vms=1, cpus=id.cpus, memory=id.memory)
    VM_MOVES.move(id, "recover")
    return id


class UpdateVm(Request):
    id = Ref(Vm, "the VM to change", required=True)
    name = Text("a new name, while it is Stopped")
    displayname = Text("a new name to show")
    group = Text("the name of its group; empty for none")
    userdata = text_field("new user data in base64, told at the next start; empty for none but the template's")
    userdataid = id_field()
    userdatadetails = details_field()
    ostypeid = Ref(OsType, "another operating system type")
    displayvm = Flag("whether users see it", roles=ROOT)
    deleteprotection = Flag("whether it cannot be destroyed")
    leaseduration = days_field("the days from now that it is kept; -1 for no lease", least=NO_LEASE)
    leaseexpiryaction = action_field()
    securitygroupids = security.group_ids_field("the present ones when none is named")
    securitygroupnames = security.group_names_field()
    details = MapOf("new details in place of the old ones")
    cleanupdetails = Flag("remove all details", default=False)


@command("updateVirtualMachine", UpdateVm, VmResponse, roles=EVERYONE, event="VM.UPDATE", rehearses=True)
def update_virtual_machine(call: Call, given: Given) -> Vm:
    """Change how a VM is named and described; the size of it stays."""
    vm: Vm = given.id
    if given.name and given.name != vm.name:
        _rename(call, vm, given.name)
    if given.displayname:
        vm.display_name = given.displayname
    if given.group is not None:
        owner = call.session.get_one(Account, vm.account_id)
        vm.group_id = group_of(call, owner, given.group).id if given.group else None
    change_user_data(call, vm, given)
    if given.ostypeid is not None:
        vm.os_type_id = given.ostypeid.id
    if given.displayvm is not None:
        vm.display = given.displayvm
    if given.deleteprotection is not None:
        vm.delete_protection = given.deleteprotection
    take_lease(call, vm, given)
    security.change_groups(call, vm, given)
    if given.details is not None or given.cleanupdetails:
        check_details(given.details or {})
        vm.details = {} if given.cleanupdetails else given.details
    call.flush(taken=f"The account of the virtual machine {vm.id} has one named {given.name} already.")
    return vm


def _rename(call: Call, vm: Vm, name: str) -> None:
    hold_stopped(call, vm, "to be renamed")
    vm.name = checked_name(name)
    vm.live = f"{vm.account_id}/{name.lower()}"
