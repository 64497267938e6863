"""Portable public addresses: taken by one guarded UPDATE, and of the zone that has them for as long."""

from __future__ import annotations

import random

from sqlalchemy import ColumnElement, delete, exists, select, update
from sqlalchemy.orm import Session

from manager.db import write
from manager.models import (
    Account,
    Network,
    PortableAddress,
    PortableRange,
    PublicAddress,
    TrafficType,
    VlanIpRange,
    Vpc,
    new_id,
    utcnow,
)
from manager.placement import limits
from manager.placement.address import SOME, TRIES, NoAddress, free_public_addresses, holder_of, insert_or_nothing

_random = random.SystemRandom()


def take_portable_address(session: Session, network: Network | Vpc, *which: ColumnElement[bool]) -> PublicAddress:
    """A free portable address that meets the conditions on PortableAddress, now the network's and counted on its
    account.

    :raises NoAddress: none is free, or the zone has no public physical network to have it on
    :raises LimitReached: the account may hold no more
    """
    limits.claim(session, session.get_one(Account, network.account_id), public_addresses=1)
    physical_id = _physical_network_of(session, network)
    for _ in range(TRIES):
        query = select(PortableAddress.id).where(PortableAddress.taken.is_(None), *which)
        free = list(session.scalars(query.limit(SOME)))
        if not free:
            raise NoAddress("No portable address is free, or the one that is asked for is not.")
        chosen = _random.choice(free)
        claim = update(PortableAddress).where(PortableAddress.id == chosen, PortableAddress.taken.is_(None))
        if write(session, claim.values(taken=utcnow())):
            return _given(session, network, session.get_one(PortableAddress, chosen), physical_id)
    raise NoAddress("Portable addresses are being taken by others at this moment; try again.")


def _physical_network_of(session: Session, network: Network | Vpc) -> str:
    """That of the network's source NAT, for its router has one public interface; else the zone's first public one."""
    held = (
        select(VlanIpRange.physical_network_id)
        .join(PublicAddress, PublicAddress.range_id == VlanIpRange.id)
        .where(holder_of(network) == network.id, PublicAddress.source_nat)
    )
    public = (
        select(VlanIpRange.physical_network_id)
        .join(TrafficType, TrafficType.physical_network_id == VlanIpRange.physical_network_id)
        .where(VlanIpRange.zone_id == network.zone_id, VlanIpRange.removed.is_(None))
        .where(TrafficType.traffic_type == "Public", TrafficType.removed.is_(None))
        .order_by(VlanIpRange.created, VlanIpRange.id)
    )
    found: str | None = session.scalar(held.limit(1)) or session.scalar(public.limit(1))
    if found is None:
        raise NoAddress("The network's zone has no range of public addresses on a public physical network.")
    return found


def _given(session: Session, network: Network | Vpc, portable: PortableAddress, physical_id: str) -> PublicAddress:
    span_id = _span_of(session, network, session.get_one(PortableRange, portable.range_id), physical_id)
    address = PublicAddress(
        id=portable.id,
        zone_id=network.zone_id,
        range_id=span_id,
        address=portable.address,
        mac=portable.mac,
        account_id=network.account_id,
        **{holder_of(network).key: network.id},
        allocated=utcnow(),
        portable=True,
    )
    session.add(address)
    session.flush()
    return address


def _span_of(session: Session, network: Network | Vpc, portable: PortableRange, physical_id: str) -> str:
    """The id of the range that stands for the portable one on the zone's physical network."""
    live = f"portable/{portable.id}/{physical_id}"
    values = {
        "id": new_id(), "created": utcnow(), "live": live, "zone_id": network.zone_id,
        "physical_network_id": physical_id, "vlan": portable.vlan, "gateway": portable.gateway,
        "netmask": portable.netmask, "start_ip": portable.start_ip, "end_ip": portable.end_ip,
        "portable_range_id": portable.id,
    }  # fmt: skip
    write(session, insert_or_nothing(session, VlanIpRange, values))
    # The lock keeps whoever gives its last address back from removing it meanwhile.
    query = select(VlanIpRange.id).where(VlanIpRange.live == live).with_for_update()
    return str(session.scalars(query).one())


def free_addresses(session: Session, *which: ColumnElement[bool], is_unused: bool = False) -> None:
    """As `free_public_addresses`, with the portable ones: those are any zone's again."""
    free_public_addresses(session, *which, is_unused=is_unused)
    columns = (PublicAddress.id, PublicAddress.account_id, PublicAddress.range_id)
    for address_id, account_id, range_id in session.execute(
        select(*columns).where(PublicAddress.portable, *which)
    ).all():
        # The lock keeps whoever takes another one of that range from using what is removed here.
        session.scalars(select(VlanIpRange.id).where(VlanIpRange.id == range_id).with_for_update()).one()
        if not write(session, delete(PublicAddress).where(PublicAddress.id == address_id)):
            continue
        limits.release(session, str(account_id), public_addresses=1)
        write(session, update(PortableAddress).where(PortableAddress.id == address_id).values(taken=None))
        left = exists().where(PublicAddress.range_id == range_id)
        write(session, update(VlanIpRange).where(VlanIpRange.id == range_id, ~left).values(removed=utcnow(), live=None))
