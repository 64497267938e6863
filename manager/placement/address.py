"""Addresses and MACs of NICs and public addresses: each taken by a unique key or one guarded UPDATE."""

from __future__ import annotations

import ipaddress
import random
import secrets
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Insert, Select, func, insert, or_, select, update
from sqlalchemy.dialects.mysql import insert as mysql_insert
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from manager.db import write
from manager.models import (
    Account,
    Dedication,
    Network,
    Nic,
    NicAddress,
    PublicAddress,
    VlanIpRange,
    Vpc,
    new_id,
    utcnow,
)
from manager.models.network import L2
from manager.placement import limits, quarantine
from manager.placement.dedication import kept
from manager.placement.guest_range import gaps_of

TRIES = 12
SOME = 32
_random = random.SystemRandom()


class NoAddress(Exception):  # noqa: N818 - it names what is missing
    """An address was asked for that is taken or does not exist, or none is left; the message tells which."""

    code = 533


class Span(NamedTuple):
    """Addresses of a network that may be given out, `first` and `last` in it."""

    first: ipaddress.IPv4Address
    last: ipaddress.IPv4Address


class Held(NamedTuple):
    """What is known of a network whose row is locked: the further addresses of its NICs, and what guests may have."""

    further: set[ipaddress.IPv4Address]
    guests: Span


def hosts_of(cidr: str) -> Span:
    pool = ipaddress.IPv4Network(cidr)
    return Span(pool.network_address + 1, pool.broadcast_address - 1)


def guests_of(cidr: str, first: str | None, last: str | None) -> Span:
    """What guests may have of `cidr`: all its hosts, or those from `first` to `last`."""
    if first is None or last is None:
        return hosts_of(cidr)
    return Span(ipaddress.IPv4Address(first), ipaddress.IPv4Address(last))


def new_mac() -> str:
    """A locally administered unicast MAC (IEEE 802, first octet 02)."""
    return "02:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(5))


def add_nic(session: Session, network: Network, *, wanted: str | None = None, **owner: Any) -> str:
    """Insert a NIC with a free address of the network, or with `wanted`; gives its id.

    :raises NoAddress: all are taken, or the wanted one is
    """
    if not network.cidr:
        return _add_bare_nic(session, network, wanted, owner)
    taken, span = lock_addresses(session, network)
    if {"router_id", "hardware_id"} & owner.keys() and wanted is not None:
        span = hosts_of(network.cidr)
    else:
        taken |= _of_network(network)
    gaps = gaps_of(session, network)
    taken |= gaps
    if wanted is not None:
        _check_wanted(network, span, wanted, gaps)
    if wanted is not None and ipaddress.IPv4Address(wanted) in taken:
        raise NoAddress(f"Address {wanted} of network {network.name} is taken.")
    for _ in range(TRIES):
        address = wanted or _free_address(network, span, taken)
        nic_id = new_id()
        values = {"id": nic_id, "network_id": network.id, "address": address, "mac": new_mac(), "device": 0}
        if write(session, insert_or_nothing(session, Nic, {"is_default": True, **values, **owner})):
            return nic_id
        if wanted is not None:
            raise NoAddress(f"Address {wanted} of network {network.name} is taken.")
        held = session.scalars(select(Nic.address).filter_by(network_id=network.id))  # asked for only when unlucky
        taken |= {ipaddress.IPv4Address(address), *map(ipaddress.IPv4Address, held)}
    raise NoAddress(f"Network {network.name} is being filled by others at this moment; try again.")


def _of_network(network: Network) -> set[ipaddress.IPv4Address]:
    """What no guest may have: the gateway, and what is kept for the router."""
    return {ipaddress.IPv4Address(one) for one in (network.gateway, network.router_address) if one}


def _add_bare_nic(session: Session, network: Network, wanted: str | None, owner: dict[str, Any]) -> str:
    """:raises NoAddress: an address is wanted in a network of layer 2 alone, which has none, or it is to have some"""
    if network.guest_type != L2:
        raise NoAddress(f"Network {network.name} has no addresses yet; createVlanIpRange gives it some.")
    if wanted is not None:
        raise NoAddress(f"Network {network.name} is of layer 2 alone: its NICs have no addresses of the cloud's.")
    nic = Nic(network_id=network.id, mac=owner.pop("mac", None) or new_mac(), **owner)
    session.add(nic)
    session.flush()
    return nic.id


