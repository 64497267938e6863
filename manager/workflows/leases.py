"""Duties that one process at a time has, held by the database's clock."""

from __future__ import annotations

from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError

from manager.db import epoch, transaction, write
from manager.models import LeaseRow


def take(name: str, holder: str, seconds: float) -> bool:
    """Take or renew the duty `name` for `seconds`; False while another holder's lease runs."""
    with transaction() as session:
        free = or_(LeaseRow.holder == holder, LeaseRow.until < epoch())
        taken = write(
            session,
            update(LeaseRow)
            .where(LeaseRow.name == name, free)
            .values(holder=holder, until=epoch() + seconds, fence=LeaseRow.fence + 1),
        )
        if taken:
            return True
        if session.scalar(select(LeaseRow.name).filter_by(name=name)) is not None:
            return False
    try:
        with transaction() as session:
            session.add(LeaseRow(name=name, holder=holder, until=epoch() + seconds))
    except IntegrityError:
        return False
    return True
