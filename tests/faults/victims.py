"""What the fault tests do to processes: find them, stop them, kill them, lose their files."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from devcloud.cells import Cell
from devcloud.management import Management
from devcloud.processes import wait_until
from devcloud.services import Redis

BASE_ACCOUNTS = ("default", "manager", "operator")
RESTART_SECONDS = 30.0


def family(pid: int) -> list[int]:
    """The process and all that descend from it, itself first."""
    try:
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def kill(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def pid_of(management: Management, name: str) -> int:
    return next((one.pid for one in management.group.states() if one.name == name), 0)


def running_pid(management: Management, name: str, *, but: int = 0) -> int:
    """The pid of the process once it runs, and is not `but`."""
    found = 0

    def runs() -> bool:
        nonlocal found
        found = pid_of(management, name)
        return found not in (0, but)

    wait_until(runs, f"{name}, with its log in {management.group.log(name)},", RESTART_SECONDS)
    return found


def in_cell(cell: Cell, name: str) -> int:
    """The pid, as this machine sees it, of a process under the supervision of the cell."""
    inside = next(one.pid for one in cell.states() if one.name == name)
    for child in psutil.Process(cell.pid).children():
        try:
            status = Path(f"/proc/{child.pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(status.partition("NSpid:")[2].splitlines()[0].split()[-1]) == inside:
            return child.pid
    raise AssertionError(f"{cell.name} has no {name}")


def strike(management: Management, name: str, *, accounts: bool = True) -> int:
    """Kill -9 the process with all its children; gives its pid. Redis loses its data, its `accounts` only if False."""
    pid = running_pid(management, name)
    if name == "redis":
        os.kill(pid, signal.SIGSTOP)  # else it would write on while its files go
        lose_data(management.redis, accounts=accounts)
    kill(family(pid))
    return pid


def lose_data(redis: Redis, *, accounts: bool) -> None:
    shutil.rmtree(redis.directory / "appendonlydir", ignore_errors=True)
    for path in redis.directory.glob("*.rdb"):
        path.unlink()
    if not accounts:
        return
    kept = redis.directory / "users.acl"
    lines = [line for line in kept.read_text().splitlines() if line.split()[1] in BASE_ACCOUNTS]
    kept.write_text("\n".join(lines) + "\n")


@contextmanager
def stopped(management: Management, name: str) -> Iterator[None]:
    """The process and its children stand still meanwhile; those that are killed then stay so."""
    pids = family(running_pid(management, name))
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def last_lines(log: Path, count: int = 40) -> str:
    """For the report of a failed test."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:]) if log.exists() else ""