def lock_addresses(session: Session, network: Network) -> Held:
    """The further addresses of NICs in the network, and which guests may have, whose row is locked: no address is added
    until the transaction ends.

    The addresses that NICs have by themselves are unique by their own key, and these by theirs.
    """
    query = (
        select(NicAddress.address, Network.first_address, Network.last_address)
        .select_from(Network)
        .outerjoin(NicAddress, NicAddress.network_id == Network.id)
        .where(Network.id == network.id)
        .with_for_update(of=Network)
    )
    rows = session.execute(query).all()
    further = {ipaddress.IPv4Address(row.address) for row in rows if row.address is not None}
    return Held(further, guests_of(network.cidr, rows[0].first_address, rows[0].last_address))


def free_address(session: Session, network: Network, wanted: str | None) -> str:
    """A free address of the network, or `wanted`, for a NIC that is there; the network stays locked.

    :raises NoAddress: all are taken, or the wanted one is
    """
    if not network.cidr:
        raise NoAddress(f"Network {network.name} is of layer 2 alone: its NICs have no addresses of the cloud's.")
    taken, span = lock_addresses(session, network)
    gaps = gaps_of(session, network)
    if wanted is not None:
        _check_wanted(network, span, wanted, gaps)
    taken |= _of_network(network) | gaps
    taken |= set(map(ipaddress.IPv4Address, session.scalars(select(Nic.address).filter_by(network_id=network.id))))
    if wanted is not None and ipaddress.IPv4Address(wanted) in taken:
        raise NoAddress(f"Address {wanted} of network {network.name} is taken.")
    return wanted or _free_address(network, span, taken)


def _check_wanted(network: Network, span: Span, wanted: str, gaps: set[ipaddress.IPv4Address]) -> None:
    try:
        address = ipaddress.IPv4Address(wanted)
    except ValueError as error:
        raise NoAddress(f"{wanted} is not an IPv4 address.") from error
    hosts = hosts_of(network.cidr)
    if not hosts.first <= address <= hosts.last:
        raise NoAddress(f"Address {wanted} is not a host address of {network.cidr}, the range of {network.name}.")
    if address in gaps:
        raise NoAddress(f"Address {wanted} is in none of the ranges of network {network.name}.")
    if not span.first <= address <= span.last:
        raise NoAddress(f"Address {wanted} is not for virtual machines; those of network {network.name} have addresses "
                        f"from {span.first} to {span.last}.")  # fmt: skip


def _free_address(network: Network, span: Span, taken: set[ipaddress.IPv4Address]) -> str:
    """One of the free addresses of the span by chance: two callers at once then seldom choose the same."""
    first, last = map(int, span)
    if last - first + 1 - len(taken) > (last - first) // 2:
        for _ in range(64):
            address = ipaddress.IPv4Address(_random.randint(first, last))
            if address not in taken:
                return str(address)
    free = [a for a in map(ipaddress.IPv4Address, range(first, last + 1)) if a not in taken]
    if not free:
        range_ = network.cidr if span == hosts_of(network.cidr) else f"{span.first}-{span.last} of {network.cidr}"
        raise NoAddress(f"Network {network.name} ({range_}) has no free address: {len(taken)} are in use.")
    return str(_random.choice(free))


def insert_or_nothing(session: Session, model: type[Any], values: dict[str, Any]) -> Insert:
    """An INSERT that leaves a row alone that stands in its way, without an error that ends the transaction."""
    match session.get_bind().dialect.name:
        case "postgresql":
            return postgresql_insert(model).values(**values).on_conflict_do_nothing()
        case "sqlite":
            return sqlite_insert(model).values(**values).on_conflict_do_nothing()
        case "mysql" | "mariadb":
            return mysql_insert(model).prefix_with("IGNORE").values(**values)
        case _:
            return insert(model).values(**values)


def source_nat_of(session: Session, network_id: str) -> PublicAddress | None:
    return session.scalar(select(PublicAddress).filter_by(network_id=network_id, source_nat=True))


def source_nat_of_vpc(session: Session, vpc_id: str) -> PublicAddress | None:
    return session.scalar(select(PublicAddress).filter_by(vpc_id=vpc_id, source_nat=True))


def holder_of(network: Network | Vpc) -> Any:
    """The column of a public address that names who has it."""
    return PublicAddress.vpc_id if isinstance(network, Vpc) else PublicAddress.network_id


