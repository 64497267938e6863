"""Drivers of primary storage, which holds volumes; imported on use."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from storage.primary.base import PrimaryStorage
from storage.types import PoolSpec

DRIVERS = {
    "local": "storage.primary.local:LocalStorage",
    "simulator": "storage.primary.simulator:SimulatorStorage",
}


def open_pool(pool: PoolSpec) -> PrimaryStorage:
    """The driver of `pool`.

    :raises KeyError: there is none of that name
    """
    module, name = DRIVERS[pool.driver].split(":")
    return cast("PrimaryStorage", getattr(import_module(module), name)(pool))
