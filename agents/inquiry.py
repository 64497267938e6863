"""Commands that look at a host and change nothing of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from agents.contract import Command
from network.hardware import Device, DeviceFacts
from network.probe import Frame, TraceFacts
from network.types import NetworkView

__all__ = ["DeviceFacts", "InspectDevice", "TraceFlows"]


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
class InspectDevice(Command):
    """Log in to a device that is cabled to `cable` of this host, and look at it. Answers DeviceFacts.

    Refused when the login is, when the device lacks a port or zone that is named, or the host the interface.
    """

    name: ClassVar[str] = "device.inspect"
    timeout: ClassVar[int] = 60
    answer: ClassVar[Any] = DeviceFacts
    device: Device
    cable: str

    @property
    def subject(self) -> str:
        return f"device:{self.device.id}"
