"""Tunnel keys of tenant networks: each taken by a unique key, never twice, and by nobody for whom it is not kept."""

from __future__ import annotations

import random
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from manager.db import write
from manager.models import KeyRange, PhysicalNetwork, TunnelKey
from manager.placement.address import TRIES, NoAddress, insert_or_nothing

_random = random.SystemRandom()


def take_key(
    session: Session, physical: PhysicalNetwork, network_id: str, account_id: str = "", wanted: int | None = None
) -> int:
    """The tunnel key of a new tenant network, or `wanted`; never one that was given out before.

    One of a range that is kept for the account when there is any left; none of those that are kept for others.

    :raises NoAddress: the range of the physical network is used up, or the wanted one cannot be had
    """
    kept = lock_ranges(session, physical)
    others = [one for one in kept if one.account_id != account_id]
    if wanted is not None:
        if any(one.first <= wanted <= one.last for one in others):
            raise NoAddress(f"The tunnel key {wanted} is kept for networks of another account.")
        if _store(session, physical, network_id, wanted):
            return wanted
        raise NoAddress(f"The tunnel key {wanted} belongs to another network of the zone, or did: none is given twice.")
    own = [(one.first, one.last) for one in kept if one.account_id == account_id]
    for first, last in (*own, (physical.key_start, physical.key_end)):
        key = _take_within(session, physical, network_id, (first, last), others)
        if key is not None:
            return key
    raise NoAddress(f"All tunnel keys {physical.key_start}-{physical.key_end} of {physical.name} are used up.")


def lock_ranges(session: Session, physical: PhysicalNetwork, *, for_change: bool = False) -> Sequence[KeyRange]:
    """The ranges of the physical network that are kept; none is added until the transaction ends."""
    held = select(PhysicalNetwork.id).where(PhysicalNetwork.id == physical.id)
    session.execute(held.with_for_update(read=not for_change))
    return session.scalars(select(KeyRange).where(KeyRange.physical_network_id == physical.id)).all()


def _take_within(
    session: Session, physical: PhysicalNetwork, network_id: str, span: tuple[int, int], others: Sequence[KeyRange]
) -> int | None:
    """By chance first: two callers at once then seldom choose the same."""
    first, last = span

    def may(key: int) -> bool:
        return not any(one.first <= key <= one.last for one in others)

    for _ in range(TRIES):
        key = _random.randint(first, last)
        if may(key) and _store(session, physical, network_id, key):
            return key
    taken = select(TunnelKey.key).where(TunnelKey.zone_id == physical.zone_id, TunnelKey.key.between(first, last))
    used = set(session.scalars(taken))
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
    values = {"zone_id": physical.zone_id, "key": key, "network_id": network_id}
    return write(session, insert_or_nothing(session, TunnelKey, values))
