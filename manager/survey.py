"""What agents last found, the living rows it is compared with, and when jobs last worked on them."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from agents.contract import HostInventory
from manager.models import (
    Host,
    ImageStore,
    Inventory,
    Network,
    Nic,
    Router,
    StoragePool,
    Template,
    Vm,
    Volume,
    Vpc,
    WorkflowRow,
)
from manager.models.network import ISOLATED
from manager.recount import Finding
from manager.workflows.vpc_line import end_id

GRACE_SECONDS = 10.0
ANY_HOST = ""


@dataclass(frozen=True, slots=True)
class Survey:
    """The last look at a host or an image store; `at` is None before the first. Times are by the database's clock."""

    id: str
    name: str
    zone_id: str | None
    state: str
    created: float
    is_host: bool
    at: float | None = None
    inventory: HostInventory = field(default_factory=HostInventory)

    def finding(self, kind: str, resource: str, key: str, detail: str, outcome: tuple[str, str] = ("", "")) -> Finding:
        return Finding(kind, resource, key, detail, *outcome, self.id, self.name, self.zone_id, self.at)


@dataclass
class Facts:
    """Living rows by id, and when a job last worked on each thing (infinity: it does now)."""

    vms: dict[str, Any]
    nics: dict[str, Any]
    networks: dict[str, Any]
    routers: dict[str, Any]
    volumes: dict[str, Any]
    templates: dict[str, Any]
    gone: dict[str, Any] = field(default_factory=dict)
    changes: dict[tuple[str, str | None], float] = field(default_factory=dict)
    networks_changed: dict[str | None, float] = field(default_factory=dict)
    hosts_changed: dict[str | None, float] = field(default_factory=dict)

    def moved(self, kind: str, key: str | None, survey: Survey) -> bool:
        return since(self.changes.get((kind, key)), survey)

    def network_moved(self, network_id: str, survey: Survey) -> bool:
        return since(self.networks_changed.get(network_id), survey)

    def router_moved(self, router: Any, survey: Survey) -> bool:
        if router.vpc_id is not None:
            return self.moved("vpcs", router.vpc_id, survey)
        return self.network_moved(router.network_id, survey)

    def just_gone(self, key: str, survey: Survey) -> bool:
        """Whether the thing was removed, with its job, so lately that the survey may not know."""
        row = self.gone.get(key)
        if row is None:
            return False
        return since(row.removed.timestamp() if row.removed else None, survey) or self.moved(
            row.kind, row.subject, survey
        )


def since(changed: float | None, survey: Survey) -> bool:
    return changed is not None and changed > (survey.at or 0.0) - GRACE_SECONDS


def surveys_of(session: Session) -> list[Survey]:
    found = []
    query = select(Host.id, Host.name, Host.zone_id, Host.state, Host.created, Inventory.at, Inventory.body)
    query = query.outerjoin(Inventory, Inventory.agent_id == Host.agent_id).where(Host.removed.is_(None))
    stores = select(
        ImageStore.id, ImageStore.name, ImageStore.zone_id, ImageStore.created, Inventory.at, Inventory.body
    )
    stores = stores.outerjoin(Inventory, Inventory.agent_id == ImageStore.agent_id)
    rows = [(row, row.state, True) for row in session.execute(query.order_by(Host.name))]
    rows += [(row, "Up", False) for row in session.execute(stores.where(ImageStore.removed.is_(None)))]
    for row, state, is_host in rows:
        inventory = msgspec.convert(row.body, HostInventory) if row.body else HostInventory()
        created = row.created.timestamp()
        found.append(Survey(row.id, row.name, row.zone_id, state, created, is_host, row.at, inventory))
    return found


def facts_of(session: Session) -> Facts:
    def living(model: Any, *columns: Any) -> dict[str, Any]:
        return {row.id: row for row in session.execute(select(model.id, *columns).where(model.removed.is_(None)))}

    nics = session.execute(select(Nic.id, Nic.vm_id, Nic.router_id, Nic.network_id, Nic.host_id))
    pool_host = select(StoragePool.host_id).where(StoragePool.id == Volume.pool_id).scalar_subquery().label("host_id")
    facts = Facts(
        networks=living(
            Network,
            Network.name,
            Network.key,
            Network.generation,
            Network.shared_generation,
            Network.account_id,
            Network.zone_id,
            Network.guest_type,
        ),
        nics={row.id: row for row in nics},
        vms=living(Vm, Vm.name, Vm.state, Vm.host_id, Vm.generation, Vm.account_id),
        routers=living(Router, Router.name, Router.state, Router.host_id, Router.network_id, Router.vpc_id),
        volumes=living(Volume, Volume.name, Volume.state, Volume.vm_id, Volume.pool_id, Volume.zone_id, pool_host),
        templates=living(Template, Template.name, Template.state, Template.image_store_id),
    )
    _add_lines(session, facts)
    return facts


