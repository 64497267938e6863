"""Raw sockets on many namespaces at once: who hears what is sent, told apart by the marks that frames bear."""

from __future__ import annotations

import re
import select
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from tests.unit.network.lab import Wire

MARK = re.compile(rb"question \d{6} end")
LONGEST = 25.0
"""Seconds that a frame which must arrive may take on a busy machine."""
AGAIN = 1.0
SETTLE = 0.35
"""How long is listened, after all that must arrive, for what must not."""
SO_RCVBUFFORCE = 33


def mark_of(number: int) -> bytes:
    return b"question %06d end" % number


@dataclass
class Asked:
    """A frame with a mark, by whom it is sent, and who must hear it."""

    sender: str
    frame: bytes
    wanted: set[str] = field(default_factory=set)

    @property
    def mark(self) -> bytes:
        return MARK.search(self.frame)[0]


class Ears:
    """`namespaces` are those listened in, on eth0 or on the `devices` that some have instead."""

    def __init__(self, namespaces: Mapping[str, str], devices: Mapping[str, str] | None = None) -> None:
        self.wires = {name: Wire(ns, (devices or {}).get(name, "eth0")) for name, ns in namespaces.items()}
        self._names = {wire.socket: name for name, wire in self.wires.items()}
        for one in self._names:
            one.setblocking(False)
            one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for wire in self.wires.values():
            wire.close()

    def put(self, questions: Sequence[Asked]) -> list[set[str]]:
        """Who hears each. One that must be heard and is not is sent again: the first packet of a tunnel may be lost."""
        heard: dict[bytes, set[str]] = {one.mark: set() for one in questions}
        self._send(questions, heard)
        deadline, sent = time.monotonic() + LONGEST, time.monotonic()
        while (missing := [one for one in questions if one.wanted - heard[one.mark]]) and time.monotonic() < deadline:
            self._listen(heard, 0.05)
            if time.monotonic() > sent + AGAIN:
                self._send(missing, heard)
                sent = time.monotonic()
        last = time.monotonic() + SETTLE
        while (left := last - time.monotonic()) > 0:
            self._listen(heard, left)
        return [heard[one.mark] for one in questions]

    def _send(self, questions: Iterable[Asked], heard: dict[bytes, set[str]]) -> None:
        for one in questions:
            self.wires[one.sender].send(one.frame)
            self._listen(heard, 0.003)

    def _listen(self, heard: dict[bytes, set[str]], within: float) -> None:
        for ready in select.select(list(self._names), [], [], within)[0]:
            frame, (_, _, kind, _, _) = ready.recvfrom(65535)
            mark = MARK.search(frame) if kind != socket.PACKET_OUTGOING else None
            if mark is not None and mark[0] in heard:
                heard[mark[0]].add(self._names[ready])
