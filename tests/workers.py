"""Which of several workers (pytest -n) runs which tests."""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling

OF_THE_MACHINE = tuple(
    f"tests/{folder}/"
    for folder in (
        "clients",
        "contract",
        "devcloud",
        "faults",
        "unit/agents",
        "unit/devcloud",
        "unit/network",
        "unit/storage",
    )
)
"""Tests here make namespaces, guests, servers at known ports or whole clouds: one worker runs all of them in turn."""


class ByPlace(LoadScopeScheduling):
    """A file of tests is one worker's, and so is the machine."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "the machine" if path.startswith(OF_THE_MACHINE) else path


def pytest_xdist_make_scheduler(config: Any, log: Any) -> ByPlace:
    return ByPlace(config, log)
