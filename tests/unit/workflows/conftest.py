"""The cloud of the workflow tests, on each of the three databases."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from manager import configuration, db
from manager.celery_app import app
from manager.config import settings
from manager.models import Base
from manager.workflows import numbers
from tests.unit.workflows.cloud import Cloud

DATABASES = ("sqlite", "postgresql", "mariadb")


@pytest.fixture(scope="session", params=DATABASES)
def database_url(request, servers, tmp_path_factory) -> str:
    """A database with the tables, kept for all tests of one kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'pileus.db'}"
    else:
        servers[request.param].create("workflows")
        url = servers[request.param].url("workflows")
    engine = db.engine_for(url)
    Base.metadata.create_all(engine)
    engine.dispose()
    return url


@pytest.fixture
def database(database_url, key_files) -> Iterator[str]:
    """The database of the process, emptied."""
    os.environ["PILEUS_DATABASE_URL"] = database_url
    settings.cache_clear()
    db.engine.cache_clear()
    app.cache_clear()
    configuration.forget()
    numbers._free.clear()
    with db.engine().begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
    yield database_url
    db.engine().dispose()


@pytest.fixture
def cloud(database, tmp_path) -> Cloud:
    return Cloud(tmp_path)
