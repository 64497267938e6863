"""The runner: verify before any effect, answer again from the journal, refuse what is late."""

from __future__ import annotations

import threading

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents import runner as runners
from agents.contract import Answer, ApplyNetwork, StopVm, to_plain
from agents.envelope import sign, verify
from agents.journal import Journal
from agents.runner import Runner
from network.types import NetworkView

MANAGER = Ed25519PrivateKey.generate()
OWN = Ed25519PrivateKey.generate()


class TroubleError(Exception):
    def __init__(self, text: str, *, retryable: bool) -> None:
        super().__init__(text)
        self.retryable = retryable


@pytest.fixture
def effects(monkeypatch):
    done: list[str] = []
    monkeypatch.setitem(runners.HANDLERS, StopVm, lambda _host, command: done.append(command.vm_id))
    monkeypatch.setitem(runners.HANDLERS, ApplyNetwork, lambda _host, command: done.append(command.view.id))
    return done


@pytest.fixture
def agent(tmp_path):
    sent: list[dict] = []
    runner = Runner("agent-1", None, Journal(tmp_path / "journal.db"), (OWN, MANAGER.public_key()), sent.append)
    runner.sent = sent
    return runner


def message(sequence: int, *, command=None, key=MANAGER, agent_id="agent-1", **changes):
    command = command or StopVm("vm-1", "i-1")
    payload = {
        "agent": agent_id, "id": f"c{sequence}", "action": command.name, "arguments": to_plain(command),
        "subject": command.subject, "sequence": sequence, "generation": 1, "job": "w1", "step": 0, **changes,
    }  # fmt: skip
    return sign(key, payload, 60)


def answers(agent) -> list[Answer]:
    payloads = [verify(OWN.public_key(), envelope) for envelope in agent.sent]
    return [msgspec.convert(payload["answer"], Answer) for payload in payloads]


def test_a_command_is_run_once_and_answered_each_time(agent, effects):
    for _ in range(3):
        agent.receive(message(1))
    assert effects == ["vm-1"]
    assert [answer.ok for answer in answers(agent)] == [True, True, True]


def test_a_forged_or_misaddressed_command_has_no_effect_and_no_answer(agent, effects):
    agent.receive(message(1, key=Ed25519PrivateKey.generate()))
    agent.receive(message(1, agent_id="agent-2"))
    agent.receive({"payload": message(1)["payload"].replace("vm-1", "vm-2"), "signature": message(1)["signature"]})
    agent.receive("junk")
    assert effects == []
    assert agent.sent == []


def test_a_late_command_is_refused(agent, effects):
    agent.receive(message(5))
    agent.receive(message(4))
    assert effects == ["vm-1"]
    assert [answer.ok for answer in answers(agent)] == [True, False]
    assert "A later command" in answers(agent)[1].error


def test_a_late_command_that_says_the_whole_counts_as_done(agent, effects):
    view = NetworkView("n1", 7, 1, "10.1.1.0/24", "10.1.1.1", 1458)
    agent.receive(message(5, command=ApplyNetwork(view)))
    agent.receive(message(4, command=ApplyNetwork(view)))
    assert effects == ["n1"]
    assert [answer.ok for answer in answers(agent)] == [True, True]


def test_fences_and_answers_outlive_the_process(agent, effects, tmp_path):
    agent.receive(message(5))
    agent.journal.close()
    again = Runner("agent-1", None, Journal(tmp_path / "journal.db"), (OWN, MANAGER.public_key()), agent.sent.append)
    again.receive(message(5))
    again.receive(message(4))
    assert effects == ["vm-1"]
    assert [answer.ok for answer in answers(agent)] == [True, True, False]


def test_what_was_not_recorded_is_run_again(agent, effects, monkeypatch):
    record = agent.journal.record
    monkeypatch.setattr(agent.journal, "record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        agent.receive(message(1))
    monkeypatch.setattr(agent.journal, "record", record)
    agent.receive(message(1))
    assert effects == ["vm-1", "vm-1"]
    assert [answer.ok for answer in answers(agent)] == [True]


def test_passing_trouble_is_tried_again_and_lasting_trouble_answered(agent, monkeypatch):
    monkeypatch.setattr(runners, "RETRY_SECONDS", 0.0)
    troubles = [TroubleError("locked", retryable=True), TroubleError("locked", retryable=True)]

    def handler(host, command):
        if troubles:
            raise troubles.pop()

    monkeypatch.setitem(runners.HANDLERS, StopVm, handler)
    agent.receive(message(1))
    troubles.append(TroubleError("The pool is full.", retryable=False))
    agent.receive(message(2))
    assert [(answer.ok, answer.error) for answer in answers(agent)] == [(True, ""), (False, "The pool is full.")]


def test_an_unknown_command_is_answered_with_the_reason(agent):
    agent.receive(message(1, action="vm.dance"))
    agent.receive(message(2, arguments={"vm_id": 7}))
    assert [answer.ok for answer in answers(agent)] == [False, False]
    assert "does not understand vm.dance" in answers(agent)[0].error


def test_a_second_message_while_the_first_runs_waits_for_nobody(agent, monkeypatch):
    begun, free = threading.Event(), threading.Event()
    runs = []

    def handler(host, command):
        runs.append(1)
        begun.set()
        free.wait(10)

    monkeypatch.setitem(runners.HANDLERS, StopVm, handler)
    first = threading.Thread(target=agent.receive, args=(message(1),))
    first.start()
    begun.wait(10)
    agent.receive(message(1))
    free.set()
    first.join(10)
    assert runs == [1]
    assert [answer.ok for answer in answers(agent)] == [True]
