"""The agents of hosts and image stores: enrolled with them, and let go with them."""

from __future__ import annotations

import base64
import secrets

import redis
import structlog
from sqlalchemy import update

from agents.envelope import public_key
from manager import broker
from manager.api.call import Call
from manager.api.errors import Invalid
from manager.db import after_commit, write
from manager.models import Agent, AgentCommandRow, new_id, utcnow

PASSWORD_BYTES = 24
PREFIXES = {"host": "host", "image_store": "store"}

log = structlog.get_logger()


def enrol(call: Call, kind: str, details: dict[str, str] | None) -> Agent:
    """A new agent of `kind`, host or image_store; its account at the broker is made once the call is committed.

    :raises Invalid: `details` holds no Ed25519 key as publickey
    """
    key = _canonical_key((details or {}).get("publickey", ""))
    identifier = new_id()
    user = f"{PREFIXES[kind]}-{identifier[:8]}"
    agent = Agent(
        id=identifier,
        kind=kind,
        public_key=key,
        broker_user=user,
        broker_password=secrets.token_urlsafe(PASSWORD_BYTES),
        live=user,
    )
    call.add(agent, taken=f"An account {user} is there already; try again.")
    after_commit(call.session, lambda: _tell_broker(agent))
    return agent


def let_go(call: Call, agent_id: str, reason: str) -> None:
    """Remove the agent. Commands that it has not answered fail with `reason`; its account goes after the commit."""
    agent = call.session.get_one(Agent, agent_id)
    agent.remove()
    waiting = (AgentCommandRow.agent_id == agent_id, AgentCommandRow.status.in_(("open", "owed")))
    write(call.session, update(AgentCommandRow).where(*waiting).values(status="failed", error=reason))
    after_commit(call.session, lambda: _tell_broker(agent))


def _canonical_key(text: str) -> str:
    """The key in the one form of base64 that encoders write.

    :raises Invalid: it is not base64 of 32 bytes
    """
    if not text:
        raise Invalid("The agent's public key is missing; give it as details[0].publickey, in base64.")
    try:
        return base64.b64encode(public_key(text).public_bytes_raw()).decode()
    except ValueError as error:
        raise Invalid(f"The public key {text[:64]} is not an Ed25519 key: base64 of 32 bytes is wanted.") from error


def _tell_broker(agent: Agent) -> None:
    """Make or take away the account. A broker that is away is no error: the orchestrator repeats what is missing."""
    try:
        if agent.removed is None:
            broker.grant(agent)
        else:
            broker.revoke(agent)
    except redis.RedisError as error:
        log.warning("broker unreachable", agent=agent.id, error=str(error), at=utcnow().isoformat())
