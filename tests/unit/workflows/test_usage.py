"""Usage: what is measured while things come, change and go, and what of it comes into records."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import delete, func, select, update

from agents.contract import NicTraffic
from manager import configuration, recount, traffic
from manager.db import epoch, transaction
from manager.models import Host, Network, Nic, PublicAddress, UsageJob, UsageRecord, UsageSpan, Vm, Volume, meters
from manager.models.meters import (
    ALLOCATED_VM,
    BYTES_RECEIVED,
    BYTES_SENT,
    IP_ADDRESS,
    NETWORK,
    NETWORK_OFFERING,
    RUNNING_VM,
    TEMPLATE,
    VOLUME,
    key_of,
)
from manager.workflows import usage
from manager.workflows.vm import destroy_vm
from tests.unit.workflows.cloud import Cloud

HOUR = 3600.0
SLACK = 0.01


def pass_hours(hours: float) -> None:
    """All that has been measured and counted lies so much longer ago."""
    with transaction() as session:
        for table, columns in (
            (UsageSpan, ("started", "ended", "counted", "counted_from")),
            (UsageJob, ("begun", "until")),
        ):
            values = {name: getattr(table, name) - hours * HOUR for name in columns}
            session.execute(update(table).values(values), execution_options={"synchronize_session": False})


def now() -> float:
    with transaction() as session:
        return float(session.scalar(select(epoch())))


def open_uses(resource_id: str) -> set[int]:
    with transaction() as session:
        return set(session.scalars(select(UsageSpan.type).where(UsageSpan.resource_id == resource_id,
                                                                UsageSpan.open.is_not(None))))  # fmt: skip


def hours_of(resource_id: str, kind: int) -> float:
    with transaction() as session:
        query = select(func.sum(UsageRecord.raw)).where(
            UsageRecord.resource_id == resource_id, UsageRecord.type == kind
        )
        return float(session.scalar(query) or 0.0)


def settled(cloud: Cloud, name: str = "vm") -> str:
    vm_id = cloud.deploy(name)
    cloud.settle()
    return vm_id


def test_all_that_a_deployment_uses_begins_and_ends_with_it(cloud):
    vm_id = settled(cloud)
    with transaction() as session:
        volume_id = session.scalars(select(Volume.id).filter_by(vm_id=vm_id)).one()
        kinds = set(session.scalars(select(UsageSpan.type).where(UsageSpan.open.is_not(None))))
    assert open_uses(vm_id) == {RUNNING_VM, ALLOCATED_VM}
    assert open_uses(volume_id) == {VOLUME}
    assert kinds == {RUNNING_VM, ALLOCATED_VM, IP_ADDRESS, VOLUME, TEMPLATE, NETWORK_OFFERING, NETWORK}
    cloud.stop(vm_id)
    cloud.settle()
    assert open_uses(vm_id) == {ALLOCATED_VM}
    cloud.destroy(vm_id)
    cloud.settle()
    cloud.delete_network()
    cloud.settle()
    with transaction() as session:
        assert set(session.scalars(select(UsageSpan.type).where(UsageSpan.open.is_not(None)))) == {TEMPLATE}


@pytest.mark.parametrize("seed", range(4))
def test_running_time_in_records_is_the_time_in_running(cloud, seed):
    """The law: under any order of start, stop, scale, destroy and counting, the hours add up, and none twice."""
    choose = random.Random(seed)
    vm_id = settled(cloud)
    running = allocated = 0.0
    for _ in range(14):
        act = choose.choice(["start", "stop", "scale", "count", "pass", "destroy"])
        state = cloud.get(Vm, vm_id).state
        hours = choose.choice([0.25, 1.0, 7.5])
        pass_hours(hours)
        running += hours if state == "Running" else 0.0
        allocated += hours if state in ("Running", "Stopped") else 0.0
        if act == "stop" and state == "Running":
            cloud.stop(vm_id)
        elif act == "start" and state == "Stopped":
            cloud.start(vm_id)
        elif act == "scale":
            with transaction() as session:
                session.get_one(Vm, vm_id).cpus = choose.randint(1, 8)
        elif act == "count":
            usage.count_until(now())
        elif act == "destroy" and choose.random() < 0.2 and state in ("Running", "Stopped"):
            with transaction() as session:
                destroy_vm.start(session, session.get_one(Vm, vm_id), forced=True)
        cloud.settle(times=2)
    usage.count_until(now())
    usage.count_until(now())
    assert hours_of(vm_id, RUNNING_VM) == pytest.approx(running, abs=SLACK)
    assert hours_of(vm_id, ALLOCATED_VM) == pytest.approx(allocated, abs=SLACK)


def test_a_worker_killed_before_every_commit_measures_nothing_twice(cloud, killed_at_commits):
    killed_at_commits()
    vm_id = cloud.deploy()
    cloud.settle_killed()
    pass_hours(3)
    cloud.stop(vm_id)
    cloud.settle_killed()
    pass_hours(5)
    cloud.destroy(vm_id)
    cloud.settle_killed()
    with transaction() as session:
        kinds = session.scalars(select(UsageSpan.type).filter_by(resource_id=vm_id).order_by(UsageSpan.type)).all()
    assert kinds == [RUNNING_VM, ALLOCATED_VM]
    usage.count_until(now())
    assert hours_of(vm_id, RUNNING_VM) == pytest.approx(3, abs=SLACK)
    assert hours_of(vm_id, ALLOCATED_VM) == pytest.approx(8, abs=SLACK)


def test_what_is_rolled_back_was_not_used(cloud):
    with transaction() as session:
        session.get_one(Network, cloud.network_id).remove()
        meters.settle(session)
        assert session.scalars(select(UsageSpan.open).filter_by(resource_id=cloud.network_id)).all() == [None]
        session.rollback()
    assert open_uses(cloud.network_id) == {NETWORK}


def test_periods_are_counted_when_they_are_over(cloud):
    vm_id = settled(cloud)
    usage.count_due()
    assert hours_of(vm_id, RUNNING_VM) == 0
    pass_hours(49)
    usage.count_due()
    with transaction() as session:
        jobs = session.scalars(select(UsageJob).order_by(UsageJob.begun)).all()
        length = 60 * configuration.value(session, "usage.stats.job.aggregation.range")
    assert [job.until % length for job in jobs] == [0] * len(jobs)
    assert len(jobs) in (2, 3)
    assert [job.begun for job in jobs[1:]] == [job.until for job in jobs[:-1]]
    passed = (jobs[-1].until - (now() - 49 * HOUR)) / HOUR
    assert hours_of(vm_id, RUNNING_VM) == pytest.approx(passed, abs=SLACK)
    usage.count_due()
    assert hours_of(vm_id, RUNNING_VM) == pytest.approx(passed, abs=SLACK)
    with transaction() as session:
        assert usage.remove_records(session, 0) > 0
    usage.forget_old_records()
    assert open_uses(vm_id) == {RUNNING_VM, ALLOCATED_VM}


def test_what_was_there_before_is_measured_from_now_on(cloud):
    vm_id = settled(cloud)
    with transaction() as session:
        before = session.scalars(select(UsageSpan.open).order_by(UsageSpan.open)).all()
        session.execute(delete(UsageSpan))
    usage.adopt()
    usage.adopt()
    with transaction() as session:
        assert session.scalars(select(UsageSpan.open).order_by(UsageSpan.open)).all() == before
    assert open_uses(vm_id) == {RUNNING_VM, ALLOCATED_VM}


def test_traffic_is_counted_as_often_as_guests_start(cloud):
    vm_id = settled(cloud)
    with transaction() as session:
        nic_id, host_id = session.execute(select(Nic.id, Nic.host_id).filter_by(vm_id=vm_id)).one()
        agents = {host.id: host.agent_id for host in session.scalars(select(Host))}
    for host, told in (
        (host_id, (100, 10)),
        (host_id, (150, 10)),
        (next(other for other in agents if other != host_id), (5000, 5000)),
        (host_id, (30, 5)),
    ):
        with transaction() as session:
            traffic.note(session, agents[host], [NicTraffic(nic_id, *told), NicTraffic("unknown", 1, 1)])
    usage.count_until(now())
    pass_hours(1)
    usage.count_until(now())
    assert hours_of(cloud.network_id, BYTES_RECEIVED) == 180
    assert hours_of(cloud.network_id, BYTES_SENT) == 15


def test_nics_and_addresses_are_measured_however_they_change(cloud):
    vm_id = settled(cloud)
    with transaction() as session:
        nic = session.scalars(select(Nic).filter_by(vm_id=vm_id)).one()
        nic.is_default = False
        meters.settle(session)
        assert (
            session.scalars(select(UsageSpan).filter_by(resource_id=nic.id, open=key_of(NETWORK_OFFERING, nic.id)))
            .one()
            .facts["is_default"]
            is False
        )
        session.delete(nic)
        nic_id = nic.id
        held = session.scalars(select(PublicAddress).where(PublicAddress.network_id.is_not(None))).one()
        held.account_id = held.network_id = None
    assert open_uses(nic_id) == open_uses(held.id) == set()
    with transaction() as session:
        session.add(
            Nic(id=nic_id, vm_id=vm_id, network_id=cloud.network_id, mac="02:00:00:00:00:01", address="10.1.1.77")
        )
        free = session.get_one(PublicAddress, held.id)
        free.account_id = cloud.account_id
    assert open_uses(nic_id) == {NETWORK_OFFERING}
    assert open_uses(held.id) == {IP_ADDRESS}


def test_the_oracle_tells_of_running_time_that_is_not_measured(cloud):
    vm_id = settled(cloud)
    with transaction() as session:
        assert [finding for finding in recount.drift(session) if finding.type == "usage"] == []
        session.execute(update(UsageSpan).where(UsageSpan.open == key_of(RUNNING_VM, vm_id)).values(open=None))
        assert [finding.resource_id for finding in recount.drift(session) if finding.type == "usage"] == [vm_id]
