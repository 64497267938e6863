"""Handlers of tenant networks: the host's part of one network, and the routers that run here."""

from __future__ import annotations

from agents.contract import ApplyNetwork, ApplyRouter
from agents.host.host import Host
from agents.runner import handles


@handles(ApplyNetwork)
def apply_network(host: Host, command: ApplyNetwork) -> None:
    host.hold((command,))


@handles(ApplyRouter)
def apply_router(host: Host, command: ApplyRouter) -> None:
    host.hold_router(command)
