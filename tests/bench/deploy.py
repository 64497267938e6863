"""`./dev bench deploy`: deployments and expunges through the signed API of a fresh simulator, and what they cost.

Each of the client's threads deploys a VM, waits until it runs, and deploys the next. The time of a deployment goes
from the moment before its request is sent to the commit that ended its job, which PostgreSQL keeps
(track_commit_timestamp); both are of one clock. Processor time is that of all server processes: API, orchestrator,
agents, PostgreSQL and Redis with all their children, from the first request to the last job's end. Statements are
PostgreSQL's own counts without BEGIN, COMMIT and the like; what the servers do while idle is measured before, and taken
off the statements and commits but not off the processor time.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Self

from devcloud.management import DATABASE
from tests.bench.measure import Cost, MeasuredPostgreSQL, pace, share
from tests.bench.site import ACCOUNTS, Site, Tenant
from tests.bench.wire import Client

WARM_UP = 20
LOOK_SECONDS = 0.01
LOOK = "/* bench */ SELECT id FROM workflows WHERE id = ANY(%s) AND status <> 'running'"
ENDED = """
    /* bench */ SELECT id, status, extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM workflows WHERE id = ANY(%s)
"""


class Ends:
    """Wakes who waits for a job, by one look into the database for all; `looks` counts its commits."""

    def __init__(self, server: MeasuredPostgreSQL) -> None:
        self.connection = server.connect(DATABASE)
        self.waiting: dict[str, threading.Event] = {}
        self.looks = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait(self, job_id: str) -> None:
        event = self.waiting.setdefault(job_id, threading.Event())
        event.wait(300)

    def _look(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            if open_jobs := list(self.waiting):
                self.looks += 1
                for (job_id,) in self.connection.execute(LOOK, (open_jobs,)):
                    self.waiting.pop(job_id).set()


@dataclass
class Round:
    """One batch of jobs: what each of them was asked with, when, and what all cost together."""

    cost: Cost
    times: list[float]
    vm_ids: list[str]
    failed: int
    pace: float


def run_round(site: Site, ends: Ends, asks: list[Callable[[Client], Any]], tenants: list[Tenant], width: int) -> Round:
    """Ask all of `asks` (number i by tenant i modulo their count) from `width` threads, each waiting for its job."""
    sent: dict[str, float] = {}
    vm_ids: list[str] = []
    numbers = count()

    def work() -> None:
        client = Client(site.port, tenants[0].keys)
        while (number := next(numbers)) < len(asks):
            client.keys = tenants[number % len(tenants)].keys
            before = time.time()
            answer = asks[number](client)
            sent[answer["jobid"]] = before
            vm_ids.append(answer.get("id", ""))
            ends.wait(answer["jobid"])

    before = pace()
    looks, begin = ends.looks, site.meter.read()
    with ThreadPoolExecutor(width) as pool:
        for future in [pool.submit(work) for _ in range(width)]:
            future.result()
    cost = site.meter.read().since(begin)
    cost = replace(cost, commits=cost.commits - (ends.looks - looks))
    ended = site.meter.connection.execute(ENDED, (list(sent),)).fetchall()
    times = [float(at) - sent[job_id] for job_id, _, at in ended]
    return Round(cost, times, vm_ids, sum(status != "done" for _, status, _ in ended), (before + pace()) / 2)


def deploys(tenants: list[Tenant], place: dict[str, str], number: int) -> list[Callable[[Client], Any]]:
    def one(network_id: str) -> Callable[[Client], Any]:
        return lambda client: client("deployVirtualMachine", networkids=network_id, **place)

    return [one(tenants[i % len(tenants)].network_id) for i in range(number)]


def destroys(vm_ids: list[str]) -> list[Callable[[Client], Any]]:
    def one(vm_id: str) -> Callable[[Client], Any]:
        return lambda client: client("destroyVirtualMachine", id=vm_id, expunge="true")

    return [one(vm_id) for vm_id in vm_ids]


def figures(done: Round, idle: Cost) -> dict[str, Any]:
    """What one job costs; `idle` is what the servers cost without any."""
    number, cost = len(done.times), done.cost
    return {
        "count": number,
        "failed": done.failed,
        "per_second": round(number / cost.at, 2),
        "cpu_seconds": round(cost.total_cpu / number, 4),
        "cpu_by_process": {name: round(seconds / number, 4) for name, seconds in cost.cpu.items()},
        "statements": round((cost.statements - idle.statements / idle.at * cost.at) / number, 1),
        "commits": round((cost.commits - idle.commits / idle.at * cost.at) / number, 1),
        "p50_seconds": round(share(done.times, 0.5), 3),
        "p99_seconds": round(share(done.times, 0.99), 3),
        "client_cpu_seconds": round(cost.client_cpu / number, 4),
        "pace": round(done.pace, 4),
    }


def show(what: str, found: dict[str, Any]) -> None:
    by_process = ", ".join(f"{name} {seconds}" for name, seconds in found["cpu_by_process"].items())
    print(f"\n{what}: {found['count']} ({found['failed']} failed), {found['per_second']}/s")
    print(f"  CPU seconds each: {found['cpu_seconds']} ({by_process}); the client's {found['client_cpu_seconds']}")
    print(f"  SQL statements each: {found['statements']}, commits {found['commits']}")
    print(f"  fixed Python work beside it: {found['pace']} CPU seconds")
    print(f"  request to end: p50 {found['p50_seconds']} s, p99 {found['p99_seconds']} s")


def measure(site: Site, options: argparse.Namespace) -> dict[str, Any]:
    tenants, place = site.tenants(options.networks), site.place()
    with Ends(site.postgresql) as ends:
        run_round(site, ends, deploys(tenants, place, max(WARM_UP, 2 * options.networks)), tenants, options.concurrency)
        begin = site.meter.read()
        time.sleep(options.idle)
        idle = site.meter.read().since(begin)
        site.meter.reset()
        deployed = run_round(site, ends, deploys(tenants, place, options.vms), tenants, options.concurrency)
        frequent = site.meter.statements(options.statements)
        root = [Tenant(site.root.keys, "")]
        site.meter.reset()
        destroyed = run_round(site, ends, destroys(deployed.vm_ids), root, options.concurrency)
        gone = site.meter.statements(options.statements)
    for title, rows, number in (("deployment", frequent, options.vms), ("expunge", gone, options.vms)):
        for calls, text in rows:
            print(f"{calls / number:6.2f} a {title}: {text[:230]}")
    found = {"deploy": figures(deployed, idle), "destroy": figures(destroyed, idle)}
    show("deployments", found["deploy"])
    show("expunges", found["destroy"])
    print(f"\nidle: {idle.total_cpu / idle.at:.3f} CPUs, {idle.statements / idle.at:.1f} statements/s")
    kept = {"idle_cpus": round(idle.total_cpu / idle.at, 4), "idle_statements_per_second": idle.statements / idle.at}
    return {**found, **kept}


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench deploy", description=__doc__)
    parser.add_argument("--vms", type=int, default=300, help="how many VMs are deployed and expunged (default 300)")
    parser.add_argument("--concurrency", type=int, default=10, help="the client's threads (default 10)")
    parser.add_argument("--hosts", type=int, default=10, help="simulated hosts (default 10)")
    parser.add_argument("--networks", type=int, default=10, help=f"of {ACCOUNTS} accounts (default 10)")
    parser.add_argument("--port", type=int, default=18080, help="of the API (default 18080)")
    parser.add_argument("--idle", type=float, default=20.0, help="seconds of idling that are measured (default 20)")
    parser.add_argument("--statements", type=int, default=0, help="show so many of the most frequent SQL statements")
    parser.add_argument("--state", type=Path, default=Path("/var/lib/pileus/bench"), help="where its files lie")
    options = parser.parse_args()
    with Site(options.state, options.port, options.hosts) as site:
        found = measure(site, options)
    asked = {name: getattr(options, name) for name in ("vms", "concurrency", "hosts", "networks")}
    print(json.dumps({"benchmark": "deploy", **asked, **found}))


if __name__ == "__main__":
    main()
