"""The Celery application that the manager and the agents both use: a bus that only rings."""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu import Exchange, Queue
from kombu.transport import redis as redis_transport
from kombu.transport import virtual

ANSWERS = "answers"
REPORTS = "reports"
VISIBILITY_SECONDS = 12 * 3600


class _QoS(redis_transport.QoS):
    """Counts a message as done even when Redis cannot be told so any more.

    Else a worker whose Redis dies keeps messages that count as under way. Once they are as many as the worker may
    hold, it asks for no more, and so never notices that its connection is dead.
    """

    def ack(self, delivery_tag: str) -> None:
        try:
            super().ack(delivery_tag)
        finally:
            virtual.QoS.ack(self, delivery_tag)


redis_transport.Channel.QoS = _QoS


def queue(name: str) -> Queue:
    """A queue that is reached by its name alone, without a binding that a host could alter."""
    return Queue(name, Exchange(""), routing_key=name)


def make_app(broker_url: str, queues: list[str], private: str = "", *, patience: float = 30.0) -> Celery:
    """A Celery application without results, remote control or gossip; `private` prefixes its own keys in Redis.

    `patience` is how many seconds Redis may take for an answer. A publisher connects once and never tries again.
    """
    app = Celery("pileus", broker=broker_url, set_as_current=False)
    transport: dict[str, Any] = {
        "visibility_timeout": VISIBILITY_SECONDS,
        "socket_connect_timeout": min(2.0, patience),
        "socket_timeout": patience,
        "max_retries": 0,
        "socket_keepalive": True,
        "priority_steps": [0],
    }
    if private:
        for key in ("unacked_key", "unacked_index_key", "unacked_mutex_key"):
            transport[key] = f"{private}.{key.removesuffix('_key')}"
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


def send(app: Celery, name: str, task: str, *args: object) -> None:
    """Put a message into queue `name`.

    :raises OSError, kombu.exceptions.OperationalError, redis.exceptions.RedisError: the broker is not there
    """
    app.send_task(task, args=args, queue=queue(name), retry=False, ignore_result=True)  # type: ignore[arg-type]  # celery-types knows names only


def worker_arguments(pool: str, concurrency: int) -> list[str]:
    """Arguments of `Celery.worker_main` for a worker that keeps no bond with other workers."""
    flags = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return ["worker", "--pool", pool, "--concurrency", str(concurrency), "--loglevel", "WARNING", *flags]
