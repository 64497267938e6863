"""What guests of a network with security groups may open, from the rows of groups: the part of it that views show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from manager.models import NetworkOffering, Nic, SecurityGroupRule, SecurityMember
from manager.models.security import PROTOCOLS
from network.types import EVERYTHING_LEAVES, Policy, PolicyRule, Traffic

SERVICE = "SecurityGroup"
EVERYWHERE = "0.0.0.0/0"
WANTED = ("Add", "Active")
OPEN_EGRESS = EVERYTHING_LEAVES.id
"""The policy that a guest has besides its groups while none of these has an egress rule: CloudStack's default."""


@dataclass(frozen=True)
class Guard:
    """`shown` are fields of the NetworkView, `groups` the ids of its policies that a VM is held to, by VM id."""

    shown: dict[str, Any] = field(default_factory=dict)
    groups: Mapping[str | None, tuple[str, ...]] = field(default_factory=dict)

    def groups_of(self, nic: Nic) -> tuple[str, ...]:
        return self.groups.get(nic.vm_id, (OPEN_EGRESS,)) if self.shown and nic.vm_id else ()


NONE = Guard()


def has_groups(services: Iterable[str]) -> bool:
    """Whether networks of an offering with these services hold their guests to security groups."""
    return SERVICE in services


def guarded_offerings(session: Session) -> list[str]:
    """The ids of the offerings whose networks have security groups."""
    rows = session.execute(select(NetworkOffering.id, NetworkOffering.services))
    return [row.id for row in rows if has_groups(row.services)]


def guard_of(session: Session, network_id: str, services: Iterable[str]) -> Guard:
    """Networks without the service cost no statement."""
    if not has_groups(services):
        return NONE
    here = select(Nic.vm_id).where(Nic.network_id == network_id)
    query = select(SecurityMember.vm_id, SecurityMember.group_id).where(SecurityMember.vm_id.in_(here))
    joined: dict[str | None, tuple[str, ...]] = {}
    for vm_id, group_id in session.execute(query.order_by(SecurityMember.group_id)):
        joined[vm_id] = (*joined.get(vm_id, ()), group_id)
    rules = _rules(session, {group_id for groups in joined.values() for group_id in groups})
    policies = [Policy(group_id, tuple(map(_rule, found))) for group_id, found in sorted(rules.items())]
    policies.append(Policy(OPEN_EGRESS, (EVERYTHING_LEAVES,)))
    held = {key for key, found in rules.items() if any(rule.direction == "egress" for rule in found)}
    groups = {vm: mine if held & set(mine) else (*mine, OPEN_EGRESS) for vm, mine in joined.items()}
    return Guard({"has_groups": True, "groups": tuple(policies)}, groups)


def _rules(session: Session, group_ids: set[str]) -> dict[str, list[SecurityGroupRule]]:
    """The wanted rules of each group."""
    found: dict[str, list[SecurityGroupRule]] = {group_id: [] for group_id in group_ids}
    query = (
        select(SecurityGroupRule)
        .where(SecurityGroupRule.group_id.in_(group_ids), SecurityGroupRule.removed.is_(None))
        .where(SecurityGroupRule.state.in_(WANTED))
        .order_by(SecurityGroupRule.id)
        .execution_options(populate_existing=True)
    )
    for rule in session.scalars(query) if group_ids else ():
        found[rule.group_id].append(rule)
    return found


def _rule(row: SecurityGroupRule) -> PolicyRule:
    others = (row.cidr,) if row.cidr and row.cidr != EVERYWHERE else ()
    sources, destinations = (others, ()) if row.direction == "ingress" else ((), others)
    protocol = PROTOCOLS.get(row.protocol, row.protocol)
    traffic = Traffic(protocol, row.first_port, row.last_port, row.icmp_type, row.icmp_code, sources, destinations)
    return PolicyRule(row.id, "ingress" if row.direction == "ingress" else "egress", traffic, group=row.source_id or "")
