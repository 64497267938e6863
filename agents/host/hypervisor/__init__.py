"""Drivers of the hypervisor; imported on use."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from agents.host.hypervisor.base import Hypervisor

DRIVERS = {
    "libvirt": "agents.host.hypervisor.libvirt:LibvirtHypervisor",
    "simulator": "agents.host.hypervisor.simulator:SimulatorHypervisor",
}


def open_hypervisor(driver: str, settings: Any) -> Hypervisor:
    """The driver of that name, given its settings dataclass.

    :raises KeyError: there is none of that name
    """
    module, name = DRIVERS[driver].split(":")
    return cast("Hypervisor", getattr(import_module(module), name)(settings))
