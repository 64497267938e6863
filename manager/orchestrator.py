"""Entry point of the workflow workers, with the sweeper in a thread of each: one of them at a time has that duty."""

from __future__ import annotations

import importlib
import os
import pkgutil
import socket
import threading
import time
from typing import Any

import structlog
from celery import Celery, signals
from sqlalchemy.exc import DBAPIError

from agents.bus import worker_arguments
from manager import celery_app, db, reports, workflows
from manager.broker import assert_accounts
from manager.config import settings
from manager.configuration import value
from manager.db import transaction
from manager.workflows import engine, leases, sweep
from manager.workflows.expunge import expunge_due
from manager.workflows.housekeeping import forget_old

LEASE_SECONDS = 30.0
WORKERS = 2

log = structlog.get_logger()


def register(app: Celery) -> None:
    """Give the application its three tasks, and the engine every workflow that is declared."""
    for module in pkgutil.iter_modules(workflows.__path__):
        importlib.import_module(f"{workflows.__name__}.{module.name}")

    @app.task(name="manager.advance", bind=False)
    def advance(workflow_id: str) -> None:
        engine.advance(workflow_id)

    @app.task(name="manager.answer", bind=False)
    def answer(envelope: Any) -> None:
        reports.take(envelope)

    @app.task(name="manager.report", bind=False)
    def report(envelope: Any) -> None:
        reports.take(envelope)


def keep_sweeping(stop: threading.Event) -> None:
    """Sweep every few seconds while this process has the duty; trouble with the database is waited out."""
    holder = f"{socket.gethostname()}:{os.getpid()}"
    tend_at = 0.0
    while not stop.wait(settings().sweep_seconds):
        try:
            if not leases.take("sweep", holder, LEASE_SECONDS):
                continue
            pause = sweep_once()
            if time.monotonic() >= tend_at:
                expunge_due()
                forget_old()
                tend_at = time.monotonic() + pause
        except DBAPIError as error:
            log.warning("sweep failed", error=str(error))


def sweep_once() -> float:
    """What is looked at every few seconds; gives the seconds between looks at what is rarely due."""
    assert_accounts()
    sweep.sweep()
    with transaction() as session:
        down_after = value(session, "host.down.seconds")
        sweep.find_lost_hosts(session, down_after / 2, down_after / 2)
        return float(value(session, "expunge.interval"))


@signals.worker_process_init.connect
def _fresh_connections(**_arguments: Any) -> None:
    """A forked worker must not share its parent's database connections."""
    db.engine().dispose(close=False)


def main() -> None:
    app = celery_app.app()
    register(app)
    stop = threading.Event()
    threading.Thread(target=keep_sweeping, args=(stop,), daemon=True).start()
    try:
        app.worker_main(worker_arguments("prefork", WORKERS))
    finally:
        stop.set()


if __name__ == "__main__":
    main()
