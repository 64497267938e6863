"""A thing that a call holds gets no job before the call has ended, on each database."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from manager import db
from manager.api.commands.job_hold import hold
from manager.models import Vm, WorkflowRow
from manager.workflows.engine import Busy
from manager.workflows.vm import start_vm


def test_a_job_begins_after_the_call_that_holds_the_vm(any_factory, any_engine):
    vm = any_factory(Vm, name="before")
    held, names = threading.Event(), []

    def start() -> None:
        held.wait(10)
        with db.transaction(any_engine) as session:
            start_vm.start(session, session.get_one(Vm, vm.id))
            names.append(session.get_one(Vm, vm.id, populate_existing=True).name)

    thread = threading.Thread(target=start)
    thread.start()
    with db.transaction(any_engine) as session:
        mine = session.get_one(Vm, vm.id)
        hold(SimpleNamespace(session=session), mine)
        held.set()
        thread.join(0.5)
        assert not names
        mine.name = "after"
    thread.join(30)
    assert names == ["after"]
    assert any_factory.first(WorkflowRow, subject_id=vm.id).name == "vm.start"


def test_what_has_a_job_is_not_held(any_factory, any_engine):
    vm = any_factory(Vm)
    with db.transaction(any_engine) as session:
        start_vm.start(session, session.get_one(Vm, vm.id))
    with pytest.raises(Busy, match="is busy with job"), db.transaction(any_engine) as session:
        hold(SimpleNamespace(session=session), session.get_one(Vm, vm.id))
