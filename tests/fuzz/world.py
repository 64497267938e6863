"""What random requests are thrown at: an application over a database that can be put back, and is watched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, delete, event, insert, inspect, select, text

from manager import configuration
from manager.models import Base
from tests.client import Caller
from tests.examples.runner import World
from tests.factories import Factory

OF_REFUSALS = frozenset({"events", "sessions"})
"""What a refused call may write: the event that tells of it, and that a session was used."""
ROWS_OF_A_KIND = 3


class Snapshot:
    """All rows of the database, to be put back."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        with engine.connect() as connection:
            self.rows = {t: [dict(row) for row in connection.execute(select(t)).mappings()] for t in _tables()}

    def restore(self) -> None:
        with self.engine.begin() as connection, _unordered(connection):
            for table in _tables():
                connection.execute(delete(table))
            for table, rows in self.rows.items():
                if rows:
                    connection.execute(insert(table), rows)
        configuration.forget()


def _tables() -> list[Any]:
    return list(Base.metadata.tables.values())


@contextmanager
def _unordered(connection: Connection) -> Iterator[None]:
    """Foreign keys are not looked at meanwhile, so that tables may be filled in any order."""
    off, on = {
        "sqlite": ("PRAGMA defer_foreign_keys = ON", "PRAGMA defer_foreign_keys = ON"),
        "postgresql": ("SET LOCAL session_replication_role = replica", "SET LOCAL session_replication_role = origin"),
    }.get(connection.dialect.name, ("SET FOREIGN_KEY_CHECKS = 0", "SET FOREIGN_KEY_CHECKS = 1"))
    connection.execute(text(off))
    yield
    connection.execute(text(on))


@dataclass
class Writes:
    """The tables in which committed transactions changed rows, since `tables` was emptied."""

    tables: set[str] = field(default_factory=set)

    def watch(self, engine: Engine) -> None:
        event.listen(engine, "after_cursor_execute", self._note)
        event.listen(engine, "commit", self._commit)
        event.listen(engine, "rollback", self._rollback)

    def _note(self, connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        words = statement.replace('"', "").replace("`", "").split(maxsplit=3)
        if words[0] in ("INSERT", "UPDATE", "DELETE") and cursor.rowcount != 0:
            table = words[1] if words[0] == "UPDATE" else words[2]
            connection.info.setdefault("written", set()).add(table)

    def _commit(self, connection: Connection) -> None:
        self.tables |= connection.info.pop("written", set())

    def _rollback(self, connection: Connection) -> None:
        connection.info.pop("written", None)


def identifiers(engine: Engine) -> dict[type[Any], list[str]]:
    """Some identifiers of each model."""
    found: dict[type[Any], list[str]] = {}
    with engine.connect() as connection:
        for mapper in Base.registry.mappers:
            keys = inspect(mapper.class_).primary_key
            if [key.name for key in keys] == ["id"]:
                query = select(keys[0]).limit(ROWS_OF_A_KIND)
                found[mapper.class_] = [str(value) for value in connection.execute(query).scalars()]
    return found


def populate(world: World, engine: Engine) -> dict[str, Caller]:
    """Virtual machines and other things of a tenant, and a caller of each kind."""
    api, tenant, names = world.api, world.callers["tenant"], world.names
    place = {"zoneid": names["zone"], "serviceofferingid": names["offering"], "templateid": names["template"]}
    for name in ("one", "two"):
        api("deployVirtualMachine", tenant, **place, networkids=names["network"], name=name)
    api("createSSHKeyPair", tenant, name="pair")
    world.cloud.settle()
    factory = Factory(engine)
    domain = factory.domain("below")
    factory.user("manager", factory.account("manager", domain, type=2))
    factory.user("other", factory.account("other", domain))
    return {**world.callers, "manager": Caller.of(engine, "manager"), "other": Caller.of(engine, "other")}


def log_in(world: World) -> dict[str, str]:
    """The cookies of a session of the administrator."""
    given = {"command": "login", "response": "json", "username": "admin", "password": "admin-password"}
    response = world.api.app.test_client().post("/client/api", data=given)
    pairs = [header.split(";")[0].partition("=") for header in response.headers.getlist("Set-Cookie")]
    return {name: value for name, _, value in pairs}
