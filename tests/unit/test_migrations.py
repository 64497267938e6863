"""The schema on each database: made by the migrations it is the one that the models declare, and it can go back."""

from __future__ import annotations

import os

import pytest
from alembic import command
from sqlalchemy import inspect, select, text

from manager import db, migrate
from manager.config import settings
from manager.models import NetworkOffering
from manager.seed import seed, stable_id


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


@pytest.mark.parametrize("empty", ["sqlite", "postgresql", "mariadb"], indirect=True)
def test_counters_of_domains_begin_with_what_their_accounts_hold(empty):
    migrate.upgrade()
    migrate.downgrade("base")
    migrate.upgrade("0001")
    with db.engine().begin() as connection:
        for name, values in (
            ("roles", ("(id, created, live, name, type, description, is_default, rules) VALUES"
             " ('r', '2026-01-01 00:00:00', 'u', 'User', 'User', '', FALSE, '[]')")),
            ("domains", ("(id, created, live, name, parent_id, path, level, state) VALUES"
             " ('d0', '2026-01-01 00:00:00', '/', 'ROOT', NULL, '/', 0, 'Active'),"
             " ('d1', '2026-01-01 00:00:00', '1', 'é', 'd0', '/é/', 1, 'Active'),"
             " ('d2', '2026-01-01 00:00:00', '2', 'a', 'd1', '/é/a/', 2, 'Active')")),
            ("accounts", ("(id, created, live, number, name, domain_id, type, role_id, state, details) VALUES"
             " ('a1', '2026-01-01 00:00:00', 'x', 1, 'x', 'd1', 0, 'r', 'enabled', '{}'),"
             " ('a2', '2026-01-01 00:00:00', 'y', 2, 'y', 'd2', 0, 'r', 'enabled', '{}')")),
            ("resource_use", ("(account_id, vms, cpus, memory, volumes, primary_storage, networks, public_addresses,"
             " templates) VALUES ('a1', 1, 2, 3, 4, 5, 6, 7, 8), ('a2', 10, 0, 0, 0, 0, 0, 0, 0)")),
        ):  # fmt: skip
            connection.execute(text(f"INSERT INTO {name} {values}"))
    migrate.upgrade()
    with db.engine().connect() as connection:
        rows = connection.execute(text("SELECT domain_id, vms, memory, projects FROM domain_use ORDER BY domain_id"))
        assert [tuple(row) for row in rows] == [("d1", 11, 3, 0), ("d2", 10, 0, 0)]


@pytest.mark.parametrize("empty", ["sqlite", "postgresql", "mariadb"], indirect=True)
def test_each_pair_of_keys_gets_an_id_and_the_newest_of_a_user_has_no_name(empty):
    migrate.upgrade()
    migrate.downgrade("base")
    migrate.upgrade("0006")
    rows = (
        ("roles", "(id, created, live, name, type, description, is_default, is_public, state)",
         "('r', '2026-01-01 00:00:00', 'u', 'User', 'User', '', FALSE, TRUE, 'enabled')"),
        ("domains", "(id, created, live, name, path, level, state)",
         "('d', '2026-01-01 00:00:00', '/', 'ROOT', '/', 0, 'Active')"),
        ("accounts", "(id, created, live, number, name, domain_id, type, role_id, state, details, cleanup_needed)",
         "('a', '2026-01-01 00:00:00', 'x', 1, 'x', 'd', 0, 'r', 'enabled', '{}', FALSE)"),
        ("users", "(id, created, account_id, username, password_hash, first_name, last_name, email, state)",
         "('u', '2026-01-01 00:00:00', 'a', 'x', 'h', '', '', '', 'enabled')"),
        ("api_keys", "(api_key, user_id, secret_key, created)",
         ("('old', 'u', 's', '2026-01-01 00:00:00'), ('new', 'u', 's', '2026-03-01 00:00:00'),"
          " ('middle', 'u', 's', '2026-02-01 00:00:00')")),
    )  # fmt: skip
    with db.engine().begin() as connection:
        for table, columns, values in rows:
            connection.execute(text(f"INSERT INTO {table} {columns} VALUES {values}"))  # noqa: S608 - all constants
    migrate.upgrade()
    with db.engine().connect() as connection:
        found = connection.execute(text("SELECT id, api_key, name, rules FROM api_keys")).all()
        assert connection.execute(text("SELECT api_key_access FROM users")).scalar() == "Inherit"
    assert {row.api_key: row.name for row in found} == {"new": "", "middle": "earlier 1", "old": "earlier 2"}
    assert len({row.id for row in found}) == 3
    assert inspect(db.engine()).get_pk_constraint("api_keys")["constrained_columns"] == ["id"]
    migrate.downgrade("0006")
    assert inspect(db.engine()).get_pk_constraint("api_keys")["constrained_columns"] == ["api_key"]


@pytest.mark.parametrize("empty", ["sqlite", "postgresql", "mariadb"], indirect=True)
def test_the_offering_platinum_gets_its_vpn_and_loses_it_again(empty):
    def services() -> list[dict[str, str]]:
        with db.transaction() as session:
            found = session.scalars(select(NetworkOffering).order_by(NetworkOffering.name))
            return [{name: one.services[name] for name in sorted(one.services)} for one in found]

    migrate.upgrade()
    with db.transaction() as session:
        seed(session)
        wanted = session.get_one(NetworkOffering, stable_id("network_offering", "platinum")).services["Vpn"]
    before = services()
    assert wanted == "JuniperSRX"
    migrate.downgrade("0028")
    found = services()
    assert [name for one in before for name in one if one not in found].count("Vpn") == 1
    migrate.upgrade()
    assert services() == before
