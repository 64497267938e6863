"""A small supervisor: starts processes, starts them again when they end, and ends them all when told.

It needs the standard library only, for it is also pid 1 of every cell. `python -m devcloud.supervisor DIRECTORY`
reads DIRECTORY/processes.json; SIGHUP reads it again and changes no process whose entry is the same; SIGTERM ends
them in reverse order. DIRECTORY/status.json tells which process runs under which pid.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

FIRST_LOOK = 0.03
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
STEADY = 5.0
GRACE = 5.0
_SIGNALS = {signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGINT}


@dataclass(frozen=True)
class Process:
    """What to run. `user` '' keeps the supervisor's, `stop` is the signal that ends it in good order.

    With `needs` it starts only when that path exists.
    """

    name: str
    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
    user: str = ""
    directory: str = "/"
    stop: str = "SIGTERM"
    needs: str = ""


@dataclass
class Child:
    """A process under supervision; `pid` 0 means that it is due to start at `start_at` (monotonic seconds)."""

    process: Process
    pid: int = 0
    started: float = 0.0
    start_at: float = 0.0
    pause: float = FIRST_PAUSE
    ended: int = 0


def start_time(pid: int) -> int:
    """Clock ticks from boot to the start of `pid`, which tells it from a later process; 0 when it does not run.

    Source: proc(5), field 22 of /proc/pid/stat, and field 3 for the state.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def write_atomically(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    fresh.replace(path)


def read_processes(directory: Path) -> list[Process]:
    return [Process(**entry) for entry in json.loads((directory / "processes.json").read_text())]


def write_processes(directory: Path, processes: list[Process]) -> None:
    """Leave `processes` for the supervisor of `directory`; only root may read them, for they hold passwords."""
    path = directory / "processes.json"
    path.touch(mode=0o600)
    fresh = directory / "processes.json.new"
    fresh.touch(mode=0o600)
    write_atomically(path, json.dumps([asdict(process) for process in processes], indent=1))


class Supervisor:
    """Runs the processes of one directory until it is told to end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.children: dict[str, Child] = {}
        (directory / "log").mkdir(parents=True, exist_ok=True)

    def run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._load()
        while True:
            self._start_due()
            caught = signal.sigtimedwait(_SIGNALS, self._wait())
            self._reap()
            if caught is None:
                continue
            if caught.si_signo == signal.SIGHUP:
                self._load()
            elif caught.si_signo in {signal.SIGTERM, signal.SIGINT}:
                self._end(list(self.children.values()))
                self._report()
                return

    def _load(self) -> None:
        wanted = {process.name: process for process in read_processes(self.directory)}
        gone = [child for name, child in self.children.items() if wanted.get(name) != child.process]
        self._end(gone)
        for child in gone:
            del self.children[child.process.name]
        self.children = {name: self.children.get(name) or Child(process) for name, process in wanted.items()}
        self._report()

    def _start_due(self) -> None:
        now = time.monotonic()
        changed = False
        for child in self.children.values():
            if child.pid or child.start_at > now:
                continue
            if child.process.needs and not Path(child.process.needs).exists():
                child.start_at = now + FIRST_LOOK
            else:
                child.pid, child.started, changed = self._spawn(child.process), now, True
        if changed:
            self._report()

    def _wait(self) -> float:
        """Seconds until some process is due to start again."""
        due = [child.start_at for child in self.children.values() if not child.pid]
        return max(0.0, min(due, default=time.monotonic() + 60.0) - time.monotonic())

    def _reap(self) -> None:
        """Collect every ended child, also those that were left to pid 1 by their own parents."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for child in self.children.values():
                if child.pid == pid:
                    self._plan_restart(child, status)

    def _plan_restart(self, child: Child, status: int) -> None:
        now = time.monotonic()
        if now - child.started > STEADY:
            child.pause = FIRST_PAUSE
        child.pid, child.start_at, child.ended = 0, now + child.pause, child.ended + 1
        child.pause = min(child.pause * 2, LONGEST_PAUSE)
        with self._log(child.process).open("a") as log:
            log.write(f"supervisor: {child.process.name} ended with code {os.waitstatus_to_exitcode(status)}\n")

    def _end(self, children: list[Child]) -> None:
        """End `children`, the last started first; what does not obey within the grace is killed with its group."""
        for child in reversed(children):
            if not child.pid:
                continue
            _send(child.pid, signal.Signals[child.process.stop])
            deadline = time.monotonic() + GRACE
            while child.pid and time.monotonic() < deadline:
                signal.sigtimedwait({signal.SIGCHLD}, 0.05)
                self._reap()
            if child.pid:
                _send(-child.pid, signal.SIGKILL)
                os.waitpid(child.pid, 0)
            child.pid = 0

    def _spawn(self, process: Process) -> int:
        pid = os.fork()
        if pid:
            return pid
        try:
            _become(process, self._log(process))
        except OSError as error:
            os.write(2, f"supervisor: {process.name} cannot start: {error}\n".encode())
        finally:
            os._exit(127)

    def _log(self, process: Process) -> Path:
        return self.directory / "log" / f"{process.name}.log"

    def _report(self) -> None:
        status = {
            name: {"pid": child.pid, "start_time": start_time(child.pid), "ended": child.ended}
            for name, child in self.children.items()
        }
        write_atomically(self.directory / "status.json", json.dumps(status))


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _become(process: Process, log: Path) -> None:
    """Turn this fresh child into `process`. :raises OSError: it cannot be started."""
    os.setsid()
    quiet = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    for source, target in ((quiet, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    os.chdir(process.directory)
    if process.user:
        account = pwd.getpwnam(process.user)
        os.initgroups(process.user, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    os.execvpe(process.argv[0], process.argv, {**os.environ, **process.env})  # noqa: S606 - a shell is not wanted


if __name__ == "__main__":
    Supervisor(Path(sys.argv[1])).run()
