"""Real database servers for the unit tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcloud.services import MariaDB, PostgreSQL


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, PostgreSQL | MariaDB]]:
    """Both database servers, in directories that their own accounts can reach."""
    with tempfile.TemporaryDirectory(prefix="pileus-test-") as folder:
        Path(folder).chmod(0o755)
        started = {
            "postgresql": PostgreSQL(Path(folder) / "postgresql", fast=True),
            "mariadb": MariaDB(Path(folder) / "mariadb", fast=True),
        }
        for server in started.values():
            server.start()
        yield started
        for server in started.values():
            server.stop()
