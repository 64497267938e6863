"""Workflows of the appliances of load balancers inside VPCs: start and stop all that balances at an address."""

from __future__ import annotations

from sqlalchemy import ColumnElement, update
from sqlalchemy.orm import Session

from manager.db import write
from manager.models import BalancerAppliance, utcnow
from manager.models.states import ROUTER_MOVES
from manager.workflows.engine import Ask, Outcome, Run, Step, workflow
from manager.workflows.views import picture


def forget_appliances(session: Session, *which: ColumnElement[bool]) -> None:
    gone = update(BalancerAppliance).where(BalancerAppliance.removed.is_(None), *which)
    write(session, gone.values(removed=utcnow(), live=None))


def _moved(run: Run, event: str) -> list[Ask]:
    """The appliance is moved where `event` leads, and the router of its VPC is told; a removed one is left alone."""
    one: BalancerAppliance = run.subject(BalancerAppliance)
    if one.removed is not None:
        return []
    ROUTER_MOVES.move(one, event)
    run.session.flush()
    return picture(run.session, one.network_id, of_router=True).asks()


def switch_off(run: Run) -> list[Ask]:
    return _moved(run, "stop")


def stay_on(run: Run) -> list[Ask]:
    return _moved(run, "stay")


def switch_on(run: Run) -> list[Ask]:
    return _moved(run, "start")


def stay_off(run: Run) -> list[Ask]:
    return _moved(run, "stopped")


def _mark(run: Run, event: str) -> Outcome:
    one: BalancerAppliance = run.subject(BalancerAppliance)
    if one.removed is None:
        ROUTER_MOVES.move(one, event)
    return None


def mark_stopped(run: Run) -> Outcome:
    return _mark(run, "stopped")


def mark_started(run: Run) -> Outcome:
    return _mark(run, "started")


stop_appliance = workflow(
    "balancer-appliance.stop", BalancerAppliance, [Step(switch_off, undo=stay_on), Step(mark_stopped)]
)
start_appliance = workflow(
    "balancer-appliance.start", BalancerAppliance, [Step(switch_on, undo=stay_off), Step(mark_started)]
)
