"""Keys of tenant networks: each taken by a unique key, and by nobody for whom it is not kept.

A tunnel key is never given out twice in its zone. A VLAN is its network's alone while that lives.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from manager.db import write
from manager.models import KeyRange, PhysicalNetwork, PrivateGateway, TunnelKey, VlanIpRange, VlanKey
from manager.placement.address import TRIES, NoAddress, insert_or_nothing
from network.overlays import VLAN, overlay_named

_random = random.SystemRandom()


class _Store(NamedTuple):
    """Where the keys of a physical network are held: the table, its column of keys, and the others of its rows."""

    model: type[TunnelKey | VlanKey]
    column: str
    place: dict[str, str]

    @property
    def key(self) -> Any:
        return getattr(self.model, self.column)

    def here(self) -> list[ColumnElement[bool]]:
        return [getattr(self.model, name) == value for name, value in self.place.items()]


def is_vlan(physical: PhysicalNetwork) -> bool:
    """Whether tenant networks on it are VLANs."""
    return overlay_named(physical.isolation_methods) == VLAN


def _store_of(physical: PhysicalNetwork) -> _Store:
    if is_vlan(physical):
        return _Store(VlanKey, "vlan", {"physical_network_id": physical.id})
    return _Store(TunnelKey, "key", {"zone_id": physical.zone_id})


def take_key(
    session: Session, physical: PhysicalNetwork, network_id: str, account_id: str = "", wanted: int | None = None
) -> int:
    """The key of a new tenant network, or `wanted`: of a tunnel, never one that was given out before, or a VLAN.

    One of a range that is kept for the account when there is any left; none of those that are kept for others.

    :raises NoAddress: the range of the physical network is used up, or the wanted one cannot be had
    """
    kept = lock_ranges(session, physical)
    others = [one for one in kept if one.account_id != account_id]
    if wanted is not None:
        return _take_wanted(session, physical, network_id, wanted, others)
    own = [(one.first, one.last) for one in kept if one.account_id == account_id]
    for first, last in (*own, (physical.key_start, physical.key_end)):
        key = _take_within(session, physical, network_id, (first, last), others)
        if key is not None:
            return key
    word = "VLANs" if is_vlan(physical) else "tunnel keys"
    raise NoAddress(f"All {word} {physical.key_start}-{physical.key_end} of {physical.name} are used up.")


def _take_wanted(
    session: Session, physical: PhysicalNetwork, network_id: str, wanted: int, others: Sequence[KeyRange]
) -> int:
    """:raises NoAddress: it cannot be had"""
    word = f"VLAN {wanted or 'untagged'}" if is_vlan(physical) else f"tunnel key {wanted}"
    if any(one.first <= wanted <= one.last for one in others):
        raise NoAddress(f"The {word} is kept for networks of another account.")
    if wanted in _used_otherwise(session, physical):
        raise NoAddress(f"The {word} of {physical.name} has public addresses or a private gateway.")
    if _store(session, physical, network_id, wanted):
        return wanted
    if is_vlan(physical):
        raise NoAddress(f"The {word} of {physical.name} belongs to another network.")
    raise NoAddress(f"The {word} belongs to another network of the zone, or did: none is given twice.")


def free_vlan(session: Session, network_id: str) -> None:
    """The network goes and no host has a part of it; the VLAN that it was, if it was one, is free."""
    write(session, delete(VlanKey).where(VlanKey.network_id == network_id))


def holder_of_vlan(session: Session, physical: PhysicalNetwork, vlan: int) -> str | None:
    """The id of the tenant network that is the VLAN; none becomes it until the transaction ends."""
    lock_ranges(session, physical, for_change=True)
    return session.scalar(select(VlanKey.network_id).filter_by(physical_network_id=physical.id, vlan=vlan))


def lock_ranges(session: Session, physical: PhysicalNetwork, *, for_change: bool = False) -> Sequence[KeyRange]:
    """The ranges of the physical network that are kept; none is added until the transaction ends."""
    held = select(PhysicalNetwork.id).where(PhysicalNetwork.id == physical.id)
    session.execute(held.with_for_update(read=not for_change))
    return session.scalars(select(KeyRange).where(KeyRange.physical_network_id == physical.id)).all()


def _used_otherwise(session: Session, physical: PhysicalNetwork) -> set[int]:
    """The VLANs of public addresses and private gateways; tunnels have nothing to do with those."""
    if not is_vlan(physical):
        return set()
    gateways: Any = select(PrivateGateway.vlan).filter_by(physical_network_id=physical.id, removed=None)
    ranges: Any = select(VlanIpRange.vlan).filter_by(physical_network_id=physical.id, removed=None)
    texts = [text for text in session.scalars(ranges) if text.isdecimal()]
    return {*session.scalars(gateways), *map(int, texts)}


def _take_within(
    session: Session, physical: PhysicalNetwork, network_id: str, span: tuple[int, int], others: Sequence[KeyRange]
) -> int | None:
    """By chance first: two callers at once then seldom choose the same."""
    first, last = span
    elsewhere = _used_otherwise(session, physical)

    def may(key: int) -> bool:
        return key not in elsewhere and not any(one.first <= key <= one.last for one in others)

    for _ in range(TRIES):
        key = _random.randint(first, last)
        if may(key) and _store(session, physical, network_id, key):
            return key
    held = _store_of(physical)
    used = set(session.scalars(select(held.key).where(*held.here(), held.key.between(first, last)))) | elsewhere
    key, tries = first, len(used) + TRIES
    while key <= last and tries > 0:
        reserved = next((one for one in others if one.first <= key <= one.last), None)
        if reserved is not None:
            key = reserved.last + 1
            continue
        tries -= 1
        if key not in used and _store(session, physical, network_id, key):
            return key
        key += 1
    return None


def _store(session: Session, physical: PhysicalNetwork, network_id: str, key: int) -> int:
    held = _store_of(physical)
    values = {**held.place, held.column: key, "network_id": network_id}
    return write(session, insert_or_nothing(session, held.model, values))
