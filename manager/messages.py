"""What the manager puts on the broker: doorbells to its own workers and signed commands to agents."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session

from agents.bus import Message
from agents.envelope import Envelope, load_key, sign
from manager.celery_app import ORCHESTRATOR, publish
from manager.config import settings
from manager.db import after_commit
from manager.models import AgentCommandRow

ENVELOPE_SECONDS = 900


@cache
def signing_key() -> Ed25519PrivateKey:
    return load_key(settings().signing_key_file)


def envelope_of(row: AgentCommandRow) -> Envelope:
    """The command of `row` for its agent, with the fences that the agent compares at the place of effect."""
    payload = {
        "agent": row.agent_id,
        "id": row.id,
        "action": row.name,
        "arguments": row.arguments,
        "subject": row.subject,
        "sequence": row.sequence,
        "generation": row.generation,
        "job": row.workflow_id,
        "step": row.position,
    }
    return sign(signing_key(), payload, ENVELOPE_SECONDS)


def send_commands(session: Session, rows: Sequence[AgentCommandRow]) -> None:
    """Send the commands once their rows are committed."""
    after_commit(session, lambda: _post([(f"agent.{row.agent_id}", "agents.do", envelope_of(row)) for row in rows]))


def ring(session: Session, workflow_id: str) -> None:
    """Have a worker look at the workflow once this transaction is committed."""
    after_commit(session, lambda: _post([(ORCHESTRATOR, "manager.advance", workflow_id)]))


Call = tuple[str, str, Any]
"""Queue, task and argument."""

_kept = threading.local()


@contextmanager
def together() -> Iterator[None]:
    """What this thread's transactions have to send is sent at the end of the block, calls of one queue in one message.

    All of it is committed by then; what is lost with a process that dies before is sent by the sweeper.
    """
    calls: list[Call] = []
    _kept.calls = calls
    try:
        yield
    finally:
        _kept.calls = None
        _publish(calls)


def _post(calls: list[Call]) -> None:
    kept = getattr(_kept, "calls", None)
    if kept is None:
        _publish(calls)
    else:
        kept.extend(calls)


def _publish(calls: list[Call]) -> None:
    grouped: dict[tuple[str, str], list[Any]] = {}
    for queue, task, argument in calls:
        grouped.setdefault((queue, task), []).append(argument)
    if grouped:
        publish([Message(queue, task, tuple(arguments)) for (queue, task), arguments in grouped.items()])
