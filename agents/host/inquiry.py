"""Handlers of commands that look at the host and change nothing of it."""

from __future__ import annotations

from dataclasses import replace

from agents.host.host import Host
from agents.inquiry import DiagnoseRouter, TraceFlows
from agents.runner import handles
from network.diagnostics import ToolOutput
from network.flow_trace.installed import compare
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
