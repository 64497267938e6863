"""`python -m tests.examples [NAME...]` plays the scenarios of api_docs/examples, or those named, and stores what is
answered; it tells which commands no scenario shows.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from sqlalchemy import Engine

from manager.cli import init_keys
from manager.models import Base
from tests.conftest import _in_use as in_use
from tests.conftest import _seed as seed_identity
from tests.conftest import hash_fast
from tests.examples import runner
from tests.examples.world import make


def fresh(directory: Path) -> Engine:
    """A seeded database in the empty `directory`, which the settings of this process then name."""
    os.environ |= {
        "PILEUS_BROKER_URL": "memory://",
        "PILEUS_SECRET_KEY_FILE": str(directory / "secret.key"),
        "PILEUS_SIGNING_KEY_FILE": str(directory / "signing.pem"),
    }
    os.environ.setdefault("PILEUS_LOG_LEVEL", "ERROR")
    init_keys(directory)
    hash_fast()
    engine = next(in_use(f"sqlite:///{directory / 'pileus.db'}"))
    Base.metadata.create_all(engine)
    seed_identity(engine)
    return engine


def record(scenario: Path, directory: Path) -> None:
    """Play the scenario in a world of its own in the empty `directory`, and store its answers."""
    engine = fresh(directory)
    found = runner.run(scenario, make(engine, directory))
    engine.dispose()
    runner.answers_of(scenario).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def main() -> None:
    for scenario in runner.scenarios():
        if sys.argv[1:] and scenario.stem not in sys.argv[1:]:
            continue
        directory = Path(tempfile.mkdtemp(prefix="pileus-examples-"))
        try:
            record(scenario, directory)
        finally:
            shutil.rmtree(directory)
    if missing := runner.without_example():
        print(f"{len(missing)} commands have no example: {', '.join(sorted(missing))}")


if __name__ == "__main__":
    main()
