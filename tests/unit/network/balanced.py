"""What a tenant may expect of a load balancer, whoever provides it: imported and run by the tests of each provider.

Each has a fixture `balanced`, which is a Balanced, and a fixture `webs`, under which guests a1 and a2 answer.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

from network.balancing import Balancer, HealthCheck, Member, Stickiness
from network.types import Opening, Traffic
from tests.unit.network.balancers import balancer, web_certificate
from tests.unit.network.lab import inside, sh
from tests.unit.network.routers import OUTSIDE
from tests.unit.network.sites import PUBLIC

FIRST, SECOND = "198.51.100.31", "198.51.100.32"
PORT = 8000
SOON = 0.6
LONG = 20.0
"""Seconds for what a loaded machine does at last; a loop that waits ends as soon as it holds."""
UNTIL_IT_TELLS = 6.0
"""A process of haproxy tells its successor nothing in its first 5 seconds."""
TWO = balancer(FIRST)


class Balanced(Protocol):
    guests: dict[str, str]
    """Namespaces of a1 (10.1.1.11) and a2 (10.1.1.12)."""

    def change(self, *balancers: Balancer, openings: tuple[Opening, ...] | None = None) -> None:
        """Have these and no others, at addresses that let in what `openings` say, or all at their ports."""

    def dead(self) -> int:
        """How many members of the balancer of TWO are known to be dead."""


def opened(balancers: tuple[Balancer, ...], openings: tuple[Opening, ...] | None) -> tuple[Opening, ...]:
    every = tuple(Opening(one.address, Traffic("tcp", one.port, one.port)) for one in balancers)
    return every if openings is None else openings


class Answering(BaseHTTPRequestHandler):
    """Tells its name, and what it was asked; /sick is no page of a2."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        name, session = self.server.name, self.headers.get("Cookie", "")
        body = f"{name} {self.client_address[0]} {self.headers.get('X-Forwarded-For', '')} "
        body = (body + f"{','.join(self.headers.get_all('X-Forwarded-Proto') or ())} {session}").encode()
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


def ask(address: str = FIRST, port: int = PORT, *options: str, ns: str = PUBLIC, path: str = "/") -> list[str]:
    """The words of the answer, of which the first is the name of the guest; [''] for none."""
    line = ("curl", "-s", "-m", "3", *options, f"http://{address}:{port}{path}")
    return sh("ip", "netns", "exec", ns, *line, check=False).split(" ")[:5]


def names(count: int, *options: str, ns: str = PUBLIC, address: str = FIRST, port: int = PORT) -> Counter:
    return Counter(ask(address, port, *options, ns=ns)[0] for _ in range(count))


def soon(find: Callable[[], object], wanted: object, within: float = LONG) -> None:
    deadline = time.monotonic() + within
    while (found := find()) != wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    assert found == wanted


def test_round_robin_takes_turns(balanced, webs):
    balanced.change(TWO)
    soon(balanced.dead, 0)
    assert names(6) == {"a1": 3, "a2": 3}


def test_the_guest_with_fewest_connections_is_next(balanced, webs):
    balanced.change(replace(TWO, algorithm="leastconn"))
    with held() as (_, first):
        with held() as (_, second):
            assert {first, second} == {"a1", "a2"}
        # The one that ended counts until the balancer has heard of it.
        soon(lambda: {spaced() for _ in range(3)}, {second})
    balanced.change(TWO)
    with held():
        soon(lambda: {spaced() for _ in range(4)}, {"a1", "a2"})


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


def test_a_source_keeps_its_guest(balanced, webs):
    balanced.change(replace(TWO, algorithm="source"))
    assert len(names(6)) == 1
    seen = set()
    for last in range(40, 60):
        sh("ip", "-n", PUBLIC, "address", "add", f"198.51.100.{last}/24", "dev", "eth0")
        seen.add(ask(FIRST, PORT, "--interface", f"198.51.100.{last}")[0])
        sh("ip", "-n", PUBLIC, "address", "del", f"198.51.100.{last}/24", "dev", "eth0")
        if seen == {"a1", "a2"}:
            break
    assert seen == {"a1", "a2"}


def test_the_balancers_cookie_leads_back_also_after_a_change(balanced, webs, tmp_path):
    sticky = replace(TWO, stickiness=Stickiness("LbCookie", "lb", indirect=True))
    balanced.change(sticky)
    jar = str(tmp_path / "jar")
    first = ask(FIRST, PORT, "-c", jar)[0]
    assert names(4, "-b", jar) == {first: 4}
    assert names(4) == {"a1": 2, "a2": 2}
    assert ask(FIRST, PORT, "-b", jar)[4] == ""
    balanced.change(sticky, balancer(SECOND, id="balancer-2"))
    assert names(4, "-b", jar) == {first: 4}


