"""Real Redis, real Celery: a host's account opens its own queue and the way back, and nothing else."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import pytest
import redis

from agents.bus import ANSWERS, REPORTS, Message, make_app, send
from agents.config import AgentConfig
from devcloud.services import Redis
from manager import broker, celery_app
from manager.config import settings
from manager.models import Agent


@pytest.fixture
def server(key_files):
    with tempfile.TemporaryDirectory(prefix="pileus-test-") as folder:
        Path(folder).chmod(0o755)
        started = Redis(Path(folder) / "redis", fast=True, password="manager-password")
        started.start()
        os.environ["PILEUS_BROKER_URL"] = started.broker_url()
        for cached in (settings, broker.connection, celery_app.app):
            cached.cache_clear()
        yield started
        started.stop()
        os.environ["PILEUS_BROKER_URL"] = "memory://"
        for cached in (settings, broker.connection, celery_app.app):
            cached.cache_clear()


def agent_row(name: str) -> Agent:
    return Agent(id=name, kind="host", public_key="", broker_user=f"host-{name}", broker_password=f"pw-{name}")


def url_of(agent: Agent, server: Redis) -> str:
    config = AgentConfig(
        agent_id=agent.id, kind="host", subject_id="h", broker_url=server.anonymous_url, manager_public_key="",
        broker_user=agent.broker_user, broker_password=agent.broker_password, private_key_file="", journal="",
        state_dir="",
    )  # fmt: skip
    return config.url


def login(agent: Agent, server: Redis) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(server.socket), username=agent.broker_user, password=agent.broker_password)


@pytest.mark.filterwarnings("ignore:You're running the worker with superuser")  # an agent is root on its host
def test_a_host_takes_its_commands_and_answers(server):
    agent = agent_row("h1")
    broker.grant(agent)
    app = make_app(url_of(agent, server), [f"agent.{agent.id}"])
    got: list[str] = []
    arrived = threading.Event()

    @app.task(name="agents.do")
    def do(word):
        got.append(word)
        reports = Message(REPORTS, "manager.report", ({"word": word},))
        send(app, [Message(ANSWERS, "manager.answers", ([{"word": word}],)), reports])
        arrived.set()

    worker = app.Worker(
        pool="solo", concurrency=1, without_gossip=True, without_mingle=True, without_heartbeat=True, quiet=True,
        loglevel="ERROR",
    )  # fmt: skip
    thread = threading.Thread(target=worker.start, daemon=True)
    thread.start()
    assert celery_app.publish([Message(f"agent.{agent.id}", "agents.do", ("hello",))])
    assert arrived.wait(20)
    worker.stop()
    thread.join(20)
    assert got == ["hello"]
    own = broker.connection()
    assert (own.llen(ANSWERS), own.llen(REPORTS), own.llen(f"agent.{agent.id}")) == (1, 1, 0)


@pytest.mark.parametrize(
    "words",
    [
        ("LPUSH", "agent.h2", "x"), ("RPOP", "agent.h2"), ("BRPOP", "agent.h2", "0.1"), ("LLEN", "agent.h2"),
        ("RPOP", "answers"), ("RPOP", "reports"), ("LPUSH", "orchestrator", "x"), ("RPOP", "orchestrator"),
        ("KEYS", "*"), ("FLUSHALL",), ("FLUSHDB",), ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("CLIENT", "LIST"),
        ("SCRIPT", "FLUSH"), ("MONITOR",), ("SCAN", "0"), ("DEL", "agent.h2"), ("PUBLISH", "x", "y"),
        ("HGETALL", "unacked"), ("EVAL", "return redis.call('rpop', 'agent.h2')", "0"),
    ],
)  # fmt: skip
def test_a_host_reaches_nothing_of_others(server, words):
    first, second = agent_row("h1"), agent_row("h2")
    for agent in (first, second):
        broker.grant(agent)
    broker.connection().lpush("agent.h2", "secret")
    with pytest.raises(redis.ResponseError, match=r"(?i)permission|can't run|can't access|ACL"):
        login(first, server).execute_command(*words)
    assert broker.connection().lrange("agent.h2", 0, -1) == [b"secret"]


def test_accounts_come_back_and_go(server):
    agent = agent_row("h1")
    broker.grant(agent)
    broker.grant(agent)
    assert login(agent, server).ping()
    broker.revoke(agent)
    with pytest.raises(redis.AuthenticationError):
        login(agent, server).ping()


def test_nobody_gets_in_without_an_account(server):
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(unix_socket_path=str(server.socket)).ping()
