"""`python -m tests.examples`: plays every scenario of api_docs/examples and stores what is answered."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from sqlalchemy import Engine

from manager import configuration, db, identity_seed
from manager.cli import init_keys
from manager.config import settings
from manager.models import Base
from manager.workflows import numbers
from tests.examples import runner
from tests.examples.world import make


def fresh(directory: Path) -> Engine:
    """A seeded database in the empty `directory`, which the settings of this process then name."""
    os.environ |= {
        "PILEUS_DATABASE_URL": f"sqlite:///{directory / 'pileus.db'}",
        "PILEUS_BROKER_URL": "memory://",
        "PILEUS_SECRET_KEY_FILE": str(directory / "secret.key"),
        "PILEUS_SIGNING_KEY_FILE": str(directory / "signing.pem"),
    }
    os.environ.setdefault("PILEUS_LOG_LEVEL", "ERROR")
    init_keys(directory)
    settings.cache_clear()
    db.engine.cache_clear()
    configuration.forget()
    numbers._free.clear()
    engine = db.engine()
    Base.metadata.create_all(engine)
    with db.transaction(engine) as session:
        identity_seed.keys_of(session, identity_seed.seed(session, password="admin-password").admin)
    return engine


def record(scenario: Path, directory: Path) -> None:
    """Play the scenario in a world of its own in the empty `directory`, and store its answers."""
    engine = fresh(directory)
    found = runner.run(scenario, make(engine, directory))
    engine.dispose()
    runner.answers_of(scenario).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def main() -> None:
    for scenario in runner.scenarios():
        directory = Path(tempfile.mkdtemp(prefix="pileus-examples-"))
        try:
            record(scenario, directory)
        finally:
            shutil.rmtree(directory)


if __name__ == "__main__":
    main()
