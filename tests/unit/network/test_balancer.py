"""The load balancer of a virtual router with real connections: spreading, stickiness, health, TLS, changes, removal."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from network.balancing import HealthCheck, Member, Stickiness
from network.elements import balancer as element
from network.elements.balancer_files import section_name
from network.errors import RouterFailedError
from network.names import router_namespace
from network.types import Opening, Traffic
from tests.unit.network.balancers import balancer, web_certificate
from tests.unit.network.lab import ROUTERS, end, inside, reaches, sh
from tests.unit.network.routers import OUTSIDE
from tests.unit.network.sites import PUBLIC, Site

pytestmark = pytest.mark.usefixtures("running")

FIRST, SECOND = "198.51.100.31", "198.51.100.32"
PORT = 8000
SOON = 0.6
UNTIL_IT_TELLS = 6.0
"""A process of haproxy tells its successor nothing in its first 5 seconds."""
TWO = balancer(FIRST)


def changed(site: Site, *balancers, openings=None, **rules) -> None:
    """Tenant a's router with two more addresses, balancers, and openings for their ports."""
    every = tuple(Opening(one.address, Traffic("tcp", one.port, one.port)) for one in balancers)
    openings = every if openings is None else openings
    site.apply(replace(site.specs["a"], addresses=(FIRST, SECOND), balancers=balancers, openings=openings, **rules))


