"""Handlers of commands that look at the host and change nothing of it."""

from __future__ import annotations

from dataclasses import replace

from agents.host.host import Host
from agents.inquiry import BeginCapture, DiagnoseRouter, DropCapture, EndCapture, TraceFlows
from agents.runner import handles
from network.capture import CaptureFacts
from network.diagnostics import ToolOutput
from network.errors import CaptureFailedError
from network.flow_trace.installed import compare
from network.names import tap_name
from network.probe import TraceFacts


@handles(TraceFlows)
def trace_flows(host: Host, command: TraceFlows) -> TraceFacts:
    held, view = host.views(), command.view
    others = [one for one in held if one.id != view.id]
    wanted, found, numbers = host.switch.sets([*others, view])
    facts = compare(wanted, found, numbers, view, command.frame, command.nic_id)
    return replace(facts, generation=next((one.generation for one in held if one.id == view.id), 0))


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
