"""The bus: what one message carries, and what a worker does with it."""

from __future__ import annotations

import threading
import uuid

import pytest

from agents.bus import ANSWERS, Message, make_app, queue, send
from agents.outbox import Outbox


@pytest.fixture
def app():
    return make_app("memory://", [f"q-{uuid.uuid4()}"])


def waiting(app, name: str) -> list:
    """The arguments of the messages that wait in the queue, taken from it."""
    found = []
    with app.connection_for_read() as connection:
        source = queue(name)(connection.default_channel)
        source.declare()
        while (message := source.get(no_ack=True)) is not None:
            found.append(message.payload[0])
    return found


@pytest.mark.filterwarnings("ignore:You're running the worker with superuser")
@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_each_argument_of_a_message_is_a_call_and_one_that_fails_harms_no_other(app, pool):
    got: list[str] = []
    arrived = threading.Event()

    @app.task(name=f"t.{pool}")
    def t(word):
        if word == "bad":
            raise ValueError(word)
        got.append(word)
        if word == "last":
            arrived.set()

    flags = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True, "quiet": True}
    worker = app.Worker(pool=pool, concurrency=1, loglevel="ERROR", **flags)
    thread = threading.Thread(target=worker.start, daemon=True)
    thread.start()
    name = app.conf.task_default_queue
    send(app, [Message(name, f"t.{pool}", ("one", "bad", {"two": 2})), Message(name, f"t.{pool}", ("last",))])
    assert arrived.wait(20)
    worker.stop()
    thread.join(20)
    assert got == ["one", {"two": 2}, "last"]
    assert waiting(app, name) == []


def test_answers_of_one_moment_go_in_one_message(app):
    waiting(app, ANSWERS)
    outbox = Outbox(app)
    for number in range(3):
        outbox.put({"payload": str(number), "signature": ""})
    outbox.send_waiting()
    assert waiting(app, ANSWERS) == [[[{"payload": str(number), "signature": ""} for number in range(3)]]]
