"""A virtual machine handed to another account, with its volumes."""

from __future__ import annotations

from sqlalchemy import delete, select, update

from manager import access
from manager.api.call import Call
from manager.api.command import ADMINS, Given, Request, command
from manager.api.commands import security_member as security
from manager.api.commands.job_hold import hold_stopped
from manager.api.commands.vm_deploy import wanted_networks
from manager.api.commands.vm_response import VmResponse
from manager.api.errors import Invalid, missing
from manager.api.fields import ListOf, Ref, Text
from manager.db import write
from manager.models import Account, AffinityMember, Domain, Network, Nic, Project, Tag, Vm, Volume, Zone
from manager.placement import limits
from manager.placement.address import add_nic


class AssignVm(Request):
    account = Text("the account that shall own it")
    domainid = Ref(Domain, "the domain of that account", right="use")
    projectid = Ref(Project, "the project that shall own it, in place of an account", right="use")
    virtualmachineid = Ref(Vm, "the VM, which is Stopped", required=True, right="manage")
    networkids = ListOf(
        Ref(Network, ""), "its networks from now on, which are the new owner's; its only one when absent", most=16
    )
    securitygroupids = security.group_ids_field()


@command("assignVirtualMachine", AssignVm, VmResponse, roles=ADMINS, event="VM.MOVE")
def assign_virtual_machine(call: Call, given: Given) -> Vm:
    """Hand a Stopped VM and its volumes to another account. It leaves its networks and its groups."""
    vm: Vm = given.virtualmachineid
    call.subject = vm
    owner = _new_owner(call, given)
    if owner.id == vm.account_id:
        raise Invalid(f"The virtual machine {vm.id} is the account {owner.name}'s already.")
    call.named_owner = owner
    zone = call.session.get_one(Zone, vm.zone_id)
    wanted = {"zoneid": zone, "networkids": given.networkids, "iptonetworklist": None, "ipaddress": None}
    networks = wanted_networks(call, Given(wanted))
    names = Given({"securitygroupids": given.securitygroupids, "securitygroupnames": None})
    guards = security.groups_for(call, owner, names, [network for network, _ in networks])
    hold_stopped(call, vm, "to be handed to another account")
    _move_counts(call, vm, owner)
    vm.account_id, vm.live = owner.id, f"{owner.id}/{vm.name.lower()}"
    vm.group_id = vm.user_data_id = vm.user_id = None
    call.flush(taken=f"The account {owner.name} has a virtual machine {vm.name} already.")
    _move_parts(call, vm, owner)
    security.leave_groups(call, vm)
    security.join_groups(call, vm, guards)
    write(call.session, delete(Nic).where(Nic.vm_id == vm.id))
    for device, (network, _) in enumerate(networks):
        add_nic(call.session, network, vm_id=vm.id, device=device, is_default=device == 0)
    return vm


def _new_owner(call: Call, given: Given) -> Account:
    """:raises ApiError: neither a project, which is Active, nor an account and its domain, or both"""
    if given.projectid is None:
        for name in ("account", "domainid"):
            if getattr(given, name) is None:
                raise missing(call.command, name)
        return access.owner(call, given.account, given.domainid)
    if given.account is not None:
        raise Invalid("Account and projectId can't be specified together.")
    access.demand_active(call, given.projectid)
    return call.session.get_one(Account, given.projectid.account_id)


def _move_counts(call: Call, vm: Vm, owner: Account) -> None:
    """:raises LimitReached: a limit of the new owner stands against it"""
    query = select(Volume.size).where(Volume.vm_id == vm.id, Volume.removed.is_(None))
    sizes = call.session.scalars(query).all()
    held = {"vms": 1, "cpus": vm.cpus, "memory": vm.memory, "volumes": len(sizes), "primary_storage": sum(sizes)}
    limits.claim(call.session, owner, **held)
    limits.release(call.session, vm.account_id, **held)


def _move_parts(call: Call, vm: Vm, owner: Account) -> None:
    volumes = select(Volume.id).where(Volume.vm_id == vm.id)
    tagged = (Tag.resource_id == vm.id) | Tag.resource_id.in_(volumes)
    write(call.session, update(Tag).where(tagged).values(account_id=owner.id))
    write(call.session, update(Volume).where(Volume.vm_id == vm.id).values(account_id=owner.id))
    write(call.session, delete(AffinityMember).where(AffinityMember.vm_id == vm.id))
