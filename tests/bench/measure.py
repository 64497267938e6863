"""What servers cost: CPU of process trees, SQL statements and commits of a PostgreSQL, shares of a list of times."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from devcloud.processes import ProcessGroup
from devcloud.services import PostgreSQL
from devcloud.supervisor import Process

TICK = os.sysconf("SC_CLK_TCK")
COUNTED = """
    FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND position('/* bench */' in query) = 0 AND query !~* '^(BEGIN|COMMIT|ROLLBACK|SET|SHOW|DEALLOCATE)'
"""
FREQUENT = "/* bench */ SELECT calls, query" + COUNTED + "ORDER BY calls DESC LIMIT %s"
CALLS = "/* bench */ SELECT coalesce(sum(calls), 0)" + COUNTED
COMMITS = "/* bench */ SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"


class MeasuredPostgreSQL(PostgreSQL):
    """As Pileus runs it, with counts of statements, and with the times of commits kept."""

    def process(self) -> Process:
        plain = super().process()
        more = ["-c", "shared_preload_libraries=pg_stat_statements", "-c", "track_commit_timestamp=on"]
        return Process(plain.name, [*plain.argv, *more], plain.env, plain.user, plain.directory, plain.stop)

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """A connection for statements that begin with a comment `bench`: those are not counted."""
        return psycopg.connect(host=str(self.directory), user="pileus", dbname=database, autocommit=True)

    @property
    def pid(self) -> int:
        return int((self.directory / "data" / "postmaster.pid").read_text().split()[0])


@dataclass(frozen=True)
class Cost:
    """CPU seconds by process name, and counts of the database; a difference of two readings, or one of them."""

    at: float
    cpu: dict[str, float]
    statements: int
    commits: int
    client_cpu: float

    @property
    def total_cpu(self) -> float:
        return sum(self.cpu.values())

    def since(self, before: Cost) -> Cost:
        return Cost(
            self.at - before.at,
            {name: seconds - before.cpu.get(name, 0.0) for name, seconds in self.cpu.items()},
            self.statements - before.statements,
            self.commits - before.commits,
            self.client_cpu - before.client_cpu,
        )


class Meter:
    """Reads what the processes of `group` and the database `name` of `server` have cost so far."""

    def __init__(self, group: ProcessGroup, server: MeasuredPostgreSQL, name: str) -> None:
        self.group, self.server = group, server
        self.connection = server.connect(name)
        self.connection.execute("/* bench */ CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        self._own = self.connection.info.backend_pid

    def read(self) -> Cost:
        roots = {one.name: one.pid for one in self.group.states()} | {"postgresql": self.server.pid}
        cpu = _cpu_of(roots, without=self._own)
        statements, commits = self._number(CALLS), self._number(COMMITS)
        return Cost(time.monotonic(), cpu, statements, commits, time.process_time())

    def statements(self, count: int) -> list[tuple[int, str]]:
        """The most frequent statements with their calls, of all that were run since `reset`."""
        return [(calls, " ".join(text.split())) for calls, text in self.connection.execute(FREQUENT, (count,))]

    def reset(self) -> None:
        self.connection.execute("/* bench */ SELECT pg_stat_statements_reset()")

    def _number(self, query: LiteralString) -> int:
        row = self.connection.execute(query).fetchone()
        return int(row[0]) if row else 0


def _cpu_of(roots: dict[str, int], without: int) -> dict[str, float]:
    """CPU seconds of each tree of processes, with those of its ended and collected children. Source: proc(5)."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(entry.name)] = int(fields[1])
        used[int(entry.name)] = sum(map(int, fields[11:15])) / TICK
    names = {pid: name for name, pid in roots.items()}
    cpu = dict.fromkeys(roots, 0.0)
    for pid, seconds in used.items():
        above = pid
        while above and above not in names:
            above = parents.get(above, 0)
        if above and pid != without:
            cpu[names[above]] += seconds
    return cpu


def pace() -> float:
    """CPU seconds of a fixed piece of Python work; more than its best tells that others use the machine."""
    before = time.process_time()
    sum(number * number % 7 for number in range(1_000_000))
    return time.process_time() - before


def share(times: Sequence[float], part: float) -> float:
    """The time that `part` (0 to 1) of `times` does not exceed."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
