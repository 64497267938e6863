"""Which of redundant routers is primary, as their hosts tell it."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from agents.contract import RouterRole
from manager.db import write
from manager.models import Host, Router


def note(session: Session, agent_id: str, told: Iterable[RouterRole]) -> None:
    """Keep what differs; a host speaks only for the routers that are placed on it."""
    here = select(Host.id).where(Host.agent_id == agent_id, Host.removed.is_(None)).scalar_subquery()
    for one in told:
        changed = (Router.id == one.router_id, Router.host_id == here, Router.redundant_state != one.role)
        write(session, update(Router).where(*changed).values(redundant_state=one.role))
