"""Domains without guests: a product driver for clouds of thousands of VMs on one machine.

They are kept in a small SQLite file, so that a killed process finds its domains again, as libvirt's survive it.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from agents.contract import DomainFacts, HostFacts, NicSpec, VmSpec
from agents.figures import GuestFigures
from agents.host.hypervisor.base import (
    DomainNotRunning,
    DomainRefused,
    ForeignDomain,
    HypervisorUnavailable,
    Measured,
    StaleDomain,
)
from agents.host.hypervisor.probe import boot_id
from storage.types import DiskSource

TABLE = """
create table if not exists domain (
    vm_id text primary key, name text not null unique, state text not null, generation integer not null,
    boots integer not null
)
"""
CONSOLES = "create table if not exists console (vm_id text primary key, output text not null)"
STORE = """
insert into domain values (?1, ?2, ?3, ?4, ?5)
on conflict (vm_id) do update set name = ?2, state = ?3, generation = ?4, boots = ?5
"""
GUESTS = """
create table if not exists guest (
    vm_id text primary key, cpus integer not null, memory integer not null, started real not null
)
"""
KIB = 1024
BUSY = 0.1
BYTES_A_SECOND, BLOCK = 1024, 4096
"""What simulated guests do: the part of each CPU's time that they use, what they receive and send, the size of what
they read and write in each second."""
BOOT_LINE = "pileus simulator: boot {} of {}\n"


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """Settings of the driver.

    `latency_seconds` is what each changing call takes; `unavailable_rate` and `refused_rate` are the shares of
    changing calls that fail, half of them after their effect, by the generator that `seed` starts.
    """

    state_dir: str
    hostname: str = "simulator"
    cpus: int = 64
    cpu_mhz: int = 2500
    memory: int = 256 << 30
    latency_seconds: float = 0.0
    unavailable_rate: float = 0.0
    refused_rate: float = 0.0
    seed: int = 0


class Row(NamedTuple):
    """A domain as it is stored."""

    vm_id: str
    name: str
    state: Literal["running", "paused", "shutoff", "crashed"]
    generation: int
    boots: int


class SimulatorHypervisor:
    """Thread-safe. Guests obey ACPI at once."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._random = random.Random(settings.seed)  # noqa: S311 - it decides which calls fail, not a secret
        self._guard = threading.Lock()
        directory = Path(settings.state_dir)
        directory.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(directory / "domains.sqlite", isolation_level=None, check_same_thread=False)
        # A killed process loses nothing without syncing; a power failure ends simulated domains anyway.
        self._database.execute("pragma synchronous = off")
        self._database.execute("pragma journal_mode = wal")
        self._database.execute(TABLE)
        self._database.execute(CONSOLES)
        self._database.execute(GUESTS)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def start(self, vm: VmSpec, disks: Sequence[DiskSource]) -> None:
        if len(disks) != len(vm.disks):
            raise DomainRefused(f"VM {vm.id} has {len(vm.disks)} disks, but {len(disks)} were given.")
        fail_after = self._delay_or_fail("start")
        with self._guard:
            row = self._row(vm.id)
            if row is None or not self._is_settled(vm, row):
                self._define(vm, row)
        if fail_after is not None:
            raise fail_after

    @staticmethod
    def _is_settled(vm: VmSpec, row: Row) -> bool:
        if row.generation < 0:
            raise ForeignDomain(f"A domain with the UUID {vm.id} is on this host, but Pileus did not define it.")
        if row.generation > vm.generation:
            raise StaleDomain(f"VM {vm.id} has generation {row.generation} here, newer than {vm.generation}.")
        if row.state not in {"running", "paused"}:
            return False
        if row.generation != vm.generation:
            raise StaleDomain(f"VM {vm.id} runs here with generation {row.generation} instead of {vm.generation}.")
        return row.state == "running"

    def _define(self, vm: VmSpec, row: Row | None) -> None:
        boots = row.boots if row is not None else 0
        if row is None or row.state != "paused":  # one that is paused goes on in the boot it is in
            boots += 1
            self._execute("insert or replace into guest values (?, ?, ?, ?)", (vm.id, vm.cpus, vm.memory, time.time()))
        values = (vm.id, vm.instance_name, "running", vm.generation, boots)
        try:
            self._execute(STORE, values)
        except sqlite3.IntegrityError as error:
            raise ForeignDomain(f"The name {vm.instance_name} belongs to another domain on this host.") from error

    def stop(self, vm_id: str, forced: bool, grace: int) -> None:  # noqa: ARG002 - simulated guests obey at once
        fail_after = self._delay_or_fail("stop")
        with self._guard:
            row = self._row(vm_id)
            if row is not None and row.generation < 0:
                raise ForeignDomain(f"A domain with the UUID {vm_id} is on this host, but Pileus did not define it.")
            if row is not None:
                self._execute("insert or replace into console values (?, ?)", (vm_id, _output(row)))
            self._execute("delete from domain where vm_id = ?", (vm_id,))
            self._execute("delete from guest where vm_id = ?", (vm_id,))
        if fail_after is not None:
            raise fail_after

    def reboot(self, vm_id: str, forced: bool, grace: int) -> None:  # noqa: ARG002 - simulated guests obey at once
        fail_after = self._delay_or_fail("reboot")
        with self._guard:
            row = self._row(vm_id)
            if row is None or row.state != "running":
                raise DomainNotRunning(f"VM {vm_id} does not run on this host.")
            self._execute("update domain set boots = boots + 1 where vm_id = ?", (vm_id,))
        if fail_after is not None:
            raise fail_after

    def attach(self, vm_id: str, nic: NicSpec) -> None:
        """Simulated domains do not keep their NICs; the call fails as a libvirt one would."""
        fail_after = self._delay_or_fail(f"attach NIC {nic.id} to")
        with self._guard:
            row = self._row(vm_id)
        if row is None or row.state != "running":
            raise DomainNotRunning(f"VM {vm_id} does not run on this host.")
        if fail_after is not None:
            raise fail_after

    def detach(self, vm_id: str, nic: NicSpec) -> None:  # noqa: ARG002 - simulated guests let go at once
        fail_after = self._delay_or_fail(f"detach NIC {nic.id} from")
        if fail_after is not None:
            raise fail_after

    def domains(self) -> list[DomainFacts]:
        with self._guard:
            rows = [Row(*values) for values in self._execute("select * from domain order by vm_id")]
        return [DomainFacts(row.vm_id, row.name, row.state, row.generation) for row in rows]

    def console(self, vm_id: str, limit: int) -> str:
        with self._guard:
            row = self._row(vm_id)
            past = self._execute("select output from console where vm_id = ?", (vm_id,))
        text = "".join(output for (output,) in past) + (_output(row) if row is not None else "")
        return text[max(0, len(text) - limit) :]

    def measure(self) -> Measured:
        """Simulated guests have no taps; each does as much in every second as another."""
        query = (
            "select domain.vm_id, cpus, memory, started from guest join domain using (vm_id) where state = 'running'"
        )
        with self._guard:
            rows = self._execute(query)
        now = time.time()
        return Measured(
            {}, tuple(_figures(vm_id, (cpus, memory), started, now) for vm_id, cpus, memory, started in rows)
        )

    def forget(self, vm_id: str) -> None:
        with self._guard:
            self._execute("delete from console where vm_id = ?", (vm_id,))

    def facts(self) -> HostFacts:
        settings = self._settings
        return HostFacts(
            hostname=settings.hostname,
            cpus=settings.cpus,
            cpu_mhz=settings.cpu_mhz,
            memory=settings.memory,
            virt_type="simulator",
            hypervisor_version="simulator 1",
            boot_id=boot_id(),
        )

    def set_state(self, vm_id: str, state: Literal["running", "paused", "shutoff", "crashed"]) -> None:
        """Let a guest power itself off or crash, as guests do."""
        with self._guard:
            self._execute("update domain set state = ? where vm_id = ?", (state, vm_id))

    def plant_foreign(self, vm_id: str, name: str) -> None:
        """A running domain that Pileus did not define."""
        with self._guard:
            self._execute("insert into domain values (?, ?, 'running', -1, 1)", (vm_id, name))

    def _delay_or_fail(self, what: str) -> HypervisorUnavailable | DomainRefused | None:
        """Take the time of a call; raises an injected error, or gives one to be raised after the effect."""
        if self._settings.latency_seconds > 0:
            time.sleep(self._settings.latency_seconds)
        with self._guard:
            draw, after = self._random.random(), self._random.random() < 1 / 2
        error: HypervisorUnavailable | DomainRefused
        if draw < self._settings.unavailable_rate:
            error = HypervisorUnavailable(f"The simulated hypervisor did not answer in time to: {what}.")
        elif draw < self._settings.unavailable_rate + self._settings.refused_rate:
            error = DomainRefused(f"The simulated hypervisor refused to {what} the domain.")
            after = False
        else:
            return None
        if after:
            return error
        raise error

    def _row(self, vm_id: str) -> Row | None:
        values = self._execute("select * from domain where vm_id = ?", (vm_id,))
        return Row(*values[0]) if values else None

    def _execute(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        return self._database.execute(statement, values).fetchall()


def _figures(vm_id: str, size: tuple[int, int], started: float, now: float) -> GuestFigures:
    cpus, memory = size
    seconds = max(0.0, now - started)
    passed, blocks = int(seconds * BYTES_A_SECOND), int(seconds)
    return GuestFigures(
        vm_id=vm_id,
        measured=now,
        cpu_ns=int(seconds * cpus * BUSY * 1e9),
        received=passed,
        sent=passed,
        read=blocks * BLOCK,
        written=blocks * BLOCK,
        reads=blocks,
        writes=blocks,
        memory=memory // KIB,
        memory_target=memory // KIB,
        memory_free=memory // KIB // 2,
    )


def _output(row: Row) -> str:
    return "".join(BOOT_LINE.format(boot, row.name) for boot in range(1, row.boots + 1))
