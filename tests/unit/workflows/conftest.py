"""The cloud of the workflow tests, on each of the three databases."""

from __future__ import annotations

import pytest

from manager.celery_app import app
from tests.unit.workflows.cloud import Cloud


@pytest.fixture
def cloud(any_engine, tmp_path) -> Cloud:
    app.cache_clear()
    return Cloud(tmp_path)
