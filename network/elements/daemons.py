"""Long-running processes in a router's namespace.

A daemon is found by its namespace, which is the router's own, and its argument list, not by a pid file: that stays
right when the agent is killed between starting a process and noting its number, finds one that an agent with another
state directory left, and cannot name a stranger that got the number later.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from network.errors import RouterFailedError

NETNS = Path("/run/netns")
READY_SECONDS = 10.0
START_SECONDS = 0.5
END_SECONDS = 3.0
# Kernel's states TCP_LISTEN and, for UDP, TCP_CLOSE; a connection that lingers after its server is in another one.
SERVED = {"tcp": "0A", "udp": "07"}


@dataclass(frozen=True)
class Daemon:
    """`program` is the argument that tells it from the namespace's other processes.

    `ready` are the ports it must have, as ("tcp" or "udp", number), once for each address that it serves.
    """

    namespace: str
    program: str
    arguments: tuple[str, ...]
    log: Path
    ready: tuple[tuple[str, int], ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def pids(self) -> list[int]:
        """Its processes, also with other arguments."""
        return [pid for pid in processes_in(self.namespace) if self.program in arguments_of(pid)]

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
        now = time.monotonic()
        ready_by, seen_by = now + READY_SECONDS, now + START_SECONDS
        while (now := time.monotonic()) < ready_by and (self.pids() or now < seen_by):
            if self.is_running():
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
            if self.program in arguments_of(pid):
                signal.pidfd_send_signal(handle, number)
                if wait:
                    select.select([handle], [], [], wait)
        except ProcessLookupError:
            return
        finally:
            os.close(handle)

    def _is_ready(self, pid: int) -> bool:
        return not Counter(self.ready) - Counter([*_bound(pid, "tcp"), *_bound(pid, "udp")])


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


def parent_of(pid: int) -> int:
    """0 for a process that has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _bound(pid: int, protocol: str) -> list[tuple[str, int]]:
    """Ports that are served in the process' network namespace."""
    try:
        lines = Path(f"/proc/{pid}/net/{protocol}").read_text().splitlines()[1:]
    except OSError:
        return []
    rows = [line.split() for line in lines]
    return [(protocol, int(row[1].rpartition(":")[2], 16)) for row in rows if row[3] == SERVED[protocol]]
