"""Entry point of the workflow workers, with the sweeper in a thread of each: one of them at a time has that duty."""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import socket
import threading
import time
from typing import Any

import structlog
from celery import Celery
from sqlalchemy.exc import DBAPIError

from agents import log as logs
from agents.bus import worker_arguments
from manager import celery_app, reports, workflows
from manager.broker import assert_accounts
from manager.config import settings
from manager.configuration import value
from manager.db import transaction
from manager.workflows import engine, leases, sweep
from manager.workflows.expunge import expunge_due
from manager.workflows.housekeeping import forget_old

LEASE_SWEEPS = 3
WORKERS = 16
COLLECT_AFTER = (20_000, 20, 20)

log = structlog.get_logger()


def register(app: Celery) -> None:
    """Give the application its three tasks, and the engine every workflow that is declared."""
    for module in pkgutil.iter_modules(workflows.__path__):
        importlib.import_module(f"{workflows.__name__}.{module.name}")

    @app.task(name="manager.advance", bind=False)
    def advance(workflow_id: str) -> None:
        engine.advance(workflow_id)

    @app.task(name="manager.answers", bind=False)
    def answers(envelopes: Any) -> None:
        reports.take_answers(envelopes)

    @app.task(name="manager.report", bind=False)
    def report(envelope: Any) -> None:
        reports.take(envelope)


def keep_sweeping(stop: threading.Event) -> None:
    """Sweep every few seconds while this process has the duty. Whatever fails in a sweep, the next one comes."""
    holder = f"{socket.gethostname()}:{os.getpid()}"
    tend_at = 0.0
    seconds = settings().sweep_seconds
    while not stop.wait(seconds):
        try:
            if not leases.take("sweep", holder, seconds * LEASE_SWEEPS):
                continue
            pause = sweep_once()
            if time.monotonic() >= tend_at:
                expunge_due()
                forget_old()
                tend_at = time.monotonic() + pause
        except DBAPIError as error:
            log.warning("database unreachable", error=str(error))
        except Exception as error:
            log.error("sweep failed", exc_info=error)


def sweep_once() -> float:
    """What is looked at every few seconds; gives the seconds between looks at what is rarely due."""
    assert_accounts()
    sweep.sweep()
    with transaction() as session:
        down_after = value(session, "host.down.seconds")
        sweep.find_lost_hosts(session, down_after / 2, down_after / 2)
        return float(value(session, "expunge.interval"))


def _keep_what_is_loaded() -> None:
    """Spare the garbage collector the modules and declarations, which stay, and most of its looks at short-lived rows.

    With the interpreter's own thresholds these looks are a tenth of a worker's processor time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def main() -> None:
    logs.set_up(settings().log_level)
    app = celery_app.app()
    register(app)
    _keep_what_is_loaded()
    stop = threading.Event()
    threading.Thread(target=keep_sweeping, args=(stop,), daemon=True).start()
    try:
        app.worker_main(worker_arguments("threads", WORKERS))
    finally:
        stop.set()


if __name__ == "__main__":
    main()
