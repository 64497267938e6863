"""How affinity groups are shown, alone and with virtual machines."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from manager.api.call import Call
from manager.api.response import Many, Response, Shown, Str
from manager.api.rows import owners_of
from manager.models import AffinityGroup, AffinityMember, Vm


class AffinityGroupResponse(Response):
    object_key = "affinitygroup"
    shows = AffinityGroup
    is_owned = True
    id = Str("the group's id")
    name = Str("its name")
    description = Str("what it is for")
    type = Str("whether its virtual machines run together or apart")
    virtualmachineIds = Many("the ids of its virtual machines")  # noqa: N815 - CloudStack's name

    @classmethod
    def render(cls, call: Call, rows: Sequence[AffinityGroup]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        members: dict[str, list[str]] = {row.id: [] for row in rows}
        query = select(AffinityMember.group_id, AffinityMember.vm_id).where(AffinityMember.group_id.in_(members))
        query = query.join(Vm, Vm.id == AffinityMember.vm_id).where(Vm.removed.is_(None))
        for group_id, vm_id in call.session.execute(query.order_by(AffinityMember.vm_id)):
            members[group_id].append(vm_id)
        return [{**described(row), "virtualmachineIds": members[row.id], **owners[row.account_id]} for row in rows]


def described(row: AffinityGroup) -> Shown:
    return {"id": row.id, "name": row.name, "type": row.type, "description": row.description or None}


def affinity_groups_of(call: Call, vm_ids: Sequence[str]) -> dict[str, list[Shown]]:
    """By VM id: its affinity groups, in one statement; a VM that is in none is not there."""
    query = (
        select(AffinityMember.vm_id, AffinityGroup)
        .join(AffinityGroup, AffinityGroup.id == AffinityMember.group_id)
        .where(AffinityMember.vm_id.in_(vm_ids), AffinityGroup.removed.is_(None))
        .order_by(AffinityGroup.name, AffinityGroup.id)
    )
    found: dict[str, list[Shown]] = {}
    for vm_id, group in call.session.execute(query):
        found.setdefault(vm_id, []).append(described(group))
    return found
