"""Handlers of commands that look at the host and change nothing of it."""

from __future__ import annotations

import time
from dataclasses import replace

from agents.host.host import ROUTER, Host
from agents.inquiry import (
    BeginCapture,
    CheckRouters,
    DiagnoseRouter,
    DropCapture,
    EndCapture,
    InspectDevice,
    TraceDevice,
    TraceFlows,
)
from agents.runner import handles
from network.capture import CaptureFacts
from network.diagnostics import ToolOutput
from network.errors import CaptureFailedError
from network.flow_trace.installed import compare
from network.hardware import DeviceFacts
from network.health import RouterCheck, RouterHealth
from network.names import tap_name
from network.probe import DeviceTrace, TraceFacts
from network.types import NetworkView, RouterSpec

SETTLE_SECONDS = 1.0


@handles(TraceFlows)
def trace_flows(host: Host, command: TraceFlows) -> TraceFacts:
    held, view = host.views(), command.view
    others = [one for one in held if one.id != view.id]
    wanted, found, numbers = host.switch.sets([*others, view])
    facts = compare(wanted, found, numbers, _sent_from(view, command), command.frame, command.nic_id)
    return replace(facts, generation=next((one.generation for one in held if one.id == view.id), 0))


def _sent_from(view: NetworkView, command: TraceFlows) -> NetworkView:
    """The view with the NIC where the frame comes from."""
    where = command.from_host_id
    nics = (replace(nic, host_id=where) if where and nic.id == command.nic_id else nic for nic in view.nics)
    return replace(view, nics=tuple(nics))


@handles(TraceDevice)
def trace_device(host: Host, command: TraceDevice) -> DeviceTrace:
    return host.devices.trace(command.part)


@handles(DiagnoseRouter)
def diagnose_router(host: Host, command: DiagnoseRouter) -> ToolOutput:
    found: ToolOutput = host.routers.diagnose(command.router_id, command.tool, command.address, command.options)
    return found


@handles(BeginCapture)
def begin_capture(host: Host, command: BeginCapture) -> None:
    if command.capture_id not in host.captures:
        host.captures[command.capture_id] = host.recorder(tap_name(command.nic_id), command.spec)


@handles(EndCapture)
def end_capture(host: Host, command: EndCapture) -> CaptureFacts:
    recording = host.captures.pop(command.capture_id, None)
    if recording is None:
        raise CaptureFailedError("The host's agent was started anew while it captured; what it had is lost.")
    facts: CaptureFacts = recording.stop()
    return facts


@handles(DropCapture)
def drop_capture(host: Host, command: DropCapture) -> None:
    recording = host.captures.pop(command.capture_id, None)
    if recording is not None:
        recording.stop()


@handles(CheckRouters)
def check_routers(host: Host, command: CheckRouters) -> tuple[RouterHealth, ...]:
    """What fails is looked at again a moment later: the router may just be on its way to a newer wanted state."""
    wanted = command.router_ids or tuple(router.id for router in host.journal.wanted(ROUTER, RouterSpec))
    found = {router_id: _checks(host, router_id) for router_id in wanted}
    failed = [router_id for router_id, checks in found.items() if not all(check.success for check in checks)]
    if failed:
        time.sleep(SETTLE_SECONDS)
        found |= {router_id: _checks(host, router_id) for router_id in failed}
    return tuple(RouterHealth(*pair) for pair in found.items())


def _checks(host: Host, router_id: str) -> tuple[RouterCheck, ...]:
    spec = next((one for one in host.journal.wanted(ROUTER, RouterSpec) if one.id == router_id), None)
    if spec is None:
        return (RouterCheck("interfaces", False, "The host was not told to run the router."),)
    found: tuple[RouterCheck, ...] = host.routers.check(spec)
    return found


@handles(InspectDevice)
def inspect_device(host: Host, command: InspectDevice) -> DeviceFacts:
    return host.devices.inspect(command.device, command.cable)
