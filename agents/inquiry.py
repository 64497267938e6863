"""Commands that look at a host and change nothing of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from agents.contract import Command
from network.health import RouterHealth
from network.probe import Frame, TraceFacts
from network.types import NetworkView


@dataclass(frozen=True)
class TraceFlows(Command):
    """What the host's switch does with `frame`, which the NIC sends here or on a peer.

    `view` is the network as it is wanted: what its flows would do is told beside. Answers TraceFacts.
    """

    name: ClassVar[str] = "network.trace"
    timeout: ClassVar[int] = 30
    answer: ClassVar[Any] = TraceFacts
    view: NetworkView
    frame: Frame
    nic_id: str

    @property
    def subject(self) -> str:
        return f"trace:{self.nic_id}"


@dataclass(frozen=True)
class CheckRouters(Command):
    """What is wrong with the routers that this host runs, or with those of `router_ids`. Answers a RouterHealth each.

    `host_id` is the host's own.
    """

    name: ClassVar[str] = "router.check"
    timeout: ClassVar[int] = 120
    answer: ClassVar[Any] = tuple[RouterHealth, ...]
    host_id: str
    router_ids: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        return f"health:{self.host_id}"
