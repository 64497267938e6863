"""What a VPC's router leads to beyond the tiers, from the rows of static routes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from sqlalchemy import ColumnElement, Executable, bindparam, select
from sqlalchemy.orm import Session

from manager.models import Network, StaticRoute, Vpc
from network.types import GuestLeg, Route

WANTED = ("Add", "Active")


def ways_of(session: Session, vpc: Vpc, legs: Sequence[GuestLeg]) -> dict[str, Any]:
    """Fields of the RouterSpec. VPCs that never had a route cost no statement.

    A route whose next hop is in no leg's network leads nowhere until one has it.
    """
    if not vpc.rules_wanted:
        return {}
    reach = [IPv4Network(leg.cidr) for leg in legs]
    routes = [
        Route(row.cidr, row.next_hop)
        for row in _routes(session, vpc.id)
        if any(IPv4Address(row.next_hop) in network for network in reach)
    ]
    return {"routes": tuple(routes)}


def behind_guests(session: Session, network: Network) -> dict[str | None, tuple[str, ...]]:
    """By the address of a guest in the tier: the networks that routes reach by it.

    Who routes by a guest counts it as a change of the tier's rules; tiers without any cost no statement.
    """
    if network.vpc_id is None or not network.rules_wanted:
        return {}
    found: dict[str | None, tuple[str, ...]] = {}
    for row in _routes(session, network.vpc_id):
        if IPv4Address(row.next_hop) in IPv4Network(network.cidr):
            found[row.next_hop] = (*found.get(row.next_hop, ()), row.cidr)
    return found


def _routes(session: Session, vpc_id: str) -> Sequence[Any]:
    return session.execute(_routes_query(), {"vpc_id": vpc_id}).all()


@cache
def _routes_query() -> Executable:
    return (
        select(StaticRoute.cidr, StaticRoute.next_hop)
        .where(StaticRoute.vpc_id == bindparam("vpc_id"), StaticRoute.removed.is_(None))
        .where(StaticRoute.state.in_(WANTED))
        .order_by(StaticRoute.cidr)
    )


def forget_routes(session: Session, *which: ColumnElement[bool]) -> None:
    for route in session.scalars(select(StaticRoute).where(StaticRoute.removed.is_(None), *which)):
        route.remove()


def forget_ways_of_vpc(session: Session, vpc_id: str) -> None:
    """The VPC goes, and no router has anything of it."""
    forget_routes(session, StaticRoute.vpc_id == vpc_id)
