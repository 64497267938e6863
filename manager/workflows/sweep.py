"""The sweeper: what a lost message, a dead worker or a silent host left waiting is looked at again.

Nothing here decides by inference: a command is sent again (the agent answers from its journal), or given up with
its reason once its own deadline has passed or its host is Down; the workflow then unwinds by its undo steps.
"""

from __future__ import annotations

from sqlalchemy import and_, exists, or_, select, update
from sqlalchemy.orm import Session

from agents.contract import COMMANDS
from manager.db import epoch, transaction, write
from manager.messages import ring, send_commands, together
from manager.models import Agent, AgentCommandRow, Host, WorkflowRow
from manager.workflows.engine import RESEND_SECONDS

BATCH = 500
OWED_SECONDS = 60.0


def sweep() -> None:
    """One pass: ring for workflows that are due, send overdue commands again, give up hopeless ones."""
    for duty in (_ring_due, _give_up, _send_again):
        with together(), transaction() as session:
            duty(session)


def _ring_due(session: Session) -> None:
    """Workflows whose time has come, and those whose commands are all answered though nobody went on."""
    outstanding = exists().where(AgentCommandRow.workflow_id == WorkflowRow.id, AgentCommandRow.status == "open")
    due = or_(WorkflowRow.wake_at <= epoch(), and_(WorkflowRow.wake_at.is_(None), ~outstanding))
    query = select(WorkflowRow.id).where(WorkflowRow.status == "running", due).limit(BATCH)
    for workflow_id in session.scalars(query).all():
        ring(session, workflow_id)


def _give_up(session: Session) -> None:
    """Fail open commands past their deadline, or at once where the host is Down; what undoes is owed instead."""
    down = exists().where(Host.agent_id == AgentCommandRow.agent_id, Host.state == "Down", Host.removed.is_(None))
    query = select(AgentCommandRow, down.label("down")).where(
        AgentCommandRow.status == "open", or_(AgentCommandRow.deadline < epoch(), down)
    )
    for command, is_down in session.execute(query.limit(BATCH)).all():
        if command.undoing and is_down:
            command.status = "owed"
        else:
            command.status = "failed"
            command.error = _reason(session, command, is_down)
        ring(session, command.workflow_id)


def _reason(session: Session, command: AgentCommandRow, is_down: bool) -> str:
    host = session.scalar(select(Host.name).filter_by(agent_id=command.agent_id)) or "the image store's agent"
    if is_down:
        return f"Host {host} is Down: its agent has not reported; {command.name} was not confirmed."
    seconds = COMMANDS[command.name].timeout
    return f"{host} did not answer {command.name} within {seconds} s."


def _send_again(session: Session) -> None:
    """Send overdue commands again, less often each time; owed ones as long as it takes, once the host is heard."""
    query = (
        select(AgentCommandRow)
        .where(AgentCommandRow.status.in_(("open", "owed")), AgentCommandRow.due_at < epoch())
        .order_by(AgentCommandRow.sequence)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    commands = session.scalars(query).all()
    for command in commands:
        delay = OWED_SECONDS if command.status == "owed" else min(RESEND_SECONDS * 2**command.sent, OWED_SECONDS)
        command.sent += 1
        command.due_at = epoch() + delay
    session.flush()
    send_commands(session, commands)


def find_lost_hosts(session: Session, after_seconds: float, bury_seconds: float) -> None:
    """Hosts whose agent is silent become Disconnected, and Down after `bury_seconds` more. Guests are not touched."""
    silent = select(Agent.id).where(Agent.last_seen < epoch() - after_seconds, Agent.last_seen > 0)
    write(
        session,
        update(Host)
        .where(Host.state == "Up", Host.removed.is_(None), Host.agent_id.in_(silent))
        .values(state="Disconnected", disconnected=epoch()),
    )
    write(
        session,
        update(Host)
        .where(Host.state == "Disconnected", Host.removed.is_(None), Host.disconnected < epoch() - bury_seconds)
        .values(state="Down"),
    )
