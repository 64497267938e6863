"""Which security groups a virtual machine is in: the parameters that say it, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from manager.api.call import Call
from manager.api.command import Given
from manager.api.errors import Denied, Invalid
from manager.api.fields import ListOf, Ref, Text
from manager.db import write
from manager.models import Account, Network, NetworkOffering, Nic, SecurityGroup, SecurityMember, Vm, new_id
from manager.workflows.guards import guarded_offerings, has_groups
from manager.workflows.security import guarded_networks, tell_of_change

DEFAULT = "default"
MOST_GROUPS = 16


def group_ids_field(otherwise: str = "default when none is named") -> ListOf:
    return ListOf(Ref(SecurityGroup, ""), f"its security groups; {otherwise}", most=MOST_GROUPS)


def group_names_field() -> ListOf:
    return ListOf(Text(""), "the names of its security groups, in place of securitygroupids", most=MOST_GROUPS)


def live_name(owner: Account, name: str) -> str:
    return f"{owner.id}/{name.lower()}"


def default_group(call: Call, owner: Account) -> SecurityGroup:
    """The account's group that virtual machines are in for which none is named; made when it is first asked for."""
    query = select(SecurityGroup).filter_by(live=live_name(owner, DEFAULT))
    found = call.session.scalar(query)
    if found is not None:
        return found
    group = SecurityGroup(
        account_id=owner.id, name=DEFAULT, description="Default Security Group", live=live_name(owner, DEFAULT)
    )
    try:
        with call.session.begin_nested():
            call.session.add(group)
    except IntegrityError:  # another call has made it meanwhile
        return call.session.scalars(query).one()
    return group


def group_named(call: Call, owner: Account, name: str) -> SecurityGroup:
    """:raises Invalid: the account has none of that name"""
    if name.lower() == DEFAULT:
        return default_group(call, owner)
    group = call.session.scalar(select(SecurityGroup).filter_by(live=live_name(owner, name)))
    if group is None:
        raise Invalid(f"The account {owner.name} has no security group {name}.")
    return group


def named_groups(call: Call, owner: Account, given: Given) -> list[SecurityGroup]:
    """The groups of the parameters securitygroupids or securitygroupnames, for a VM of `owner`; none for none.

    :raises ApiError: they are another account's, or there are none of such names
    """
    ids, names = given.securitygroupids or (), given.securitygroupnames or ()
    if ids and names:
        raise Invalid("The parameters securitygroupids and securitygroupnames exclude each other.")
    for group in ids:
        if group.account_id != owner.id:
            raise Denied(f"The security group {group.name} ({group.id}) is not the account {owner.name}'s.")
    found = [*ids, *(group_named(call, owner, name) for name in names)]
    return list({group.id: group for group in found}.values())


def groups_for(call: Call, owner: Account, given: Given, networks: Iterable[Network]) -> list[SecurityGroup]:
    """The groups that a VM of these networks shall be in: those named, else `default`; none where there are none.

    :raises ApiError: as named_groups; or some are named, and none of the networks has security groups
    """
    groups = named_groups(call, owner, given)
    ids = {network.offering_id for network in networks}
    offered = call.session.scalars(select(NetworkOffering.services).where(NetworkOffering.id.in_(ids)))
    if not any(has_groups(services) for services in offered.all()):
        if groups:
            raise Invalid("None of its networks has security groups: their offerings lack the service SecurityGroup.")
        return []
    return groups or [default_group(call, owner)]


def hold_groups(call: Call, groups: Iterable[SecurityGroup], *, alone: bool = False) -> None:
    """Keep the groups from being removed until the call ends; `alone` also from what others do to them.

    :raises Invalid: one was removed meanwhile
    """
    wanted = {group.id: group.name for group in groups}
    query = select(SecurityGroup.id).where(SecurityGroup.id.in_(wanted), SecurityGroup.removed.is_(None))
    held = call.session.scalars(query.order_by(SecurityGroup.id).with_for_update(read=not alone)).all()
    for group_id in wanted.keys() - set(held):
        raise Invalid(f"The security group {wanted[group_id]} has been removed.")


def join_groups(call: Call, vm: Vm, groups: Sequence[SecurityGroup]) -> list[SecurityMember]:
    if groups:
        hold_groups(call, groups)
    members = [SecurityMember(id=new_id(), group_id=group.id, vm_id=vm.id) for group in groups]
    call.session.add_all(members)
    return members


def leave_groups(call: Call, vm: Vm) -> None:
    write(call.session, delete(SecurityMember).where(SecurityMember.vm_id == vm.id))


def change_groups(call: Call, vm: Vm, given: Given) -> None:
    """Put the VM into the named groups and out of all others, if any are named; all hosts are told at once.

    :raises ApiError: as groups_for
    """
    if not given.securitygroupids and not given.securitygroupnames:
        return
    owner = call.session.get_one(Account, vm.account_id)
    call.session.refresh(vm, with_for_update=True)
    networks = select(Network).join(Nic, Nic.network_id == Network.id).where(Nic.vm_id == vm.id)
    groups = groups_for(call, owner, given, call.session.scalars(networks).all())
    query = select(SecurityMember).where(SecurityMember.vm_id == vm.id)
    present = {member.group_id: member for member in call.session.scalars(query)}
    wanted = {group.id for group in groups}
    left = [member for group_id, member in present.items() if group_id not in wanted]
    for member in left:
        call.session.delete(member)
    joined = join_groups(call, vm, [group for group in groups if group.id not in present])
    call.session.flush()
    tell_of_change(call.session, vm, joined, left)


def join_default(call: Call, vm: Vm, network: Network) -> None:
    """A VM that gets its first NIC in a network with security groups, and is in none, is in `default` from now on."""
    if network.offering_id not in guarded_offerings(call.session):
        return
    held = select(SecurityMember.id).where(SecurityMember.vm_id == vm.id).limit(1)
    if call.session.scalar(held) is None and not guarded_networks(call.session, Nic.vm_id == vm.id):
        join_groups(call, vm, [default_group(call, call.session.get_one(Account, vm.account_id))])
