"""Affinity groups: virtual machines of an account that run together or apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select

from manager import access
from manager.api.call import Call
from manager.api.command import (
    EVERYONE,
    AccountListRequest,
    Given,
    ListRequest,
    OwnedRequest,
    Page,
    command,
)
from manager.api.commands.affinity_response import AffinityGroupResponse
from manager.api.commands.place import named, narrowed, with_keyword
from manager.api.errors import Denied, Invalid, missing
from manager.api.fields import Choice, ListOf, Ref, Text
from manager.api.response import Response, Shown, Str, SuccessResponse
from manager.db import write
from manager.models import Account, AffinityGroup, AffinityMember, Vm, WorkflowRow
from manager.placement.affinity import TYPES

MOST_GROUPS = 16


def group_ids_field() -> ListOf:
    return ListOf(Ref(AffinityGroup, ""), "its affinity groups", most=MOST_GROUPS)


def group_names_field() -> ListOf:
    return ListOf(Text(""), "the names of its affinity groups, in place of affinitygroupids", most=MOST_GROUPS)


def named_groups(call: Call, owner: Account, given: Given) -> list[AffinityGroup]:
    """The groups of the parameters affinitygroupids or affinitygroupnames, for a VM of `owner`.

    :raises ApiError: they are another account's, or there are none of such names
    """
    if given.affinitygroupids and given.affinitygroupnames:
        raise Invalid("The parameters affinitygroupids and affinitygroupnames exclude each other.")
    groups = {group.id: group for group in given.affinitygroupids or ()}
    for group in groups.values():
        if group.account_id != owner.id:
            raise Denied(f"The affinity group {group.name} ({group.id}) is not the account {owner.name}'s.")
    for name in given.affinitygroupnames or ():
        group = _by_name(call, owner, name)
        groups[group.id] = group
    return list(groups.values())


def _by_name(call: Call, owner: Account, name: str) -> AffinityGroup:
    group = call.session.scalar(select(AffinityGroup).filter_by(live=_live(owner, name)))
    if group is None:
        raise Invalid(f"The account {owner.name} has no affinity group {name}.")
    return group


def _live(owner: Account, name: str) -> str:
    return f"{owner.id}/{name.lower()}"


def join_groups(call: Call, vm: Vm, groups: Sequence[AffinityGroup]) -> None:
    call.session.add_all(AffinityMember(group_id=group.id, vm_id=vm.id) for group in groups)


class CreateAffinityGroup(OwnedRequest):
    name = Text("its name, new in the account", required=True)
    type = Choice("host (anti-)affinity is a must, its non-strict forms are wishes", TYPES, required=True)
    description = Text("what it is for", max_length=4096)


@command(
    "createAffinityGroup",
    CreateAffinityGroup,
    AffinityGroupResponse,
    is_async=True,
    creates=True,
    roles=EVERYONE,
    event="AFFINITY.GROUP.CREATE",
)
def create_affinity_group(call: Call, name: str, type: str, description: str | None) -> WorkflowRow:
    """Make a group of virtual machines that run together or apart."""
    stripped = named("affinity group", name)
    owner = call.owner
    group = AffinityGroup(
        account_id=owner.id,
        name=stripped,
        type=type,
        description=description or "",
        live=_live(owner, stripped),
    )
    call.subject = call.add(group, taken=f"The account {owner.name} has an affinity group {stripped} already.")
    return call.job_done(group)


class DeleteAffinityGroup(OwnedRequest):
    id = Ref(AffinityGroup, "the group")
    name = Text("the name of the account's group, in place of id")


@command(
    "deleteAffinityGroup",
    DeleteAffinityGroup,
    SuccessResponse,
    is_async=True,
    roles=EVERYONE,
    event="AFFINITY.GROUP.DELETE",
)
def delete_affinity_group(call: Call, id: AffinityGroup | None, name: str | None) -> WorkflowRow:
    """Remove a group; its virtual machines stay where they are, and are free to go anywhere."""
    if id is not None and name:
        raise Invalid("The parameters id and name exclude each other.")
    if id is None and not name:
        raise missing(call.command, "id")
    group = id or _by_name(call, call.owner, name or "")
    call.subject = group
    group.remove()
    write(call.session, delete(AffinityMember).where(AffinityMember.group_id == group.id))
    return call.job_done(group)


class ListAffinityGroups(AccountListRequest):
    id = Ref(AffinityGroup, "only this group")
    name = Text("only the group of this name")
    type = Text("only groups of this type")
    virtualmachineid = Ref(Vm, "only groups that this virtual machine is in")


@command("listAffinityGroups", ListAffinityGroups, AffinityGroupResponse, roles=EVERYONE)
def list_affinity_groups(call: Call, **filters: Any) -> Page:
    """List affinity groups."""
    query = select(AffinityGroup).where(access.visible(call, AffinityGroup))
    columns = {"id": AffinityGroup.id, "name": AffinityGroup.name, "type": AffinityGroup.type}
    query = with_keyword(narrowed(query, filters, columns), filters["keyword"], AffinityGroup.name)
    if filters["virtualmachineid"] is not None:
        mine = select(AffinityMember.group_id).where(AffinityMember.vm_id == filters["virtualmachineid"].id)
        query = query.where(AffinityGroup.id.in_(mine))
    return call.paged(query.order_by(AffinityGroup.name, AffinityGroup.id))


class AffinityGroupTypeResponse(Response):
    object_key = "affinityGroupType"
    type = Str("the name of the type")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[str]) -> list[Shown]:
        return [{"type": row} for row in rows]


@command("listAffinityGroupTypes", ListRequest, AffinityGroupTypeResponse, roles=EVERYONE)
def list_affinity_group_types(call: Call, keyword: str | None) -> Page:
    """List the types that affinity groups can have."""
    return call.window([name for name in TYPES if (keyword or "").lower() in name])