def test_cookies_of_guests_and_addresses_lead_back_also_after_a_change(balanced, webs, tmp_path):
    by_cookie = replace(TWO, stickiness=Stickiness("AppCookie", "session"))
    by_address = balancer(SECOND, id="balancer-2", stickiness=Stickiness("SourceBased"))
    balanced.change(by_cookie, by_address)
    jars = [str(tmp_path / name) for name in "xy"]
    made = [ask(FIRST, PORT, "-c", jar, path="/login")[0] for jar in jars]
    assert sorted(made) == ["a1", "a2"]
    (own,) = names(4, address=SECOND)
    time.sleep(UNTIL_IT_TELLS)
    balanced.change(by_cookie, by_address, balancer(SECOND, id="balancer-3", port=9000))
    time.sleep(1.0)
    for jar, name in zip(jars, made, strict=True):
        assert names(3, "-b", jar) == {name: 3}
    assert names(3, address=SECOND) == {own: 3}


def test_a_dead_guest_is_left_out_within_seconds_and_comes_back(balanced):
    balanced.change(TWO)
    with web(balanced.guests["a1"], "a1"):
        with web(balanced.guests["a2"], "a2"):
            soon(lambda: names(4), {"a1": 2, "a2": 2})
        assert names(4) == {"a1": 4}
        soon(balanced.dead, 1)
        # A change must not bring the dead one back.
        balanced.change(TWO, balancer(SECOND, "1", id="balancer-2"))
        assert balanced.dead() == 1
        assert names(4) == {"a1": 4}
        with web(balanced.guests["a2"], "a2"):
            soon(lambda: names(4), {"a1": 2, "a2": 2})


def test_a_guest_that_answers_wrongly_is_left_out(balanced, webs):
    balanced.change(replace(TWO, check=HealthCheck("/sick", 1, 1, 1, 1)))
    soon(balanced.dead, 1)
    assert names(4) == {"a1": 4}
    balanced.change(TWO)
    soon(lambda: names(4), {"a1": 2, "a2": 2})


def test_guests_are_told_who_asks(balanced, webs):
    balanced.change(balancer(FIRST, "1", port=80))
    soon(lambda: ask(FIRST, 80)[2:3], [OUTSIDE])


def test_tls_ends_at_the_balancer(balanced, webs, tmp_path):
    secret, root = web_certificate()
    authority = tmp_path / "root.pem"
    authority.write_text(root)
    bare = replace(TWO, port=443, protocol="ssl")
    balanced.change(bare)
    assert not ask(FIRST, 443)[0]
    balanced.change(replace(bare, certificate=secret))
    line = ("curl", "-s", "-m", "3", "--cacert", str(authority), "--resolve", f"www.example:443:{FIRST}")
    for lie in ((), ("-H", "X-Forwarded-Proto: http")):
        said = sh("ip", "netns", "exec", PUBLIC, *line, *lie, "https://www.example/").split(" ")
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
    balanced.change(TWO)
    assert not ask(FIRST, 443, "-m", "1")[0]


def test_only_sources_of_the_rule_and_openings_of_the_address_come_in(balanced, webs):
    def heard(*balancers: Balancer, openings: tuple[Opening, ...] | None = None, address: str = FIRST) -> bool:
        balanced.change(*balancers, openings=openings)
        return bool(ask(address, PORT, "-m", "1")[0])

    assert not heard(replace(TWO, sources=("203.0.113.0/24",)))
    assert heard(replace(TWO, sources=("198.51.100.0/24",)))
    assert not heard(TWO, openings=())
    elsewhere = Opening(FIRST, Traffic("tcp", PORT, PORT, sources=("203.0.113.0/24",)))
    assert not heard(TWO, openings=(elsewhere,))
    assert heard(TWO)
    assert not heard(TWO, address=SECOND)


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


def test_connections_survive_changes_and_end_with_their_rule(balanced, webs):
    one = balancer(FIRST, "1", member_port=8081)
    with closing(Trickle(balanced.guests["a1"])):
        balanced.change(one)
        with inside(PUBLIC):
            client = socket.create_connection((FIRST, PORT), 2)
        client.settimeout(5)
        with closing(client):
            for number in range(4):
                balanced.change(one, balancer(SECOND, "2", id="balancer-2", port=9000 + number))
                assert client.recv(1) == b"x"
            balanced.change(replace(one, members=(Member("member-2", "10.1.1.12"),)))
            assert client.recv(1) == b"x"
            balanced.change()
            assert goes_silent(client)


def goes_silent(client: socket.socket) -> bool:
    """Whether nothing more comes, after what was on its way."""
    client.settimeout(SOON)
    for _ in range(100):
        try:
            if not client.recv(4096):
                return True
        except (TimeoutError, ConnectionError):
            return True
    return False


def test_no_connection_is_refused_while_it_changes(balanced, webs):
    balanced.change(TWO)
    soon(lambda: names(2), {"a1": 1, "a2": 1})
    failed, ended = [], threading.Event()

    def keep_asking() -> None:
        while not ended.is_set():
            with inside(PUBLIC):
                client = socket.socket()
            client.settimeout(LONG)
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
    try:
        for number in range(6):
            balanced.change(TWO, balancer(SECOND, "2", id="balancer-2", port=9000 + number))
    finally:
        ended.set()
        asking.join()
    assert failed == []