@dataclass(frozen=True, slots=True)
class _LineEnd:
    """An end of the line between redundant routers of a VPC, as a NIC of a network."""

    network_id: str
    host_id: str | None
    vm_id: None = None


@dataclass(frozen=True, slots=True)
class _Line:
    """Such a line, as a network. Only what concerns it is told to hosts, so they may hold it from before."""

    id: str
    name: str
    key: int
    generation: int
    account_id: str
    zone_id: str
    shared_generation: int = 0
    guest_type: str = ISOLATED


def _add_lines(session: Session, facts: Facts) -> None:
    query = (
        select(Vpc, Router.id, Router.host_id)
        .join(Router, (Router.vpc_id == Vpc.id) & Router.removed.is_(None))
        .where(Vpc.removed.is_(None), Vpc.redundant, Vpc.line_key.is_not(None))
    )
    for vpc, router_id, host_id in session.execute(query):
        line = _Line(vpc.id, f"line of {vpc.name}", vpc.line_key or 0, vpc.generation, vpc.account_id, vpc.zone_id)
        facts.networks[vpc.id] = line
        facts.nics[end_id(router_id)] = _LineEnd(vpc.id, host_id)


@dataclass(frozen=True, slots=True)
class _Gone:
    kind: str
    subject: str | None
    removed: dt.datetime | None


def add_gone(session: Session, facts: Facts, surveys: list[Survey]) -> None:
    """The removed rows of what surveys still show, to tell when they went."""
    found = [survey.inventory for survey in surveys]
    vms = {domain.vm_id for one in found for domain in one.domains} - facts.vms.keys()
    volumes = {volume for one in found for volume in one.volumes} - facts.volumes.keys()
    networks = {network.network_id for one in found for network in one.networks} - facts.networks.keys()
    routers = {router for one in found for router in one.routers} - facts.routers.keys()
    images = {image for one in found for image in one.images} - facts.templates.keys()
    kinds: tuple[tuple[set[str], Any, str, Any], ...] = (
        (vms, Vm, "vms", Vm.id),
        (volumes, Volume, "vms", Volume.vm_id),
        (networks, Network, "networks", Network.id),
        (networks, Vpc, "vpcs", Vpc.id),
        (routers, Router, "networks", Router.network_id),
        (images, Template, "templates", Template.id),
    )
    for ids, model, kind, subject in kinds:
        if ids:
            query = select(model.id, subject.label("subject"), model.removed).where(model.id.in_(ids))
            facts.gone |= {row.id: _Gone(kind, row.subject, row.removed) for row in session.execute(query)}


def add_changes(session: Session, facts: Facts, oldest: float) -> None:
    """When jobs last worked on things: open ones, and those that ended since the oldest survey.

    A VM that has no NIC any more may have left any network of its account or a shared one, and a port on its last
    host; a network that is gone, a router's port on any host.
    """
    networks: dict[str, set[str]] = {}
    for nic in facts.nics.values():
        networks.setdefault(str(nic.vm_id), set()).add(nic.network_id)
    for row in _recent_jobs(session, oldest):
        at = math.inf if row.running else row.ended.timestamp()
        facts.changes[row.subject_type, row.subject_id] = at
        touched = networks.get(row.subject_id, set())
        if row.subject_type == "networks":
            touched = {row.subject_id}
            if row.subject_id not in facts.networks:
                _note(facts.hosts_changed, ANY_HOST, at)
        elif row.account_id is not None and not touched:
            touched = {one.id for one in facts.networks.values()
                       if row.account_id == one.account_id or one.guest_type != ISOLATED}  # fmt: skip
            _note(facts.hosts_changed, row.last_host_id, at)
        if row.subject_type == "vpcs":
            touched = {row.subject_id, *touched}
        for network_id in touched:
            _note(facts.networks_changed, network_id, at)


def _note(changed: dict[str | None, float], key: str | None, at: float) -> None:
    changed[key] = max(at, changed.get(key, 0.0))


def _recent_jobs(session: Session, oldest: float) -> Sequence[Any]:
    """One row a subject: whether a job is open, when the last one ended, and of VMs the account and the last host."""
    after = dt.datetime.fromtimestamp(oldest - GRACE_SECONDS, dt.UTC)
    subject = (WorkflowRow.subject_type, WorkflowRow.subject_id, Vm.account_id, Vm.last_host_id)
    running = func.sum(case((WorkflowRow.status == "running", 1), else_=0)).label("running")
    query = (
        select(*subject, running, func.max(WorkflowRow.ended).label("ended"))
        .outerjoin(Vm, (Vm.id == WorkflowRow.subject_id) & (WorkflowRow.subject_type == Vm.__tablename__))
        .where((WorkflowRow.status == "running") | (WorkflowRow.ended >= after))
        .group_by(*subject)
    )
    return session.execute(query).all()
