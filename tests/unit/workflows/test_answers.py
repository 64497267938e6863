"""Answers are stored together, and stand for themselves all the same."""

from __future__ import annotations

import uuid

from agents.bus import ANSWERS
from agents.envelope import sign
from manager import celery_app, reports
from manager.models import Vm
from tests.unit.workflows.cloud import Cloud


def test_an_answer_that_cannot_be_stored_does_not_harm_those_beside_it(cloud: Cloud):
    vm_id = cloud.deploy()
    runner = next(iter(cloud.runners.values()))
    told = {"command_id": str(uuid.uuid4()), "ok": False, "error": "\0 is no text to PostgreSQL"}
    beside = 0
    for _ in range(50):
        batch = cloud.take_messages()
        if not batch:
            break
        for place, task, arguments in batch:
            if place == ANSWERS:
                body = {"agent": runner.agent_id, "kind": "answer", "job": cloud.network_id, "answer": told}
                reports._waiting.append(sign(runner._own_key, body, 60))
                beside += 1
            cloud.handle(place, task, arguments)
    assert beside
    assert cloud.get(Vm, vm_id).state == "Running"


def test_answers_that_wait_together_are_stored_in_one_batch(cloud: Cloud):
    cloud.deploy("first")
    cloud.deploy("second")
    cloud.settle()
    vm_id = cloud.deploy("third")
    for _ in range(50):
        batch = cloud.take_messages()
        if not batch:
            break
        reports.take_answers([one for place, _, arguments in batch if place == ANSWERS for one in arguments[0]])
        for place, task, arguments in batch:
            if place != ANSWERS:
                cloud.handle(place, task, arguments)
    assert cloud.get(Vm, vm_id).state == "Running"


def test_what_answers_of_one_moment_lead_to_is_one_message_a_queue(cloud: Cloud):
    cloud.deploy("first")
    cloud.deploy("second")
    cloud.settle()
    for name in ("third", "fourth", "fifth"):
        cloud.deploy(name)
    batch = cloud.take_messages()
    while not (answers := [one for place, _, given in batch if place == ANSWERS for one in given[0]]):
        for message in batch:
            cloud.handle(*message)
        batch = cloud.take_messages()
    assert len(answers) == len(batch)
    reports.take_answers(answers)
    sizes = messages_in(cloud.queues)
    assert set(sizes) <= {0, 1}
    assert len(cloud.take_messages()) > sum(sizes)


def messages_in(queues: list[str]) -> list[int]:
    with celery_app.app().connection_for_read() as connection:
        return [connection.default_channel._size(name) for name in queues]
