"""The engine: workflows are lists of steps with undo, kept in rows, moved on by any worker.

A step touches only the database. What must happen in the world it returns as `Ask`s: the engine stores them as
commands in the same transaction, sends them after commit, and goes on when every answer is in. So a step's code runs
once a visit, and the row always tells what is outstanding. A step that fails rolls its whole transaction back; undo
begins at the failing step and copes with nothing, half or all done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from agents.contract import COMMANDS, Answer, Command, answer_as, to_plain
from manager.db import epoch, transaction
from manager.messages import ring, send_command
from manager.models import AgentCommandRow, WorkflowRow, utcnow
from manager.workflows.ending import end

RESEND_SECONDS = 5.0
RING_SECONDS = 5.0
UNDO_ATTEMPTS = 6

log = structlog.get_logger()


class StepFailed(Exception):  # noqa: N818 - it names what happened
    """A step cannot do its work. The message is a sentence for the user, `code` CloudStack's error code."""

    def __init__(self, message: str, code: int = 530) -> None:
        super().__init__(message)
        self.code = code


class Busy(Exception):  # noqa: N818 - it names what happened
    """Another workflow is open for the same subject; the transaction was rolled back."""

    def __init__(self, holds: str) -> None:
        with transaction() as session:
            row = session.scalar(select(WorkflowRow).filter_by(holds=holds))
        job = f"job {row.id} ({row.command or row.name})" if row else "a job that has just ended"
        super().__init__(f"{holds.replace(':', ' ')} is busy with {job}; try again when that has ended.")


@dataclass(frozen=True, slots=True)
class Ask:
    """A command for an agent, and the generation of its subject that the agent compares."""

    agent_id: str
    command: Command
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Await:
    """Visit this step again when the named workflow has ended."""

    workflow_id: str


Outcome = Sequence[Ask] | Await | None


@dataclass
class Run:
    """A visit to a workflow: its session, its row, and what earlier steps noted in `memory` (JSON)."""

    session: Session
    row: WorkflowRow

    @property
    def arguments(self) -> dict[str, Any]:
        return self.row.arguments

    def recall(self, key: str) -> Any:
        return self.row.memory.get(key)

    def note(self, **values: Any) -> None:
        self.row.memory = {**self.row.memory, **values}

    def subject(self, model: type[Any]) -> Any:
        """The entity that the workflow is about."""
        return self.session.get_one(model, self.row.subject_id)


@dataclass(frozen=True)
class Step:
    """`do` and `undo` return the commands to ask, or what to wait for; `then` takes the typed answers of `do`.

    A step without `undo` leaves nothing that must be taken back, or leaves it to an earlier step's undo.
    """

    do: Callable[[Run], Outcome]
    undo: Callable[[Run], Outcome] | None = None
    then: Callable[[Run, list[Any]], None] | None = None

    @property
    def name(self) -> str:
        return self.do.__name__


@dataclass(frozen=True)
class Workflow:
    """`subject` is the table of what the workflow is about; one workflow a subject is open at a time."""

    name: str
    subject: type[Any]
    steps: tuple[Step, ...]

    def start(self, session: Session, subject: Any, *, call: Any = None, **arguments: Any) -> WorkflowRow:
        """Store the workflow and ring for it after commit.

        `call` is the API call that asks for it (its command, user and account are shown in the job), if any.

        :raises Busy: another workflow is open for the subject
        """
        holds = f"{self.subject.__tablename__}:{subject.id}"
        row = WorkflowRow(
            name=self.name,
            subject_type=self.subject.__tablename__,
            subject_id=subject.id,
            holds=holds,
            arguments=arguments,
            wake_at=epoch() + RING_SECONDS,
            command=call.command if call else "",
            account_id=call.account.id if call else getattr(subject, "account_id", None),
            user_id=call.user.id if call else None,
        )
        session.add(row)
        try:
            session.flush()
        except IntegrityError as error:
            session.rollback()
            raise Busy(holds) from error
        ring(session, row.id)
        return row


WORKFLOWS: dict[str, Workflow] = {}


def workflow(name: str, subject: type[Any], steps: Sequence[Step]) -> Workflow:
    """Declare a workflow."""
    WORKFLOWS[name] = Workflow(name, subject, tuple(steps))
    return WORKFLOWS[name]


Mark = Callable[[Session], bool]


def advance(workflow_id: str, mark: Mark | None = None) -> None:
    """Move the workflow on as far as it goes without an answer. Any number of times, by any worker.

    `mark` notes first, in the same transaction, what there is to go on (an answer); False from it ends the visit.
    """
    failed: tuple[int, bool, BaseException] | None = None
    try:
        with transaction() as session:
            if mark and not mark(session):
                return
            row = _locked(session, workflow_id)
            if row is not None:
                try:
                    _drive(session, row)
                except DBAPIError:
                    raise
                except Exception as error:
                    failed = (row.position, row.undoing, error)
                    raise _RolledBack from error
    except _RolledBack:
        pass
    if failed:
        with transaction() as session:
            if mark:
                mark(session)
            _record_failure(session, workflow_id, *failed)


