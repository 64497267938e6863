"""Workflows of static routes: a change is in its rows at once; its job ends when the hosts that it concerns have it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from sqlalchemy import select
from sqlalchemy.orm import Session

from manager.models import Network, StaticRoute
from manager.models.states import STATIC_ROUTE_MOVES
from manager.workflows.engine import Ask, Outcome, Run, Step, workflow
from manager.workflows.views import picture
from manager.workflows.vpc_view import vpc_router
from manager.workflows.vpc_ways import forget_routes


def tier_with(session: Session, vpc_id: str, address: str) -> Network | None:
    """The tier of the VPC that the address is in."""
    tiers = session.scalars(select(Network).where(Network.vpc_id == vpc_id, Network.removed.is_(None)))
    return next((tier for tier in tiers if IPv4Address(address) in IPv4Network(tier.cidr)), None)


def tell_way(run: Run) -> list[Ask]:
    """All hosts of the tier that the next hop is in, which guards what its guests send; else the router alone.

    The tier's view for the router's host carries the router along.
    """
    run.session.flush()
    route = _route(run)
    tier = tier_with(run.session, route.vpc_id, route.next_hop)
    asks = picture(run.session, tier.id).asks() if tier is not None else []
    router = vpc_router(run.session, route.vpc_id) if not asks else None
    return router.asks() if router is not None else asks


def _route(run: Run) -> StaticRoute:
    route: StaticRoute = run.subject(StaticRoute)
    return route


def take_route_back(run: Run) -> list[Ask]:
    forget_routes(run.session, StaticRoute.id == run.row.subject_id)
    return tell_way(run)


def mark_active(run: Run) -> Outcome:
    if _route(run).state == "Add":
        STATIC_ROUTE_MOVES.move(_route(run), "apply")
    return None


def keep_route(run: Run) -> list[Ask]:
    route = _route(run)
    if route.removed is None and route.state == "Revoke":
        STATIC_ROUTE_MOVES.move(route, "keep")
    return tell_way(run)


def drop_route(run: Run) -> Outcome:
    forget_routes(run.session, StaticRoute.id == run.row.subject_id)
    return None


add_route = workflow("static-route.add", StaticRoute, [Step(tell_way, undo=take_route_back), Step(mark_active)])
remove_route = workflow("static-route.remove", StaticRoute, [Step(tell_way, undo=keep_route), Step(drop_route)])
