"""A running management server is prepared for shutdown: no new jobs, idle workers; and works again afterwards."""

from __future__ import annotations

import time

import pytest
from cs import CloudStackApiException

from devcloud.processes import wait_until

LEARNT_SECONDS = 5.0


def test_a_server_rests_while_it_is_prepared_for_shutdown(root):
    (server,) = root.listManagementServers()["managementserver"]
    assert server["state"] == "Up"
    own = {"managementserverid": server["id"]}
    try:
        root.prepareForShutdown(**own)

        def is_ready() -> bool:
            return bool(root.readyForShutdown(**own)["readyforshutdown"]["readyforshutdown"])

        wait_until(is_ready, "the workers to be idle", 60.0)
        with pytest.raises(CloudStackApiException, match="Can not accept new jobs"):
            root.generateAlert(type=7, name="ALERT.COMPUTE.HOST", description="x")
        before = _pings(root)
        time.sleep(LEARNT_SECONDS)
        assert _pings(root) == before
    finally:
        root.cancelShutdown(**own)
    time.sleep(LEARNT_SECONDS)
    wait_until(lambda: _pings(root) != before, "the workers to take reports again", 30.0)
    root.generateAlert(type=7, name="ALERT.COMPUTE.HOST", description="x")


def _pings(root) -> list[str]:
    return [host["lastpinged"] for host in root.listHosts(type="Routing")["host"]]
