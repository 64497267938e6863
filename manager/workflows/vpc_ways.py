"""What a VPC's router leads to beyond the tiers, from the rows of static routes and private gateways."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from sqlalchemy import ColumnElement, Executable, bindparam, select
from sqlalchemy.orm import Session

from manager.models import Network, PrivateGateway, StaticRoute, TrafficType, Vpc
from manager.workflows.acl_rows import policy_of
from network.types import GuestLeg, Policy, PrivateLeg, Route

WANTED_ROUTES, WANTED_GATEWAYS = ("Add", "Active"), ("Creating", "Ready")
UNDERLAY_BRIDGE = "br-phy"


def ways_of(session: Session, vpc: Vpc, legs: Sequence[GuestLeg]) -> dict[str, Any]:
    """Fields of the RouterSpec. Who makes a route or a gateway counts it as a change of the VPC's rules; VPCs that
    never had one cost no statement.

    A route whose next hop is in no leg's network leads nowhere until one has it.
    """
    if not vpc.rules_wanted:
        return {}
    private = tuple(_leg(session, *row) for row in session.execute(_gateways_query(), {"vpc_id": vpc.id}))
    reach = [IPv4Network(leg.cidr) for leg in legs]
    reach += [IPv4Network(leg.network) for leg in private]
    routes = [
        Route(row.cidr, row.next_hop)
        for row in _routes(session, vpc.id)
        if any(IPv4Address(row.next_hop) in network for network in reach)
    ]
    return {"routes": tuple(routes), "private_legs": private}


@cache
def _gateways_query() -> Executable:
    """Wanted gateways, each with the bridge of its physical network, as the traffic type of guests names it."""
    gateway, label = PrivateGateway, TrafficType
    return (
        select(gateway, label.kvm_label)
        .outerjoin(label, (label.physical_network_id == gateway.physical_network_id)
                   & (label.traffic_type == "Guest") & label.removed.is_(None))
        .where(gateway.vpc_id == bindparam("vpc_id"), gateway.removed.is_(None))
        .where(gateway.state.in_(WANTED_GATEWAYS))
        .order_by(gateway.id)
        .execution_options(populate_existing=True)
    )  # fmt: skip


def _leg(session: Session, row: PrivateGateway, label: str | None) -> PrivateLeg:
    return PrivateLeg(
        row.id,
        row.address,
        network_of(row).prefixlen,
        row.gateway,
        row.mac,
        row.vlan,
        policy_of(session, row.acl_id) or Policy(row.acl_id),
        bridge=label or UNDERLAY_BRIDGE,
        source_nat=row.source_nat,
    )


def network_of(gateway: PrivateGateway) -> IPv4Network:
    """The network in the VLAN that the gateway's address is of."""
    return IPv4Network((gateway.address, gateway.netmask), strict=False)


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
        .where(StaticRoute.state.in_(WANTED_ROUTES))
        .order_by(StaticRoute.cidr)
    )


def gateways_with(session: Session, list_id: str) -> Sequence[PrivateGateway]:
    """The gateways that have the network ACL list."""
    query = select(PrivateGateway).where(PrivateGateway.acl_id == list_id, PrivateGateway.removed.is_(None))
    return session.scalars(query.order_by(PrivateGateway.id)).all()


def forget_routes(session: Session, *which: ColumnElement[bool]) -> None:
    for route in session.scalars(select(StaticRoute).where(StaticRoute.removed.is_(None), *which)):
        route.remove()


def forget_gateways(session: Session, *which: ColumnElement[bool]) -> None:
    for gateway in session.scalars(select(PrivateGateway).where(PrivateGateway.removed.is_(None), *which)):
        gateway.remove()


def forget_ways_of_vpc(session: Session, vpc_id: str) -> None:
    """The VPC goes, and no router has anything of it."""
    forget_routes(session, StaticRoute.vpc_id == vpc_id)
    forget_gateways(session, PrivateGateway.vpc_id == vpc_id)
