"""What operators must know: silent hosts, sick routers, full places, stuck jobs, and lasting drift become alerts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from manager import alerts, truth
from manager.alerts import Trouble
from manager.api.commands import capacity
from manager.api.commands.capacity import amounts_of, reported
from manager.configuration import value
from manager.db import transaction
from manager.models import Cluster, Host, Router, RouterHealthCheck, StoragePool, WorkflowRow, Zone
from manager.recount import Finding

MOST_DRIFT = 200
TOLD_ELSEWHERE = frozenset({"job.stuck"})

CLUSTER_KINDS = {
    capacity.MEMORY: (alerts.MEMORY, "cluster.memory.allocated", "memory"),
    capacity.CPU: (alerts.CPU, "cluster.cpu.allocated", "CPU"),
    capacity.STORAGE_ALLOCATED: (alerts.STORAGE_ALLOCATED, "cluster.storage.allocated", "primary storage by claims"),
}
ZONE_KINDS = {
    capacity.PUBLIC_IP: (alerts.PUBLIC_IP, "zone.virtualnetwork.publicip", "public addresses"),
    capacity.SECONDARY_STORAGE: (alerts.SECONDARY_STORAGE, "zone.secstorage", "secondary storage"),
}


def watch() -> None:
    """Look at hosts, routers, capacities and jobs, and bring their alerts up to date."""
    with transaction() as session:
        alerts.settle(session, "host", _hosts(session))
        alerts.settle(session, "router", _routers(session))
        alerts.settle(session, "capacity", [*_capacities(session), *_pools(session)])
        alerts.settle(session, "job", _jobs(session))


def watch_drift() -> None:
    """Compare the database with what agents found; what stays different for long becomes alerts."""
    with transaction() as session:
        patience = 60.0 * float(value(session, "alert.drift.minutes"))
        findings = truth.compare(session)
        troubles = [*_findings("drift", findings.drift), *_findings("orphan", findings.orphans)]
        for family in ("drift", "orphan"):
            alerts.settle(session, family, [t for t in troubles if t.cause.startswith(f"{family}:")], patience)


def _hosts(session: Session) -> Iterator[Trouble]:
    query = select(Host).where(Host.removed.is_(None), Host.state.in_(("Disconnected", "Down")))
    for host in session.scalars(query.order_by(Host.id)):
        told = f"Host {host.name} is {host.state}: its agent is not heard. Its guests are not touched."
        yield Trouble(f"host:{host.id}", alerts.HOST, told, host.zone_id, host.pod_id)


def _routers(session: Session) -> Iterator[Trouble]:
    """Running routers in which something failed when they were last looked at."""
    query = (
        select(Router, RouterHealthCheck)
        .join(RouterHealthCheck, RouterHealthCheck.router_id == Router.id)
        .where(Router.removed.is_(None), Router.state == "Running", RouterHealthCheck.success.is_(False))
        .order_by(Router.id, RouterHealthCheck.name)
    )
    found: dict[Router, list[str]] = {}
    for router, check in session.execute(query):
        found.setdefault(router, []).append(f"{check.name}: {check.detail}")
    for router, failed in found.items():
        told = f"The router {router.name} fails health checks. {' '.join(failed)}"
        yield Trouble(f"router:{router.id}", alerts.ROUTER, told, router.zone_id)


def _capacities(session: Session) -> Iterator[Trouble]:
    for model, kinds in ((Cluster, CLUSTER_KINDS), (Zone, ZONE_KINDS)):
        places: list[Any] = list(session.scalars(select(model).where(model.removed.is_(None))))
        amounts = amounts_of(session, places)
        for place in places:
            for kind, (alert_type, setting, what) in kinds.items():
                amount = amounts[place.id].get(kind, capacity.Amount(0, 0))
                threshold = float(value(session, f"{setting}.capacity.notificationthreshold"))
                if amount.total and amount.used >= threshold * amount.total:
                    percent = 100 * amount.used / amount.total
                    told = f"{model.__name__} {place.name}: {percent:.0f} % of its {what} are taken."
                    zone_id = place.id if model is Zone else place.zone_id
                    cause = f"capacity:{kind}:{place.id}"
                    yield Trouble(cause, alert_type, told, zone_id, getattr(place, "pod_id", None))


def _pools(session: Session) -> Iterator[Trouble]:
    """Storage pools whose disk, as its host reports it, is nearly full."""
    threshold = float(value(session, "cluster.storage.capacity.notificationthreshold"))
    total, used = reported(Host, "disk_total"), reported(Host, "disk_used")
    query = (
        select(StoragePool, total, used)
        .join(Host, Host.id == StoragePool.host_id)
        .where(StoragePool.removed.is_(None), Host.removed.is_(None), total > 0, used >= threshold * total)
    )
    for pool, whole, part in session.execute(query):
        told = f"The disk of storage pool {pool.name} is {100 * part / whole:.0f} % full."
        yield Trouble(f"capacity:pool:{pool.id}", alerts.STORAGE, told, pool.zone_id, pool.pod_id)


def _jobs(session: Session) -> Iterator[Trouble]:
    query = select(WorkflowRow.id, WorkflowRow.name, WorkflowRow.subject_id, WorkflowRow.error)
    for row in session.execute(query.where(WorkflowRow.status == "stuck")):
        told = f"The job {row.id} ({row.name} of {row.subject_id}) is stuck and needs an operator: {row.error}"
        yield Trouble(f"job:{row.id}", alerts.MANAGEMENT, told)


def _findings(family: str, findings: list[Finding]) -> Iterator[Trouble]:
    """One trouble a disagreement; of very many the first ones, which are enough to call somebody."""
    seen: set[str] = set()
    for finding in findings:
        cause = f"{family}:{finding.type}:{finding.resource_id}:{finding.host_id or ''}"
        if finding.type in TOLD_ELSEWHERE or cause in seen or len(seen) >= MOST_DRIFT:
            continue
        seen.add(cause)
        yield Trouble(cause, alerts.SYNC, finding.detail, finding.zone_id)
