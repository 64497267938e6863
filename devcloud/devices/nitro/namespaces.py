"""Traffic domains as network namespaces without names, which end with the process; domain 0 is the process's own."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterable

from devcloud.devices.linux import PlaneError, batch, show

NEW_NET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


class Namespaces:
    """Each holds the devices of its domain's VLANs."""

    def __init__(self) -> None:
        self._held: dict[int, int] = {}

    def path(self, domain: int) -> str:
        """The file of the domain's namespace; '' for that of the process."""
        return f"/proc/{os.getpid()}/fd/{self._held[domain]}" if domain else ""

    def file(self, domain: int) -> str:
        return self.path(domain) or f"/proc/{os.getpid()}/ns/net"

    def ensure(self, domains: Iterable[int]) -> None:
        for domain in domains:
            if domain and domain not in self._held:
                self._held[domain] = _made()
                batch(["link set dev lo up"], inside=self.path(domain))

    def place(self, domains: dict[str, int]) -> None:
        """Bring devices of VLANs to their domains; `domains` by device, where it is not 0."""
        for held in list(self._held):
            there = {link["ifname"] for link in show("link", "show", inside=self.path(held))}
            for device in sorted(there - {"lo"}):
                if domains.get(device) != held:
                    batch([f"link set dev {device} netns {self.file(0)}"], inside=self.path(held))
        own = {link["ifname"] for link in show("link", "show")}
        batch(f"link set dev {device} netns {self.path(domains[device])}" for device in sorted(domains.keys() & own))

    def keep(self, domains: Iterable[int]) -> None:
        """Let go of all others, which nothing is in any more."""
        for domain in self._held.keys() - set(domains):
            os.close(self._held.pop(domain))


def _made() -> int:
    """A descriptor of a new namespace. A thread that ends makes it, so that none is left in the wrong one."""
    found: list[int] = []

    def make() -> None:
        if LIBC.unshare(NEW_NET) == 0:
            found.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if not found:
        raise PlaneError("no network namespace can be made")
    return found[0]
