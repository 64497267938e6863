"""The API alone over a PostgreSQL and a Redis of its own: no orchestrator, so that no row changes by itself."""

from __future__ import annotations

import http.client
import shutil
import socket
from pathlib import Path
from typing import Self

from devcloud.management import DATABASE, Management
from devcloud.processes import wait_until
from tests.bench.measure import MeasuredPostgreSQL


class Server:
    """`ports` has a free port for each of the `apis` processes, each of which is a gunicorn with one worker.

    `settings` are further settings of them, as environment variables.
    """

    def __init__(self, state: Path, apis: int = 1, settings: dict[str, str] | None = None) -> None:
        self.state = state
        state.mkdir(parents=True, exist_ok=True)
        self.postgresql = MeasuredPostgreSQL(state / "counted", fast=True)
        self.ports = free_ports(apis)
        self.management = Management(state, self.ports[0], self.postgresql.url(DATABASE), settings=settings or {})

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.management.group.stop()
        self.postgresql.stop()
        shutil.rmtree(self.state, ignore_errors=True)

    def _start(self) -> None:
        self.postgresql.start()
        self.postgresql.create(DATABASE)
        management = self.management
        management.start_services()
        management.migrate()
        self.root = management.bootstrap()
        apis = [management.api(port, workers=1, name=f"api{port}") for port in self.ports]
        management.group.apply([management.redis.process(), *apis])
        for port in self.ports:
            wait_until(lambda port=port: is_healthy(port), f"API on port {port}", 60.0)  # type: ignore[misc]  # no default in Callable

    @property
    def apis(self) -> list[str]:
        """The names of the API's processes."""
        return [f"api{port}" for port in self.ports]


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()
