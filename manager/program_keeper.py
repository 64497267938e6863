"""A process that runs one program of the operator's, and ends all that the program began when it ends itself.

It is started as a file (python -I -S) and imports nothing of ours. It reads an order, a line of JSON {path, action,
payload, timeout, user}, from its standard input and writes {ended, code, output, errors, reason} as JSON to its
standard output. As soon as its input is closed, since the process that ordered is gone, it kills the program.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pwd
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

KEPT_BYTES = 64 * 1024
FLOOD_BYTES = 8 * 2**20
KILL_SECONDS = 3.0
READ_BYTES = 65536
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4

_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """The program's output, of which the first KEPT_BYTES of each stream are kept, and how it ended."""

    def __init__(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        self.process, self.deadline = process, deadline
        self.kept = {"output": bytearray(), "errors": bytearray()}
        self.read_bytes = 0
        self.selector = selectors.DefaultSelector()
        for name, stream in (("output", process.stdout), ("errors", process.stderr)):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                self.selector.register(stream.fileno(), selectors.EVENT_READ, name)
        self.selector.register(os.pidfd_open(process.pid), selectors.EVENT_READ, "end")
        self.selector.register(0, selectors.EVENT_READ, "order")

    def until_end(self) -> str:
        """'exit', 'timeout', 'flood', or 'left' when nobody waits for the answer any more."""
        while True:
            left = self.deadline - time.monotonic()
            if left <= 0:
                return "timeout"
            ready = {key.data: key.fd for key, _ in self.selector.select(left)}
            if "order" in ready:
                return "left"
            for name in self.kept.keys() & ready.keys():
                self.take(name, ready[name])
            if self.read_bytes > FLOOD_BYTES:
                return "flood"
            if "end" in ready:
                self.take_rest()
                return "exit"

    def take(self, name: str, descriptor: int) -> None:
        """Read what is there once, and stop listening at the end of the stream."""
        try:
            chunk = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return
        if not chunk:
            self.selector.unregister(descriptor)
        self.read_bytes += len(chunk)
        self.kept[name] += chunk[: KEPT_BYTES - len(self.kept[name])]

    def take_rest(self) -> None:
        """What the program wrote before it ended and a pipe still holds."""
        for stream, name in ((self.process.stdout, "output"), (self.process.stderr, "errors")):
            with contextlib.suppress(BlockingIOError):
                while stream is not None and len(self.kept[name]) < KEPT_BYTES:
                    chunk = os.read(stream.fileno(), READ_BYTES)
                    if not chunk:
                        break
                    self.kept[name] += chunk[: KEPT_BYTES - len(self.kept[name])]

    def text(self, name: str) -> str:
        return self.kept[name].decode(errors="replace").replace("\0", "")


def _bind() -> None:
    """In the child: it dies with this process, and neither keeps nor gains rights by what it executes."""
    _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _children() -> list[int]:
    """All processes below this one."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found, wanted = [], [os.getpid()]
    while wanted:
        below = parents.get(wanted.pop(), [])
        found += below
        wanted += below
    return found


def end_all(process: subprocess.Popen[bytes]) -> None:
    """Kill the program's group, and what has left that: orphans become children of this process."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until = time.monotonic() + KILL_SECONDS
    while time.monotonic() < until:
        for pid in _children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.01)


def start(order: dict[str, Any], payload: Path) -> subprocess.Popen[bytes]:
    """:raises OSError: the program cannot be started"""
    as_user: dict[str, Any] = {}
    if order["user"]:
        entry = pwd.getpwnam(order["user"])
        as_user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        os.chown(payload, entry.pw_uid, entry.pw_gid)
        payload.parent.chmod(0o711)
    return subprocess.Popen(
        [order["path"], order["action"], str(payload), str(order["timeout"])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=payload.parent,
        env={},
        start_new_session=True,
        umask=0o077,
        preexec_fn=_bind,  # noqa: PLW1509 - this process has one thread
        **as_user,
    )


def run(order: dict[str, Any], directory: Path) -> dict[str, Any]:
    payload = directory / "payload.json"
    payload.touch(mode=0o600)
    payload.write_text(json.dumps(order["payload"]))
    try:
        process = start(order, payload)
    except (OSError, KeyError, subprocess.SubprocessError) as error:
        return {"ended": "unstarted", "reason": str(error)}
    watch = Watch(process, time.monotonic() + order["timeout"])
    try:
        ended = watch.until_end()
    finally:
        end_all(process)
    return {
        "ended": ended,
        "code": process.returncode,
        "output": watch.text("output"),
        "errors": watch.text("errors"),
        "reason": "",
    }


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    line = b""
    while not line.endswith(b"\n"):
        chunk = os.read(0, READ_BYTES)
        if not chunk:
            return
        line += chunk
    directory = Path(tempfile.mkdtemp(prefix="pileus-action-"))
    try:
        answer = run(json.loads(line), directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(answer))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
