"""Fixtures that all tests share: key files, databases, the API and its callers."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import Engine

from manager import configuration, db, identity_seed
from manager.app import create_app
from manager.config import settings
from manager.models import Base
from tests.client import Api, Caller
from tests.factories import Factory


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
    return directory


@pytest.fixture(scope="session")
def seeded_file(tmp_path_factory: pytest.TempPathFactory, key_files: Path) -> Path:
    """An SQLite database with the tables and the seed of identity, to be copied."""
    path = tmp_path_factory.mktemp("seed") / "seeded.db"
    engine = db.engine_for(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    with db.transaction(engine) as session:
        identity_seed.keys_of(session, identity_seed.seed(session, password="admin-password").admin)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA user_version")
    engine.dispose()
    return path


@pytest.fixture
def engine(seeded_file: Path, tmp_path: Path):
    """A fresh seeded database; SQLite, for speed."""
    shutil.copy(seeded_file, tmp_path / "pileus.db")
    yield from _in_use(f"sqlite:///{tmp_path / 'pileus.db'}")


def _in_use(url: str) -> Iterator[Engine]:
    """The engine of the database at `url`, which is also the one of the settings."""
    os.environ["PILEUS_DATABASE_URL"] = url
    settings.cache_clear()
    db.engine.cache_clear()
    configuration.forget()
    yield db.engine()
    db.engine().dispose()


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
