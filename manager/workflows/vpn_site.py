"""Workflows of tunnels to other sites: a change is in its rows at once; its job ends when the routers have it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from manager.models import RemoteAccessVpn, VpnConnection, VpnCustomerGateway, VpnGateway
from manager.models.states import VPN_CONNECTION_MOVES
from manager.workflows.engine import Ask, Outcome, Run, Step, workflow
from manager.workflows.rule_rows import forget_vpns
from manager.workflows.vpc_view import vpc_router

SEEN = {"Connected": "connect", "Connecting": "seek", "Disconnected": "lose"}
"""By what a host tells of a tunnel: the move of its connection."""


def tell_vpcs(run: Run) -> list[Ask]:
    """Each VPC's router is told all that is wanted; one that runs nowhere is told when it starts."""
    routers = [vpc_router(run.session, vpc_id) for vpc_id in sorted(run.arguments.get("vpcs", ()))]
    return [ask for router in routers if router is not None for ask in router.asks()]


def _tell_again(run: Run) -> list[Ask]:
    run.session.flush()
    return tell_vpcs(run)


def _connection(run: Run) -> VpnConnection:
    connection: VpnConnection = run.subject(VpnConnection)
    return connection


def forget_connections(session: Session, *which: ColumnElement[bool]) -> None:
    for connection in session.scalars(select(VpnConnection).where(VpnConnection.removed.is_(None), *which)):
        connection.state = "Removed"
        connection.remove()


def forget_vpns_of_vpc(session: Session, vpc_id: str) -> None:
    """The VPC goes, and no router has anything of it: with remote access, tunnels, the gateway that they begin at."""
    forget_vpns(session, RemoteAccessVpn.vpc_id == vpc_id)
    forget_connections(session, VpnConnection.vpc_id == vpc_id)
    for gateway in session.scalars(select(VpnGateway).filter_by(vpc_id=vpc_id, removed=None)):
        gateway.remove()


def take_connection_back(run: Run) -> list[Ask]:
    forget_connections(run.session, VpnConnection.id == run.row.subject_id)
    return _tell_again(run)


def mark_begun(run: Run) -> Outcome:
    if _connection(run).state == "Pending":
        VPN_CONNECTION_MOVES.move(_connection(run), "begin")
    return None


def keep_connection(run: Run) -> list[Ask]:
    if _connection(run).removed is None:
        VPN_CONNECTION_MOVES.move(_connection(run), "keep")
    return _tell_again(run)


def drop_connection(run: Run) -> Outcome:
    forget_connections(run.session, VpnConnection.id == run.row.subject_id)
    return None


def restore_customer_gateway(run: Run) -> list[Ask]:
    gateway = run.subject(VpnCustomerGateway)
    for name, value in run.recall("before").items():
        setattr(gateway, name, value)
    return _tell_again(run)


add_connection = workflow(
    "vpn-connection.add", VpnConnection, [Step(tell_vpcs, undo=take_connection_back), Step(mark_begun)]
)
remove_connection = workflow(
    "vpn-connection.remove", VpnConnection, [Step(tell_vpcs, undo=keep_connection), Step(drop_connection)]
)
reset_connection = workflow("vpn-connection.reset", VpnConnection, [Step(tell_vpcs)])
change_customer_gateway = workflow(
    "vpn-customer-gateway.change", VpnCustomerGateway, [Step(tell_vpcs, undo=restore_customer_gateway)]
)


def note(session: Session, tunnels: Iterable[Any]) -> None:
    """Take down what a host tells of its routers' tunnels (`TunnelFacts`)."""
    told = {one.tunnel_id: one.state for one in tunnels}
    if not told:
        return
    query = select(VpnConnection).where(VpnConnection.id.in_(told), VpnConnection.removed.is_(None))
    for connection in session.scalars(query):
        event = SEEN[told[connection.id]]
        if connection.state in VPN_CONNECTION_MOVES.table[event]:
            VPN_CONNECTION_MOVES.move(connection, event)