class _RolledBack(Exception):  # noqa: N818 - never leaves this module
    pass


def _locked(session: Session, workflow_id: str) -> WorkflowRow | None:
    """The open workflow, its row locked until the transaction ends: two workers never drive one workflow."""
    query = select(WorkflowRow).filter_by(id=workflow_id, status="running").with_for_update()
    return session.scalar(query)


def _drive(session: Session, row: WorkflowRow) -> None:
    steps = WORKFLOWS[row.name].steps
    run = Run(session, row)
    row.fence += 1
    while 0 <= row.position < len(steps):
        step = steps[row.position]
        if row.asked:
            if not _take_answers(run, step):
                return
        else:
            if row.cancelled and not row.undoing:
                raise StepFailed("The job was cancelled.")
            if _visit(run, step):
                return
        _trace(row, step, "done")
        row.position += -1 if row.undoing else 1
        row.attempts = 0
    end(session, row, "failed" if row.undoing else "done")


def _visit(run: Run, step: Step) -> bool:
    """Run the step's code; True when the workflow must now wait."""
    row = run.row
    row.wake_at = None
    row.waiting_for = None
    function = step.undo if row.undoing else step.do
    outcome = function(run) if function else None
    if isinstance(outcome, Await):
        row.waiting_for = outcome.workflow_id
        row.wake_at = epoch() + RING_SECONDS
        return True
    if not outcome:
        return False
    row.asked = len(outcome)
    _store(run.session, row, outcome)
    return True


def _store(session: Session, row: WorkflowRow, asks: Sequence[Ask]) -> None:
    session.flush()
    for ask in asks:
        command = AgentCommandRow(
            workflow_id=row.id,
            position=row.position,
            undoing=row.undoing,
            agent_id=ask.agent_id,
            name=ask.command.name,
            subject=ask.command.subject,
            generation=ask.generation,
            arguments=to_plain(ask.command),
            due_at=epoch() + RESEND_SECONDS,
            deadline=epoch() + ask.command.timeout,
        )
        session.add(command)
        session.flush()
        send_command(session, command)


def _take_answers(run: Run, step: Step) -> bool:
    """True when every command of the step is answered and well; False while one is open.

    :raises StepFailed: one failed
    """
    row = run.row
    query = select(AgentCommandRow).filter_by(workflow_id=row.id, position=row.position, undoing=row.undoing)
    commands = run.session.scalars(query.order_by(AgentCommandRow.sequence)).all()[-row.asked :]
    if any(command.status == "open" for command in commands):
        return False
    row.asked = 0
    failed = next((command for command in commands if command.status == "failed"), None)
    if failed is not None:
        raise StepFailed(failed.error or "The agent gave no reason.")
    if step.then and not row.undoing:
        try:
            answers = [answer_as(COMMANDS[c.name], (c.answer or {}).get("result")) for c in commands]
        except msgspec.ValidationError as error:
            raise StepFailed(f"The agent's answer cannot be read: {error}.") from error
        step.then(run, answers)
    return True


def _trace(row: WorkflowRow, step: Step, state: str, reason: str = "") -> None:
    entry = {"step": step.name, "undoing": row.undoing, "state": state, "attempts": row.attempts + 1}
    if reason:
        entry["reason"] = reason
    row.trace = [*row.trace, {**entry, "at": utcnow().isoformat()}]


def _record_failure(session: Session, workflow_id: str, position: int, undoing: bool, error: BaseException) -> None:
    """Turn to undo at the failing step; an undo that fails is tried again later, and at last an operator is called."""
    row = _locked(session, workflow_id)
    if row is None or row.undoing != undoing:
        return
    reason = str(error) or type(error).__name__
    step = WORKFLOWS[row.name].steps[position]
    row.position, row.asked, row.waiting_for = position, 0, None
    _trace(row, step, "failed", reason)
    if not undoing:
        row.undoing, row.error, row.error_code, row.attempts = True, reason, getattr(error, "code", 530), 0
        row.wake_at = epoch() + RING_SECONDS
        ring(session, row.id)
    elif row.attempts + 1 < UNDO_ATTEMPTS:
        row.attempts += 1
        row.wake_at = epoch() + 2.0**row.attempts
    else:
        row.error = f"{row.error} Undoing {step.name} failed: {reason}"
        end(session, row, "stuck")
    if not isinstance(error, StepFailed):
        log.error("step raised", workflow=row.id, name=row.name, step=step.name, exc_info=error)


def answer(agent_id: str, workflow_id: str, reply: Answer) -> None:
    """Take an agent's answer and move its workflow on.

    An answer to a command that is not open any more, or was not given to this agent, changes nothing.
    """

    def mark(session: Session) -> bool:
        query = select(AgentCommandRow).filter_by(id=reply.command_id, workflow_id=workflow_id, agent_id=agent_id)
        command = session.scalar(query.with_for_update())
        if command is None or command.status not in ("open", "owed"):
            return False
        was_open = command.status == "open"
        command.status = "done" if reply.ok else "failed"
        command.answer = {"result": reply.result}
        command.error = reply.error or None
        session.flush()
        return was_open

    advance(workflow_id, mark)
