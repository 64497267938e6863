"""Instance groups: names that virtual machines of an account are shown under."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update

from manager import access
from manager.api.call import Call
from manager.api.command import EVERYONE, AccountListRequest, OwnedRequest, Page, Request, command
from manager.api.commands.place import named, narrowed, with_keyword
from manager.api.fields import Ref, Text
from manager.api.response import Response, Shown, Str, SuccessResponse, When
from manager.api.rows import owners_of
from manager.db import write
from manager.models import Account, InstanceGroup, Vm


class InstanceGroupResponse(Response):
    object_key = "instancegroup"
    shows = InstanceGroup
    is_owned = True
    id = Str("the group's id")
    name = Str("its name")
    created = When("when it was made")

    @classmethod
    def render(cls, call: Call, rows: Sequence[InstanceGroup]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        return [{"id": row.id, "name": row.name, "created": row.created, **owners[row.account_id]} for row in rows]


def group_of(call: Call, owner: Account, name: str) -> InstanceGroup:
    """The account's group of that name, made when there is none."""
    stripped = named("group", name)
    found = call.session.scalar(select(InstanceGroup).filter_by(live=_live(owner, stripped)))
    return found or _add(call, owner, stripped)


def _add(call: Call, owner: Account, name: str) -> InstanceGroup:
    group = InstanceGroup(account_id=owner.id, name=name, live=_live(owner, name))
    stored: InstanceGroup = call.add(group, taken=_taken(owner, name))
    return stored


def _live(owner: Account, name: str) -> str:
    return f"{owner.id}/{name.lower()}"


def _taken(owner: Account, name: str) -> str:
    return f"The account {owner.name} has a group {name} already."


class CreateInstanceGroup(OwnedRequest):
    name = Text("its name, new in the account", required=True)


@command(
    "createInstanceGroup",
    CreateInstanceGroup,
    InstanceGroupResponse,
    creates=True,
    roles=EVERYONE,
    event="INSTANCE.GROUP.CREATE",
)
def create_instance_group(call: Call, name: str) -> InstanceGroup:
    """Make a group for virtual machines."""
    return _add(call, call.owner, named("group", name))


class UpdateInstanceGroup(Request):
    id = Ref(InstanceGroup, "the group", required=True)
    name = Text("its new name")


@command(
    "updateInstanceGroup", UpdateInstanceGroup, InstanceGroupResponse, roles=EVERYONE, event="INSTANCE.GROUP.UPDATE"
)
def update_instance_group(call: Call, id: InstanceGroup, name: str | None) -> InstanceGroup:
    """Rename a group."""
    if name is not None:
        owner = call.session.get_one(Account, id.account_id)
        id.name = named("group", name)
        id.live = _live(owner, id.name)
        call.flush(taken=_taken(owner, id.name))
    return id


class DeleteInstanceGroup(Request):
    id = Ref(InstanceGroup, "the group", required=True)


@command("deleteInstanceGroup", DeleteInstanceGroup, SuccessResponse, roles=EVERYONE, event="INSTANCE.GROUP.DELETE")
def delete_instance_group(call: Call, id: InstanceGroup) -> bool:
    """Remove a group; its virtual machines stay, and are in none."""
    id.remove()
    write(call.session, update(Vm).where(Vm.group_id == id.id).values(group_id=None))
    return True


class ListInstanceGroups(AccountListRequest):
    id = Ref(InstanceGroup, "only this group")
    name = Text("only the group of this name")


@command("listInstanceGroups", ListInstanceGroups, InstanceGroupResponse, roles=EVERYONE)
def list_instance_groups(call: Call, **filters: Any) -> Page:
    """List groups of virtual machines."""
    query = select(InstanceGroup).where(access.visible(call, InstanceGroup))
    query = narrowed(query, filters, {"id": InstanceGroup.id, "name": InstanceGroup.name})
    query = with_keyword(query, filters["keyword"], InstanceGroup.name)
    return call.paged(query.order_by(InstanceGroup.name, InstanceGroup.id))
