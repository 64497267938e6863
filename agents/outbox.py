"""What an agent's process sends to the manager: answers together, as they come within a moment."""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from agents.bus import ANSWERS, Message, send
from agents.envelope import Envelope

LINGER_SECONDS = 0.02
MOST = 200

log = structlog.get_logger()


def post(app: Celery, message: Message) -> None:
    """Send, or leave it: the manager asks again for an answer, and the next report is whole."""
    try:
        send(app, [message])
    except (OperationalError, RedisError, OSError) as error:
        log.warning("broker unreachable", task=message.task, error=str(error))


class Outbox:
    """Answers on their way. Those that a killed process had here are in its journal, and are asked for again."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._waiting: SimpleQueue[Envelope] = SimpleQueue()

    def put(self, envelope: Envelope) -> None:
        self._waiting.put(envelope)

    def keep_sending(self) -> None:
        while True:
            self.send_waiting()

    def send_waiting(self) -> None:
        """Wait for an answer and send it with those that follow within `LINGER_SECONDS`."""
        first = self._waiting.get()
        time.sleep(LINGER_SECONDS)
        self._send([first, *self._others()])

    def _others(self) -> list[Envelope]:
        """What has come meanwhile, with the first at most `MOST`."""
        found: list[Envelope] = []
        try:
            while len(found) < MOST - 1:
                found.append(self._waiting.get_nowait())
        except Empty:
            pass
        return found

    def _send(self, envelopes: list[Envelope]) -> None:
        try:
            post(self._app, Message(ANSWERS, "manager.answers", (envelopes,)))
        except Exception as error:  # whatever the broker's client raises, the next answers go out
            log.error("answers not sent", count=len(envelopes), exc_info=error)
