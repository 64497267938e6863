"""The cloud of the workflow tests, on each of the three databases."""

from __future__ import annotations

import pytest

from manager.celery_app import app
from manager.workflows import engine
from tests.unit.workflows.cloud import Cloud, Killed


@pytest.fixture
def cloud(any_engine, tmp_path) -> Cloud:
    app.cache_clear()
    return Cloud(tmp_path)


@pytest.fixture
def killed_at_commits(monkeypatch):
    """A function from whose call on a worker dies before it commits, once at each visit of a workflow.

    It gives the visits that have ended so: workflow, position, whether it unwinds, how many commands it had asked.
    """
    drive, seen = engine._drive, set()

    def drive_and_die(session, row, *rest):
        drive(session, row, *rest)
        mark = (row.id, row.position, row.undoing, row.asked)
        if mark not in seen:
            seen.add(mark)
            raise Killed

    def begin() -> set[tuple[str, int, bool, int]]:
        monkeypatch.setattr(engine, "_drive", drive_and_die)
        return seen

    return begin
