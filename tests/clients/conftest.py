"""A running management server for clients that others wrote: API, orchestrator, PostgreSQL, Redis, simulated hosts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cs import CloudStack

from devcloud.management import Keys
from devcloud.simulator import Simulator

STATE = Path("/var/lib/ptc/simulator")
PORT = 18490
HOSTS = 2


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    made = Simulator(STATE, PORT, HOSTS, pace={"heartbeat_seconds": 1.0, "inventory_seconds": 2.0})
    made.down()
    try:
        made.up()
        yield made
    finally:
        made.down()
        shutil.rmtree(STATE.parent, ignore_errors=True)


@pytest.fixture(scope="session")
def root_keys(simulator: Simulator) -> Keys:
    return Keys(**json.loads(simulator.root_keys_file.read_text()))


@pytest.fixture(scope="session")
def tenant_keys(simulator: Simulator) -> Keys:
    return Keys(**json.loads(simulator.tenants_file.read_text())["tenant1"])


@pytest.fixture(scope="session")
def root(simulator: Simulator, root_keys: Keys) -> CloudStack:
    """What is true, as the administrator sees it."""
    return client_of(simulator, root_keys)


def client_of(simulator: Simulator, keys: Keys) -> CloudStack:
    endpoint = simulator.management.endpoint
    return CloudStack(endpoint=endpoint, key=keys.apikey, secret=keys.secretkey, timeout=30)
