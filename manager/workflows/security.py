"""Workflows of security groups: a change is in its rows at once, and its job ends when all hosts concerned have it.

Which networks those are is looked up after the change is stored: a NIC that comes meanwhile is told of with it. Hosts
that are Down are told as soon as they are back; no job waits for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from manager.db import write
from manager.models import (
    Network,
    Nic,
    SecurityGroupRule,
    SecurityMember,
    Vm,
    WorkflowRow,
    utcnow,
)
from manager.workflows.carriers import or_owe
from manager.workflows.engine import Ask, Outcome, Run, Step, Workflow, workflow
from manager.workflows.guards import guarded_offerings
from manager.workflows.rule_rows import move_all
from manager.workflows.views import picture


def guarded_networks(session: Session, *nics: ColumnElement[bool]) -> list[str]:
    """The ids of the networks with security groups that have such NICs, in the one order in which all lock them."""
    query = select(Nic.network_id).join(Network, Network.id == Nic.network_id).where(*nics).distinct()
    guarded = Network.offering_id.in_(guarded_offerings(session))
    return sorted(session.scalars(query.where(guarded, Network.removed.is_(None))))


def tell(run: Run, *nics: ColumnElement[bool]) -> list[Ask]:
    """A new generation of the networks of such NICs, for all hosts that are not Down; those are owed it."""
    run.session.flush()
    asks: list[Ask] = []
    for network_id in guarded_networks(run.session, *nics):
        asks += picture(run.session, network_id).asks()
    return or_owe(run, asks)


def of_group(group_id: str) -> ColumnElement[bool]:
    return Nic.vm_id.in_(select(SecurityMember.vm_id).where(SecurityMember.group_id == group_id))


def tell_members(run: Run) -> list[Ask]:
    """All hosts of the networks that VMs of the group are in."""
    return tell(run, of_group(run.arguments["group_id"]))


def tell_networks(run: Run) -> list[Ask]:
    """All hosts of the VM's networks."""
    return tell(run, Nic.vm_id == run.arguments["vm_id"])


def rules_of(run: Run) -> Sequence[SecurityGroupRule]:
    query = select(SecurityGroupRule).where(SecurityGroupRule.id.in_(run.arguments["rules"]))
    query = query.where(SecurityGroupRule.removed.is_(None)).order_by(SecurityGroupRule.id)
    return run.session.scalars(query.execution_options(populate_existing=True)).all()


def forget(session: Session, *which: ColumnElement[bool]) -> None:
    """Rules that no host has any more, or never had, are removed."""
    gone = update(SecurityGroupRule).where(SecurityGroupRule.removed.is_(None), *which)
    write(session, gone.values(removed=utcnow(), live=None))


def drop_rules(run: Run) -> Outcome:
    forget(run.session, SecurityGroupRule.id.in_(run.arguments["rules"]))
    return None


def take_back(run: Run) -> list[Ask]:
    drop_rules(run)
    return tell_members(run)


def mark_active(run: Run) -> Outcome:
    move_all(rules_of(run), "apply")
    return None


def keep_rules(run: Run) -> list[Ask]:
    move_all(rules_of(run), "keep")
    return tell_members(run)


authorize_rules = workflow(
    "security.authorize", SecurityGroupRule, [Step(tell_members, undo=take_back), Step(mark_active)]
)
revoke_rules = workflow(
    "security.revoke", SecurityGroupRule, [Step(tell_members, undo=keep_rules), Step(drop_rules)]
)  # fmt: skip

tell_of_joining = workflow(
    "security.join", SecurityMember, [Step(tell_networks, undo=tell_networks)], lane="security-joins"
)
tell_of_leaving = workflow(
    "security.leave", SecurityMember, [Step(tell_networks, undo=tell_networks)], lane="security-leaves"
)
"""The change of membership is answered before these run, so it stays: undoing is telling again."""


def start_for(session: Session, job: Workflow, rules: Sequence[SecurityGroupRule], *, call: Any) -> WorkflowRow:
    """A job for rules of one group, of which the first is its subject."""
    named = [rule.id for rule in rules]
    return job.start(session, rules[0], call=call, group_id=rules[0].group_id, rules=named)


def tell_of_change(session: Session, vm: Vm, joined: Sequence[SecurityMember], left: Sequence[SecurityMember]) -> None:
    """The VM's groups have changed: have all hosts of its networks told, if there is anything to tell."""
    if joined:
        tell_of_joining.start(session, joined[0], vm_id=vm.id)
    elif left:
        tell_of_leaving.start(session, left[0], vm_id=vm.id)
