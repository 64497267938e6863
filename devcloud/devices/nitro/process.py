"""HAProxy as a process: a new one takes over from the old one, which ends with its last connection."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

from devcloud.devices.linux import PlaneError, run
from devcloud.devices.nitro.haproxy import GLOBAL

FRONT = re.compile(r"^frontend v_([0-9a-f]+)$", re.MULTILINE)
TABLE = re.compile(r"^backend (b_[0-9a-f]+)\n(?:  .*\n)*?  stick-table ", re.MULTILINE)
ENTRY = re.compile(r"\bkey=(\S+) .*\bserver_id=([1-9][0-9]*)")
NO_STATES = "1\n"
READY_SECONDS = 10.0
PID = "haproxy-{domain}.pid"


class Haproxy:
    """Serves the virtual servers whose members are in one traffic domain, from the namespace of that."""

    def __init__(self, home: Path, domain: int) -> None:
        self._home, self._domain, self._text, self._number = home, domain, "", 0
        self._process: subprocess.Popen[bytes] | None = None
        self._leaving: list[subprocess.Popen[bytes]] = []

    def serve(self, wanted: str, inside: str) -> None:
        """`inside` is the file of the namespace; '' for that of the device.

        :raises PlaneError: HAProxy does not take it, and what was before goes on
        """
        if wanted == self._text and self._process is not None:
            return
        number = self._number + 1
        state, path = self._home / "servers", self._home / f"{self._domain}-{number}.cfg"
        state.write_text(self._ask("show servers state") or NO_STATES)
        path.write_text(GLOBAL.format(socket=self._socket(number), state=state) + wanted)
        run(["haproxy", "-c", "-q", "-f", str(path)])
        old, learned = [], []
        if self._process is not None:
            self._flush(wanted)
            learned = self._learned(wanted)
            # Listening sockets are handed over, so that nobody finds the device without one.
            sockets = ["-x", str(self._socket(self._number))] if self._process.poll() is None else []
            old = [*sockets, "-sf", str(self._process.pid)]
        self._start(number, [*(["nsenter", f"--net={inside}"] if inside else []), "haproxy", "-f", str(path), *old])
        self._text = wanted
        for one in learned:
            self._ask(one)

    @property
    def runs(self) -> bool:
        return self._process is not None

    def rows(self) -> dict[tuple[str, str], dict[str, str]]:
        """What is counted of frontends, backends and members, by section and name."""
        told = self._ask("show stat") if self.runs else ""
        return {(row["# pxname"], row["svname"]): row for row in csv.DictReader(io.StringIO(told))}

    def stop(self) -> None:
        """End what serves connections, which would outlive the device."""
        for one in [*self._leaving, self._process]:
            if one is not None:
                one.kill()
                one.wait()

    def _start(self, number: int, line: list[str]) -> None:
        quiet = subprocess.DEVNULL
        started = subprocess.Popen([*line, "-db", "-q"], stdin=quiet, stdout=quiet, stderr=quiet)
        self._leaving = [one for one in [*self._leaving, self._process] if one is not None and one.poll() is None]
        self._process, self._number = started, number
        (self._home / PID.format(domain=self._domain)).write_text(str(started.pid))
        deadline = time.monotonic() + READY_SECONDS
        while not self._ask("show info"):
            if started.poll() is not None or time.monotonic() > deadline:
                raise PlaneError("haproxy did not come up")
            time.sleep(0.02)

    def _learned(self, wanted: str) -> list[str]:
        """Commands that teach the next process whom this one has led where."""
        tables = set(TABLE.findall(self._text)) & set(TABLE.findall(wanted))
        return [
            f"set table {table} key {key} data.server_id {server}"
            for table in sorted(tables)
            for key, server in ENTRY.findall(self._ask(f"show table {table}"))
        ]

    def _flush(self, wanted: str) -> None:
        """End the connections of virtual servers that are not there any more."""
        gone = set(FRONT.findall(self._text)) - set(FRONT.findall(wanted))
        for section, name in self.rows() if gone else ():
            if section.removeprefix("b_") in gone and name not in ("BACKEND", "FRONTEND"):
                self._ask(f"shutdown sessions server {section}/{name}")

    def _socket(self, number: int) -> Path:
        return self._home / f"{self._domain}-{number}.sock"

    def _ask(self, command: str) -> str:
        """'' from one that does not answer yet."""
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(READY_SECONDS)
            try:
                asked.connect(str(self._socket(self._number)))
                asked.sendall(f"{command}\n".encode())
                return asked.makefile().read()
            except (FileNotFoundError, ConnectionRefusedError):
                return ""


def end_leftovers(home: Path) -> None:
    """What outlived its device would go on taking connections beside the new one."""
    for path in home.glob(PID.format(domain="*")):
        try:
            pid = int(path.read_text())
            if str(home).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue
