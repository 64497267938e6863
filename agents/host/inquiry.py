"""Handlers of commands that look at the host and change nothing of it."""

from __future__ import annotations

from dataclasses import replace

from agents.host.host import Host
from agents.inquiry import DeviceFacts, InspectDevice, TraceFlows
from agents.runner import handles
from network.flow_trace.installed import compare
from network.probe import TraceFacts


@handles(TraceFlows)
def trace_flows(host: Host, command: TraceFlows) -> TraceFacts:
    held, view = host.views(), command.view
    others = [one for one in held if one.id != view.id]
    wanted, found, numbers = host.switch.sets([*others, view])
    facts = compare(wanted, found, numbers, view, command.frame, command.nic_id)
    return replace(facts, generation=next((one.generation for one in held if one.id == view.id), 0))


@handles(InspectDevice)
def inspect_device(host: Host, command: InspectDevice) -> DeviceFacts:
    return host.devices.inspect(command.device, command.cable)
