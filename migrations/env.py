"""Alembic's entry: migrations run on the manager's own database connection."""

from __future__ import annotations

from typing import Any

from alembic import context
from sqlalchemy import DateTime, Text

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


def run() -> None:
    with (context.config.attributes.get("engine") or engine()).connect() as connection:
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
