"""Packet captures: begun on the NIC's host, left alone for their time, and taken from there."""

from __future__ import annotations

import base64
import datetime as dt

import msgspec
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from agents.inquiry import BeginCapture, DropCapture, EndCapture
from manager import configuration
from manager.db import write
from manager.messages import ring
from manager.models import AgentCommandRow, Host, PacketCapture, WorkflowRow, utcnow
from manager.models.states import CAPTURE_MOVES
from manager.workflows.engine import Ask, Await, Outcome, Run, Step, StepFailed, workflow
from network.capture import CaptureFacts, CaptureSpec

ENDED_BY = {
    "seconds": "Its time was over.",
    "packets": "It had as many packets as were wanted.",
    "bytes": "Its file had no room for another packet.",
    "stopped": "It was stopped.",
    "gone": "The NIC was unplugged from its host.",
}


def _capture(run: Run) -> PacketCapture | None:
    """None when it went meanwhile, with its NIC or its account."""
    return run.session.get(PacketCapture, run.row.subject_id, populate_existing=True)


def begin_capture(run: Run) -> list[Ask]:
    capture = _capture(run)
    if capture is None:
        raise StepFailed("The NIC was removed.", 431)
    agent_id = run.session.scalars(select(Host.agent_id).where(Host.id == capture.host_id)).one()
    run.note(agent_id=agent_id)
    spec = msgspec.convert(capture.wanted, CaptureSpec)
    return [Ask(agent_id, BeginCapture(capture.id, capture.nic_id, spec))]


def note_begin(run: Run, _answers: list[None]) -> None:
    capture = _capture(run)
    if capture is not None and capture.ends is None:
        capture.ends = utcnow() + dt.timedelta(seconds=capture.wanted["seconds"])


def drop_capture(run: Run) -> list[Ask]:
    write(run.session, delete(PacketCapture).where(PacketCapture.id == run.row.subject_id))
    agent_id = run.recall("agent_id")
    return [Ask(agent_id, DropCapture(run.row.subject_id))] if agent_id else []


def await_end(run: Run) -> Outcome:
    """Nobody rings at its end: the workflow looks again every few seconds."""
    capture = _capture(run)
    is_over = capture is None or capture.ends is None or capture.ends <= utcnow()
    return None if is_over else Await(run.row.id)


def fetch_file(run: Run) -> list[Ask]:
    return [Ask(run.recall("agent_id"), EndCapture(run.row.subject_id))]


def keep_file(run: Run, answers: list[CaptureFacts]) -> None:
    """The file is kept in one place: what the agent answered is not needed any more."""
    told = update(AgentCommandRow).where(AgentCommandRow.workflow_id == run.row.id)
    write(run.session, told.values(answer=None))
    capture = _capture(run)
    if capture is None:
        return
    facts = answers[0]
    capture.content = base64.b64encode(facts.content).decode()
    capture.size, capture.packets, capture.dropped = len(facts.content), facts.packets, facts.dropped
    capture.reason, capture.running = ENDED_BY.get(facts.ended_by, facts.ended_by), None
    hours = int(configuration.value(run.session, "packet.capture.expire.hours"))
    capture.ends, capture.expires = utcnow(), utcnow() + dt.timedelta(hours=hours)
    CAPTURE_MOVES.move(capture, "finish")


capture_packets = workflow(
    "packets.capture",
    PacketCapture,
    [Step(begin_capture, undo=drop_capture, then=note_begin), Step(await_end), Step(fetch_file, then=keep_file)],
)


def stop(session: Session, capture: PacketCapture) -> None:
    """Have it end now."""
    capture.ends = utcnow()
    open_one = select(WorkflowRow.id).where(WorkflowRow.holds == capture_packets.holds(capture.id))
    for workflow_id in session.scalars(open_one):
        ring(session, workflow_id)
