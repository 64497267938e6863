"""What the router of a network or a VPC must hold of virtual private networks, from the database."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, cast

from sqlalchemy import ColumnElement, Executable, bindparam, select
from sqlalchemy.orm import Session

from manager.models import (
    Network,
    PublicAddress,
    RemoteAccessVpn,
    Vpc,
    VpnConnection,
    VpnCustomerGateway,
    VpnGateway,
    VpnUser,
)
from manager.vpn_certificate import der_of
from network.types import GuestLeg
from network.vpn import KeyExchange, RemoteAccess, Tunnel, Vpn
from network.vpn import VpnUser as User

WANTED_VPNS = ("Added", "Running")
WANTED_USERS = ("Add", "Active")


def vpn_of(session: Session, network: Network) -> Vpn | None:
    """Two statements where the network has remote access, else one."""
    remote = remote_access(session, RemoteAccessVpn.network_id == network.id, (network.cidr,))
    return None if remote is None else Vpn(remote)


def vpn_of_vpc(session: Session, vpc: Vpc, legs: Sequence[GuestLeg]) -> Vpn | None:
    """One statement more where the VPC has remote access, else two. Without guests there is nothing to join."""
    if not legs:
        return None
    remote = remote_access(session, RemoteAccessVpn.vpc_id == vpc.id, (vpc.cidr,))
    tunnels = tuple(_tunnel(vpc, *row) for row in session.execute(_tunnels_query(), {"vpc_id": vpc.id}))
    return Vpn(remote, tunnels) if remote is not None or tunnels else None


@cache
def _tunnels_query() -> Executable:
    """Wanted connections, each with the address that it begins at and its customer gateway."""
    return (
        select(VpnConnection, PublicAddress.address, VpnCustomerGateway)
        .join(VpnGateway, VpnGateway.id == VpnConnection.gateway_id)
        .join(PublicAddress, PublicAddress.id == VpnGateway.address_id)
        .join(VpnCustomerGateway, VpnCustomerGateway.id == VpnConnection.customer_gateway_id)
        .where(VpnConnection.vpc_id == bindparam("vpc_id"), VpnConnection.removed.is_(None))
        .where(VpnConnection.state != "Removed")
        .order_by(VpnConnection.id)
        .execution_options(populate_existing=True)
    )


def _tunnel(vpc: Vpc, connection: VpnConnection, address: str, other: VpnCustomerGateway) -> Tunnel:
    return Tunnel(
        id=connection.id,
        address=address,
        peer=other.gateway,
        near=(vpc.cidr,),
        far=tuple(other.networks),
        secret=other.secret,
        ike_policy=other.ike_policy,
        esp_policy=other.esp_policy,
        version=cast("KeyExchange", other.version),
        ike_lifetime=other.ike_lifetime,
        esp_lifetime=other.esp_lifetime,
        dpd=other.dpd,
        force_encapsulation=other.force_encapsulation,
        passive=connection.passive,
        split=other.split,
        round=connection.round,
    )


def remote_access(session: Session, where: ColumnElement[bool], guests: tuple[str, ...]) -> RemoteAccess | None:
    query = (
        select(RemoteAccessVpn, PublicAddress.address)
        .join(PublicAddress, PublicAddress.id == RemoteAccessVpn.address_id)
        .where(where, RemoteAccessVpn.removed.is_(None), RemoteAccessVpn.state.in_(WANTED_VPNS))
        .execution_options(populate_existing=True)
    )
    found: Any = session.execute(query).first()
    if found is None:
        return None
    vpn, address = found
    return RemoteAccess(
        vpn.id,
        address,
        vpn.first_address,
        vpn.last_address,
        guests,
        der_of(vpn.certificate),
        der_of(vpn.private_key),
        _users(session, vpn.account_id),
        vpn.open_firewall,
    )


def _users(session: Session, account_id: str) -> tuple[User, ...]:
    query = select(VpnUser.name, VpnUser.password).where(
        VpnUser.account_id == account_id, VpnUser.removed.is_(None), VpnUser.state.in_(WANTED_USERS)
    )
    return tuple(User(row.name, row.password) for row in session.execute(query.order_by(VpnUser.name)))
