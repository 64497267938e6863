"""Workflows of one router of a VPC by itself: start and stop. Of two, the other one forwards while this one is away."""

from __future__ import annotations

from manager.models import Router, Vpc
from manager.models.states import ROUTER_MOVES
from manager.workflows.engine import Ask, Outcome, Run, Step, workflow
from manager.workflows.network import begin_at, host_for_router
from manager.workflows.vpc import (
    begin_telling,
    end_vpc_router,
    mark_vpc_started,
    put_legs_back,
    tell_vpc_router,
    vpc_of,
)
from manager.workflows.vpc_pair import put_legs, routers_of_vpc, take_off


def _routers(run: Run) -> tuple[list[Router], Router | None]:
    """All of the VPC, and the one that this is about; None when it was removed meanwhile."""
    routers = routers_of_vpc(run)
    return routers, next((one for one in routers if one.id == run.arguments["router_id"]), None)


def place_one(run: Run) -> Outcome:
    routers, router = _routers(run)
    if router is not None and router.host_id is None:
        other = next((one.host_id for one in routers if one.id != router.id), None)
        begin_at(router, host_for_router(run, vpc_of(run), router, but=other))
        put_legs(run, routers[0])
    return None


def unplace_one(run: Run) -> Outcome:
    routers, router = _routers(run)
    if router is not None:
        router.host_id, router.state = None, "Stopped"
        put_legs(run, routers[0])
    return None


def take_one_off(run: Run) -> list[Ask]:
    _, router = _routers(run)
    return take_off(run, [router]) if router is not None else []


def mark_one_stopped(run: Run) -> Outcome:
    _, router = _routers(run)
    if router is not None:
        ROUTER_MOVES.move(router, "stopped")
        router.redundant_state = "UNKNOWN"
    return None


start_vpc_router = workflow(
    "vpc.router.start",
    Vpc,
    [
        Step(place_one, undo=unplace_one),
        Step(begin_telling, undo=end_vpc_router),
        Step(tell_vpc_router, undo=take_one_off),
        Step(mark_vpc_started),
    ],
    awaited=True,
)
stop_vpc_router = workflow(
    "vpc.router.stop",
    Vpc,
    [
        Step(take_one_off, undo=put_legs_back),
        Step(end_vpc_router),  # no undo: that of the legs starts it again
        Step(mark_one_stopped),
    ],
    awaited=True,
)
