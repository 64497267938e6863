"""The cloud of the workflow tests, on each of the three databases."""

from __future__ import annotations

import pytest

from tests.unit.workflows.cloud import Cloud


@pytest.fixture
def cloud(database, tmp_path):
    return Cloud(tmp_path)
