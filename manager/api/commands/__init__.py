"""The commands of the API, one module a noun. A module here needs no entry anywhere else."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module


@cache
def load_all() -> None:
    """Import every module of this package, so that COMMANDS is complete."""
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
