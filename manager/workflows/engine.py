"""The engine: workflows are lists of steps with undo, kept in rows, moved on by any worker.

A step touches only the database. What must happen in the world it returns as `Ask`s: the engine stores them as
commands in the same transaction, sends them after commit, and goes on when every answer is in. So a step's code runs
once a visit, and the row always tells what is outstanding. A step that fails rolls its whole transaction back; undo
begins at the failing step and copes with nothing, half or all done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgspec
import structlog
from sqlalchemy import Executable, bindparam, func, select, tuple_, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from agents.contract import COMMANDS, Answer, Command, answer_as, to_plain
from manager.db import epoch, transaction, write
from manager.messages import ring, send_commands
from manager.models import AgentCommandRow, WorkflowRow, utcnow
from manager.workflows.ending import end, note_start

RESEND_SECONDS = 5.0
RING_SECONDS = 5.0
UNDO_ATTEMPTS = 6
INTERNAL = 530

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
    """A visit to a workflow: its session, its row, and what earlier steps noted in `memory` (JSON).

    How far the visit has come is kept here and written to the row at its end, so that the row is written once.
    `cache` holds what the steps of one visit have read.
    """

    session: Session
    row: WorkflowRow
    position: int = 0
    attempts: int = 0
    memory: dict[str, Any] = field(default_factory=dict)
    trace: list[dict[str, Any]] = field(default_factory=list)
    cache: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, session: Session, row: WorkflowRow) -> Run:
        return cls(session, row, row.position, row.attempts, dict(row.memory))

    @property
    def arguments(self) -> dict[str, Any]:
        return self.row.arguments

    def recall(self, key: str) -> Any:
        return self.memory.get(key)

    def note(self, **values: Any) -> None:
        self.memory |= values

    def subject(self, model: type[Any]) -> Any:
        """The entity that the workflow is about."""
        return self.session.get_one(model, self.row.subject_id)

    def save(self) -> None:
        row = self.row
        row.fence += 1
        row.position, row.attempts = self.position, self.attempts
        if self.memory != row.memory:
            row.memory = self.memory
        if self.trace:
            row.trace = [*row.trace, *self.trace]


@dataclass(frozen=True)
class Step:
    """`do` and `undo` return the commands to ask, or what to wait for; `then` takes the typed answers of `do`.

    A step without `undo` leaves nothing that must be taken back, or leaves it to an earlier step's undo. One that is
    `tolerant` goes on without an answer: `then` gets a StepFailed in its place.
    """

    do: Callable[[Run], Outcome]
    undo: Callable[[Run], Outcome] | None = None
    then: Callable[[Run, list[Any]], None] | None = None
    tolerant: bool = False

    @property
    def name(self) -> str:
        return self.do.__name__


@dataclass(frozen=True)
class Workflow:
    """`subject` is the table of what the workflow is about; one workflow a subject is open at a time.

    With a `lane`, one in that lane: beside another workflow of the subject that has another lane or none. Others may
    come upon one that is `awaited` and wait for its end; for that of another kind, who starts it says awaited=True.
    """

    name: str
    subject: type[Any]
    steps: tuple[Step, ...]
    lane: str = ""
    awaited: bool = False

    def holds(self, subject_id: str) -> str:
        """The unique key that an open workflow of the subject has."""
        return f"{self.lane or self.subject.__tablename__}:{subject_id}"

    def start(self, session: Session, subject: Any, *, call: Any = None, **arguments: Any) -> WorkflowRow:
        """Store the workflow and ring for it after commit.

        `call` is the API call that asks for it (its command, user and account are shown in the job), if any.

        :raises Busy: another workflow is open for the subject
        """
        holds = self.holds(subject.id)
        row = WorkflowRow(
            name=self.name,
            subject_type=self.subject.__tablename__,
            subject_id=subject.id,
            holds=holds,
            arguments=arguments | ({"awaited": True} if self.awaited else {}),
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


def workflow(name: str, subject: type[Any], steps: Sequence[Step], **options: Any) -> Workflow:
    """Declare a workflow; `options` are `lane` and `awaited`."""
    WORKFLOWS[name] = Workflow(name, subject, tuple(steps), **options)
    return WORKFLOWS[name]


class _StepRaised(Exception):  # noqa: N818 - never leaves this module
    """What a step raised, and where; the transaction is rolled back by it."""

    def __init__(self, run: Run, error: Exception) -> None:
        super().__init__(str(error))
        self.position, self.undoing, self.error = run.position, run.row.undoing, error


def advance(workflow_id: str) -> None:
    """Move the workflow on as far as it goes without an answer. Any number of times, by any worker."""
    try:
        with transaction() as session:
            row, now, done = _locked(session, workflow_id)
            if row is not None:
                _drive(session, row, now, done)
    except _StepRaised as failure:
        with transaction() as session:
            _record_failure(session, workflow_id, failure)


def _locked(session: Session, workflow_id: str) -> tuple[WorkflowRow | None, float, int]:
    """The open workflow, the database's clock, and how many commands of its present step are done.

    Its row is locked until the transaction ends: two workers never drive one workflow. The count may be from before
    the wait for the lock, and so too low, never too high.
    """
    found = session.execute(_lock_query(), {"workflow_id": workflow_id}).first()
    return (None, 0.0, 0) if found is None else (found[0], found[1], found[2])


@cache
def _lock_query() -> Executable:
    command = AgentCommandRow
    done = select(func.count()).where(
        command.workflow_id == WorkflowRow.id,
        command.position == WorkflowRow.position,
        command.undoing == WorkflowRow.undoing,
        command.status == "done",
    )
    query = select(WorkflowRow, epoch(), done.scalar_subquery()).where(WorkflowRow.id == bindparam("workflow_id"))
    return query.where(WorkflowRow.status == "running").with_for_update(of=WorkflowRow)


def _drive(session: Session, row: WorkflowRow, now: float, done: int) -> None:
    run = Run.of(session, row)
    note_start(session, row)
    plain = done == row.asked and not row.attempts and WORKFLOWS[row.name].steps[row.position].then is None
    answers = () if plain else _answers(run)
    if any(command.status == "open" for command in answers):
        return
    try:
        outcome = _walk(run, answers)
    except DBAPIError:
        raise
    except Exception as error:
        raise _StepRaised(run, error) from error
    asks = () if isinstance(outcome, Await) else outcome or ()
    row.asked = len(asks)
    row.waiting_for = outcome.workflow_id if isinstance(outcome, Await) else None
    row.wake_at = now + RING_SECONDS if isinstance(outcome, Await) else None
    run.save()
    if asks:
        _store(run, asks, now)
    elif not outcome:
        end(session, row, "failed" if row.undoing else "done")


def _walk(run: Run, answers: Sequence[Any]) -> Outcome:
    """Take steps until one has something to wait for, which is returned; None when all are taken.

    The present step's commands, if it has asked any, are done; `answers` are what came of them, where that matters.
    """
    row = run.row
    steps = WORKFLOWS[row.name].steps
    answered = row.asked > 0
    while 0 <= run.position < len(steps):
        step = steps[run.position]
        if answered:
            _finish(run, step, answers)
            answered = False
        elif row.cancelled and not row.undoing:
            raise StepFailed("The job was cancelled.")
        elif outcome := _visit(run, step):
            return outcome
        run.trace.append(_entry(step, row.undoing, "done", run.attempts))
        run.position += -1 if row.undoing else 1
        run.attempts = 0
    return None


def _visit(run: Run, step: Step) -> Outcome:
    function = step.undo if run.row.undoing else step.do
    return function(run) if function else None


def command_row(run: Run, ask: Ask, position: int, **times: Any) -> AgentCommandRow:
    """What is stored of one command that the workflow asks at `position`."""
    return AgentCommandRow(
        workflow_id=run.row.id, position=position, undoing=run.row.undoing, agent_id=ask.agent_id,
        name=ask.command.name, subject=ask.command.subject, generation=ask.generation,
        arguments=to_plain(ask.command), **times,
    )  # fmt: skip


def _store(run: Run, asks: Sequence[Ask], now: float) -> None:
    """Store all commands of the step in one statement, to be sent after the commit."""
    commands = [
        command_row(run, ask, run.position, due_at=now + RESEND_SECONDS, deadline=now + ask.command.timeout)
        for ask in asks
    ]
    run.session.add_all(commands)
    run.session.flush()
    send_commands(run.session, commands)


def _answers(run: Run) -> Sequence[Any]:
    """What came of the commands that the present step asked, in their order."""
    row, command = run.row, AgentCommandRow
    query = select(command.name, command.status, command.error, command.answer).where(
        command.workflow_id == row.id, command.position == row.position, command.undoing == row.undoing
    )
    return run.session.execute(query.order_by(command.sequence.desc()).limit(row.asked)).all()[::-1]


def _finish(run: Run, step: Step, answers: Sequence[Any]) -> None:
    """Give the step the answers to its commands.

    :raises StepFailed: a command failed
    """
    failed = next((command for command in answers if command.status == "failed"), None)
    if failed is not None and (run.row.undoing or not step.tolerant):
        raise StepFailed(failed.error or "The agent gave no reason.")
    if step.then and not run.row.undoing:
        try:
            typed = [
                StepFailed(c.error or "") if c.status == "failed" else
                answer_as(COMMANDS[c.name], (c.answer or {}).get("result")) for c in answers
            ]  # fmt: skip
        except msgspec.ValidationError as error:
            raise StepFailed(f"The agent's answer cannot be read: {error}.") from error
        step.then(run, typed)


def _entry(step: Step, undoing: bool, state: str, attempts: int, **more: str) -> dict[str, Any]:
    entry = {"step": step.name, "undoing": undoing, "state": state, "attempts": attempts + 1, **more}
    return {**entry, "at": utcnow().isoformat()}


def _record_failure(session: Session, workflow_id: str, failure: _StepRaised) -> None:
    """Turn to undo at the failing step; an undo that fails is tried again later, and at last an operator is called."""
    row, now, _ = _locked(session, workflow_id)
    if row is None or row.undoing != failure.undoing:
        return
    error = failure.error
    reason = str(error) or type(error).__name__
    step = WORKFLOWS[row.name].steps[failure.position]
    row.position, row.asked, row.waiting_for = failure.position, 0, None
    row.trace = [*row.trace, _entry(step, row.undoing, "failed", row.attempts, reason=reason)]
    if not row.undoing:
        code = getattr(error, "code", None)  # others than ours may have one, which is no number
        row.undoing, row.error, row.attempts = True, reason, 0
        row.error_code = code if isinstance(code, int) else INTERNAL
        row.wake_at = now + RING_SECONDS
        ring(session, row.id)
    elif row.attempts + 1 < UNDO_ATTEMPTS:
        row.attempts += 1
        row.wake_at = now + 2.0**row.attempts
    else:
        row.error = f"{row.error} Undoing {step.name} failed: {reason}"
        end(session, row, "stuck")
    if not isinstance(error, StepFailed):
        log.error("step raised", workflow=row.id, name=row.name, step=step.name, exc_info=error)


def store_answers(replies: Sequence[tuple[str, str, Answer]]) -> list[str]:
    """Store answers, each given with its agent and its workflow; the workflows that now have none to wait for.

    An answer to a command that is not open any more, or was not given to this agent, changes nothing. All are
    committed before what is open is counted, so that of two workers that take the last two answers at the same time
    at least one sees both.
    """
    if not replies:
        return []
    ids = {workflow_id for _, workflow_id, _ in replies}
    plain = [reply for reply in replies if reply[2].ok and reply[2].result is None]
    with transaction() as session:
        changed = _close(session, plain, status="done") if plain else 0
        for reply in replies:
            told = reply[2]
            if not told.ok or told.result is not None:
                values = {"status": "done" if told.ok else "failed", "error": told.error or None}
                changed += _close(session, [reply], answer={"result": told.result}, **values)
    if not changed:
        return []
    with transaction() as session:
        command = AgentCommandRow
        query = select(command.workflow_id).where(command.workflow_id.in_(ids), command.status == "open").distinct()
        return sorted(ids.difference(session.scalars(query)))


def _close(session: Session, replies: Sequence[tuple[str, str, Answer]], **values: Any) -> int:
    """Close those commands that wait for these answers; how many."""
    command = AgentCommandRow
    given = tuple_(command.id, command.workflow_id, command.agent_id).in_(
        [(reply.command_id, workflow_id, agent_id) for agent_id, workflow_id, reply in replies]
    )
    return write(session, update(command).where(given, command.status.in_(("open", "owed"))).values(values))
