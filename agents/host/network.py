"""Handlers of tenant networks: the host's part of one, its router where it runs here, and what its flows do."""

from __future__ import annotations

from dataclasses import replace

from agents.contract import ApplyNetwork
from agents.host.host import Host
from agents.inquiry import TraceFlows
from agents.runner import handles
from network.flow_trace.installed import compare
from network.probe import TraceFacts


@handles(ApplyNetwork)
def apply_network(host: Host, command: ApplyNetwork) -> None:
    host.hold((command,))


@handles(TraceFlows)
def trace_flows(host: Host, command: TraceFlows) -> TraceFacts:
    held, view = host.views(), command.view
    others = [one for one in held if one.id != view.id]
    wanted, found, numbers = host.switch.sets([*others, view])
    facts = compare(wanted, found, numbers, view, command.frame, command.nic_id)
    return replace(facts, generation=next((one.generation for one in held if one.id == view.id), 0))
