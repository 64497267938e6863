"""What serves a tenant network: the drivers by name, imported on use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

DRIVERS = {
    "virtual-router": "network.elements.virtual_router:VirtualRouter",
    "simulator": "network.elements.simulator:MemoryRouter",
    "juniper-srx": "network.elements.srx:Srx",
}
BALANCERS = {"netscaler": "network.elements.netscaler:Netscaler"}


def driver(name: str) -> Any:
    """The class behind a key of DRIVERS or BALANCERS."""
    module, _, attribute = {**DRIVERS, **BALANCERS}[name].partition(":")
    return getattr(import_module(module), attribute)
