"""Runs what comes over the bus: verify, answer from the journal, fence, handle, record, answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agents.contract import COMMANDS, Answer, Command, command_from, to_plain
from agents.envelope import BadEnvelope, Envelope, sign, verify
from agents.journal import Journal

ANSWER_SECONDS = 3600
RETRY_SECONDS = 1.0
STRIPES = 64

Handler = Callable[[Any, Any], Any]
HANDLERS: dict[type[Command], Handler] = {}

log = structlog.get_logger()


def handles(command: type[Command]) -> Callable[[Handler], Handler]:
    """Register the one handler of `command`: called with the host and the command, it returns the answer."""

    def register(handler: Handler) -> Handler:
        HANDLERS[command] = handler
        return handler

    return register


class Runner:
    """One agent: `host` is what its handlers work on, `send` takes each signed answer."""

    def __init__(
        self,
        agent_id: str,
        host: Any,
        journal: Journal,
        keys: tuple[Ed25519PrivateKey, Ed25519PublicKey],
        send: Callable[[Envelope], None],
    ) -> None:
        self.agent_id = agent_id
        self.host = host
        self.journal = journal
        self._own_key, self._manager_key = keys
        self._send = send
        self._running: set[str] = set()
        self._guard = threading.Lock()
        self._subjects = [threading.Lock() for _ in range(STRIPES)]

    def receive(self, envelope: Any) -> None:
        """Take one message. A forged one has no effect but a line in the log; a repeated one has its answer again."""
        try:
            payload = verify(self._manager_key, envelope)
            if payload.get("agent") != self.agent_id:
                raise BadEnvelope("The envelope is for another agent.")
        except BadEnvelope as error:
            log.error("command refused", agent=self.agent_id, reason=str(error))
            return
        command_id = payload["id"]
        stored = self.journal.answer_of(command_id)
        if stored is not None:
            self._answer(payload, msgspec.json.decode(stored, type=Answer))
            return
        with self._guard:
            if command_id in self._running:
                return
            self._running.add(command_id)
        try:
            with self._subjects[hash(payload["subject"]) % STRIPES]:
                self._run(payload)
        finally:
            with self._guard:
                self._running.discard(command_id)

    def _run(self, payload: dict[str, Any]) -> None:
        command_id = payload["id"]
        if not self.journal.admit(command_id, payload["subject"], payload["sequence"], payload["generation"]):
            command = COMMANDS.get(payload["action"])
            late = f"A later command for {payload['subject']} came before {payload['action']}; it was not run."
            self._answer(payload, Answer(command_id, ok=command is not None and command.whole, error=late))
            return
        answer = self._handle(command_id, payload)
        self.journal.record(command_id, msgspec.json.encode(answer))
        self._answer(payload, answer)

    def _handle(self, command_id: str, payload: dict[str, Any]) -> Answer:
        """Run the handler; trouble that passes is tried again until half of the command's timeout is gone."""
        try:
            command = command_from(payload["action"], payload["arguments"])
        except (KeyError, msgspec.ValidationError) as error:
            reason = f"This agent does not understand {payload['action']}: {error}."
            return Answer(command_id, ok=False, error=reason)
        until = time.monotonic() + command.timeout / 2
        while True:
            try:
                return Answer(command_id, ok=True, result=to_plain(HANDLERS[type(command)](self.host, command)))
            except Exception as error:  # whatever a handler raises becomes its answer
                retryable = bool(getattr(error, "retryable", False))
                if retryable and time.monotonic() < until:
                    time.sleep(RETRY_SECONDS)
                    continue
                expected = hasattr(error, "retryable")
                facts = {"action": payload["action"], "subject": payload["subject"], "reason": str(error)}
                log.warning("command failed", **facts, exc_info=None if expected else error)
                return Answer(command_id, ok=False, error=str(error) or type(error).__name__, retryable=retryable)

    def _answer(self, payload: dict[str, Any], answer: Answer) -> None:
        body = {"agent": self.agent_id, "kind": "answer", "job": payload["job"], "answer": to_plain(answer)}
        self._send(sign(self._own_key, body, ANSWER_SECONDS))

    def report(self, kind: str, body: Any) -> Envelope:
        """A signed message of our own accord: a heartbeat or an inventory."""
        return sign(self._own_key, {"agent": self.agent_id, "kind": kind, "body": to_plain(body)}, ANSWER_SECONDS)
