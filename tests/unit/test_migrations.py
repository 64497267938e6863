"""The schema on each database: made by the migrations it is the one that the models declare, and it can go back."""

from __future__ import annotations

import os

import pytest
from alembic import command
from sqlalchemy import inspect

from manager import db, migrate
from manager.config import settings


@pytest.fixture
def empty(request, servers, tmp_path):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'migrations.db'}"
    else:
        servers[request.param].create("migrations")
        url = servers[request.param].url("migrations")
    os.environ["PILEUS_DATABASE_URL"] = url
    settings.cache_clear()
    db.engine.cache_clear()
    yield
    db.engine().dispose()


@pytest.mark.parametrize("empty", ["sqlite", "postgresql", "mariadb"], indirect=True)
def test_migrations_make_what_the_models_declare_and_go_back(empty):
    migrate.upgrade()
    command.check(migrate.config())
    assert "vms" in inspect(db.engine()).get_table_names()
    migrate.downgrade("base")
    assert inspect(db.engine()).get_table_names() == ["alembic_version"]
    migrate.upgrade()
    assert "vms" in inspect(db.engine()).get_table_names()
