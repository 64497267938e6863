"""A cloud behind the API, and a user of its tenant."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.client import Caller
from tests.factories import Factory
from tests.unit.api.live_cloud import live_cloud
from tests.unit.workflows.cloud import Cloud


@pytest.fixture
def cloud_and_user(factory: Factory, tmp_path: Path) -> tuple[Cloud, Caller]:
    return live_cloud(factory, tmp_path)


@pytest.fixture
def cloud(cloud_and_user: tuple[Cloud, Caller]) -> Cloud:
    return cloud_and_user[0]


@pytest.fixture
def user(cloud_and_user: tuple[Cloud, Caller]) -> Caller:
    return cloud_and_user[1]


@pytest.fixture
def wanted(cloud: Cloud) -> dict[str, str]:
    """What a virtual machine is deployed with."""
    return {
        "zoneid": cloud.zone_id, "templateid": cloud.template_id, "serviceofferingid": cloud.offering_id,
        "networkids": cloud.network_id,
    }  # fmt: skip
