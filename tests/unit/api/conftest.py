"""A cloud behind the API, and a user of its tenant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.client import Api, Caller
from tests.factories import Factory
from tests.unit.api.live_cloud import live_cloud, run
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


@pytest.fixture
def deploy(api: Api, cloud: Cloud, user: Caller, wanted: dict[str, str]) -> Callable[..., Any]:
    """A function that deploys a VM, by the user or another caller, and gives what is shown of it."""

    def deployed(caller: Caller | None = None, **more: Any) -> Any:
        return run(api, cloud, caller or user, "deployVirtualMachine", **wanted | more)["virtualmachine"]

    return deployed
