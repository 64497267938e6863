from __future__ import annotations

import pytest

from tests.unit.network.lab import Lab


@pytest.fixture(scope="module")
def lab():
    """Three hosts; needs root."""
    built = Lab(3)
    yield built
    built.remove()
