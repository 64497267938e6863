"""The database: one engine for a process, transactions, and what must wait until a transaction is committed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

from sqlalchemy import CursorResult, Delete, Engine, Float, Insert, Update, create_engine, event
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement

from manager.config import settings

MYSQL_IDLE_SECONDS = 60
POSTGRESQL_IDLE_MS = 60_000
POOL, OVERFLOW = 10, 20
JOINS_REORDERED = 4
"""Beyond so many tables PostgreSQL joins in the order in which they are written: to plan the dozen tables that show a
virtual machine in all orders takes it 40 ms, and to read them 2."""


class epoch(FunctionElement[float]):  # noqa: N801 - it is an SQL function
    """The database's own clock in seconds since 1970: leases and deadlines are compared with nothing else."""

    type = Float()
    inherit_cache = True
    name = "epoch"


@compiles(epoch)
def _epoch_sqlite(_element: Any, _compiler: Any, **_options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(epoch, "postgresql")
def _epoch_postgresql(_element: Any, _compiler: Any, **_options: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"


@compiles(epoch, "mysql")
@compiles(epoch, "mariadb")
def _epoch_mysql(_element: Any, _compiler: Any, **_options: Any) -> str:
    return "CAST(UNIX_TIMESTAMP(SYSDATE(6)) AS DOUBLE)"


def engine_for(url: str) -> Engine:
    """An engine whose transactions read committed rows and whose idle transactions the server itself ends.

    The second is the fence of a stalled process: its row locks go away and its commit is refused.
    """
    if url.startswith("sqlite"):
        engine = create_engine(url, connect_args={"timeout": 30})
        event.listen(engine, "connect", _sqlite_connect)
        event.listen(engine, "begin", _sqlite_begin)
        return engine
    if url.startswith("mysql"):
        engine = create_engine(
            url, isolation_level="READ COMMITTED", pool_recycle=3600, pool_size=POOL, max_overflow=OVERFLOW
        )
        event.listen(engine, "connect", _mysql_connect)
        return engine
    options = f"-c idle_in_transaction_session_timeout={POSTGRESQL_IDLE_MS} -c join_collapse_limit={JOINS_REORDERED}"
    return create_engine(url, connect_args={"options": options}, pool_size=POOL, max_overflow=OVERFLOW)


def _sqlite_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _mysql_connect(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION idle_transaction_timeout = {MYSQL_IDLE_SECONDS}, time_zone = '+00:00'")


@cache
def engine() -> Engine:
    return engine_for(settings().database_url)


def after_commit(session: Session, send: Callable[[], None]) -> None:
    """Call `send` once the transaction of `session` is committed; never when it rolls back."""
    session.info.setdefault("after_commit", []).append(send)


@contextmanager
def transaction(bind: Engine | None = None) -> Iterator[Session]:
    """A session whose work is committed at the end of the block, or rolled back by an exception.

    What `after_commit` collected is sent afterwards. A message that cannot be sent is not an error here: the row
    that it points at is committed, and the sweeper rings again.
    """
    with Session(bind or engine(), expire_on_commit=False) as session:
        with session.begin():
            yield session
        for send in session.info.pop("after_commit", []):
            send()


def write(session: Session, statement: Update | Delete | Insert) -> int:
    """Run a guarded statement and tell how many rows it changed; 0 says that the guard refused it.

    Objects that the session has loaded are not told: who needs them afterwards reads them again. PostgreSQL's driver
    tells the count of an INSERT only when it is asked to keep it.
    """
    options = {"synchronize_session": False, "preserve_rowcount": True}
    result = session.execute(statement, execution_options=options)
    return int(cast("CursorResult[Any]", result).rowcount)
