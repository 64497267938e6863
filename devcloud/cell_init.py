"""Pid 1 of a cell: makes the namespaces into a host of its own, then supervises the host's processes.

Started by `unshare` in fresh namespaces as `python -m devcloud.cell_init DIRECTORY`. DIRECTORY/boot.json tells
what to do first; DIRECTORY/pid holds the pid of pid 1 as the outer machine sees it. Standard library only.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from devcloud.supervisor import Supervisor, start_time, write_atomically

TRIES = 50
PAUSE = 0.1


@dataclass(frozen=True)
class Boot:
    """What pid 1 does before it starts processes, in this order.

    `links` are commands that see the outer machine's namespaces, `binds` maps a path that the host sees to the
    directory that holds it, `folders` are made, `sysctls` are written (one that this kernel lacks is passed over),
    `commands` run in the finished host.
    """

    hostname: str
    links: list[list[str]] = field(default_factory=list)
    binds: dict[str, str] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    sysctls: dict[str, str] = field(default_factory=dict)
    commands: list[list[str]] = field(default_factory=list)


def write_boot(directory: Path, boot: Boot) -> None:
    write_atomically(directory / "boot.json", json.dumps(asdict(boot), indent=1))


def run(argv: list[str], tries: int = 1) -> None:
    """:raises subprocess.CalledProcessError: the command failed `tries` times, a tenth of a second apart"""
    for left in reversed(range(tries)):
        done = subprocess.run(argv, check=False)
        if done.returncode == 0:
            return
        if left:
            time.sleep(PAUSE)
    done.check_returncode()


def set_up(boot: Boot) -> None:
    socket.sethostname(boot.hostname)
    for argv in boot.links:
        run(argv, TRIES)  # the ends of a dead host's cables vanish a moment after it
    run(["mount", "-t", "proc", "proc", "/proc"])
    run(["mount", "-t", "sysfs", "sysfs", "/sys"])
    run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"])
    for target, source in boot.binds.items():
        if not Path(target).exists():
            Path(target).mkdir(parents=True)
        run(["mount", "--bind", source, target])
    for folder in boot.folders:
        Path(folder).mkdir(parents=True, exist_ok=True)
    for name, value in boot.sysctls.items():
        path = Path("/proc/sys", *name.split("."))
        if path.exists():
            path.write_text(value)
    for argv in boot.commands:
        run(argv)


def main(directory: Path) -> None:
    if os.fork():
        return
    if os.getpid() != 1:
        sys.exit("This is the first process of a pid namespace; start it by unshare.")
    os.setsid()
    pid = int(Path("/proc/self").readlink().name)
    started = start_time(pid)
    boot = Boot(**json.loads((directory / "boot.json").read_text()))
    (directory / "pid").write_text(f"{pid} {started}")
    set_up(boot)
    (directory / "booted").write_text("")
    Supervisor(directory).run()
    os.kill(-1, signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
