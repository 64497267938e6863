"""The manager's side of the bus: its queues, and how a message is published.

A message is a doorbell: it says which row to look at. It may be lost, doubled or late; the sweeper rings again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from agents.bus import ANSWERS, REPORTS, Message, make_app, send
from manager.config import settings

ORCHESTRATOR = "orchestrator"
QUEUES = [ORCHESTRATOR, ANSWERS, REPORTS]
PATIENCE_SECONDS = 1.0
SWIFT_SECONDS = 0.3
REST_SECONDS = 3.0

log = structlog.get_logger()


@cache
def app() -> Celery:
    return make_app(settings().broker_url, QUEUES)


@cache
def _publisher(url: str) -> Celery:
    """An application that only sends, and so need not wait for Redis longer than a caller would."""
    return make_app(url, [ORCHESTRATOR], patience=PATIENCE_SECONDS)


class _Rest:
    """Until when nothing is sent, after the broker could not be reached; monotonic seconds, one for a process."""

    until = 0.0


def publish(messages: Sequence[Message]) -> bool:
    """Send `messages`; False, and a line in the log, when the broker cannot be reached.

    Then this process sends nothing for some seconds, so that a request costs no more than a second while Redis is
    away; the sweeper rings later for what was not sent.
    """
    if time.monotonic() < _Rest.until:
        return False
    try:
        _send_twice(messages)
    except (OperationalError, RedisError, OSError) as error:
        _Rest.until = time.monotonic() + REST_SECONDS
        log.warning("broker unreachable", queues=sorted({message.queue for message in messages}), error=str(error))
        return False
    return True


def _send_twice(messages: Sequence[Message]) -> None:
    """Send; a failure that comes at once may be that of a connection to a Redis that is back by now."""
    publisher = _publisher(settings().broker_url)
    started = time.monotonic()
    try:
        send(publisher, messages)
    except (OperationalError, RedisError, OSError):
        if time.monotonic() - started > SWIFT_SECONDS:
            raise
        send(publisher, messages)
