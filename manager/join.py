"""The join document: what the agent of a host or image store must know to be believed and to believe."""

from __future__ import annotations

from agents.envelope import load_key, public_text
from manager.broker import grant
from manager.config import settings
from manager.models import Agent


def join_document(agent: Agent, subject_id: str) -> dict[str, str]:
    """For that machine alone, as the first part of agents.config.AgentConfig: it opens the agent's broker account.

    The account is made, or made anew after Redis lost it.

    :raises redis.RedisError: the broker is away
    """
    grant(agent)
    return {
        "agent_id": agent.id,
        "kind": agent.kind,
        "subject_id": subject_id,
        "broker_url": settings().agent_broker_url or settings().broker_url,
        "broker_user": agent.broker_user,
        "broker_password": agent.broker_password,
        "manager_public_key": public_text(load_key(settings().signing_key_file)),
    }
