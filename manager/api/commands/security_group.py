"""Security groups: what they are called, and what lists of them show."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, or_, select

from manager import access
from manager.api.call import Call
from manager.api.command import EVERYONE, ROOT, AccountListRequest, OwnedRequest, Page, Request, command
from manager.api.commands.place import named, narrowed, rename, with_keyword
from manager.api.commands.security_member import DEFAULT, default_group, group_named, hold_groups, live_name
from manager.api.commands.security_response import SecurityGroupResponse
from manager.api.errors import CONFLICT, ApiError, Invalid, missing
from manager.api.fields import MapOf, Ref, Text
from manager.api.response import SuccessResponse
from manager.models import Account, Project, SecurityGroup, SecurityGroupRule, SecurityMember, Tag, Vm
from manager.workflows.security import forget


class CreateSecurityGroup(OwnedRequest):
    name = Text("its name, new in the account", required=True)
    description = Text("what it is for")


@command("createSecurityGroup", CreateSecurityGroup, SecurityGroupResponse, creates=True, roles=EVERYONE,
         event="SG.CREATE")  # fmt: skip
def create_security_group(call: Call, name: str, description: str | None) -> SecurityGroup:
    """Make a security group. It has no rules: nothing may reach its virtual machines, and they may reach all."""
    stripped, owner = named("security group", name), call.owner
    default_group(call, owner)
    group = SecurityGroup(
        account_id=owner.id, name=stripped, description=description or "", live=live_name(owner, stripped)
    )
    taken = f"The account {owner.name} has a security group {stripped} already."
    made: SecurityGroup = call.add(group, taken=taken)
    return made


class UpdateSecurityGroup(Request):
    id = Ref(SecurityGroup, "the group", required=True)
    name = Text("a new name, new in the account")


@command("updateSecurityGroup", UpdateSecurityGroup, SecurityGroupResponse, roles=ROOT, event="SG.UPDATE")
def update_security_group(call: Call, id: SecurityGroup, name: str | None) -> SecurityGroup:
    """Give a security group another name."""
    if name is not None and name.strip() != id.name:
        if DEFAULT in (id.name, name.strip().lower()):
            raise Invalid(f"The name {DEFAULT} is that of the group that virtual machines are in for which none is "
                          "named; that group keeps it, and no other can have it.")  # fmt: skip
        rename(call, id, name, f"{id.account_id}/")
    return id


class DeleteSecurityGroup(OwnedRequest):
    id = Ref(SecurityGroup, "the group")
    name = Text("the name of the account's group, in place of id")


@command("deleteSecurityGroup", DeleteSecurityGroup, SuccessResponse, roles=EVERYONE, event="SG.DELETE")
def delete_security_group(call: Call, id: SecurityGroup | None, name: str | None) -> bool:
    """Remove a security group that no virtual machine is in and no rule of another one names."""
    if id is not None and name:
        raise Invalid("The parameters id and name exclude each other.")
    if id is None and not name:
        raise missing(call.command, "id")
    group = id or group_named(call, call.owner, name or "")
    call.subject = group
    if group.name == DEFAULT:
        raise Invalid(f"The security group {DEFAULT} stays as long as its account.")
    hold_groups(call, [group], alone=True)
    _refuse_used(call, group)
    forget(call.session, SecurityGroupRule.group_id == group.id)
    group.remove()
    return True


def _refuse_used(call: Call, group: SecurityGroup) -> None:
    """:raises ApiError: 536, a virtual machine is in it or a rule of another group names it"""
    inside = select(func.count()).select_from(SecurityMember).join(Vm, Vm.id == SecurityMember.vm_id)
    members = call.session.scalar(inside.where(SecurityMember.group_id == group.id, Vm.removed.is_(None)))
    if members:
        raise ApiError(CONFLICT, f"The security group {group.name} cannot be removed: {members} virtual machines are "
                                 "in it.")  # fmt: skip
    naming = select(SecurityGroup.name).join(SecurityGroupRule, SecurityGroupRule.group_id == SecurityGroup.id)
    naming = naming.where(SecurityGroupRule.source_id == group.id, SecurityGroupRule.removed.is_(None))
    other = call.session.scalar(naming.where(SecurityGroup.id != group.id).limit(1))
    if other is not None:
        raise ApiError(CONFLICT, f"The security group {group.name} cannot be removed: a rule of the group {other} "
                                 "names it.")  # fmt: skip


class ListSecurityGroups(AccountListRequest):
    id = Ref(SecurityGroup, "only this group")
    securitygroupname = Text("only groups of this name")
    virtualmachineid = Ref(Vm, "only groups that this virtual machine is in")
    tags = MapOf("only groups with one of these tags")


@command("listSecurityGroups", ListSecurityGroups, SecurityGroupResponse, roles=EVERYONE)
def list_security_groups(call: Call, **filters: Any) -> Page:
    """List security groups; each account has one that is named default."""
    if filters["id"] is None and filters["virtualmachineid"] is None:
        _default_of_scope(call)
    columns = {"id": SecurityGroup.id, "securitygroupname": SecurityGroup.name}
    query = narrowed(select(SecurityGroup).where(access.visible(call, SecurityGroup)), filters, columns)
    query = with_keyword(query, filters["keyword"], SecurityGroup.name)
    if filters["virtualmachineid"] is not None:
        mine = select(SecurityMember.group_id).where(SecurityMember.vm_id == filters["virtualmachineid"].id)
        query = query.where(SecurityGroup.id.in_(mine))
    pairs = [(Tag.key == key) & (Tag.value == value) for key, value in (filters["tags"] or {}).items()]
    if pairs:
        query = query.where(SecurityGroup.id.in_(select(Tag.resource_id).where(or_(*pairs))))
    return call.paged(query.order_by(SecurityGroup.name, SecurityGroup.id))


def _default_of_scope(call: Call) -> None:
    """The account or project that the list is of has its group `default`."""
    owner: Account | None = call.scope.account or call.account
    if isinstance(call.scope.project, Project):
        owner = call.session.get(Account, call.scope.project.account_id)
    elif call.scope.project is not None or (call.scope.domain is not None and call.scope.account is None):
        owner = None
    if owner is not None:
        default_group(call, owner)
