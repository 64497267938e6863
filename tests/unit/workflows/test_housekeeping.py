"""What is due later: expunging, trying it again, and forgetting old jobs."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import func, select, update

from manager import configuration, orchestrator
from manager.db import transaction
from manager.models import AgentCommandRow, Vm, Volume, WorkflowRow, utcnow
from manager.workflows.expunge import expunge_due
from manager.workflows.housekeeping import forget_old
from manager.workflows.vm import destroy_vm


def destroyed(cloud) -> str:
    vm_id = cloud.deploy()
    cloud.settle()
    with transaction() as session:
        destroy_vm.start(session, session.get_one(Vm, vm_id), forced=True)
    cloud.settle()
    assert cloud.get(Vm, vm_id).state == "Destroyed"
    return vm_id


def age_jobs(seconds: float) -> None:
    with transaction() as session:
        session.execute(update(WorkflowRow).values(ended=utcnow() - dt.timedelta(seconds=seconds)))


def change(name: str, text: str) -> None:
    with transaction() as session:
        configuration.change(session, name, text)


def test_a_destroyed_vm_is_expunged_after_the_delay_and_not_before(cloud):
    vm_id = destroyed(cloud)
    change("expunge.delay", "100")
    age_jobs(90)
    expunge_due()
    cloud.settle()
    assert cloud.get(Vm, vm_id).state == "Destroyed"
    age_jobs(110)
    expunge_due()
    expunge_due()
    cloud.settle()
    assert cloud.get(Vm, vm_id).removed is not None
    assert cloud.leftovers()["volumes"] == []


def test_an_expunging_that_failed_is_tried_again_after_the_interval(cloud):
    vm_id = destroyed(cloud)
    with transaction() as session:
        session.execute(update(Volume).where(Volume.vm_id == vm_id).values(state="Expunging"))
    change("expunge.interval", "50")
    age_jobs(40)
    expunge_due()
    cloud.settle()
    assert cloud.get(Vm, vm_id).state == "Destroyed"
    age_jobs(60)
    expunge_due()
    cloud.settle()
    assert cloud.get(Vm, vm_id).removed is not None


def test_old_jobs_are_forgotten_but_neither_young_nor_owed_ones(cloud):
    vm_id = destroyed(cloud)
    with transaction() as session:
        kept = session.scalars(select(WorkflowRow.id).filter_by(name="vm.deploy", subject_id=vm_id)).one()
        session.execute(update(AgentCommandRow).where(AgentCommandRow.workflow_id == kept).values(status="owed"))
    forget_old()
    with transaction() as session:
        assert session.scalar(select(func.count()).select_from(WorkflowRow)) > 2
    age_jobs(1441 * 60)
    forget_old()
    with transaction() as session:
        assert session.scalars(select(WorkflowRow.id)).all() == [kept]
        assert set(session.scalars(select(AgentCommandRow.workflow_id))) == {kept}


def test_all_that_is_rarely_due_is_looked_at(cloud):
    vm_id = destroyed(cloud)
    change("expunge.delay", "100")
    age_jobs(110)
    orchestrator.tend()
    cloud.settle()
    assert cloud.get(Vm, vm_id).removed is not None
