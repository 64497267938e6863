"""The configuration database of the device: what is committed, fifty older ones, candidates, locks and timers.

What is committed lies as XML in a folder and is in force again after a restart. A commit that waits for its
confirmation is noted beside it: a restart in that time goes back, as the timer would have.
"""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lxml import etree

from devcloud.devices.junos import load, references
from devcloud.devices.junos.errors import RpcError
from devcloud.devices.junos.pki import Pki
from devcloud.devices.linux import PlaneError

KEPT = 50
BACK = "unless-confirmed.xml"


class Plane(Protocol):
    """What forwards packets; refuses by PlaneError."""

    def apply(self, configuration: etree._Element) -> None: ...
    def counters(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Packets and bytes by filter and counter."""

    def ports(self) -> dict[str, str]:
        """MAC addresses of physical interfaces by name."""


class Idle:
    """A plane without packets: the configuration alone."""

    def apply(self, configuration: etree._Element) -> None:
        """Nothing forwards."""

    def counters(self) -> dict[tuple[str, str], tuple[int, int]]:
        return {}

    def ports(self) -> dict[str, str]:
        return {f"ge-0/0/{number}": f"4c:96:14:00:00:0{number}" for number in range(2)}


@dataclass
class Candidate:
    """What sessions edit. A private one keeps its edits, to make them again on what others committed meanwhile."""

    tree: etree._Element
    base: etree._Element
    edits: list[tuple[etree._Element, str]] = field(default_factory=list)

    def load(self, wanted: etree._Element, action: str) -> None:
        self.tree = load.load(self.tree, wanted, action)
        self.edits.append((wanted, action))

    def is_changed(self) -> bool:
        return text(self.tree) != text(self.base)

    def upon(self, committed: etree._Element) -> etree._Element:
        """What it is when its edits are made on `committed`."""
        tree = committed
        for edit, action in self.edits:
            tree = load.load(tree, edit, action)
        return tree


class Device:
    """`minute` is how many seconds a minute of `commit confirmed` has."""

    def __init__(self, home: Path, plane: Plane, minute: float = 60.0) -> None:
        self._home, self.plane, self._minute = home, plane, minute
        self._home.mkdir(parents=True, exist_ok=True)
        self.pki = Pki(home / "pki")
        self.history = self._read()
        self._timer: asyncio.TimerHandle | None = None
        self._back: etree._Element | None = None
        self.locked_by: object | None = None
        self.shared = self.candidate()
        plane.apply(self.committed)
        self._write()

    @property
    def committed(self) -> etree._Element:
        return self.history[0]

    @property
    def awaits_confirmation(self) -> bool:
        return self._timer is not None

    def candidate(self) -> Candidate:
        return Candidate(copy.deepcopy(self.committed), self.committed)

    def rolled_back(self, number: int) -> etree._Element:
        """:raises RpcError: there are not so many older configurations"""
        if not 0 <= number < len(self.history):
            raise RpcError(f"rollback {number} is not available", "invalid-value", "application", element="rollback")
        return copy.deepcopy(self.history[number])

    def check(self, candidate: Candidate) -> etree._Element:
        """What a commit of the candidate would make.

        :raises RpcError: it refers to what is not there
        """
        wanted = candidate.tree if candidate.base is self.committed else candidate.upon(self.committed)
        references.check(wanted)
        self.pki.check(wanted)
        return wanted

    def commit(self, candidate: Candidate, confirm_minutes: float = 0) -> None:
        """Bring the candidate into force; with `confirm_minutes` only for so long, unless a commit follows.

        :raises RpcError: it cannot be; nothing has changed then
        """
        wanted = self.check(candidate)
        before = self._back if self._back is not None else self.committed
        self._renew(wanted)
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._back = None, None
        if confirm_minutes:
            self._back = before
            self._timer = asyncio.get_running_loop().call_later(confirm_minutes * self._minute, self._go_back)
        self._write()
        candidate.tree, candidate.base, candidate.edits = copy.deepcopy(self.committed), self.committed, []
        if not self.shared.edits:
            self.shared = self.candidate()

    def _go_back(self) -> None:
        if self._back is not None:
            self._renew(self._back)
        self._timer, self._back = None, None
        self._write()
        self.shared = self.candidate()

    def _renew(self, wanted: etree._Element) -> None:
        if text(wanted) != text(self.committed):
            self._force(wanted)
            self.history = [copy.deepcopy(wanted), *self.history][: KEPT + 1]

    def _force(self, wanted: etree._Element) -> None:
        try:
            self.plane.apply(wanted)
        except PlaneError as error:
            self.plane.apply(self.committed)
            raise RpcError(f"configuration check-out failed: {error}", kind="application") from error

    def _read(self) -> list[etree._Element]:
        found: list[etree._Element] = []
        while (path := self._home / f"{len(found)}.xml").exists():
            found.append(etree.fromstring(path.read_bytes()))
        if (self._home / BACK).exists():
            found.insert(0, etree.fromstring((self._home / BACK).read_bytes()))
        return found or [load.empty()]

    def _write(self) -> None:
        if self._back is not None:
            (self._home / BACK).write_bytes(etree.tostring(self._back))
        for number, configuration in reversed(list(enumerate(self.history))):
            path = self._home / f"{number}.xml"
            fresh = path.with_suffix(".new")
            fresh.write_bytes(etree.tostring(configuration))
            fresh.replace(path)
        if self._back is None:
            (self._home / BACK).unlink(missing_ok=True)


def text(configuration: etree._Element) -> str:
    return etree.tostring(configuration, encoding="unicode")
