"""Accounts of the agents in Redis: each may take from its own queue and put into those of answers and reports."""

from __future__ import annotations

from functools import cache
from typing import Any

import redis
import structlog
from sqlalchemy import select

from agents.bus import ANSWERS, REPORTS
from manager.config import settings
from manager.db import transaction
from manager.models import Agent

COMMANDS = (
    "+brpop +rpop +lpush +llen +zadd +zrem +zrange +zrevrangebyscore +hset +hdel +hget +hlen +multi +exec +watch",
    "+unwatch +discard +set +get +del +expire +pexpire +eval +evalsha +script|load +sadd +srem +smembers +sismember",
    "+ping +select +hello +auth +info +client|setname +client|id",
)

AGENT_PREFIXES = ("host-", "store-")

log = structlog.get_logger()


@cache
def connection(seconds: float = 5) -> redis.Redis:
    """The manager's own connections, for accounts and counters; messages go by Celery. An answer may take `seconds`."""
    url = settings().broker_url.replace("redis+socket://", "unix://")
    return redis.Redis.from_url(url, socket_timeout=seconds, socket_connect_timeout=seconds)


def acl(*words: str) -> Any:
    return connection().execute_command("ACL", *words)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped


def has_accounts() -> bool:
    """Redis has; a broker in the memory of one process has not."""
    return not settings().broker_url.startswith("memory")


def grant(agent: Agent) -> None:
    """Make or repeat the agent's account. Idempotent; Redis may have lost all accounts."""
    if not has_accounts():
        return
    own = f"agent.{agent.id}"
    keys = [f"~{own}", f"~{own}.*", f"%W~{ANSWERS}", f"%W~{REPORTS}"]
    rules = ["reset", "on", f">{agent.broker_password}", *keys, "-@all", *" ".join(COMMANDS).split()]
    acl("SETUSER", agent.broker_user, *rules)


def revoke(agent: Agent) -> None:
    if has_accounts():
        acl("DELUSER", agent.broker_user)


def assert_accounts() -> None:
    """Grant accounts that Redis does not know, and take those of agents that are gone.

    Nothing is done, and a line logged, while Redis is away.
    """
    try:
        if not has_accounts():
            return
        known = {name.decode() for name in acl("USERS")}  # before the agents: what is granted now is committed
        with transaction() as session:
            agents = session.scalars(select(Agent).filter_by(removed=None)).all()
        for agent in agents:
            if agent.broker_user not in known:
                grant(agent)
        gone = sorted(known - {agent.broker_user for agent in agents})
        for user in gone:
            if user.startswith(AGENT_PREFIXES):
                acl("DELUSER", user)
    except redis.RedisError as error:
        log.warning("broker unreachable", error=str(error))
