"""The manager's side of the bus: its queues, and how a message is published.

A message is a doorbell: it says which row to look at. It may be lost, doubled or late; the sweeper rings again.
"""

from __future__ import annotations

from functools import cache

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from agents.bus import ANSWERS, REPORTS, make_app, send
from manager.config import settings

ORCHESTRATOR = "orchestrator"

log = structlog.get_logger()


@cache
def app() -> Celery:
    return make_app(settings().broker_url, [ORCHESTRATOR, ANSWERS, REPORTS])


def publish(name: str, task: str, *args: object) -> bool:
    """Send `task` to queue `name`; False, and a line in the log, when the broker cannot be reached."""
    try:
        send(app(), name, task, *args)
    except (OperationalError, RedisError, OSError) as error:
        log.warning("broker unreachable", queue=name, task=task, error=str(error))
        return False
    return True
