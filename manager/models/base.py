"""What all tables share: identifiers, times, states, and names that are unique while their row lives."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import JSON, DateTime, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

ID = String(36)
NAME = String(255)
STATE = String(32)


def new_id() -> str:
    return str(uuid.uuid4())


def utcnow() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


class UtcTime(TypeDecorator[dt.datetime]):
    """A time in UTC, aware in the program, without zone in the database."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, _dialect: Any) -> dt.datetime | None:
        return None if value is None else value.astimezone(dt.UTC).replace(tzinfo=None)

    def process_result_value(self, value: dt.datetime | None, _dialect: Any) -> dt.datetime | None:
        return None if value is None else value.replace(tzinfo=dt.UTC)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own declaration
        str: NAME,
        dt.datetime: UtcTime,
        dict[str, Any]: JSON,
        list[Any]: JSON,
    }


class Entity:
    """A thing with a uuid. A removed one keeps its row; `live` then becomes NULL, so that its name is free again.

    `live` holds what must be unique among living rows (such as 'domain-id/name'). It is a plain nullable unique
    column because MariaDB has no partial indexes.
    """

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    created: Mapped[dt.datetime] = mapped_column(default=utcnow)
    removed: Mapped[dt.datetime | None] = mapped_column(index=True, default=None)
    live: Mapped[str | None] = mapped_column(String(400), unique=True, default=None)

    def remove(self) -> None:
        self.removed = utcnow()
        self.live = None


def text_column(**options: Any) -> Any:
    return mapped_column(Text, **options)
