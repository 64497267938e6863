"""Workflows that empty a host or a storage pool, and one that has a host told again what it must hold.

Guests cannot move while they run: they are stopped, and those whose volumes another host reaches are started there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from manager.models import Host, Nic, Router, StoragePool, Vm, Volume, WorkflowRow
from manager.workflows.engine import Ask, Await, Outcome, Run, Step, StepFailed, workflow
from manager.workflows.router import restart_of_router
from manager.workflows.views import picture
from manager.workflows.vm import start_vm, stop_vm
from manager.workflows.vpc_view import lock_networks, vpc_router

PREPARING, MAINTENANCE, FAILED = "PrepareForMaintenance", "Maintenance", "ErrorInMaintenance"
STATES = (PREPARING, MAINTENANCE, FAILED)
HOST_REASON = "Its host goes into maintenance."
POOL_REASON = "The storage of its volumes goes into maintenance."


def host_of(run: Run) -> Host:
    host: Host = run.subject(Host)
    return host


def begin_maintenance(run: Run) -> Outcome:
    host_of(run).resource_state = PREPARING
    return None


def fail_maintenance(run: Run) -> Outcome:
    """The host takes no virtual machines until its maintenance is begun again or cancelled."""
    host_of(run).resource_state = FAILED
    return None


def stop_guests(run: Run) -> Outcome:
    on_host = select(Vm).where(Vm.host_id == run.row.subject_id, Vm.removed.is_(None))
    return _stopped(run, run.session.scalars(on_host.order_by(Vm.number)).all(), HOST_REASON)


def _stopped(run: Run, vms: Sequence[Vm], reason: str) -> Outcome:
    """Have the VMs stopped, all at once, and wait for each.

    :raises StepFailed: one could not be stopped
    """
    begun: dict[str, str] = dict(run.recall("stopping") or {})
    waits = [_stopping(run, vm, begun, reason) for vm in vms]
    run.note(stopping=begun)
    return Await(waits[0]) if waits else None


def _stopping(run: Run, vm: Vm, begun: dict[str, str], reason: str) -> str:
    """The id of the job that is to be waited for until the VM is off."""
    job = open_job(run, f"vms:{vm.id}")
    if job is not None:
        return job
    if vm.id in begun:
        ended = run.session.get_one(WorkflowRow, begun[vm.id])
        raise StepFailed(f"The virtual machine {vm.id} could not be stopped: {ended.error}")
    begun[vm.id] = stop_vm.start(run.session, vm, forced=False, reason=reason, awaited=True).id
    return begun[vm.id]


def open_job(run: Run, holds: str) -> str | None:
    return run.session.scalar(select(WorkflowRow.id).filter_by(holds=holds))


def move_routers(run: Run) -> Outcome:
    """Have the virtual routers of the host made anew elsewhere, one after the other.

    :raises StepFailed: one could not be moved
    """
    query = select(Router).where(Router.host_id == run.row.subject_id, Router.removed.is_(None))
    router = run.session.scalar(query.order_by(Router.id).limit(1))
    if router is None:
        return None
    restart, served = restart_of_router(run.session, router)
    job = open_job(run, restart.holds(served.id))
    if job is not None:
        return Await(job)
    tried = run.recall(f"moved:{served.id}")
    if tried is not None:
        ended = run.session.get_one(WorkflowRow, tried)
        kind = "VPC" if router.vpc_id else "network"
        raise StepFailed(f"The router of {kind} {served.name} could not be moved: {ended.error or 'it came back'}")
    _demand_other_host(run)
    row = restart.start(run.session, served, cleanup=True)
    run.note(**{f"moved:{served.id}": row.id})
    return Await(row.id)


def _demand_other_host(run: Run) -> None:
    host = host_of(run)
    query = select(Host.id).where(Host.zone_id == host.zone_id, Host.id != host.id, Host.removed.is_(None))
    if run.session.scalar(query.where(Host.state == "Up", Host.resource_state == "Enabled").limit(1)) is None:
        raise StepFailed("No other host of the zone is Up and Enabled, so its virtual routers have no place.", 533)


def start_elsewhere(run: Run) -> Outcome:
    """Start those VMs again whose volumes do not lie on the host alone; what becomes of that is theirs to tell."""
    begun: dict[str, str] = dict(run.recall("starting") or {})
    for vm in _movable(run):
        if vm.id not in begun and open_job(run, f"vms:{vm.id}") is None:
            begun[vm.id] = start_vm.start(run.session, vm, awaited=True).id
    run.note(starting=begun)
    running = select(WorkflowRow.id).where(WorkflowRow.id.in_(begun.values()), WorkflowRow.status == "running")
    waits = run.session.scalar(running.limit(1))
    return Await(waits) if waits is not None else None


def _movable(run: Run) -> Sequence[Vm]:
    own: Any = select(StoragePool.id).where(StoragePool.host_id == run.row.subject_id)
    tied = select(Volume.vm_id).where(Volume.pool_id.in_(own), Volume.vm_id.is_not(None), Volume.removed.is_(None))
    stopped = run.recall("stopping") or {}
    query = select(Vm).where(Vm.id.in_(stopped), Vm.state == "Stopped", Vm.removed.is_(None), Vm.id.not_in(tied))
    return run.session.scalars(query.order_by(Vm.number)).all()


def mark_maintenance(run: Run) -> Outcome:
    host_of(run).resource_state = MAINTENANCE
    return None


maintain_host = workflow(
    "host.maintain",
    Host,
    [
        Step(begin_maintenance, undo=fail_maintenance),
        Step(stop_guests),  # no undo, nor of what follows: whoever cancels the maintenance says what runs again
        Step(move_routers),
        Step(start_elsewhere),
        Step(mark_maintenance),
    ],
)


def tell_host(run: Run) -> list[Ask]:
    """A new generation of every network that the host holds; that it answers shows that it is there."""
    query = select(Nic.network_id).where(Nic.host_id == run.row.subject_id).distinct().order_by(Nic.network_id)
    networks = run.session.scalars(query).all()
    lock_networks(run.session, networks)
    asks = [ask for network_id in networks for ask in picture(run.session, network_id).asks()]
    here = select(Router.vpc_id).where(Router.host_id == run.row.subject_id, Router.vpc_id.is_not(None))
    found = [vpc_router(run.session, str(vpc_id)) for vpc_id in run.session.scalars(here.order_by(Router.vpc_id)).all()]
    here_alone = (ask for router in found if router is not None for ask in router.asks(only=run.row.subject_id))
    return [*asks, *here_alone]


reconnect_host = workflow("host.reconnect", Host, [Step(tell_host)])


def begin_pool_maintenance(run: Run) -> Outcome:
    run.subject(StoragePool).state = PREPARING
    return None


def fail_pool_maintenance(run: Run) -> Outcome:
    run.subject(StoragePool).state = FAILED
    return None


def stop_users(run: Run) -> Outcome:
    on_pool = select(Volume.vm_id).where(Volume.pool_id == run.row.subject_id, Volume.removed.is_(None))
    query = select(Vm).where(Vm.id.in_(on_pool), Vm.host_id.is_not(None), Vm.removed.is_(None))
    return _stopped(run, run.session.scalars(query.order_by(Vm.number)).all(), POOL_REASON)


def mark_pool_maintenance(run: Run) -> Outcome:
    run.subject(StoragePool).state = MAINTENANCE
    return None


maintain_pool = workflow(
    "pool.maintain",
    StoragePool,
    [
        Step(begin_pool_maintenance, undo=fail_pool_maintenance),
        Step(stop_users),  # no undo: whoever cancels the maintenance says what runs again
        Step(mark_pool_maintenance),
    ],
)
