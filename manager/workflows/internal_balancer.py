"""Workflows of load balancers inside VPCs: rules at addresses that the VPC's router has in a tier.

A change is in its rows at once; its job ends when all hosts of the tier know the address, and the router the rule.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from manager.db import write
from manager.models import BalancerAppliance, LoadBalancerRule, Network, NetworkRule, NicAddress
from manager.models.states import RULE_MOVES
from manager.workflows.balancer_appliance import forget_appliances
from manager.workflows.engine import Ask, Outcome, Run, Step, workflow
from manager.workflows.rule_rows import forget_rules, living, move_all
from manager.workflows.views import picture


def _rule(run: Run) -> LoadBalancerRule:
    rule: LoadBalancerRule = run.subject(LoadBalancerRule)
    return rule


def _address_of(rule: LoadBalancerRule) -> ColumnElement[bool]:
    return and_(NicAddress.network_id == rule.network_id, NicAddress.address == rule.inner_address)


def others_at(session: Session, rule: LoadBalancerRule) -> int:
    """How many other rules are at the rule's address."""
    mine = select(func.count()).select_from(LoadBalancerRule).where(LoadBalancerRule.id != rule.id)
    here = mine.where(LoadBalancerRule.network_id == rule.network_id, LoadBalancerRule.removed.is_(None))
    return session.scalar(here.where(LoadBalancerRule.guest_address == rule.inner_address)) or 0


def tell_hosts(run: Run) -> list[Ask]:
    """Locks the tier, so that no other rule comes to the address or goes from it meanwhile."""
    run.session.flush()
    return picture(run.session, _rule(run).network_id).asks()


def tell_of_end(run: Run) -> list[Ask]:
    rule = _rule(run)
    run.session.get_one(Network, rule.network_id, with_for_update=True)
    if not others_at(run.session, rule):
        write(run.session, update(NicAddress).where(_address_of(rule)).values(removing=True))
    return tell_hosts(run)


def forget(run: Run) -> Outcome:
    """No host has the rule any more; the address is free when no other rule is at it."""
    rule = _rule(run)
    if not others_at(run.session, rule):
        write(run.session, delete(NicAddress).where(_address_of(rule)))
        here = BalancerAppliance.network_id == rule.network_id, BalancerAppliance.address == rule.inner_address
        forget_appliances(run.session, *here)
    forget_rules(run.session, or_(NetworkRule.id == rule.id, NetworkRule.related_id == rule.id))
    return None


def take_back(run: Run) -> list[Ask]:
    forget(run)
    return tell_hosts(run)


def mark_active(run: Run) -> Outcome:
    if _rule(run).state == "Add":
        RULE_MOVES.move(_rule(run), "apply")
    return None


def keep(run: Run) -> list[Ask]:
    rule = _rule(run)
    write(run.session, update(NicAddress).where(_address_of(rule)).values(removing=False))
    move_all(living(run.session, or_(NetworkRule.id == rule.id, NetworkRule.related_id == rule.id)), "keep")
    return tell_hosts(run)


add_balancer = workflow(
    "internal-balancer.add", LoadBalancerRule, [Step(tell_hosts, undo=take_back), Step(mark_active)]
)
remove_balancer = workflow("internal-balancer.remove", LoadBalancerRule, [Step(tell_of_end, undo=keep), Step(forget)])
