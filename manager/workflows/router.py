"""Workflows of a network's router by itself: start, stop, destroy. Its network and the addresses stay as they are."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from manager.models import Network, Nic, Router, Vpc
from manager.models.states import ROUTER_MOVES
from manager.workflows.engine import Outcome, Run, Step, Workflow, workflow
from manager.workflows.network import (
    forget_router,
    mark_restarted,
    place_router,
    put_router_back,
    restart_network,
    router_of,
    start_router,
    stop_router,
)
from manager.workflows.vpc import restart_vpc


def leave_place(run: Run) -> Outcome:
    """The router is on no host; what it was given stays its own."""
    router = router_of(run)
    if router is not None:
        ROUTER_MOVES.move(router, "stopped")
        router.host_id = None
        for nic in run.session.scalars(select(Nic).filter_by(router_id=router.id)):
            nic.host_id = None
    return None


def begin_stopping(run: Run) -> Outcome:
    router = router_of(run)
    if router is not None and router.state == "Running":
        ROUTER_MOVES.move(router, "stop")
    return None


def run_on(run: Run) -> Outcome:
    """No host was told to stop it, or could be: it counts as running where it is."""
    router = router_of(run)
    if router is not None and router.state == "Stopping":
        ROUTER_MOVES.move(router, "stay")
    return None


start_router_again = workflow(
    "router.start",
    Network,
    [Step(place_router, undo=leave_place), Step(start_router, undo=stop_router), Step(mark_restarted)],
    awaited=True,
)
stop_router_alone = workflow(
    "router.stop",
    Network,
    [Step(begin_stopping, undo=run_on), Step(stop_router, undo=put_router_back), Step(leave_place)],
    awaited=True,
)
destroy_router_alone = workflow(
    "router.destroy",
    Network,
    [Step(begin_stopping, undo=run_on), Step(stop_router, undo=put_router_back), Step(forget_router)],
    awaited=True,
)


def restart_of_router(session: Session, router: Router) -> tuple[Workflow, Network | Vpc]:
    """The workflow that makes the router anew when it has cleanup=True, and whom it serves, which that is about."""
    if router.vpc_id is not None:
        return restart_vpc, session.get_one(Vpc, router.vpc_id)
    return restart_network, session.get_one(Network, router.network_id)
