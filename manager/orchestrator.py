"""Entry point of the workflow workers, with further threads in each: the sweeper and the watcher, duties that one
process at a time has, the sender of webhooks' deliveries, and the runner of custom actions.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from celery import Celery
from celery.signals import worker_ready
from sqlalchemy.exc import DBAPIError

from agents import log as logs
from agents.bus import worker_arguments
from manager import celery_app, reports, servers, workflows
from manager.broker import assert_accounts
from manager.config import settings
from manager.configuration import value
from manager.db import transaction
from manager.memory import keep_what_is_loaded
from manager.watch import watch, watch_drift
from manager.workflows import engine, extensions, leases, router_health, sweep, usage, webhooks
from manager.workflows.expunge import expunge_due
from manager.workflows.housekeeping import forget_captures, forget_figures, forget_notices, forget_old
from manager.workflows.vm_leases import end_leases

LEASE_SWEEPS = 3
WORKERS = 16
DRIFT_SECONDS = 300.0
DELIVER_SECONDS = 2.0
ACTION_SECONDS = 1.0
ACTION_RUNNERS = 4

log = structlog.get_logger()


def register(app: Celery) -> None:
    """Give the application its three tasks, and the engine every workflow that is declared."""
    for module in pkgutil.iter_modules(workflows.__path__):
        importlib.import_module(f"{workflows.__name__}.{module.name}")

    @app.task(name="manager.advance", bind=False)
    def advance(workflow_id: str) -> None:
        with servers.underway():
            engine.advance(workflow_id)

    @app.task(name="manager.answers", bind=False)
    def answers(envelopes: Any) -> None:
        with servers.underway():
            reports.take_answers(envelopes)

    @app.task(name="manager.report", bind=False)
    def report(envelope: Any) -> None:
        with servers.underway():
            reports.take(envelope)


class Intake:
    """The queues of this worker, from which it takes nothing while its server is leaving."""

    def __init__(self) -> None:
        self._consumer: Any = None
        self._is_open = True
        worker_ready.connect(self._ready, weak=False)

    def _ready(self, sender: Any, **_facts: Any) -> None:
        self._consumer = sender

    def follow(self) -> None:
        """Take from the queues, or not, as the server's state says by now; the consumer does so in its own thread."""
        is_open = not servers.is_leaving()
        if self._consumer is None or is_open == self._is_open:
            return
        change = self._consumer.add_task_queue if is_open else self._consumer.cancel_task_queue
        for name in celery_app.QUEUES:
            self._consumer.call_soon(change, name)
        self._is_open = is_open
        log.info("queues", taken=is_open)


def repeat(stop: threading.Event, seconds: float, work: Callable[[], None]) -> None:
    """Do `work` every so often until `stop`, unless its server is leaving. Whatever fails, the next time comes."""
    while not stop.wait(seconds):
        if servers.is_leaving():
            continue
        try:
            with servers.underway():
                work()
        except DBAPIError as error:
            log.warning("database unreachable", duty=work.__name__, error=str(error))
        except Exception as error:
            log.error("duty failed", duty=work.__name__, exc_info=error)


def holder() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def keep_sweeping(stop: threading.Event) -> None:
    """Sweep every few seconds, and tend to what is rarely due, while this process has the duty."""
    tend_at = 0.0
    seconds = settings().sweep_seconds

    def sweep_in_turn() -> None:
        nonlocal tend_at
        if not leases.take("sweep", holder(), seconds * LEASE_SWEEPS):
            return
        pause = sweep_once()
        while webhooks.announce() == webhooks.BATCH:
            pass
        if time.monotonic() >= tend_at:
            tend()
            tend_at = time.monotonic() + pause

    repeat(stop, seconds, sweep_in_turn)


def tend() -> None:
    """What is rarely due."""
    expunge_due()
    end_leases()
    forget_old()
    forget_notices()
    forget_figures()
    forget_captures()
    extensions.forget_runs()
    webhooks.forget_deliveries()


def keep_watching(stop: threading.Event) -> None:
    """Raise alerts and count usage while this process has that duty, in a thread of its own: drift takes long."""
    drift_at = health_at = 0.0

    def watch_in_turn() -> None:
        nonlocal drift_at, health_at
        if not leases.take(usage.DUTY, holder(), usage.DUTY_SECONDS):
            return
        if not drift_at:
            usage.adopt()
        watch()
        usage.count_due()
        if time.monotonic() >= drift_at:
            watch_drift()
            drift_at = time.monotonic() + DRIFT_SECONDS
        if time.monotonic() >= health_at:
            health_at = time.monotonic() + router_health.check_all()

    repeat(stop, usage.DUTY_SECONDS / LEASE_SWEEPS, watch_in_turn)


def keep_delivering(stop: threading.Event) -> None:
    """Send webhooks' deliveries as they become due, in a thread of its own: receivers may be slow."""

    def deliver() -> None:
        while webhooks.deliver_due() and not stop.is_set():
            pass

    repeat(stop, DELIVER_SECONDS, deliver)


def keep_running_actions(stop: threading.Event) -> None:
    """Run the programs of custom actions, in threads of their own: one takes as long as its action allows."""
    free = threading.Semaphore(ACTION_RUNNERS)

    def carry_out(taken: extensions.Taken) -> None:
        try:
            extensions.carry_out(taken)
        finally:
            free.release()

    def run_actions() -> None:
        while not stop.is_set() and free.acquire(blocking=False):
            taken = None
            try:
                taken = extensions.take_next(servers.name())
            finally:
                if taken is None:
                    free.release()
            if taken is None:
                return
            threading.Thread(target=carry_out, args=(taken,), daemon=True).start()

    repeat(stop, ACTION_SECONDS, run_actions)


def keep_looking_at_programs(stop: threading.Event) -> None:
    """Tell which extensions' programs can be run on this management server."""

    def look_at_programs() -> None:
        extensions.look_at_programs(servers.name())

    repeat(stop, extensions.SIGHT_SECONDS, look_at_programs)


def sweep_once() -> float:
    """What is looked at every few seconds; gives the seconds between looks at what is rarely due."""
    assert_accounts()
    sweep.sweep()
    with transaction() as session:
        down_after = value(session, "host.down.seconds")
        sweep.find_lost_hosts(session, down_after / 2, down_after / 2)
        return float(value(session, "expunge.interval"))


def main() -> None:
    logs.set_up(settings().log_level)
    app = celery_app.app()
    register(app)
    keep_what_is_loaded()
    servers.beat(starting=True)
    servers.start_beating(Intake().follow)
    stop = threading.Event()
    for duty in (keep_sweeping, keep_watching, keep_delivering, keep_looking_at_programs, keep_running_actions):
        threading.Thread(target=duty, args=(stop,), daemon=True).start()
    try:
        app.worker_main(worker_arguments("threads", WORKERS))
    finally:
        stop.set()
        servers.say_stopped()


if __name__ == "__main__":
    main()
