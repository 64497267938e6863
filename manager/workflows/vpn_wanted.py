"""What the router of a network must hold of virtual private networks, from the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from manager.models import Network, PublicAddress, RemoteAccessVpn, VpnUser
from manager.vpn_certificate import der_of
from network.vpn import RemoteAccess, Vpn
from network.vpn import VpnUser as User

WANTED_VPNS = ("Added", "Running")
WANTED_USERS = ("Add", "Active")


def vpn_of(session: Session, network: Network) -> Vpn | None:
    """Two statements where the network has remote access, else one."""
    remote = remote_access(session, RemoteAccessVpn.network_id == network.id, (network.cidr,))
    return None if remote is None else Vpn(remote)


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
