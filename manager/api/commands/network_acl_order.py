"""The order of the items of a network ACL list."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from manager.api.call import Call
from manager.api.command import EVERYONE, Request, command
from manager.api.commands.network_acl import NetworkAclResponse, list_to_change
from manager.api.errors import Invalid
from manager.api.fields import Ref, Text
from manager.models import NetworkAclItem, WorkflowRow
from manager.workflows.acl import change_items, start_for
from manager.workflows.acl_rows import items_of, next_change, renumber


class MoveNetworkAcl(Request):
    id = Ref(NetworkAclItem, "the item", required=True)
    previousaclruleid = Ref(NetworkAclItem, "the item that it shall come after")
    nextaclruleid = Ref(NetworkAclItem, "the item that it shall come before")
    aclconsistencyhash = Text("the MD5 of the ids of the list's items in their order, as the caller knows it")


@command("moveNetworkAclItem", MoveNetworkAcl, NetworkAclResponse, is_async=True, roles=EVERYONE,
         event="NETWORK.ACL.ITEM.MOVE", rehearses=True)  # fmt: skip
def move_network_acl_item(
    call: Call,
    id: NetworkAclItem,
    previousaclruleid: NetworkAclItem | None,
    nextaclruleid: NetworkAclItem | None,
    aclconsistencyhash: str | None,
) -> WorkflowRow:
    """Move an item to another place in its list; others get other numbers where it needs theirs."""
    acl = list_to_change(call, id)
    revision = next_change(call.session, acl.id)
    items = items_of(call.session, acl.id)
    if aclconsistencyhash and aclconsistencyhash != order_hash(items):
        raise Invalid(f"The network ACL {acl.name} is not as the caller knows it; list its items and move again.")
    before = {item.id: item.number for item in items}
    others = [item for item in items if item.id != id.id]
    place = _place(others, id, previousaclruleid, nextaclruleid)
    renumber(call.session, acl.id, new_numbers(others, id, place))
    return start_for(call.session, change_items, id, revision, call=call, before={}, numbers=before)


def order_hash(items: Sequence[NetworkAclItem]) -> str:
    """As CloudStack's portal computes it; it tells orders apart and keeps no secret."""
    return hashlib.md5("".join(item.id for item in items).encode(), usedforsecurity=False).hexdigest()


def _place(
    others: Sequence[NetworkAclItem], moved: NetworkAclItem, before: NetworkAclItem | None, after: NetworkAclItem | None
) -> int:  # fmt: skip
    """How many of `others`, which are in order, come before it.

    :raises Invalid: no neighbour is given, or one that is none
    """
    places = {item.id: position for position, item in enumerate(others)}
    for neighbour in (before, after):
        if neighbour is not None and neighbour.id not in places:
            where = "itself" if neighbour.id == moved.id else "not in the same network ACL"
            raise Invalid(f"The item {neighbour.id} is {where}; it cannot be the neighbour of {moved.id}.")
    if before is None and after is None:
        raise Invalid("One of the parameters previousaclruleid and nextaclruleid is needed.")
    if before is None:
        return places[after.id] if after else 0
    place = places[before.id] + 1
    if after is not None and places[after.id] != place:
        raise Invalid(f"The items {before.id} and {after.id} are no neighbours; between them are others.")
    return place


def new_numbers(others: Sequence[NetworkAclItem], moved: NetworkAclItem, place: int) -> dict[str, int]:
    """The number after that of the one before it; those after it go on only as far as they must."""
    last = others[place - 1].number if place else 0
    numbers = {}
    for item in (moved, *others[place:]):
        numbers[item.id] = last = last + 1 if item is moved else max(item.number, last + 1)
    return numbers
