"""The cloud that the fault tests hurt: one simulator, its rows, its jobs, and ways to hold a job at a step."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
import requests
from cs import CloudStack, CloudStackException

from devcloud.management import DATABASE, Management
from devcloud.processes import wait_until
from devcloud.simulator import Simulator

STATE = Path("/var/lib/ptf/simulator")
PORT = 18481
HOSTS = 5
LATENCY = 0.3
GRACE_SECONDS = 10.0
QUIET_SECONDS = 60.0
PATIENCE_SECONDS = 45.0
CALL_SECONDS = 40.0  # a killed API on a busy machine is back only then
NETWORK_OFFERING = "DefaultIsolatedNetworkOfferingWithSourceNatService"


@dataclass(frozen=True)
class Job:
    """A job of the API and the VM that it is about."""

    id: str
    vm_id: str


@dataclass
class Standing:
    """A row of the table of workflows."""

    position: int
    asked: int
    status: str
    undoing: bool
    error: str


def simulator() -> Simulator:
    # Commands that a held journal stops keep their threads: enough must be left for the others.
    pace: dict[str, float] = {"heartbeat_seconds": 1.0, "inventory_seconds": 2.0, "threads": 24}
    made = Simulator(STATE, PORT, HOSTS, pace=pace, latency=LATENCY)
    made.management.settings = {"PILEUS_SWEEP_SECONDS": "1"}
    return made


@dataclass
class SimulatedCloud:
    simulator: Simulator = field(default_factory=simulator)

    @property
    def management(self) -> Management:
        return self.simulator.management

    @cached_property
    def client(self) -> CloudStack:
        keys = json.loads(self.simulator.root_keys_file.read_text())
        endpoint = self.management.endpoint
        return CloudStack(endpoint=endpoint, key=keys["apikey"], secret=keys["secretkey"], timeout=CALL_SECONDS)

    @cached_property
    def rows(self) -> psycopg.Connection[Any]:
        return self.connect()

    def connect(self) -> psycopg.Connection[Any]:
        place = str(self.management.postgresql.directory)
        return psycopg.connect(host=place, dbname=DATABASE, user="pileus", autocommit=True)

    def call(self, command: str, **parameters: Any) -> Any:
        """As the client's method; a call that was cut, or found no server, is made again: give it a client token."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return getattr(self.client, command)(**parameters)
            except (requests.ConnectionError, requests.Timeout):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    @cached_property
    def place(self) -> dict[str, str]:
        zone = self.call("listZones")["zone"][0]["id"]
        template = self.call("listTemplates", templatefilter="featured")["template"][0]["id"]
        offering = self.call("listServiceOfferings", name="tiny")["serviceoffering"][0]["id"]
        return {"zoneid": zone, "templateid": template, "serviceofferingid": offering}

    @cached_property
    def host_ids(self) -> dict[str, str]:
        """Ids of the hosts by their names."""
        return {host["name"]: host["id"] for host in self.call("listHosts", type="Routing")["host"]}

    def network(self, name: str) -> str:
        offering = self.call("listNetworkOfferings", name=NETWORK_OFFERING)["networkoffering"][0]["id"]
        zone = self.place["zoneid"]
        made = self.call(
            "createNetwork", name=name, displaytext=name, zoneid=zone, networkofferingid=offering,
            clienttoken=str(uuid.uuid4()),
        )  # fmt: skip
        return str(made["network"]["id"])

    def deploy(self, name: str, network_id: str, **more: str) -> Job:
        token = str(uuid.uuid4())
        made = self.call(
            "deployVirtualMachine", name=name, networkids=network_id, clienttoken=token, **self.place, **more
        )
        return Job(made["jobid"], made["id"])

    def tenant(self) -> SimulatedCloud:
        """The same cloud as one of its tenants sees it."""
        keys = json.loads(self.simulator.tenants_file.read_text())["tenant1"]
        other = SimulatedCloud(self.simulator)
        other.client = CloudStack(
            endpoint=self.management.endpoint, key=keys["apikey"], secret=keys["secretkey"], timeout=CALL_SECONDS
        )
        return other

    def close(self) -> None:
        if "rows" in self.__dict__:
            self.__dict__.pop("rows").close()

    def destroy(self, vm_id: str) -> Job:
        return Job(self.call("destroyVirtualMachine", id=vm_id, expunge="true")["jobid"], vm_id)

    def standing(self, job: Job) -> Standing:
        query = "SELECT position, asked, status, undoing, coalesce(error, '') FROM workflows WHERE id = %s"
        row = self.rows.execute(query, (job.id,)).fetchone()
        assert row is not None
        return Standing(*row)

    def wait_position(self, job: Job, position: int) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (now := self.standing(job)).position != position or (position and not now.asked):
            if position == 1 and now.position == 1:  # it awaits another workflow there
                return
            assert now.status == "running", f"{job} ended as {now} before step {position}"
            assert now.position <= position, f"{job} has passed step {position}: {now}"
            assert time.monotonic() < deadline, f"{job} did not come to step {position}: {now}"
            time.sleep(0.002)

    def wait_ended(self, jobs: list[Job], seconds: float) -> None:
        """:raises AssertionError: some have not ended; the message tells where they stand"""
        deadline = time.monotonic() + seconds
        open_jobs = list(jobs)
        while open_jobs and time.monotonic() < deadline:
            time.sleep(0.2)
            open_jobs = [job for job in open_jobs if self.standing(job).status == "running"]
        assert not open_jobs, {job.id: self.standing(job) for job in open_jobs}

    def vm(self, vm_id: str) -> dict[str, Any]:
        """State and host of the VM; of one that is expunged, state Expunging and no host."""
        query = "SELECT state, host_id, removed IS NOT NULL FROM vms WHERE id = %s"
        row = self.rows.execute(query, (vm_id,)).fetchone()
        assert row is not None
        return {"state": row[0], "host": row[1], "removed": row[2]}

    def domains_of(self, vm_id: str) -> list[str]:
        """The hosts that have a running domain of the VM, by what the simulated hypervisors have stored."""
        found = []
        for name in self.host_ids:
            path = self.simulator.settings.parent / name / "domains.sqlite"
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5) as database:
                if database.execute("SELECT 1 FROM domain WHERE vm_id = ? AND state = 'running'", (vm_id,)).fetchone():
                    found.append(self.host_ids[name])
            database.close()
        return found

    def findings(self) -> list[dict[str, Any]]:
        """What the oracle still says a while after all jobs have ended, from surveys of that time; [] is as it must."""
        since = time.time() + GRACE_SECONDS
        deadline = time.monotonic() + QUIET_SECONDS
        found: list[dict[str, Any]] = []
        while time.monotonic() < deadline:
            try:
                found = self.call("listDrift", surveyedafter=str(since)).get("drift", [])
                found = found + self.call("listOrphans", surveyedafter=str(since)).get("orphan", [])
                if not found:
                    return []
            except CloudStackException as error:
                found = [{"detail": str(error)}]
            time.sleep(0.5)
        return found

    @contextmanager
    def journals_held(self, hosts: list[str]) -> Iterator[None]:
        """The agents of these hosts cannot begin a command meanwhile: their journals take no write."""
        with ExitStack() as stack:
            for name in hosts:
                path = self.simulator.settings.parent / name / "journal.db"
                journal = sqlite3.connect(path, isolation_level=None, timeout=10)
                stack.callback(journal.close)
                journal.execute("BEGIN IMMEDIATE")
            yield

    @contextmanager
    def rows_held(self, query: str, *values: str) -> Iterator[int]:
        """The rows that `query` selects stay locked meanwhile; gives the pid of the database's session that does it."""
        with self.connect() as connection, connection.transaction(force_rollback=True):
            connection.execute(f"{query} FOR NO KEY UPDATE", values)  # type: ignore[arg-type]  # queries of this package
            yield connection.info.backend_pid

    def wait_blocked(self, job: Job, by: int) -> None:
        """Until a worker that drives the job waits for a row that the session `by` holds."""
        waiters = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
        free = "SELECT 1 FROM workflows WHERE id = %s AND status = 'running' FOR UPDATE SKIP LOCKED"

        def blocked() -> bool:
            count = self.rows.execute(waiters, (by,)).fetchone()
            return bool(count and count[0]) and self.rows.execute(free, (job.id,)).fetchone() is None

        wait_until(blocked, f"{job} in a transaction, now {self.standing(job)},", PATIENCE_SECONDS)
