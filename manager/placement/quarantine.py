"""Quarantine of public addresses: for a while after its release an address is for nobody but who had it."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import ColumnElement, or_, update
from sqlalchemy.orm import Session

from manager import configuration
from manager.db import write
from manager.models import Account, PublicAddress, Quarantine, utcnow

DURATION = "public.ip.address.quarantine.duration"
TAKEN_AGAIN = "The account that had the address took it again."


def open_to(account_id: str) -> ColumnElement[bool]:
    """The public addresses that no quarantine keeps from the account."""
    is_over = PublicAddress.quarantined_until <= utcnow()
    return or_(PublicAddress.quarantined_until.is_(None), is_over, PublicAddress.quarantined_for == account_id)


def end_of(session: Session, account_id: str) -> dt.datetime | None:
    """When the quarantine of an address ends that the account releases now; None where there is none.

    Rounded up to full seconds, as databases keep them.
    """
    minutes = configuration.value(session, DURATION, session.get_one(Account, account_id))
    return utcnow() + dt.timedelta(minutes=minutes) if minutes > 0 else None


def begin(session: Session, address: PublicAddress, account_id: str, ends: dt.datetime) -> None:
    """Note the quarantine of an address whose row has it already."""
    write(session, update(Quarantine).where(Quarantine.current == address.id).values(current=None))
    session.add(
        Quarantine(address_id=address.id, address=address.address, current=address.id, account_id=account_id, ends=ends)
    )
    session.flush()


def lift(session: Session, address_id: str, reason: str, remover_id: str | None = None) -> int:
    """End the quarantine of the address, if it has one that is not over."""
    freed = update(PublicAddress).where(PublicAddress.id == address_id)
    write(session, freed.values(quarantined_until=None, quarantined_for=None))
    now = utcnow()
    lifted = update(Quarantine).where(Quarantine.current == address_id, Quarantine.ends > now)
    return write(session, lifted.values(current=None, lifted=now, reason=reason, remover_id=remover_id))
