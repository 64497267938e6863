"""A server that takes connections and never answers: the prompt is there, and stays usable."""

import socket
import threading
import time

import pytest

from tests.unit.shell.conftest import CTRL_D, ENTER, TAB, Until, use
from ui.shell import interactive, menu, values
from ui.shell.answer import answer
from ui.shell.catalog import Catalog
from ui.shell.profiles import Config

AT_ONCE = 5.0  # seconds, on a busy machine
NEVER = 30.0  # seconds; what a question for values may take here


@pytest.fixture
def hanging(monkeypatch):
    """Its address, and the connections that it has taken."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = []

        def take():
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        taker = threading.Thread(target=take, daemon=True)
        taker.start()
        use(monkeypatch, f"http://127.0.0.1:{server.getsockname()[1]}/client/api")
        yield taken
        server.shutdown(socket.SHUT_RDWR)
    taker.join(5)
    for one in taken:
        one.close()


@pytest.fixture
def known(hanging):
    """The commands of the cloud are known from earlier."""
    from tests.unit.shell.foreign import APIS

    config = Config()
    catalog = Catalog.open(config.cache, config.chosen())
    catalog.keep(APIS["api"])


class Clock:
    """Among the keys: notes when it comes to be typed."""

    def __init__(self):
        self.at = 0.0

    def wait(self, _buffer):
        self.at = time.monotonic()


def test_prompt_of_an_unknown_cloud_comes_and_goes(hanging, converse):
    started = time.monotonic()
    code, _ = converse(CTRL_D)
    assert code == 0
    assert len(hanging) == 1
    assert time.monotonic() - started < interactive.GREETING + AT_ONCE


def test_tab_before_the_commands_are_known_counts_when_they_are(foreign, converse, monkeypatch):
    monkeypatch.setattr(interactive, "GREETING", 0.0)
    known = foreign.replies["listApis"]
    foreign.replies["listApis"] = lambda _: time.sleep(1.5) or known
    foreign.replies["listZones"] = {}
    started = time.monotonic()
    converse(f"list zon{TAB}", Until("list zones"), "\x15", CTRL_D)
    assert time.monotonic() - started < 15, "it was not completed"
    assert len(foreign.sent("listApis")) == 1


def test_line_can_be_typed_completed_and_sent_while_values_are_waited_for(hanging, known, converse, monkeypatch):
    """Tab at a value asks the server; the next words complete, and Enter acts, while that question is open."""
    monkeypatch.setattr(menu, "TIME_LIMIT", NEVER)
    monkeypatch.setattr(values, "TIME_LIMIT", NEVER)
    asked, completed, sent = Clock(), Clock(), Clock()
    typed = f"list zones id={TAB}"
    code, _ = converse(
        *(typed, Until("list zones id="), asked, f"x avail{TAB}", Until("list zones id=x available="), completed),
        *(f"\x15!echo here{ENTER}", Until(""), sent, CTRL_D),
    )
    assert code == 0
    assert len(hanging) == 1, "the value was not asked for"
    assert completed.at - asked.at < AT_ONCE
    assert sent.at - completed.at < AT_ONCE


def test_silent_server_is_not_asked_at_every_key(hanging, known, monkeypatch):
    monkeypatch.setattr(values, "TIME_LIMIT", 0.2)
    from ui.shell.client import Client

    config = Config()
    catalog = Catalog.open(config.cache, config.chosen())
    rows = values.Values(lambda: Client(config.chosen(), 0.2), lambda: catalog)
    keys = [threading.Thread(target=rows, args=("listZones", {}, "abc"[:length])) for length in range(4)]
    for one in keys:
        one.start()
    for one in keys:
        one.join()
    assert rows("listHosts", {}, "") == []
    assert len(hanging) <= len(keys)
    count = len(hanging)
    assert rows("listZones", {}, "abcd") == []
    assert len(hanging) == count


def test_other_shells_get_their_answer_at_once(hanging, known, capsys):
    started = time.monotonic()
    for _ in range(3):
        assert answer(["bash", "pileus list zones id="]) == 0
    assert time.monotonic() - started < AT_ONCE
    until = time.monotonic() + 10
    while not hanging and time.monotonic() < until:
        time.sleep(0.05)
    assert len(hanging) == 1, "three Tabs are one question"
    assert capsys.readouterr().out == ""
