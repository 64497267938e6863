"""The own management server among the others: its processes beat in the database, and learn there what it is to do.

Nothing waits for a server: jobs are rows, and any server's workers go on with them. One that is prepared for
maintenance or shutdown takes no new jobs by its API, no work by its workers, and is ready once these are idle.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Select, and_, case, exists, func, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from manager.config import settings
from manager.db import epoch, transaction, write
from manager.models import ManagementServer, utcnow

VERSION = "4.22.0.0"
"""The version of CloudStack whose API this is."""
BEAT_SECONDS = 3.0
DOWN_SECONDS = 15.0
LEARNT_SECONDS = 2 * BEAT_SECONDS
UP, DOWN = "Up", "Down"
MAINTENANCE, SHUTDOWN = "PreparingForMaintenance", "PreparingForShutDown"
READY = {MAINTENANCE: "Maintenance", SHUTDOWN: "ReadyToShutDown"}

log = structlog.get_logger()


class _Own:
    """What the last beat of this process told: the id of its server, and what that is wanted to be."""

    id: str | None = None
    wanted = UP


class _Running:
    """How many steps of jobs, and duties, this process has under way."""

    lock = threading.Lock()
    count = 0


@contextmanager
def underway() -> Iterator[None]:
    """Count the block among what this process has under way."""
    with _Running.lock:
        _Running.count += 1
    try:
        yield
    finally:
        with _Running.lock:
            _Running.count -= 1


def own_id() -> str | None:
    """The id of the server that this process is of; None while it has not beaten."""
    return _Own.id


def is_leaving() -> bool:
    """Whether this server is being prepared for maintenance or shutdown."""
    return _Own.wanted != UP


def name() -> str:
    return settings().server_name or socket.gethostname()


def beat(*, starting: bool = False) -> None:
    """Say that this process lives, and whether it is idle. `starting`: the server starts with it."""
    with transaction() as session:
        row = _row(session)
        values: dict[str, Any] = {"last_seen": epoch(), "facts": figures()}
        values["idle_since"] = None if _Running.count else func.coalesce(ManagementServer.idle_since, epoch())
        if starting:
            values |= {**of_machine(), "started": utcnow(), "idle_since": None}
            values["wanted"] = case((ManagementServer.wanted == SHUTDOWN, UP), else_=ManagementServer.wanted)
        write(session, update(ManagementServer).where(ManagementServer.id == row.id).values(values))
        _Own.id, _Own.wanted = row.id, UP if starting and row.wanted == SHUTDOWN else row.wanted


def say_stopped() -> None:
    """The server's workers end in good order."""
    with transaction() as session:
        write(session, update(ManagementServer).where(ManagementServer.id == _Own.id).values(stopped=utcnow()))


def _row(session: Session) -> ManagementServer:
    """The living row of this server, made when there is none."""
    query = select(ManagementServer).filter_by(live=name().lower())
    row = session.scalar(query)
    if row is None:
        try:
            with session.begin_nested():
                row = ManagementServer(name=name(), live=name().lower(), started=utcnow(), **of_machine())
                session.add(row)
        except IntegrityError:
            row = session.scalars(query).one()
    return row


def keep_beating(learnt: Callable[[], None] = lambda: None) -> None:
    """Beat for ever, and call `learnt` after each. A database that cannot be reached is told in the log."""
    while True:
        try:
            beat()
            learnt()
        except DBAPIError as error:
            log.warning("database unreachable", duty="beat", error=str(error))
        time.sleep(BEAT_SECONDS)


def start_beating(learnt: Callable[[], None] = lambda: None) -> None:
    """As `keep_beating`, in a thread of this process."""
    threading.Thread(target=keep_beating, args=(learnt,), name="beat", daemon=True).start()


def of_machine() -> dict[str, Any]:
    """What is known of the machine and stays while it runs."""
    return {
        "version": VERSION,
        "kernel": platform.release(),
        "distribution": _distribution(),
        "booted": dt.datetime.fromtimestamp(_boot_time(), dt.UTC).replace(microsecond=0),
        "address": _address(),
    }


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


def _boot_time() -> float:
    lines = Path("/proc/stat").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("btime ")))


def _address() -> str:
    """The address from which this machine reaches others; empty when it reaches none. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def figures() -> dict[str, Any]:
    """The machine's figures of the moment, as ManagementServer keeps them."""
    found = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(found[key].split()[0]) * 1024 for key in ("MemTotal", "MemAvailable"))
    return {
        "processors": os.cpu_count() or 1,
        "memory_total": total,
        "memory_free": free,
        "collected": int(time.time()),
    }


def is_lost() -> ColumnElement[bool]:
    """Servers of which no process has beaten for a while."""
    lost: ColumnElement[bool] = ManagementServer.last_seen < epoch() - DOWN_SECONDS
    return lost


def shown_state() -> ColumnElement[str]:
    """The state of a server as CloudStack names it, by the database's clock."""
    learnt = ManagementServer.since < epoch() - LEARNT_SECONDS
    idle = and_(learnt, ManagementServer.idle_since < epoch() - LEARNT_SECONDS)
    ready = [(and_(ManagementServer.wanted == wanted, idle), state) for wanted, state in READY.items()]
    return case((is_lost(), DOWN), *ready, else_=ManagementServer.wanted)


def another_is_up(server_id: str | None) -> Select[bool]:
    """Whether another server than this one is Up."""
    others = (ManagementServer.id != server_id, ManagementServer.removed.is_(None))
    return select(exists().where(*others, shown_state() == UP))


def prepare(session: Session, server: ManagementServer, wanted: str, present: str) -> bool:
    """Want the server to be `wanted`; False when it is not `present` any more."""
    guard = (ManagementServer.id == server.id, ManagementServer.wanted == present, ManagementServer.removed.is_(None))
    values = {"wanted": wanted, "since": epoch(), "idle_since": None}
    return write(session, update(ManagementServer).where(*guard).values(values)) == 1
