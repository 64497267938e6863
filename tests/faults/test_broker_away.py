"""A Redis that is gone, hangs, or comes back empty: who asks never waits long, and who belongs there gets in again."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time
from pathlib import Path

import pytest
import redis

from agents.bus import Message
from devcloud.services import Redis
from manager import broker, celery_app
from manager.config import settings
from manager.models import Agent

QUICK_SECONDS = 1.6


def forget() -> None:
    for cached in (settings, broker.connection, celery_app.app):
        cached.cache_clear()
    celery_app._Rest.until = 0.0


@pytest.fixture
def place():
    with tempfile.TemporaryDirectory(prefix="ptf-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def server(place, key_files):
    started = Redis(place / "redis", fast=True, password="manager-password")
    started.start()
    os.environ["PILEUS_BROKER_URL"] = started.broker_url()
    forget()
    yield started
    started.stop()
    os.environ["PILEUS_BROKER_URL"] = "memory://"
    forget()


def publish() -> tuple[bool, float]:
    """Whether it was sent, and the seconds that it took."""
    before = time.monotonic()
    sent = celery_app.publish([Message(celery_app.ORCHESTRATOR, "manager.advance", ("w1",))])
    return sent, time.monotonic() - before


def kill(server: Redis) -> None:
    os.kill(server._started.pid, signal.SIGKILL)
    server._started.wait()


def waiting(server: Redis) -> int:
    return redis.Redis.from_url(server.url()).llen(celery_app.ORCHESTRATOR)


@pytest.mark.parametrize("used_before", [False, True])
def test_a_redis_that_is_gone_costs_no_time(server, used_before):
    if used_before:
        assert publish()[0]
    kill(server)
    sent, seconds = publish()
    assert not sent
    assert seconds < QUICK_SECONDS


def test_a_redis_that_hangs_costs_a_second_once(server):
    assert publish()[0]
    os.kill(server._started.pid, signal.SIGSTOP)
    try:
        tried = [publish() for _ in range(5)]
    finally:
        os.kill(server._started.pid, signal.SIGCONT)
    assert not any(sent for sent, _ in tried)
    assert tried[0][1] < QUICK_SECONDS
    assert sum(seconds for _, seconds in tried[1:]) < 0.1


def test_an_address_that_never_answers_costs_a_second(place, key_files):
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(place / "deaf.sock"))
        deaf.listen(8)
        os.environ["PILEUS_BROKER_URL"] = f"redis+socket://manager:x@{place / 'deaf.sock'}"
        forget()
        try:
            sent, seconds = publish()
        finally:
            os.environ["PILEUS_BROKER_URL"] = "memory://"
            forget()
    assert not sent
    assert seconds < QUICK_SECONDS


def test_it_is_used_at_once_when_it_was_restarted_between_two_messages(server):
    assert publish()[0]
    kill(server)
    server._started = None
    server.start()
    assert publish()[0]
    assert waiting(server) == 1


def test_it_is_tried_again_after_a_rest(server):
    kill(server)
    assert not publish()[0]
    server._started = None
    server.start()
    assert not publish()[0]
    deadline = time.monotonic() + 3 * celery_app.REST_SECONDS
    while not publish()[0]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert waiting(server) == 1


def test_accounts_follow_the_agents(server, factory):
    kept, gone = (
        factory(Agent, kind="host", broker_user=f"host-{name}", live=f"host-{name}", broker_password="pw-" + name)
        for name in ("kept", "gone")
    )
    for agent in (kept, gone):
        broker.grant(agent)
    broker.acl("SETUSER", "host-stray", "on", ">pw-stray")
    broker.acl("SETUSER", "backup", "on", ">pw-backup")
    factory.change(gone, removed=gone.created, live=None)
    broker.acl("DELUSER", kept.broker_user)
    broker.assert_accounts()
    assert {name.decode() for name in broker.acl("USERS")} == {"default", "manager", "operator", "backup", "host-kept"}


def test_a_worker_confirms_a_message_without_redis(server):
    """It may take the next one, and learns so that its connection is dead."""
    assert publish()[0]
    with celery_app.app().connection_for_read() as connection:
        channel = connection.default_channel
        channel.basic_qos(0, 1, False)
        message = channel.basic_get(celery_app.ORCHESTRATOR)
        assert not channel.qos.can_consume()
        kill(server)
        message.ack()
        assert channel.qos.can_consume()
