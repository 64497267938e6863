"""Handlers of commands that look at the host and change nothing of it."""

from __future__ import annotations

import time
from dataclasses import replace

from agents.host.host import ROUTER, Host
from agents.inquiry import CheckRouters, TraceFlows
from agents.runner import handles
from network.flow_trace.installed import compare
from network.health import RouterCheck, RouterHealth
from network.probe import TraceFacts
from network.types import RouterSpec

SETTLE_SECONDS = 1.0


@handles(TraceFlows)
def trace_flows(host: Host, command: TraceFlows) -> TraceFacts:
    held, view = host.views(), command.view
    others = [one for one in held if one.id != view.id]
    wanted, found, numbers = host.switch.sets([*others, view])
    facts = compare(wanted, found, numbers, view, command.frame, command.nic_id)
    return replace(facts, generation=next((one.generation for one in held if one.id == view.id), 0))


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
