"""The addresses that guests of a flat zone may have: ranges of its network, each of a pod."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from itertools import pairwise

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from manager.db import write
from manager.models import Network, VlanIpRange, utcnow
from manager.models.network import SHARED
from network.overlays import VLAN


def ranges_of(session: Session, network_id: str) -> Sequence[VlanIpRange]:
    query = select(VlanIpRange).where(VlanIpRange.network_id == network_id, VlanIpRange.removed.is_(None))
    return session.scalars(query.order_by(VlanIpRange.created, VlanIpRange.id)).all()


def gaps_of(session: Session, network: Network) -> set[IPv4Address]:
    """Addresses between the first and the last that guests may have which are in none of the ranges.

    One statement where the network may have ranges, none for another.
    """
    if network.guest_type != SHARED or network.overlay != VLAN or network.first_address is None:
        return set()
    spans = sorted((int(IPv4Address(one.start_ip)), int(IPv4Address(one.end_ip)))
                   for one in ranges_of(session, network.id))  # fmt: skip
    return {IPv4Address(number) for (_, last), (first, _) in pairwise(spans) for number in range(last + 1, first)}


def bound(session: Session, network: Network) -> None:
    """Set the first and the last address that guests may have by the ranges that there are."""
    found = ranges_of(session, network.id)
    ends = [IPv4Address(text) for one in found for text in (one.start_ip, one.end_ip)]
    network.first_address = str(min(ends)) if ends else None
    network.last_address = str(max(ends)) if ends else None
    if not ends:
        network.cidr = network.gateway = network.netmask = ""


def forget_ranges(session: Session, network_id: str) -> None:
    """The network goes, and its ranges with it."""
    ended = {"removed": utcnow(), "live": None}
    mine = (VlanIpRange.network_id == network_id, VlanIpRange.removed.is_(None))
    write(session, update(VlanIpRange).where(*mine).values(**ended))
