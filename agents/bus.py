"""The Celery application that the manager and the agents both use: a bus that only rings."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from celery import Celery, Task
from kombu import Exchange, Producer, Queue
from kombu.exceptions import BatchPublishError, OperationalError  # type: ignore[attr-defined]  # newer than its types

ANSWERS = "answers"
REPORTS = "reports"
TRANSIENT = 1

log = structlog.get_logger()
logger = logging.getLogger(__name__)
encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Message:
    """Calls of `task` by way of `queue`, one for each of `arguments`."""

    queue: str
    task: str
    arguments: tuple[Any, ...]


def queue(name: str) -> Queue:
    """A queue that is reached by its name alone, without a binding that a host could alter."""
    return Queue(name, Exchange(""), routing_key=name)


def make_app(broker_url: str, queues: list[str], *, patience: float = 30.0) -> Celery:
    """A Celery application without results, remote control or gossip.

    Which messages a worker has taken is known to that worker alone: those of one that is killed are lost, and rung
    again. `patience` is how many seconds Redis may take for an answer. A publisher connects once and never tries again.
    """
    app: Celery[Any] = Celery("pileus", broker=broker_url, set_as_current=False, task_cls=Doorbell)
    transport: dict[str, Any] = {
        "ack_emulation": False,
        "socket_connect_timeout": min(2.0, patience),
        "socket_timeout": patience,
        "max_retries": 0,
        "socket_keepalive": True,
        "priority_steps": [0],
    }
    app.conf.update(
        task_queues=[queue(name) for name in queues],
        task_default_queue=queues[0],
        task_default_exchange="",
        task_default_routing_key=queues[0],
        task_ignore_result=True,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_soft_shutdown_timeout=5,
        broker_connection_retry_on_startup=True,
        broker_transport_options=transport,
    )
    return app


def send(app: Celery, messages: Sequence[Message]) -> None:
    """Put all `messages` into their queues, in one exchange with Redis; some may be there even when this fails.

    They have the form of Celery's protocol 2, with the headers that it needs and no others.

    :raises OSError, kombu.exceptions.OperationalError, redis.exceptions.RedisError: the broker is not there
    """
    try:
        with app.producer_or_acquire() as producer, producer.batch():
            for message in messages:
                _publish(producer, message)
    except BatchPublishError as error:
        raise OperationalError(str(error.__cause__ or error)) from error


def _publish(producer: Producer, message: Message) -> None:
    task_id = str(uuid.uuid4())
    producer.publish(
        encoder.encode([message.arguments, {}, {}]).decode(),
        exchange="",
        routing_key=message.queue,
        headers={"lang": "py", "task": message.task, "id": task_id, "root_id": task_id, "ignore_result": True},
        correlation_id=task_id,
        content_type="application/json",
        content_encoding="utf-8",
        delivery_mode=TRANSIENT,
    )


def receiver(task: Task[..., Any], _app: Celery, consumer: Any) -> Callable[..., None]:
    """How a worker handles the messages of `task`.

    What Celery's own way does for results, retries, rates and events is left out, since a doorbell has none of them.
    """

    def call(argument: Any, acknowledge: Callable[..., None] | None) -> None:
        if acknowledge is not None:
            acknowledge(logger, consumer.connection_errors)
        try:
            task.run(argument)
        except Exception as error:  # whatever a task raises, the worker goes on
            log.error("task failed", task=task.name, exc_info=error)

    def receive(message: Any, _body: Any, acknowledge: Callable[..., None], *_: Any) -> None:
        arguments, *_ = message.decode()
        for number, argument in enumerate(arguments):
            one = (argument, acknowledge if number == 0 else None)
            consumer.pool.apply_async(call, one, callback=_forget)

    return receive


class Doorbell(Task[..., Any]):
    """A task of one argument: each argument of a message is a call, in whichever thread of the worker is free."""

    abstract = True
    Strategy = staticmethod(receiver)  # type: ignore[assignment]  # celery-types knows it by name only


def _forget(_result: None) -> None:
    """What a pool does with the nothing that a task gives."""


def worker_arguments(pool: str, concurrency: int) -> list[str]:
    """Arguments of `Celery.worker_main` for a worker that keeps no bond with other workers."""
    flags = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return ["worker", "--pool", pool, "--concurrency", str(concurrency), "--loglevel", "WARNING", *flags]
