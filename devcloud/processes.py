"""The processes of one DevCloud outside its cells: one supervisor that survives us, and what it runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from devcloud.paths import REPOSITORY
from devcloud.supervisor import Process, start_time, write_processes

MARK = "PILEUS_SUPERVISED_BY"


class NotReadyError(Exception):
    """Something did not come up in time; the message names it and where its log is."""


class CommandError(Exception):
    """A command failed; the message holds the command and the end of its output."""


def output(argv: list[str], *, env: dict[str, str] | None = None, user: str | None = None) -> str:
    """What `argv` writes to its standard output. :raises CommandError: it failed."""
    groups: list[int] | None = [] if user else None
    done = subprocess.run(
        argv,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
        cwd=REPOSITORY if user is None else "/",
        user=user,
        group=user,
        extra_groups=groups,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise CommandError(f"{' '.join(argv)} failed with code {done.returncode}: {said}")
    return done.stdout


def wait_until(ready: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """:raises NotReadyError: `ready` did not hold within `seconds`"""
    deadline = time.monotonic() + seconds
    pause = 0.02
    while not ready():
        if time.monotonic() > deadline:
            raise NotReadyError(f"{what} was not ready after {seconds:.0f} seconds.")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)


def end(pid: int, started: int, *, number: signal.Signals = signal.SIGTERM, grace: float = 10.0) -> None:
    """End the process `pid` that started at `started`, and kill it after `grace` seconds; a gone one is no error."""
    for sent in (number, signal.SIGKILL):
        if not started or start_time(pid) != started:
            return
        try:
            os.kill(pid, sent)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + grace
        while start_time(pid) == started and time.monotonic() < deadline:
            time.sleep(0.02)


def recorded(path: Path) -> tuple[int, int]:
    """Pid and start time in a pid file; (0, 0) when that process does not run."""
    try:
        pid, started = map(int, path.read_text().split())
    except (FileNotFoundError, ValueError):
        return 0, 0
    return (pid, started) if start_time(pid) == started else (0, 0)


@dataclass(frozen=True)
class Running:
    """A process under supervision as it is now; `pid` 0 means that it is down, `ended` counts its ends."""

    name: str
    pid: int
    ended: int


class ProcessGroup:
    """Processes that run under a supervisor of their own, which outlives the program that started it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def pid(self) -> int:
        return recorded(self.directory / "pid")[0]

    def apply(self, processes: list[Process]) -> None:
        """Run exactly `processes`: start what is new, end what is gone, leave alone what is the same."""
        self.directory.mkdir(parents=True, exist_ok=True)
        marked = [replace(one, env={**one.env, MARK: str(self.directory)}) for one in processes]
        write_processes(self.directory, marked)
        if self.pid:
            os.kill(self.pid, signal.SIGHUP)
            return
        self._end_leftovers()
        (self.directory / "status.json").unlink(missing_ok=True)
        self._start_supervisor()

    def states(self) -> list[Running]:
        try:
            status = json.loads((self.directory / "status.json").read_text())
        except FileNotFoundError:
            return []
        return [
            Running(name, one["pid"] if start_time(one["pid"]) == one["start_time"] else 0, one["ended"])
            for name, one in status.items()
        ]

    def log(self, name: str) -> Path:
        return self.directory / "log" / f"{name}.log"

    def stop(self) -> None:
        """End the supervisor and all its processes, also those that outlived a killed supervisor."""
        end(*recorded(self.directory / "pid"), grace=60.0)
        self._end_leftovers()
        (self.directory / "pid").unlink(missing_ok=True)

    def _start_supervisor(self) -> None:
        log = self.directory / "log" / "supervisor.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as stream:
            started = subprocess.Popen(
                [sys.executable, "-m", "devcloud.supervisor", str(self.directory)],
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        (self.directory / "pid").write_text(f"{started.pid} {start_time(started.pid)}")
        started.returncode = 0  # it is meant to outlive this program
        # Before its first status a signal would end it.
        wait_until((self.directory / "status.json").exists, f"the supervisor, with its log in {log},")

    def _end_leftovers(self) -> None:
        """Kill what runs without its supervisor: by the last status, and by the mark in the environment."""
        try:
            last = json.loads((self.directory / "status.json").read_text())
        except FileNotFoundError:
            last = {}
        for one in last.values():
            end(one["pid"], one["start_time"])
        mark = f"{MARK}={self.directory}".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and mark in _environment(entry):
                pid = int(entry.name)
                end(pid, start_time(pid), grace=3.0)


def _environment(entry: Path) -> list[bytes]:
    try:
        return (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
