"""What the manager puts on the broker: doorbells to its own workers and signed commands to agents."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session

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
    after_commit(session, lambda: _publish_commands(rows))


def _publish_commands(rows: Sequence[AgentCommandRow]) -> None:
    for row in rows:
        publish(f"agent.{row.agent_id}", "agents.do", envelope_of(row))


def ring(session: Session, workflow_id: str) -> None:
    """Have a worker look at the workflow once this transaction is committed."""
    after_commit(session, lambda: _publish_ring(workflow_id))


def _publish_ring(workflow_id: str) -> None:
    publish(ORCHESTRATOR, "manager.advance", workflow_id)
