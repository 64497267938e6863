"""What a host must remember about its switch between two processes: the numbers it gave out and what it applied."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from network.errors import NumbersExhaustedError
from network.flow_tables.classes import class_names
from network.flow_tables.layout import ways_of
from network.flows import FlowSet, LocalNic, LocalNumbers
from network.types import NetworkView

PEER_PORTS = 1000
NIC_PORTS = 10000
KINDS = ("nics", "peers", "networks", "classes")
DEFAULT_MTU = 1458


@dataclass
class Numbers:
    """Numbers 1 to `limit`, given to identifiers in turn, so that one given back rests as long as possible."""

    limit: int
    given: dict[str, int] = field(default_factory=dict)
    last: int = 0

    def take(self, identifier: str) -> int:
        if identifier in self.given:
            return self.given[identifier]
        used = set(self.given.values())
        if len(used) >= self.limit:
            raise NumbersExhaustedError(f"All {self.limit} numbers are in use; none is left for {identifier}.")
        while True:
            self.last = self.last % self.limit + 1
            if self.last not in used:
                break
        self.given[identifier] = self.last
        return self.last

    def give_back_all_but(self, kept: Iterable[str]) -> None:
        keep = set(kept)
        self.given = {identifier: number for identifier, number in self.given.items() if identifier in keep}


@dataclass
class Record:
    """`mtus` holds the NICs that the last applied views put on this host, with the MTU of their network; `segments`
    those in VLANs, with what that VLAN is.
    """

    nics: Numbers = field(default_factory=lambda: Numbers(50000))
    peers: Numbers = field(default_factory=lambda: Numbers(8999))
    networks: Numbers = field(default_factory=lambda: Numbers(2**30))
    classes: Numbers = field(default_factory=lambda: Numbers(2**30))
    mtus: dict[str, int] = field(default_factory=dict)
    segments: dict[str, str] = field(default_factory=dict)

    def nic(self, nic_id: str) -> LocalNic:
        number = self.nics.take(nic_id)
        return LocalNic(NIC_PORTS + number, number)

    def number(self, host_id: str, views: Iterable[NetworkView]) -> LocalNumbers:
        """Numbers for all that the views bring to this host."""
        nics, tunnels, networks, classes = {}, {}, {}, {}
        for view in views:
            networks[view.id] = self.networks.take(view.id)
            nics.update({nic.id: self.nic(nic.id) for nic in (*view.nics, *view.pair) if nic.host_id == host_id})
            tunnels.update({way: PEER_PORTS + self.peers.take(way) for way in ways_of(host_id, view)})
            classes.update({name: self.classes.take(name) for name in class_names(view)})
        return LocalNumbers(nics, tunnels, networks, classes)


class RecordStore:
    """The record on disk, behind one lock for all threads and processes of the host."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._threads = threading.RLock()

    @contextmanager
    def locked(self) -> Iterator[Record]:
        """The record; what the block changes in it is kept also when the block fails, as a number may be in use."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._threads, (self.directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = self._read()
            record = Record()
            for kind in KINDS:
                numbers = getattr(record, kind)
                numbers.given, numbers.last = before.get(kind, ({}, 0))
            record.mtus, record.segments = before.get("mtus", {}), before.get("segments", {})
            try:
                yield record
            finally:
                self._write("numbers.json", _plain(record))

    def applied(self) -> FlowSet:
        """The set that was applied last; empty when none was or the file is lost."""
        try:
            found = json.loads((self.directory / "flows.json").read_text())
        except (FileNotFoundError, ValueError):
            return FlowSet()
        return FlowSet(tuple(found["flows"]), tuple(found["groups"]), tuple(found.get("meters", ())))

    def remember(self, flows: FlowSet) -> None:
        self._write("flows.json", json.dumps(asdict(flows)))

    def _read(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.directory / "numbers.json").read_text())
        except FileNotFoundError:
            return {}
        return found

    def _write(self, name: str, text: str) -> None:
        """Replace the file as a whole, surviving a power failure."""
        path = self.directory / name
        if path.exists() and path.read_text() == text:
            return
        fresh = path.with_suffix(".new")
        with fresh.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)


def _plain(record: Record) -> str:
    kinds = {kind: (getattr(record, kind).given, getattr(record, kind).last) for kind in KINDS}
    return json.dumps({**kinds, "mtus": record.mtus, "segments": record.segments})