class Answering(BaseHTTPRequestHandler):
    """Tells its name, and what it was asked; /slow sends a byte at a time, /sick is no page."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        name, session = self.server.name, self.headers.get("Cookie", "")
        body = f"{name} {self.client_address[0]} {self.headers.get('X-Forwarded-For', '')} "
        body = (body + f"{self.headers.get('X-Forwarded-Proto', '')} {session}").encode()
        self.send_response(404 if self.path == "/sick" and name == "a2" else 200)
        self.send_header("Content-Length", str(len(body)))
        if self.path == "/login":
            self.send_header("Set-Cookie", f"session=of-{name}-{os.urandom(4).hex()}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def web(namespace: str, name: str, port: int = 8080) -> Iterator[None]:
    with inside(namespace):
        server = ThreadingHTTPServer(("", port), Answering)
    server.name, server.daemon_threads = name, True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def webs(site, addressed):
    with web(addressed["a1"], "a1"), web(addressed["a2"], "a2"):
        assert reaches(addressed["a1"], OUTSIDE)
        assert reaches(addressed["a2"], OUTSIDE)
        yield


def ask(address: str = FIRST, port: int = PORT, *options: str, ns: str = PUBLIC, path: str = "/") -> list[str]:
    """The words of the answer, of which the first is the name of the guest; [] for none."""
    line = ("curl", "-s", "-m", "3", *options, f"http://{address}:{port}{path}")
    return sh("ip", "netns", "exec", ns, *line, check=False).split(" ")[:5]


def names(count: int, *options: str, ns: str = PUBLIC, port: int = PORT) -> Counter:
    return Counter(ask(FIRST, port, *options, ns=ns)[0] for _ in range(count))


def soon(find, wanted, within: float = 30.0) -> None:
    deadline = time.monotonic() + within
    while (found := find()) != wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    assert found == wanted


def test_round_robin_takes_turns(site, webs):
    changed(site, TWO)
    assert names(6) == {"a1": 3, "a2": 3}
    assert ask()[1] == "10.1.1.1"
    assert site.element.state(ROUTERS["a"]) == "running"


def test_the_guest_with_fewest_connections_is_next(site, webs):
    changed(site, replace(TWO, algorithm="leastconn"))
    with held() as (_, first):
        with held() as (_, second):
            assert {first, second} == {"a1", "a2"}
        time.sleep(0.3)
        assert [spaced() for _ in range(4)] == [second] * 4
    changed(site, TWO)
    with held():
        assert {spaced() for _ in range(4)} == {"a1", "a2"}


def spaced() -> str:
    """The name of the guest that answers, after the connection before has ended everywhere."""
    time.sleep(0.2)
    return ask()[0]


@contextmanager
def held() -> Iterator[tuple[socket.socket, str]]:
    """A connection that stays, and the name of the guest that it leads to."""
    with inside(PUBLIC), socket.create_connection((FIRST, PORT), 3) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while not (body := answer.partition(b"\r\n\r\n")[2]):
            part = client.recv(4096)
            assert part, answer
            answer += part
        yield client, body.split()[0].decode()


def test_a_source_keeps_its_guest(site, webs):
    changed(site, replace(TWO, algorithm="source"))
    assert len(names(6)) == 1
    seen = set()
    for last in range(40, 60):
        sh("ip", "-n", PUBLIC, "address", "add", f"198.51.100.{last}/24", "dev", "eth0")
        seen.add(ask(FIRST, PORT, "--interface", f"198.51.100.{last}")[0])
        sh("ip", "-n", PUBLIC, "address", "del", f"198.51.100.{last}/24", "dev", "eth0")
    assert seen == {"a1", "a2"}


def test_the_balancers_cookie_leads_back_also_after_a_change(site, webs, tmp_path):
    sticky = replace(TWO, stickiness=Stickiness("LbCookie", "lb", indirect=True, nocache=True))
    changed(site, sticky)
    jar = str(tmp_path / "jar")
    first = ask(FIRST, PORT, "-c", jar)[0]
    assert names(4, "-b", jar) == {first: 4}
    assert names(4) == {"a1": 2, "a2": 2}
    assert ask(FIRST, PORT, "-b", jar)[4] == ""
    changed(site, sticky, balancer(SECOND, id="balancer-2"))
    assert names(4, "-b", jar) == {first: 4}


def test_a_guests_own_cookie_leads_back_also_after_a_change(site, webs, tmp_path):
    sticky = replace(TWO, stickiness=Stickiness("AppCookie", "session"))
    changed(site, sticky)
    jars = [str(tmp_path / name) for name in "xy"]
    made = [ask(FIRST, PORT, "-c", jar, path="/login")[0] for jar in jars]
    assert sorted(made) == ["a1", "a2"]
    time.sleep(UNTIL_IT_TELLS)
    for others in ((), (balancer(SECOND, id="balancer-2"),)):
        changed(site, sticky, *others)
        time.sleep(1.0)
        known = table(site)
        for jar, name in zip(jars, made, strict=True):
            assert names(3, "-b", jar) == {name: 3}, (others, known)


def table(site: Site) -> str:
    """What the balancer has learned."""
    daemon = element.daemon(ROUTERS["a"], site.element._home(ROUTERS["a"]))
    return daemon.ask(f"show table {section_name('balancer-1')}")


def test_an_address_comes_back_to_its_guest(site, webs):
    changed(site, replace(TWO, stickiness=Stickiness("SourceBased")))
    (first,) = names(4)
    time.sleep(UNTIL_IT_TELLS)
    changed(site, replace(TWO, stickiness=Stickiness("SourceBased")), balancer(SECOND, id="balancer-2"))
    time.sleep(1.0)
    assert names(3) == {first: 3}


def test_a_dead_guest_is_left_out_within_seconds_and_comes_back(site, addressed):
    changed(site, TWO)
    with web(addressed["a1"], "a1"):
        with web(addressed["a2"], "a2"):
            soon(lambda: names(4), {"a1": 2, "a2": 2})
        assert names(4) == {"a1": 4}
        time.sleep(5)
        home = site.element._home(ROUTERS["a"])
        assert element.daemon(ROUTERS["a"], home).ask("show stat").count(",DOWN,") == 1
        changed(site, TWO, balancer(SECOND, "1", id="balancer-2"))
        assert element.daemon(ROUTERS["a"], home).ask("show stat").count(",DOWN,") == 1
        with web(addressed["a2"], "a2"):
            soon(lambda: names(4), {"a1": 2, "a2": 2})


def test_a_guest_that_answers_wrongly_is_left_out(site, webs):
    changed(site, replace(TWO, check=HealthCheck("/sick", 1, 1, 1, 1)))
    soon(lambda: names(4), {"a1": 4})
    changed(site, TWO)
    soon(lambda: names(4), {"a1": 2, "a2": 2})


def test_guests_are_told_who_asks(site, webs):
    changed(site, balancer(FIRST, "1", port=80), balancer(SECOND, "2", id="balancer-2", protocol="tcp-proxy"))
    assert ask(FIRST, 80)[2] == OUTSIDE
    with inside(site.guests["a2"]):
        server = socket.create_server(("", 8090))
    with closing(server):
        changed(site, balancer(SECOND, "2", id="balancer-2", protocol="tcp-proxy", member_port=8090))
        with inside(PUBLIC), socket.create_connection((SECOND, PORT), 2):
            server.settimeout(3)
            deadline, told = time.monotonic() + 5, b""
            while f"PROXY TCP4 {OUTSIDE} {SECOND} ".encode() not in told and time.monotonic() < deadline:
                taken, _ = server.accept()
                told = taken.recv(200)
                taken.close()
    assert f"PROXY TCP4 {OUTSIDE} {SECOND} ".encode() in told


def test_tls_ends_at_the_balancer(site, webs, tmp_path):
    secret, root = web_certificate()
    authority = tmp_path / "root.pem"
    authority.write_text(root)
    bare = replace(TWO, port=443, protocol="ssl")
    changed(site, bare)
    assert not ask(FIRST, 443)[0]
    changed(site, replace(bare, certificate=secret))
    line = ("curl", "-s", "-m", "3", "--cacert", str(authority), "--resolve", f"www.example:443:{FIRST}")
    said = sh("ip", "netns", "exec", PUBLIC, *line, "https://www.example/").split(" ")
    assert said[0] in ("a1", "a2")
    assert (said[2], said[3]) == (OUTSIDE, "https")
    assert not ask(FIRST, 443)[0]
    context = ssl.create_default_context(cafile=str(authority))
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        inside(PUBLIC),
        socket.create_connection((FIRST, 443), 3) as plain,
        context.wrap_socket(plain, server_hostname="www.example") as client,
    ):
        assert client.version() == "TLSv1.2"
    files = list((site.lab.dir / "routers").rglob("tls-*.pem"))
    assert [path.stat().st_mode & 0o077 for path in files] == [0]
    changed(site, TWO)
    assert not list((site.lab.dir / "routers").rglob("tls-*.pem"))


def test_only_sources_of_the_rule_and_openings_of_the_address_come_in(site, webs):
    changed(site, replace(TWO, sources=("203.0.113.0/24",)))
    assert not ask()[0]
    changed(site, replace(TWO, sources=("198.51.100.0/24",)))
    assert ask()[0]
    changed(site, TWO, openings=())
    assert not ask()[0]
    changed(site, TWO, openings=(Opening(FIRST, Traffic("tcp", PORT, PORT, sources=("203.0.113.0/24",))),))
    assert not ask()[0]
    changed(site, TWO)
    assert ask()[0]
    assert not ask(SECOND)[0]
    assert ask(ns=site.guests["a1"])[0]
    assert ask(ns=site.guests["b1"])[0]


class Trickle:
    """A guest's server that sends a byte again and again on its one connection."""

    def __init__(self, namespace: str) -> None:
        with inside(namespace):
            self.server = socket.create_server(("", 8081))
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        self.server.settimeout(0.2)
        while not self.ended.is_set():
            try:
                taken, _ = self.server.accept()
            except TimeoutError:
                continue
            threading.Thread(target=self.send, args=(taken,)).start()

    def send(self, taken: socket.socket) -> None:
        with closing(taken):
            while not self.ended.wait(0.05):
                try:
                    taken.send(b"x")
                except OSError:
                    return

    def close(self) -> None:
        self.ended.set()
        self.thread.join()
        self.server.close()