def take_public_address(
    session: Session, network: Network | Vpc, *, source_nat: bool, wanted: str = ""
) -> PublicAddress:
    """A free public address of the zone (`wanted`, when given), now the network's and counted on its account.

    Those that are kept for the account or its domain come first, and those that are kept for others never.
    All addresses of a network or VPC are on the physical network of its source NAT: its router has one public
    interface.

    :raises NoAddress: none is free, or the wanted one is not
    :raises LimitReached: the account may hold no more
    """
    limits.claim(session, session.get_one(Account, network.account_id), public_addresses=1)
    for _ in range(TRIES):
        free = _free_public(session, network, wanted)
        if not free:
            raise NoAddress(_none_free(wanted))
        chosen, dedication_id = _random.choice(free)
        as_seen = PublicAddress.dedication_id.is_not_distinct_from(dedication_id)
        values = {holder_of(network).key: network.id, "account_id": network.account_id, "allocated": utcnow()}
        taken = write(
            session,
            update(PublicAddress)
            .where(PublicAddress.id == chosen, PublicAddress.account_id.is_(None), as_seen)
            .where(quarantine.open_to(network.account_id))
            .values(source_nat=source_nat, releasing=False, display=True, **values),
        )
        if taken:
            address = session.get_one(PublicAddress, chosen, populate_existing=True)
            if address.quarantined_until is not None:
                quarantine.lift(session, chosen, quarantine.TAKEN_AGAIN, network.account_id)
            return address
    raise NoAddress("Public addresses are being taken by others at this moment; try again.")


def _free_public(session: Session, network: Network | Vpc, wanted: str) -> list[tuple[str, str | None]]:
    """Some free addresses that the network may have: (id, id of the dedication of its range)."""
    query = _beside_source_nat(network, wanted)
    rows = session.execute(query.limit(SOME)).all()
    if rows and rows[0].dedication_id is not None:
        own = kept(session, network.account_id).own
        known = select(Dedication.id)
        free = or_(PublicAddress.dedication_id.is_(None), PublicAddress.dedication_id.not_in(known))
        rows = session.execute(query.where(free | PublicAddress.range_id.in_(own)).limit(SOME)).all()
        rows = [row for row in rows if row.range_id in own] or rows
    return [(row.id, row.dedication_id) for row in rows]


def _beside_source_nat(network: Network | Vpc, wanted: str) -> Select[str, str | None, str]:
    """Free addresses on the physical network of the network's source NAT, if it has one; dedicated ones first."""
    query = (
        select(PublicAddress.id, PublicAddress.dedication_id, PublicAddress.range_id)
        .where(PublicAddress.zone_id == network.zone_id, PublicAddress.account_id.is_(None))
        .where(quarantine.open_to(network.account_id))
        .order_by(PublicAddress.dedication_id.is_(None))
    )
    held = (
        select(VlanIpRange.physical_network_id)
        .join(PublicAddress, PublicAddress.range_id == VlanIpRange.id)
        .where(holder_of(network) == network.id, PublicAddress.source_nat)
        .scalar_subquery()
    )
    beside = select(VlanIpRange.id).where(
        VlanIpRange.physical_network_id == func.coalesce(held, VlanIpRange.physical_network_id)
    )
    query = query.where(PublicAddress.range_id.in_(beside))
    return query.where(PublicAddress.address == wanted) if wanted else query


def _none_free(wanted: str) -> str:
    if wanted:
        return (f"The public address {wanted} is not free, in quarantine, or not one of the network's zone and "
                "physical network.")  # fmt: skip
    return "The zone has no free public address; add a VLAN IP range or release an address."


def free_public_addresses(session: Session, *which: ColumnElement[bool], is_unused: bool = False) -> None:
    """Give the addresses of these conditions back to the zone, and take them off their accounts' counts.

    What no guest can have used (`is_unused`) needs no quarantine. Portable ones stay.
    """
    columns = (PublicAddress.id, PublicAddress.account_id)
    for address_id, account in session.execute(select(*columns).where(PublicAddress.portable.is_(False), *which)).all():
        account_id = str(account)
        ends = None if is_unused else quarantine.end_of(session, account_id)
        kept_for = {"quarantined_until": ends, "quarantined_for": account_id if ends is not None else None}
        free = dict.fromkeys(("network_id", "vpc_id", "account_id", "allocated"))
        freed = write(
            session,
            update(PublicAddress)
            .where(PublicAddress.id == address_id, PublicAddress.account_id.is_not(None))
            .values(source_nat=False, releasing=False, display=True, **free, **kept_for),
        )
        if freed:
            limits.release(session, account_id, public_addresses=1)
        if freed and ends is not None:
            address = session.get_one(PublicAddress, address_id, populate_existing=True)
            quarantine.begin(session, address, account_id, ends)
