"""A running management server for clients that others wrote: API, orchestrator, PostgreSQL, Redis, simulated hosts."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cs import CloudStack

from devcloud.management import Keys
from devcloud.paths import REPOSITORY
from devcloud.processes import wait_until
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
        _let_users_expunge(made)
        yield made
    finally:
        made.down()
        shutil.rmtree(STATE.parent, ignore_errors=True)


def _let_users_expunge(simulator: Simulator) -> None:
    """Clients clean up after themselves, which CloudStack leaves to administrators unless they say otherwise."""
    root, tenant = (json.loads(path.read_text()) for path in (simulator.root_keys_file, simulator.tenants_file))
    client_of(simulator, Keys(**root)).updateConfiguration(name="allow.user.expunge.recover.vm", value="true")
    client = client_of(simulator, Keys(**tenant["tenant1"]))

    def told() -> bool:
        return bool(client.listCapabilities()["capability"]["allowuserexpungerecovervm"])

    wait_until(told, "the setting to be known", 15.0)


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


@pytest.fixture(scope="session")
def client_python() -> Path:
    """The Python of an environment with the pinned clients, which is made once for each lock."""
    lock = REPOSITORY / "tests" / "clients" / "requirements.lock"
    home = REPOSITORY / ".venv" / "clients"
    stamp = home / "made-from"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    python = home / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != wanted:
        run([sys.executable, "-m", "venv", "--clear", str(home)])
        run([str(python), "-m", "pip", "install", "-q", "--require-hashes", "--only-binary=:all:", "-r", str(lock)])
        stamp.write_text(wanted)
    return python


def run(argv: list[str], *, seconds: float = 420.0, **more: Any) -> str:
    """What the program prints, which must end well."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds, check=False, **more)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def debian_package(name: str) -> Path:
    """The files of a Debian package that is not installed, since its services are not for this machine.

    It is fetched once for each version that the machine's package lists name.
    """
    home = REPOSITORY / ".venv" / "debian" / name
    shown = run(["apt-cache", "show", "--no-all-versions", name])
    version = next(line.split()[1] for line in shown.splitlines() if line.startswith("Version:"))
    stamp = home.with_suffix(".version")
    if not stamp.exists() or stamp.read_text() != version:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        run(["apt-get", "-o", "APT::Sandbox::User=root", "-q", "download", name], cwd=home)
        (package,) = home.glob("*.deb")
        run(["dpkg-deb", "--extract", str(package), str(home)])
        package.unlink()
        stamp.write_text(version)
    return home
