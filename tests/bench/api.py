"""`./dev bench api`: what lists cost in a cloud of 100,000 VMs of 1,000 accounts, through HTTP, over PostgreSQL.

A tenant with 100 VMs and the root administrator (a page of 500) list VMs, networks and events, first while there are
1,000 VMs and again when there are all. Times are the client's; processor time is that of the API's and PostgreSQL's
processes, per call; a statement more with more rows ends it with status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from devcloud.management import DATABASE
from manager import db
from manager.config import settings
from tests.bench.filling import VMS_EACH, Filling
from tests.bench.measure import Meter, pace, share
from tests.bench.server import Server
from tests.bench.wire import Client

LISTS = {"listVirtualMachines": "virtualmachine", "listNetworks": "network", "listEvents": "event"}
PAGE = {"listall": "true", "page": 1, "pagesize": 500}
FEW = 10
WARM_UP = 5
ROUNDS = 4


@dataclass
class Figure:
    """One list by one caller; times and CPU seconds of a call."""

    command: str
    by: str
    vms: int
    rows: int
    of: int
    p50: float
    p99: float
    cpu: float
    api_cpu: float
    statements: float
    pace: float

    @property
    def without_count(self) -> int:
        """The statements but the one that counts what is on no page."""
        return round(self.statements) - (self.of > self.rows)


def measure(server: Server, meter: Meter, call: Callable[[], Any], calls: int) -> dict[str, float]:
    """What a call costs; CPU is the median of some rounds."""
    for _ in range(WARM_UP):
        call()
    times: list[float] = []
    costs, slow = [], pace()
    for _ in range(ROUNDS):
        before = meter.read()
        for _ in range(calls // ROUNDS):
            begun = time.monotonic()
            call()
            times.append(time.monotonic() - begun)
        costs.append(meter.read().since(before))
    each = calls // ROUNDS
    api = [sum(cost.cpu[name] for name in server.apis) / each for cost in costs]
    whole = [one + cost.cpu["postgresql"] / each for one, cost in zip(api, costs, strict=True)]
    return {
        "p50": round(share(times, 0.5), 4),
        "p99": round(share(times, 0.99), 4),
        "cpu": round(statistics.median(whole), 4),
        "api_cpu": round(statistics.median(api), 4),
        "statements": round(statistics.median(cost.statements for cost in costs) / each, 2),
        "pace": round((slow + pace()) / 2, 4),
    }


def look(server: Server, meter: Meter, filling: Filling, calls: int) -> list[Figure]:
    """Every list by both callers."""
    found = []
    meter.connection.execute("/* bench */ ANALYZE")
    port = server.ports[0]
    for by, client, given in (("tenant", Client(port, filling.keys), {}), ("root", Client(port, server.root), PAGE)):
        for command, key in LISTS.items():
            answer = client(command, **given)
            costs = measure(server, meter, lambda c=client, n=command, g=given: c(n, **g), calls)  # type: ignore[misc]  # defaults hold the loop's values
            vms = len(filling.accounts) * VMS_EACH
            figure = Figure(command, by, vms, len(answer[key]), answer["count"], **costs)
            print(
                f"{vms:7} VMs  {command:20} by {by:6}  {figure.rows:3} of {figure.of:6}  p50 {figure.p50:.3f} s  p99 "
                f"{figure.p99:.3f} s  CPU {figure.cpu:.4f} s (API {figure.api_cpu:.4f})  {figure.statements} statements"
            )
            found.append(figure)
    return found


def grown(few: list[Figure], many: list[Figure]) -> list[str]:
    """The lists that need more statements where there are more rows."""
    return [a.command for a, b in zip(few, many, strict=True) if b.without_count > a.without_count]


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench api", description=__doc__)
    parser.add_argument("--accounts", type=int, default=1_000, help=f"of {VMS_EACH} VMs each (default 1,000)")
    parser.add_argument("--calls", type=int, default=40, help="of each list by each caller (default 40)")
    parser.add_argument("--state", type=Path, default=Path("/var/lib/pileus/bench-api"), help="where its files lie")
    options = parser.parse_args()
    with Server(options.state) as server:
        os.environ |= server.management.environment()
        settings.cache_clear()
        meter = Meter(server.management.group, server.postgresql, DATABASE)
        filling = Filling(db.engine())
        filling.grow(FEW)
        few = look(server, meter, filling, options.calls)
        begun = time.monotonic()
        filling.grow(options.accounts)
        print(f"filled in {time.monotonic() - begun:.0f} s")
        many = look(server, meter, filling, options.calls)
        db.engine().dispose()
    more = grown(few, many)
    print(json.dumps({"benchmark": "api", "more_statements": more, "lists": [asdict(one) for one in few + many]}))
    sys.exit(1 if more else 0)


if __name__ == "__main__":
    main()
