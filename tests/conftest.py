"""Fixtures that all tests share: key files, databases, the API and its callers."""

from __future__ import annotations

import base64
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck
from hypothesis import settings as checks
from sqlalchemy import Engine, delete, text

from devcloud.services import MariaDB, PostgreSQL
from manager import configuration, db, identity_seed, roles, secrets
from manager.app import create_app
from manager.config import settings
from manager.models import Base
from manager.workflows import numbers
from tests.client import Api, Caller
from tests.factories import Factory

pytest_plugins = ["tests.chance", "tests.workers"]

FILES = 200
# How long an example takes says how busy the machine is.
checks.register_profile("pileus", deadline=None, suppress_health_check=[HealthCheck.too_slow])
checks.load_profile("pileus")


@pytest.fixture(scope="session", autouse=True)
def key_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two key files of a management server, named by the environment."""
    directory = tmp_path_factory.mktemp("keys")
    (directory / "secret.key").write_text(base64.b64encode(os.urandom(32)).decode())
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "signing.pem").write_bytes(pem)
    os.environ["PILEUS_BROKER_URL"] = "memory://"
    os.environ["PILEUS_SECRET_KEY_FILE"] = str(directory / "secret.key")
    os.environ["PILEUS_SIGNING_KEY_FILE"] = str(directory / "signing.pem")
    settings.cache_clear()
    hash_fast()
    return directory


def hash_fast() -> None:
    """Hash passwords with the least work that Argon2 knows: a guess costs 100 ms else, and so does each user made."""
    secrets._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def pytest_runtest_logfinish() -> None:
    """Journals of simulated agents and the like stay open until they are collected; select(2) takes none past 1023."""
    if len(os.listdir("/proc/self/fd")) > FILES:  # noqa: PTH208 - after each test, so it must cost nothing
        gc.collect()


@pytest.fixture(scope="session")
def seeded_file(tmp_path_factory: pytest.TempPathFactory, key_files: Path) -> Path:
    """An SQLite database with the tables and the seed of identity, to be copied."""
    path = tmp_path_factory.mktemp("seed") / "seeded.db"
    engine = db.engine_for(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    _seed(engine)
    engine.dispose()
    return path


def _seed(engine: Engine) -> None:
    with db.transaction(engine) as session:
        identity_seed.keys_of(session, identity_seed.seed(session, password="admin-password").admin)


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


@pytest.fixture(scope="session")
def database_urls(servers: dict[str, PostgreSQL | MariaDB]) -> dict[str, str]:
    """The URL of a database with tables on each server."""
    urls = {}
    for name, server in servers.items():
        server.create("api_tests")
        urls[name] = server.url("api_tests")
        engine = db.engine_for(urls[name])
        Base.metadata.create_all(engine)
        engine.dispose()
    return urls


@pytest.fixture
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A fresh seeded database; SQLite, for speed, unless PILEUS_TEST_DATABASE names another kind."""
    yield from _fresh(request, tmp_path, os.environ.get("PILEUS_TEST_DATABASE", "sqlite"))


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def any_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A fresh seeded database of each kind in turn."""
    yield from _fresh(request, tmp_path, request.param)


def _fresh(request: pytest.FixtureRequest, directory: Path, kind: str) -> Iterator[Engine]:
    if kind == "sqlite":
        shutil.copy(request.getfixturevalue("seeded_file"), directory / "pileus.db")
        for engine in _in_use(f"sqlite:///{directory / 'pileus.db'}"):
            _warm(engine)
            yield engine
        return
    for engine in _in_use(request.getfixturevalue("database_urls")[kind]):
        _empty(engine)
        _seed(engine)
        _warm(engine)
        yield engine


def _warm(engine: Engine) -> None:
    with db.transaction(engine) as session:
        configuration.stored(session)
        roles.known_roles(session)


@pytest.fixture
def database_url(any_engine: Engine) -> str:
    return any_engine.url.render_as_string(hide_password=False)


def _empty(engine: Engine) -> None:
    """Delete all rows; much faster than making the tables anew, or TRUNCATE, which makes the files of each anew."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(_emptying()))
            return
        connection.execute(text("SET FOREIGN_KEY_CHECKS = 0"))
        for table in Base.metadata.sorted_tables:
            connection.execute(delete(table))
        connection.execute(text("SET FOREIGN_KEY_CHECKS = 1"))


@cache
def _emptying() -> str:
    """What empties all tables of PostgreSQL in one message, with numbers from 1 again."""
    tables = Base.metadata.sorted_tables
    deletes = [str(delete(table)) for table in tables]
    numbered = [
        (table.name, table.autoincrement_column.name) for table in tables if table.autoincrement_column is not None
    ]
    restarts = [f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), 1, false)" for table, column in numbered]
    return "; ".join(["SET LOCAL session_replication_role = replica", *deletes, *restarts])


def _in_use(url: str) -> Iterator[Engine]:
    """The engine of the database at `url`, which is also the one of the settings."""
    os.environ["PILEUS_DATABASE_URL"] = url
    settings.cache_clear()
    db.engine.cache_clear()
    configuration.forget()
    roles.forget()
    configuration.CACHE_SECONDS = roles.CACHE_SECONDS = 3600.0  # no test may cost a statement more by a clock
    numbers._free.clear()
    _share_statements(db.engine())
    yield db.engine()
    db.engine().dispose()


_first: dict[str, Engine] = {}
MOST_STATEMENTS = 3000


def _share_statements(engine: Engine) -> None:
    """Compile statements once for all databases of a kind, not once a test, of whose time that is a quarter.

    What is compiled is kept by the dialect, of which each engine makes one of its own.
    """
    first = _first.setdefault(engine.dialect.name, engine)
    engine.dialect = engine.pool._dialect = first.dialect
    engine._compiled_cache = first._compiled_cache
    first._compiled_cache.capacity = MOST_STATEMENTS


@pytest.fixture
def any_factory(any_engine: Engine) -> Factory:
    return Factory(any_engine)


@pytest.fixture
def any_api(any_engine: Engine) -> Api:
    return Api(create_app(any_engine), Caller.of(any_engine, "admin"))


@pytest.fixture
def factory(engine) -> Factory:
    """Makes rows with sensible defaults: `factory(Zone, name='z')`."""
    return Factory(engine)


@pytest.fixture
def api(engine) -> Api:
    """The API over the fresh database; calls are signed as real clients sign, and by the administrator by default."""
    return Api(create_app(engine), Caller.of(engine, "admin"))


@pytest.fixture
def admin(api: Api) -> Caller:
    return api.admin


@pytest.fixture
def tenant(engine, factory: Factory) -> Caller:
    """A user of an ordinary account in ROOT."""
    return Caller.of(engine, factory.user("tenant").username)
