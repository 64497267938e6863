"""One connection to libvirtd, made anew when libvirtd restarted, with every call bounded in time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import libvirt

from agents.host.hypervisor.base import DomainRefused, HypervisorUnavailable
from agents.host.hypervisor.bounded import BoundedCalls, HypervisorHangs

T = TypeVar("T")
UNREACHABLE = {
    libvirt.VIR_ERR_NO_CONNECT,
    libvirt.VIR_ERR_INVALID_CONN,
    libvirt.VIR_ERR_RPC,
    libvirt.VIR_ERR_OPERATION_TIMEOUT,
    libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
    libvirt.VIR_ERR_RESOURCE_BUSY,
}
RPC_DOMAINS = {libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE}

# The binding prints errors by itself; they are raised as well.
libvirt.registerErrorHandler(lambda _context, _error: None, None)


_held: dict[int, libvirt.virConnect] = {}
"""Every open connection. One that nobody held any more would be closed by whatever thread collects garbage next."""


def _hold(connection: libvirt.virConnect) -> None:
    _held[id(connection)] = connection


def _let_go(connection: libvirt.virConnect) -> None:
    """Have the connection closed, by a thread of its own: closing waits for libvirtd, however long that hangs."""
    with suppress(RuntimeError):  # the interpreter ends, and the connection with it
        threading.Thread(target=_close, args=(connection,), daemon=True, name="hypervisor: close").start()


def _close(connection: libvirt.virConnect) -> None:
    with suppress(libvirt.libvirtError):
        connection.close()
    _held.pop(id(connection), None)


class Connection:
    """Thread-safe; `seconds` bounds each call that is not given its own bound."""

    def __init__(self, uri: str, seconds: float) -> None:
        self._uri = uri
        self._seconds = seconds
        self._calls = BoundedCalls()
        self._guard = threading.Lock()
        self._open: libvirt.virConnect | None = None

    def __del__(self) -> None:
        if self._open is not None:
            _let_go(self._open)

    def ready(self) -> libvirt.virConnect:
        """A connection that answered just now.

        :raises HypervisorUnavailable: libvirtd does not answer
        """
        with self._guard:
            connection = self._open
        if connection is not None:
            try:
                self.run("ping", connection.getLibVersion)
            except HypervisorUnavailable as error:
                with self._guard:
                    if self._open is connection:
                        self._open = None
                        _let_go(connection)
                if isinstance(error, HypervisorHangs):
                    raise
            else:
                return connection
        connection = self.run("connect", lambda: libvirt.open(self._uri))
        _hold(connection)
        with self._guard:
            former, self._open = self._open, connection
        if former is not None:
            _let_go(former)
        return connection

    def run(self, what: str, call: Callable[[], T], seconds: float | None = None) -> T:
        """The value of one call to libvirt.

        :raises HypervisorUnavailable: no answer in time, or none at all
        :raises DomainRefused: libvirt refuses the call for another reason
        :raises libvirt.libvirtError: there is no such domain
        """
        with _errors(what):
            return self._calls.run(what, call, self._seconds if seconds is None else seconds)


@contextmanager
def _errors(what: str) -> Iterator[None]:
    try:
        yield
    except libvirt.libvirtError as error:
        code = error.get_error_code()
        if code == libvirt.VIR_ERR_NO_DOMAIN:
            raise
        sentence = f"libvirt failed to {what}: {error.get_error_message()}."
        if code in UNREACHABLE or error.get_error_domain() in RPC_DOMAINS or "client socket is closed" in sentence:
            raise HypervisorUnavailable(sentence) from error
        raise DomainRefused(sentence) from error
