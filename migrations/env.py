"""Alembic's entry: migrations run on the manager's own database connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic import context
from sqlalchemy import Connection, DateTime, Text

from manager.db import engine
from manager.models import Base
from manager.models.base import UtcTime
from manager.secrets import Sealed, SealedJson


def render_item(kind: str, item: Any, _context: Any) -> Any:
    """Migrations name plain types: they must not change when the program's own types do."""
    if kind == "type" and isinstance(item, UtcTime):
        return repr(DateTime()).replace("DateTime", "sa.DateTime")
    if kind == "type" and isinstance(item, Sealed):
        return repr(Text()).replace("Text", "sa.Text")
    if kind == "type" and isinstance(item, SealedJson):
        return 'sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")'
    return False


@contextmanager
def foreign_keys_unchecked(connection: Connection) -> Iterator[None]:
    """SQLite changes a table by making it anew, during which others refer to nothing; it looks at all in the end.

    :raises ValueError: a row refers to nothing
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = connection.connection.dbapi_connection
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
        if broken := driver.execute("PRAGMA foreign_key_check").fetchall():
            raise ValueError(f"Rows refer to nothing: {broken}")
    finally:
        driver.execute("PRAGMA foreign_keys=ON")


def run() -> None:
    made = context.config.attributes.get("engine") or engine()
    with made.connect() as connection, foreign_keys_unchecked(connection):
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            render_item=render_item,
            render_as_batch=connection.dialect.name == "sqlite",
            compare_type=True,
        )
        with context.begin_transaction():
            context.run_migrations()


run()
