"""The metadata and password server, on the loopback."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest

from network.elements import metadata
from network.elements.router_files import metadata_state
from tests.unit.network.routers import revised, router
from tests.unit.network.views import nic

SPEC = router("a", [replace(nic("a", "1", "host-1"), address="127.0.0.1")])


class Client:
    def __init__(self, handler: type[metadata.Handler]) -> None:
        self.server = metadata.Server(("127.0.0.1", 0), handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(*self.server.server_address, timeout=5)
        with closing(connection):
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "metadata.json"
    path.write_text(metadata_state(SPEC))
    return path


@pytest.fixture
def clients(path, monkeypatch):
    monkeypatch.setattr(metadata.Handler, "state", metadata.State(path), raising=False)
    found = Client(metadata.MetadataHandler), Client(metadata.PasswordHandler)
    yield found
    for client in found:
        client.close()


@pytest.mark.parametrize(
    ("path_", "answer"),
    [
        ("/", (200, "latest\n")),
        ("/latest", (200, "meta-data\nuser-data\n")),
        ("/latest/meta-data/vm-id", (200, "vm-a1")),
        ("/2009-04-04/meta-data/vm-id?x=1", (200, "vm-a1")),
        ("/latest/user-data", (200, "#!/bin/sh\necho a1\n")),
        ("/latest/meta-data/none", (404, "")),
        ("/latest/other", (404, "")),
        ("/latest/meta-data/vm-id/deeper", (404, "")),
    ],
)
def test_paths(clients, path_, answer):
    assert clients[0].get(path_) == answer


def test_listing_names_what_can_be_asked(clients):
    status, names = clients[0].get("/latest/meta-data/")
    assert status == 200
    assert all(clients[0].get(f"/latest/meta-data/{name}")[0] == 200 for name in names.split())


def test_a_stranger_gets_nothing(clients, path):
    path.write_text(json.dumps({"10.1.1.12": json.loads(path.read_text())["127.0.0.1"]}))
    for client in clients:
        assert client.get("/latest/meta-data/vm-id", **{"X-Forwarded-For": "10.1.1.12"}) == (404, "")


def test_password_once_and_again_after_a_reset(clients, path):
    ask, saved = {"DomU_Request": "send_my_password"}, {"DomU_Request": "saved_password"}
    assert clients[1].get("/", **ask) == (200, "secret-a1")
    assert clients[1].get("/", **saved) == (200, "saved_password")
    assert clients[1].get("/", **ask) == (200, "saved_password")
    path.with_name("passwords.json").write_text("{ damaged")
    assert clients[1].get("/", **ask) == (200, "secret-a1")
    assert clients[1].get("/") == (200, "bad_request")
    first = replace(SPEC.legs[0].leases[0], password="")
    path.with_name("fresh").write_text(metadata_state(revised(SPEC, leases=(first,))))
    path.with_name("fresh").replace(path)
    assert clients[1].get("/", **ask) == (200, "saved_password")


def test_idle_connections_cannot_take_the_host_down(clients):
    """The number of connections is bounded, and one that says nothing only holds its own place."""
    before = threading.active_count()
    with ExitStack() as idle:
        for _ in range(metadata.MAX_CONNECTIONS + 20):
            idle.enter_context(socket.create_connection(clients[0].server.server_address))
        with pytest.raises((http.client.HTTPException, OSError)):
            clients[0].get("/latest")
        assert threading.active_count() - before <= metadata.MAX_CONNECTIONS
    for _ in range(100):
        try:
            assert clients[0].get("/latest")[0] == 200
            break
        except (http.client.HTTPException, OSError):
            threading.Event().wait(0.05)
    else:
        pytest.fail("the places were not given back")
