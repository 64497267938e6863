"""The agent's own memory on disk: which commands it has run, its fences, and what this host is wanted to hold.

SQLite in WAL mode, each write synced before the answer leaves: an agent that is killed and started again gives the
same answers. Losing the file loses no guest: fences then begin anew with the next command.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

KEEP_SECONDS = 7 * 86400
SCHEMA = """
CREATE TABLE IF NOT EXISTS commands (
    id TEXT PRIMARY KEY, subject TEXT NOT NULL, sequence INTEGER NOT NULL, answer BLOB, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS fences (subject TEXT PRIMARY KEY, sequence INTEGER NOT NULL, generation INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS wanted (
    kind TEXT NOT NULL, id TEXT NOT NULL, generation INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, id));
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Journal:
    """`durable` False gives up the sync to disk: for simulated hosts, whose guests die with the process anyway."""

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # wanted states hold secrets; SQLite's other files are made like this one
        path.chmod(0o600)
        self._lock = threading.Lock()
        self._decoded: dict[tuple[str, str], tuple[bytes, Any]] = {}
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def answer_of(self, command_id: str) -> bytes | None:
        """The stored answer, as JSON, of a command that was run to its end."""
        rows = self._query("SELECT answer FROM commands WHERE id = ? AND answer IS NOT NULL", command_id)
        return rows[0][0] if rows else None

    def admit(self, command_id: str, subject: str, sequence: int, generation: int) -> bool:
        """Note that the command begins; False when a later one of the subject has begun before."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            row = self._db.execute("SELECT sequence FROM fences WHERE subject = ?", (subject,)).fetchone()
            if row and row[0] > sequence:
                return False
            self._db.execute("REPLACE INTO fences VALUES (?, ?, ?)", (subject, sequence, generation))
            self._db.execute(
                "INSERT OR IGNORE INTO commands VALUES (?, ?, ?, NULL, ?)", (command_id, subject, sequence, time.time())
            )
        return True

    def record(self, command_id: str, answer: bytes) -> None:
        self._query("UPDATE commands SET answer = ? WHERE id = ?", answer, command_id)

    def prune(self) -> None:
        """Forget answers that no manager asks for any more."""
        self._query("DELETE FROM commands WHERE at < ?", time.time() - KEEP_SECONDS)

    def want(self, kind: str, thing_id: str, generation: int, body: Any) -> bool:
        """Hold `body` as the wanted state; False, and nothing changed, when a newer generation is held."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            query = "SELECT generation FROM wanted WHERE kind = ? AND id = ?"
            row = self._db.execute(query, (kind, thing_id)).fetchone()
            if row and row[0] > generation:
                return False
            values = (kind, thing_id, generation, msgspec.json.encode(body))
            self._db.execute("REPLACE INTO wanted VALUES (?, ?, ?, ?)", values)
        return True

    def drop(self, kind: str, thing_id: str) -> None:
        self._decoded.pop((kind, thing_id), None)
        self._query("DELETE FROM wanted WHERE kind = ? AND id = ?", kind, thing_id)

    def wanted(self, kind: str, type_: type[Any]) -> list[Any]:
        """All that is wanted of one kind, in the order of ids; what has not changed is the same object each time."""
        rows = self._query("SELECT id, body FROM wanted WHERE kind = ? ORDER BY id", kind)
        return [self._decode(kind, thing_id, body, type_) for thing_id, body in rows]

    def _decode(self, kind: str, thing_id: str, body: bytes, type_: type[Any]) -> Any:
        held = self._decoded.get((kind, thing_id))
        if held is None or held[0] != body:
            held = self._decoded[kind, thing_id] = (body, msgspec.json.decode(body, type=type_))
        return held[1]

    def wanted_one(self, kind: str, thing_id: str, type_: type[Any]) -> Any | None:
        rows = self._query("SELECT body FROM wanted WHERE kind = ? AND id = ?", kind, thing_id)
        return self._decode(kind, thing_id, rows[0][0], type_) if rows else None

    def fact(self, name: str) -> str:
        rows = self._query("SELECT value FROM facts WHERE name = ?", name)
        return rows[0][0] if rows else ""

    def set_fact(self, name: str, value: str) -> None:
        self._query("REPLACE INTO facts VALUES (?, ?)", name, value)

    def _query(self, sql: str, *values: Any) -> list[Any]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()
