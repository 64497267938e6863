"""Management servers: rows that their processes keep alive, and what administrators prepare them for."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import update

from manager import orchestrator, servers
from manager.app import create_app
from manager.config import settings
from manager.db import epoch, transaction
from manager.models import EventRow, ManagementServer
from tests.client import Refused


@pytest.fixture
def beating(engine, monkeypatch):
    """The server of this process, which has beaten; what a test says is done by its next beat."""
    monkeypatch.setenv("PILEUS_SERVER_NAME", "alpha")
    settings.cache_clear()
    monkeypatch.setattr(servers._Own, "id", None)
    monkeypatch.setattr(servers._Own, "wanted", servers.UP)
    servers.beat(starting=True)
    yield servers.own_id()
    settings.cache_clear()


def later(seconds: float, server_id: str) -> None:
    """Let `seconds` pass for the server's row."""
    columns = (ManagementServer.last_seen, ManagementServer.since, ManagementServer.idle_since)
    with transaction() as session:
        older = {column: column - seconds for column in columns}
        session.execute(update(ManagementServer).where(ManagementServer.id == server_id).values(older))


def _make_up(factory, name: str) -> None:
    other = factory(ManagementServer, name=name)
    with transaction() as session:
        session.execute(update(ManagementServer).where(ManagementServer.id == other.id).values(last_seen=epoch()))


def test_a_server_is_shown_as_long_as_it_beats(api, tenant, beating):
    servers.beat()
    (shown,) = api("listManagementServers")["managementserver"]
    assert (shown["id"], shown["name"], shown["state"], shown["version"]) == (beating, "alpha", "Up", "4.22.0.0")
    assert shown["kernelversion"]
    assert shown["lastserverstart"] >= shown["lastboottime"]
    (figures,) = api("listManagementServersMetrics", name="alpha")["managementserver"]
    assert figures["availableprocessors"] > 0
    assert figures["systemmemorytotal"].endswith(" GB")
    assert api("listManagementServers", keyword="beta") == {}
    later(servers.DOWN_SECONDS + 1, beating)
    assert api("listManagementServers", id=beating)["managementserver"][0]["state"] == "Down"
    servers.beat()
    assert api("listManagementServers", id=beating)["managementserver"][0]["state"] == "Up"
    with pytest.raises(Refused, match="432"):
        api("listManagementServers", tenant)


def test_login_tells_the_server(api, beating):
    given = {"command": "login", "username": "admin", "password": "admin-password", "response": "json"}
    assert api.send(given, method="POST")["managementserverid"] == beating


def test_only_a_server_that_is_down_is_removed_and_one_that_returns_is_another(api, beating):
    with pytest.raises(Refused, match="431 The management server alpha lives"):
        api("removeManagementServer", id=beating)
    later(servers.DOWN_SECONDS + 1, beating)
    assert api("removeManagementServer", id=beating) == {"success": True}
    assert api("listManagementServers") == {}
    servers.beat()
    (shown,) = api("listManagementServers")["managementserver"]
    assert (shown["name"], shown["id"] == beating) == ("alpha", False)


def test_processes_that_start_at_once_make_one_row(api, beating):
    threads = [threading.Thread(target=servers.beat) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert api("listManagementServers")["count"] == 1


def test_a_server_prepared_for_shutdown_takes_no_jobs_and_is_ready_once_idle(api, beating, factory, engine):
    shown = api("prepareForShutdown", managementserverid=beating)["prepareforshutdown"]
    assert (shown["state"], shown["shutdowntriggered"]) == ("PreparingForShutDown", True)
    assert shown["readyforshutdown"] is False
    assert factory.first(EventRow, type="MS.SHUTDOWN.PREPARE").resource_id == beating
    with pytest.raises(Refused, match=r"431 .*is PreparingForShutDown, not Up"):
        api("prepareForShutdown", managementserverid=beating)
    with servers.underway():
        servers.beat()
        later(servers.LEARNT_SECONDS + 1, beating)
        assert api("readyForShutdown", managementserverid=beating)["readyforshutdown"]["readyforshutdown"] is False
    servers.beat()
    assert api("readyForShutdown", managementserverid=beating)["readyforshutdown"]["readyforshutdown"] is False
    later(servers.LEARNT_SECONDS + 1, beating)
    ready = api("readyForShutdown", managementserverid=beating)["readyforshutdown"]
    assert (ready["readyforshutdown"], ready["state"]) == (True, "ReadyToShutDown")
    with pytest.raises(Refused, match="503 Maintenance or Shutdown has been initiated"):
        api("generateAlert", type=7, name="ALERT.COMPUTE.HOST", description="x")
    client = create_app(engine).test_client()
    assert client.get("/healthz").status_code == 200
    _make_up(factory, "beta")
    assert client.get("/healthz").status_code == 503
    assert api("cancelShutdown", managementserverid=beating)["cancelshutdown"]["state"] == "Up"
    servers.beat()
    api("generateAlert", type=7, name="ALERT.COMPUTE.HOST", description="x")


def test_a_shutdown_ends_with_the_start_and_maintenance_does_not(api, beating, factory):
    api("prepareForShutdown", managementserverid=beating)
    servers.beat(starting=True)
    assert api("listManagementServers", id=beating)["managementserver"][0]["state"] == "Up"
    assert servers.is_leaving() is False
    with pytest.raises(Refused, match="431 No other management server is Up"):
        api("prepareForMaintenance", managementserverid=beating)
    _make_up(factory, "beta")
    shown = api("prepareForMaintenance", managementserverid=beating)["prepareformaintenance"]
    assert (shown["maintenanceinitiated"], shown["shutdowntriggered"]) == (True, False)
    servers.beat(starting=True)
    assert servers.is_leaving() is True
    with pytest.raises(Refused, match=r"431 .*is PreparingForMaintenance, not PreparingForShutDown"):
        api("cancelShutdown", managementserverid=beating)
    assert api("cancelMaintenance", managementserverid=beating)["cancelmaintenance"]["state"] == "Up"


def test_duties_rest_while_the_server_is_leaving(monkeypatch):
    done = threading.Event()
    stop = threading.Event()
    monkeypatch.setattr(servers._Own, "wanted", servers.SHUTDOWN)
    thread = threading.Thread(target=orchestrator.repeat, args=(stop, 0.01, done.set))
    thread.start()
    assert not done.wait(0.2)
    monkeypatch.setattr(servers._Own, "wanted", servers.UP)
    assert done.wait(5)
    stop.set()
    thread.join()
