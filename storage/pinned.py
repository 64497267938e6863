"""HTTP with hosts that users name: to an address that was checked and is not looked up again, bounded in time."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import SplitResult

from storage.addresses import PORTS, Address, Network, resolve


@dataclass(frozen=True, slots=True)
class Bounds:
    """`networks` are opened to the exchange, `due` (monotonic) ends it, `idle_seconds` without a byte as well."""

    networks: tuple[Network, ...]
    due: float
    idle_seconds: float


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. Without `verified` any certificate is taken."""

    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=lambda: {"User-Agent": "Pileus"})
    body: bytes | None = None
    verified: bool = True


@contextmanager
def answer_of(parts: SplitResult, bounds: Bounds, message: Message | None = None) -> Iterator[http.client.HTTPResponse]:
    """The response to `message`, over a connection that is cut at `bounds.due`, however slowly the other side drips.

    Redirects are the caller's: each goes through here again, or none is followed.

    :raises storage.errors.StorageError: the host cannot be resolved, or is one that must not be reached
    :raises OSError: it cannot be reached, or not in time
    :raises http.client.HTTPException: it does not speak HTTP
    """
    sent = message or Message()
    host = parts.hostname or ""
    port = parts.port or PORTS[parts.scheme]
    addresses = resolve(host, port, bounds.networks)
    plain = _connect(addresses, port, min(bounds.idle_seconds, bounds.due - time.monotonic()))
    plain.settimeout(bounds.idle_seconds)
    cutter = plain.dup()  # TLS takes the first descriptor over; shutting the second down ends both
    timer = threading.Timer(max(0.0, bounds.due - time.monotonic()), _cut, [cutter])
    timer.daemon = True
    timer.start()
    connection = http.client.HTTPConnection(host, port)
    try:
        connection.sock = _secure(plain, host, verified=sent.verified) if parts.scheme == "https" else plain
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(sent.method, path, sent.body, {"Accept-Encoding": "identity", **sent.headers})
        with connection.getresponse() as answer:
            yield answer
    finally:
        timer.cancel()
        connection.close()
        plain.close()
        cutter.close()


def _connect(addresses: list[Address], port: int, seconds: float) -> socket.socket:
    """A connection to the first address that accepts one."""
    failure: OSError = TimeoutError("there was no time left")
    for address in addresses:
        try:
            return socket.create_connection((str(address), port), max(0.1, seconds))
        except OSError as error:
            failure = error
    raise failure


def _secure(plain: socket.socket, host: str, *, verified: bool) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    if not verified:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=host)


def _cut(connected: socket.socket) -> None:
    with suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)
