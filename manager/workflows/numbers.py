"""Small numbers shown to people (i-2-17-VM), given out in blocks so that no two workers wait for one row."""

from __future__ import annotations

import threading

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from manager.db import engine, transaction, write
from manager.models import Counter

BLOCK = 20

_guard = threading.Lock()
_free: dict[tuple[str, str], list[int]] = {}


def next_number(session: Session, series: str) -> int:
    """A number of `series` that was never given out; blocks that a process did not use up leave gaps.

    SQLite admits one writer, so there the number is taken in the caller's own transaction.
    """
    if session.get_bind().dialect.name == "sqlite":
        return _take(session, series, 1)
    key = (str(engine().url), series)
    with _guard:
        if not _free.get(key):
            with transaction() as apart:
                last = _take(apart, series, BLOCK)
            _free[key] = list(range(last, last - BLOCK, -1))
        return _free[key].pop()


def _take(session: Session, series: str, count: int) -> int:
    """The last of `count` new numbers. The rows of all series are made when the database is set up."""
    write(session, update(Counter).where(Counter.name == series).values(last=Counter.last + count))
    return session.scalars(select(Counter.last).filter_by(name=series)).one()