def test_connections_survive_changes_and_end_with_their_rule(site, addressed):
    one = balancer(FIRST, "1", member_port=8081)
    with closing(Trickle(addressed["a1"])):
        changed(site, one)
        with inside(PUBLIC):
            client = socket.create_connection((FIRST, PORT), 2)
        client.settimeout(2)
        with closing(client):
            for number in range(4):
                changed(site, one, balancer(SECOND, "2", id="balancer-2", port=9000 + number))
                assert client.recv(1) == b"x"
            changed(site, replace(one, members=(Member("member-2", "10.1.1.12"),)))
            assert client.recv(1) == b"x"
            changed(site)
            client.settimeout(SOON)
            quiet = 0
            for _ in range(100):
                try:
                    if not client.recv(4096):
                        break
                except (TimeoutError, ConnectionError):
                    quiet += 1
                    break
            else:
                pytest.fail("the connection goes on although its rule is gone")
        assert "haproxy" not in site.daemons(ROUTERS["a"])


def test_no_connection_is_refused_while_it_changes(site, webs):
    changed(site, TWO)
    failed, ended = [], threading.Event()

    def keep_asking() -> None:
        while not ended.is_set():
            with inside(PUBLIC):
                client = socket.socket()
            client.settimeout(3)
            code = client.connect_ex((FIRST, PORT))
            try:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                if not client.recv(10).startswith(b"HTTP"):
                    failed.append("empty")
            except OSError as error:
                failed.append(f"{code} {error}")
            client.close()

    asking = threading.Thread(target=keep_asking)
    asking.start()
    for number in range(6):
        changed(site, TWO, balancer(SECOND, "2", id="balancer-2", port=9000 + number))
    ended.set()
    asking.join()
    assert failed == []


def test_applying_again_changes_nothing_and_a_dead_balancer_comes_back(site, webs):
    changed(site, TWO)
    namespace = router_namespace(ROUTERS["a"])
    before = set(sh("ip", "netns", "pids", namespace).split())
    changed(site, TWO)
    assert set(sh("ip", "netns", "pids", namespace).split()) == before
    home = site.element._home(ROUTERS["a"])
    for pid in element.daemon(ROUTERS["a"], home).pids():
        end(pid)
    assert site.element.state(ROUTERS["a"]) == "degraded"
    changed(site, TWO)
    assert site.element.state(ROUTERS["a"]) == "running"
    assert ask()[0]


def test_a_configuration_that_is_refused_leaves_what_was(site, webs, monkeypatch):
    changed(site, TWO)
    good = element.haproxy_conf
    monkeypatch.setattr(element, "haproxy_conf", lambda *given: good(*given) + "nonsense\n")
    with pytest.raises(RouterFailedError, match="unknown keyword 'nonsense'"):
        changed(site, replace(TWO, algorithm="source"))
    assert names(4) == {"a1": 2, "a2": 2}
    monkeypatch.undo()
    changed(site, replace(TWO, algorithm="source"))
    assert len(names(4)) == 1


def test_removal_leaves_nothing(site, webs):
    changed(site, TWO)
    daemon = element.daemon(ROUTERS["a"], site.element._home(ROUTERS["a"]))
    assert daemon.pids()
    site.remove(ROUTERS["a"])
    assert not daemon.pids()
    assert not list((site.lab.dir / "routers").rglob("haproxy*"))
