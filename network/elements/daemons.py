"""Long-running processes in a router's namespace.

A daemon is found by its namespace and its argument list, not by a pid file: that stays right when the agent is killed
between starting a process and noting its number, and cannot name a stranger that got the number later.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from network.errors import RouterFailedError

NETNS = Path("/run/netns")
READY_SECONDS = 10.0
END_SECONDS = 3.0


@dataclass(frozen=True)
class Daemon:
    """`mark` is the argument that no other process has; `ready` are its ports, as ("tcp" or "udp", number)."""

    namespace: str
    mark: str
    arguments: tuple[str, ...]
    log: Path
    ready: tuple[tuple[str, int], ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def pids(self) -> list[int]:
        """Its processes, also with other arguments beside the mark."""
        return [pid for pid in processes_in(self.namespace) if self.mark in arguments_of(pid)]

    def is_running(self) -> bool:
        """Whether just one process runs, with these arguments, and has its ports."""
        pids = self.pids()
        return len(pids) == 1 and tuple(arguments_of(pids[0])) == self.arguments and self._is_ready(pids[0])

    def restart(self) -> None:
        """:raises RouterFailedError: it does not come up; what it wrote is in the message"""
        self.end()
        line = ["ip", "netns", "exec", self.namespace, "setsid", "--fork", *self.arguments]
        with self.log.open("w") as log:
            environment = {**os.environ, **self.environment}
            subprocess.run(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, check=False)
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            pids = self.pids()
            if pids and self._is_ready(pids[0]):
                return
            time.sleep(0.02)
        reason = self.log.read_text().strip().splitlines()[-1:]
        raise RouterFailedError(f"{self.arguments[0]} in {self.namespace} did not come up: {reason}.")

    def reload(self) -> None:
        for pid in self.pids():
            self._signal(pid, signal.SIGHUP)

    def end(self) -> None:
        for pid in self.pids():
            self._signal(pid, signal.SIGTERM, END_SECONDS)
        for pid in self.pids():
            self._signal(pid, signal.SIGKILL, END_SECONDS)

    def _signal(self, pid: int, number: signal.Signals, wait: float = 0) -> None:
        """Through a pidfd: the process that was looked at is the one that is signalled."""
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            if self.mark in arguments_of(pid):
                signal.pidfd_send_signal(handle, number)
                if wait:
                    select.select([handle], [], [], wait)
        except ProcessLookupError:
            return
        finally:
            os.close(handle)

    def _is_ready(self, pid: int) -> bool:
        return all(port in _bound(pid, protocol) for protocol, port in self.ready)


def processes_in(namespace: str) -> list[int]:
    try:
        wanted = (NETNS / namespace).stat().st_ino
    except FileNotFoundError:
        return []
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208  (a Path for each process costs more than the look itself)
        if entry.isdigit():
            try:
                if os.stat(f"/proc/{entry}/ns/net").st_ino == wanted:  # noqa: PTH116  (as above)
                    found.append(int(entry))
            except OSError:
                continue
    return found


def arguments_of(pid: int) -> list[str]:
    """Empty for a process that has ended, also while nobody has waited for it."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def _bound(pid: int, protocol: str) -> set[int]:
    """Ports bound in the process' network namespace."""
    try:
        lines = Path(f"/proc/{pid}/net/{protocol}").read_text().splitlines()[1:]
    except OSError:
        return set()
    return {int(line.split()[1].rpartition(":")[2], 16) for line in lines}
