"""Commands that look at a host and change nothing of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from agents.contract import Command
from network.capture import CaptureFacts, CaptureSpec
from network.diagnostics import SECONDS, Tool, ToolOutput
from network.hardware import Device, DeviceFacts, DevicePart
from network.health import RouterHealth
from network.probe import DeviceTrace, Frame, TraceFacts
from network.types import NetworkView


@dataclass(frozen=True)
class DiagnoseRouter(Command):
    """Run `tool` in the router's namespace towards `address`, an IPv4 one. Answers ToolOutput."""

    name: ClassVar[str] = "router.diagnose"
    timeout: ClassVar[int] = SECONDS + 20
    answer: ClassVar[Any] = ToolOutput
    router_id: str
    tool: Tool
    address: str
    options: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        return f"diagnosis:{self.router_id}"


@dataclass(frozen=True)
class TraceFlows(Command):
    """What the host's switch does with `frame`, which the NIC sends here or on a peer.

    `view` is the network as it is wanted: what its flows would do is told beside. `from_host_id` is the host that it
    comes from, where the NIC is on several. Answers TraceFacts.
    """

    name: ClassVar[str] = "network.trace"
    timeout: ClassVar[int] = 30
    answer: ClassVar[Any] = TraceFacts
    view: NetworkView
    frame: Frame
    nic_id: str
    from_host_id: str = ""

    @property
    def subject(self) -> str:
        return f"trace:{self.nic_id}"


@dataclass(frozen=True)
class BeginCapture(Command):
    """Record the frames of a NIC that is plugged here; a recording that has begun goes on."""

    name: ClassVar[str] = "capture.begin"
    timeout: ClassVar[int] = 30
    capture_id: str
    nic_id: str
    spec: CaptureSpec

    @property
    def subject(self) -> str:
        return f"capture:{self.capture_id}"


@dataclass(frozen=True)
class EndCapture(Command):
    """End the recording and hand it over; the host forgets it. Answers CaptureFacts."""

    name: ClassVar[str] = "capture.end"
    timeout: ClassVar[int] = 60
    answer: ClassVar[Any] = CaptureFacts
    capture_id: str

    @property
    def subject(self) -> str:
        return f"capture:{self.capture_id}"


@dataclass(frozen=True)
class DropCapture(Command):
    """End the recording and forget it; one that is not there is no error."""

    name: ClassVar[str] = "capture.drop"
    timeout: ClassVar[int] = 30
    capture_id: str

    @property
    def subject(self) -> str:
        return f"capture:{self.capture_id}"


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


@dataclass(frozen=True)
class TraceDevice(Command):
    """Hold a device that is cabled here, and its cable, against what `part` says. Answers DeviceTrace."""

    name: ClassVar[str] = "device.trace"
    timeout: ClassVar[int] = 60
    answer: ClassVar[Any] = DeviceTrace
    part: DevicePart

    @property
    def subject(self) -> str:
        return f"trace:{self.part.nic_id}"
