"""One DevCloud with real guests for all tests of this package; when they are done nothing of it is left."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from devcloud.cloud import DevCloud
from devcloud.paths import Site
from devcloud.proof import Proof
from tests.devcloud.leftovers import Traces

SITE = Site(state=Path("/var/lib/ptd"), prefix="ptd", api_port=18181)
PACE = {"heartbeat_seconds": 2.0, "inventory_seconds": 5.0}
"""Reports of the agents come so often that no test waits for long to see one."""


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.devcloud)


@pytest.fixture(scope="package")
def site():
    """The place of the cloud, held by this run alone; its cache begins with what DevCloud itself has built."""
    if os.geteuid():
        pytest.skip("network namespaces need root")
    SITE.cache.mkdir(parents=True, exist_ok=True)
    with (SITE.cache / "tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built, own = Site().guest_image, SITE.guest_image
        for suffix in ("", ".inputs"):
            source = built.with_name(built.name + suffix)
            if source.exists():
                shutil.copy2(source, own.with_name(own.name + suffix))
        if (kernel := Site().cache / "guest-build").exists():
            shutil.copytree(kernel, SITE.cache / "guest-build", dirs_exist_ok=True)
        yield SITE


@pytest.fixture(scope="package")
def traces(site):
    """The cloud, up; at the end it is taken down and must have left nothing."""
    cloud = DevCloud(site, pace=PACE)
    cloud.down()
    traces = Traces(cloud)
    try:
        cloud.up()
        traces.note_hosts()
        yield traces
        traces.note_hosts()
    finally:
        cloud.down()
    assert traces.found() == []


@pytest.fixture(scope="package")
def cloud(traces):
    return traces.cloud


@pytest.fixture(scope="package")
def proof(cloud):
    """Two tenants with two guests each, all of them ready; at the end the oracle must have nothing to tell."""
    proof = Proof(cloud)
    proof.deploy()
    for tenant in proof.tenants.values():
        tenant.wait()
    proof.settle()
    yield proof
    proof.settle()
    proof.check_truth()


@pytest.fixture(scope="package")
def root(proof):
    return proof.root
