"""The same ids, addresses and MACs at each run: what a test draws depends on its name and a seed alone.

Both the operating system's generator, of which UUIDs, SystemRandom and secrets draw, and Python's own are seeded anew
before each test, with its fixtures. `PILEUS_SEED=any ./dev test` looks for tests that hold by luck; the report's first
lines tell the seed, which draws the same again. Programs that tests start draw as ever.
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

_system_random = os.urandom
_chance = random.Random()


def _seed() -> str:
    """Of this run; workers have it from the process that starts them."""
    seed = os.environ.get("PILEUS_SEED", "1")
    if seed == "any":
        os.environ["PILEUS_SEED"] = seed = _system_random(4).hex()
    return seed


def _draw_apart() -> None:
    """A forked child would draw what its parent draws."""
    _chance.seed(_system_random(16))


def pytest_configure() -> None:
    _seed()
    os.urandom = random._urandom = _chance.randbytes  # type: ignore[attr-defined]
    os.register_at_fork(after_in_child=_draw_apart)


def pytest_report_header() -> str:
    return f"seed: {_seed()}"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: Any) -> None:
    """Before all fixtures, and not one of them: those of a module or the session draw too."""
    _chance.seed(f"{_seed()} {item.nodeid}")
    random.seed(_chance.random())
