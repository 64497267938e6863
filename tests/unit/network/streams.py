"""A TCP connection that talks all the time, so that it can be asked for how long it was silent."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

from tests.unit.network.lab import inside

EVERY = 0.05


class Stream:
    """From a namespace to a server in another one: numbers go there and come back, until it is closed.

    `server` is where it listens; `target` is what the client connects to, which may lead there by NAT.
    """

    def __init__(self, client: str, server: str, listen: tuple[str, int], target: tuple[str, int]) -> None:
        with inside(server):
            listener = socket.create_server(listen)
        with listener:
            listener.settimeout(20)
            with inside(client):
                self._client = socket.create_connection(target, 20)
            self._server, _ = listener.accept()
        self._client.settimeout(0.02)
        self.gap = 0.0
        self.answers = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._echo, self._talk)]
        for thread in self._threads:
            thread.start()

    def _echo(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(65536):
                self._server.sendall(data)

    def _talk(self) -> None:
        last = time.monotonic()
        while not self._over.is_set():
            with suppress(TimeoutError):
                self._client.sendall(b"x")
            with suppress(TimeoutError):
                self.answers += len(self._client.recv(65536))
                self.gap, last = max(self.gap, time.monotonic() - last), time.monotonic()
            time.sleep(EVERY)
        self.gap = max(self.gap, time.monotonic() - last)

    def goes_on(self, within: float = 30.0) -> bool:
        """Whether answers come from now on."""
        before, deadline = self.answers, time.monotonic() + within
        while time.monotonic() < deadline:
            if self.answers > before + 3:
                return True
            time.sleep(EVERY)
        return False

    def close(self) -> None:
        self._over.set()
        self._threads[1].join(5)
        for one in (self._client, self._server):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # whoever waits for data is not woken by a close
            one.close()
        self._threads[0].join(5)
