"""How many calls an account may make in an interval, counted in Redis for all processes together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import redis
import structlog
from sqlalchemy.orm import Session

from manager import broker
from manager.api.errors import UNAVAILABLE, ApiError, TooMany
from manager.configuration import value
from manager.models import Account
from manager.models.identity import ROOT_ADMIN

PREFIX = "pileus.calls."
ANSWER_SECONDS = 0.25
AWAY_SECONDS = 5.0
_COUNT = """
local calls = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  left = tonumber(ARGV[1])
  redis.call('PEXPIRE', KEYS[1], left)
end
return {calls, left}
"""

log = structlog.get_logger()


@dataclass(frozen=True)
class Spent:
    """The calls of an account in its interval, and the milliseconds until the next one."""

    calls: int
    left: int


T = TypeVar("T")
Spend = Callable[[str, int], Spent | None]

_away_until: float = 0.0


def demand(session: Session, account: Account, spend: Spend) -> None:
    """Count a call of the account by `spend`. Without Redis nothing is counted and every call is let through.

    :raises TooMany: the account has made as many as it may
    """
    if account.type == ROOT_ADMIN or not value(session, "api.throttling.enabled"):
        return
    spent = spend(account.id, value(session, "api.throttling.interval"))
    if spent is not None and spent.calls > value(session, "api.throttling.max", account):
        raise TooMany(spent.left)


def spend(account_id: str, interval: int) -> Spent | None:
    """Count a call; None while Redis is away. The first one begins an interval of so many seconds."""

    def count(server: redis.Redis) -> Spent:
        calls, left = server.eval(_COUNT, 1, PREFIX + account_id, str(interval * 1000))
        return Spent(calls, left)

    return _asked(count)


def spent(account_id: str) -> Spent | None:
    """What `spend` has counted; None for nothing, and while Redis is away."""

    def look(server: redis.Redis) -> Spent | None:
        with server.pipeline() as both:
            both.get(PREFIX + account_id)
            both.pttl(PREFIX + account_id)
            calls, left = both.execute()
        return Spent(int(calls), left) if calls is not None and left > 0 else None

    return _asked(look)


def forget(account_id: str | None) -> None:
    """Let the next call begin a new interval: of the account, or without one of all accounts.

    :raises ApiError: Redis cannot be reached
    """
    if not broker.has_accounts():
        return
    try:
        server = broker.connection()
        keys = [PREFIX + account_id] if account_id else list(server.scan_iter(f"{PREFIX}*"))
        if keys:
            server.delete(*keys)
    except redis.RedisError as error:
        text = "The calls are counted in Redis, which cannot be reached; nothing was reset."
        raise ApiError(UNAVAILABLE, text) from error


def _asked(ask: Callable[[redis.Redis], T]) -> T | None:
    """What Redis says, or None while it is away: then it is left alone for some seconds, so that calls do not wait."""
    global _away_until  # noqa: PLW0603 - one process, one view of its Redis
    if not broker.has_accounts() or time.monotonic() < _away_until:
        return None
    try:
        found = ask(broker.connection(ANSWER_SECONDS))
    except redis.RedisError as error:
        if not _away_until:
            log.warning("calls are not counted: Redis is away", error=str(error))
        _away_until = time.monotonic() + AWAY_SECONDS
        return None
    if _away_until:
        log.info("calls are counted again")
        _away_until = 0.0
    return found
