"""Where one DevCloud keeps its things, and what it calls them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Site:
    """One DevCloud on this machine: all its files lie below `state`, its namespaces are called `prefix`-something.

    `state` stays short: sockets lie below it, and the path of a socket has at most 107 bytes.
    """

    state: Path = Path("/var/lib/pileus/devcloud")
    prefix: str = "pileus"
    api_port: int = 8080

    @property
    def underlay(self) -> str:
        """Name of the network namespace with the switches between the hosts."""
        return f"{self.prefix}-underlay"

    @property
    def outside(self) -> str:
        """Name of the network namespace that plays the internet."""
        return f"{self.prefix}-outside"

    def device(self, name: str) -> str:
        """Name of the network namespace that is a hardware device."""
        return f"{self.prefix}-{name}"

    @property
    def secrets(self) -> Path:
        return self.state / "secrets"

    @property
    def cache(self) -> Path:
        """What is dear to make again: the only thing that `down` leaves."""
        return self.state / "cache"

    @property
    def guest_image(self) -> Path:
        return self.cache / "guest.qcow2"

    @property
    def secondary(self) -> Path:
        return self.state / "secondary"

    @property
    def seeded(self) -> Path:
        """Identifiers and keys of what the seed made, as JSON."""
        return self.secrets / "seeded.json"

    def cell(self, name: str) -> Path:
        return self.state / name
