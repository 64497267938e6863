"""The load balancer of a virtual router: haproxy in its namespace, from one file, changed without losing connections.

The master process reads the file anew and starts a worker, which takes over the listening sockets; the one before
serves its connections to their end. A signal to a master that is just starting anew is lost, so what a worker has
read is asked for at its socket, and the signal is sent again until the answer is right.
"""

from __future__ import annotations

import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from network.elements.balancer_files import MARK, NO_STATES, bundle, bundle_name, haproxy_conf
from network.elements.daemons import Daemon, parent_of
from network.elements.state_files import write
from network.errors import CommandFailedError, RouterFailedError
from network.names import router_namespace
from network.process import run
from network.types import RouterSpec

CONF = "haproxy.cfg"
RELOAD_SECONDS, AGAIN_SECONDS, ANSWER_SECONDS = 10.0, 2.0, 2.0


@dataclass(frozen=True)
class Haproxy(Daemon):
    """Its master and workers; it runs when a worker has read the file that is there."""

    home: Path = Path()

    def is_running(self) -> bool:
        return bool(self.pids()) and self._read() == wanted_mark(self.home)

    def reload(self) -> None:
        """:raises RouterFailedError: no worker comes up with the file that is there; the one before goes on"""
        deadline = time.monotonic() + RELOAD_SECONDS
        self._keep_states()
        while time.monotonic() < deadline:
            pids = self.pids()
            for pid in pids:
                if parent_of(pid) not in pids:
                    self._signal(pid, signal.SIGUSR2)
            again = time.monotonic() + AGAIN_SECONDS
            while time.monotonic() < again:
                if self.is_running():
                    return
                time.sleep(0.05)
        raise RouterFailedError(f"haproxy in {self.namespace} did not take its new configuration.")

    def ask(self, command: str) -> str:
        """What the worker answers at its socket; nothing when there is none."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(ANSWER_SECONDS)
            try:
                client.connect(f"{self.home}/haproxy.sock")
                client.sendall(f"{command}\n".encode())
                parts = []
                while part := client.recv(65536):
                    parts.append(part)
            except OSError:
                return ""
        return b"".join(parts).decode(errors="replace")

    def _read(self) -> str:
        lines = (line.partition(": ") for line in self.ask("show info").splitlines())
        return next((value for name, _, value in lines if name.lower() == "description"), "")

    def _keep_states(self) -> None:
        """The next worker believes of members what this one knows, instead of trying dead ones again."""
        write(self.home / "haproxy.states", self.ask("show servers state") or NO_STATES, mode=0o600)


def daemon(router_id: str, home: Path) -> Haproxy:
    # With -D it needs no log: what is wrong with a file is told before it is taken.
    arguments = ("haproxy", "-W", "-D", "-f", f"{home}/{CONF}")
    return Haproxy(router_namespace(router_id), "haproxy", arguments, home / "haproxy.log", (), home=home)


def wanted_mark(home: Path) -> str:
    """The digest of the configuration that is there; "" for none."""
    try:
        found = MARK.search((home / CONF).read_text())
    except FileNotFoundError:
        return ""
    return found.group(1) if found else ""


def is_whole(router_id: str, home: Path) -> bool:
    return not wanted_mark(home) or daemon(router_id, home).is_running()


def ensure(spec: RouterSpec, home: Path) -> None:
    """Balance what `spec` says.

    :raises RouterFailedError: haproxy refuses the configuration, and what was before goes on
    """
    haproxy = daemon(spec.id, home)
    listening = [one for one in spec.balancers if one.listens]
    if not listening:
        remove(spec.id, home)
        return
    (home / "empty").mkdir(mode=0o755, exist_ok=True)
    bundles = {bundle_name(one.certificate): bundle(one.certificate) for one in listening if one.certificate}
    for name, text in bundles.items():
        write(home / name, text, mode=0o600)
    conf = haproxy_conf(listening, home)
    if conf != _text(home / CONF):
        _take(spec.id, conf, home)
    if not haproxy.pids():
        write(home / "haproxy.states", NO_STATES, mode=0o600)
        haproxy.restart()
    elif not haproxy.is_running():
        haproxy.reload()
    for path in home.glob("tls-*.pem"):
        if path.name not in bundles:
            path.unlink()


def _take(router_id: str, conf: str, home: Path) -> None:
    """Put the file in place once haproxy finds nothing wrong with it."""
    trial = home / f"{CONF}.trial"
    write(trial, conf, mode=0o600)
    try:
        run(["haproxy", "-c", "-f", str(trial)])
    except CommandFailedError as error:
        trial.unlink()
        raise RouterFailedError(f"The load balancer of router {router_id} is not possible: {error}") from error
    trial.replace(home / CONF)


def remove(router_id: str, home: Path) -> None:
    daemon(router_id, home).end()
    for pattern in ("haproxy.*", "tls-*.pem"):
        for path in home.glob(pattern):
            path.unlink(missing_ok=True)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
