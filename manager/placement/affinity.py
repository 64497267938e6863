"""Affinity groups: VMs that must, or had better, run together or apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from manager.models import AffinityGroup, AffinityMember, StoragePool, Vm, Volume

TOGETHER, APART = "host affinity", "host anti-affinity"
SOFT_TOGETHER, SOFT_APART = "non-strict host affinity", "non-strict host anti-affinity"
TYPES = (TOGETHER, APART, SOFT_TOGETHER, SOFT_APART)
ENDED = ("Destroyed", "Expunging", "Error")


@dataclass(frozen=True, slots=True)
class Bond:
    """A group as it concerns one of its VMs: the hosts that others of it run on (`at`), and those whose own storage
    holds others that are Stopped (`tied`).
    """

    name: str
    type: str
    at: frozenset[str]
    tied: frozenset[str]

    def against(self, host_id: str) -> str:
        """What stands against the host, or nothing."""
        if self.type == APART and host_id in self.at:
            return f"it runs another virtual machine of the anti-affinity group {self.name}"
        places = self.at or self.tied
        if self.type == TOGETHER and places and host_id not in places:
            return f"the other virtual machines of the affinity group {self.name} are on another host"
        return ""

    def wish(self, host_id: str) -> str:
        """What speaks against the host without ruling it out, or nothing."""
        if self.type in (SOFT_APART, APART) and host_id in self.at | self.tied:
            return f"it has another virtual machine of the anti-affinity group {self.name}"
        places = self.at or self.tied
        if self.type == SOFT_TOGETHER and places and host_id not in places:
            return f"the other virtual machines of the affinity group {self.name} are on another host"
        return ""


def locked_groups(session: Session, vm_id: str) -> tuple[str, ...]:
    """The ids of the VM's groups, whose rows stay locked until the transaction ends: claims of hosts for VMs of one
    group come one after the other, and a later one sees where the earlier one placed its VM.
    """
    query = (
        select(AffinityGroup.id)
        .join(AffinityMember, AffinityMember.group_id == AffinityGroup.id)
        .where(AffinityMember.vm_id == vm_id, AffinityGroup.removed.is_(None))
        .order_by(AffinityGroup.id)
        .with_for_update(of=AffinityGroup)
    )
    return tuple(session.scalars(query))


def bonds(session: Session, group_ids: Sequence[str], vm_id: str) -> list[Bond]:
    """The groups, as they concern the VM `vm_id` (which may be one that is not there yet)."""
    query = (
        select(AffinityGroup.id, AffinityGroup.name, AffinityGroup.type, Vm.host_id, StoragePool.host_id)
        .outerjoin(AffinityMember, and_(AffinityMember.group_id == AffinityGroup.id, AffinityMember.vm_id != vm_id))
        .outerjoin(Vm, and_(Vm.id == AffinityMember.vm_id, or_(Vm.host_id.is_not(None), Vm.state.not_in(ENDED))))
        .outerjoin(Volume, and_(Volume.vm_id == Vm.id, Volume.removed.is_(None)))
        .outerjoin(StoragePool, StoragePool.id == Volume.pool_id)
        .where(AffinityGroup.id.in_(group_ids), AffinityGroup.removed.is_(None))
        .order_by(AffinityGroup.name, AffinityGroup.id)
    )
    known: dict[str, tuple[str, str, set[str], set[str]]] = {}
    for group_id, name, kind, at, tied in session.execute(query):
        entry = known.setdefault(group_id, (name, kind, set(), set()))
        if at is not None:
            entry[2].add(at)
        elif tied is not None:
            entry[3].add(tied)
    return [Bond(name, kind, frozenset(at), frozenset(tied)) for name, kind, at, tied in known.values()]
