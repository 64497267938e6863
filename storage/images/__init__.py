"""Drivers of secondary storage, which holds images; imported on use."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from storage.images.base import ImageStore
from storage.types import ImageStoreSpec

DRIVERS = {
    "directory": "storage.images.directory:DirectoryStore",
    "simulator": "storage.images.simulator:SimulatorStore",
}


def open_store(store: ImageStoreSpec, settings: Any = None) -> ImageStore:
    """The driver of `store`, with the driver's settings or their defaults.

    :raises KeyError: no such driver
    """
    module, name = DRIVERS[store.driver].split(":")
    driver = getattr(import_module(module), name)
    return cast("ImageStore", driver(store) if settings is None else driver(store, settings))
