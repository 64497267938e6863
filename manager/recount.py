"""The database against itself: counters against a recount, keys, addresses, states without work, work that hangs.

Each check is one statement, so it sees one moment: what a transaction changes together is never seen apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, and_, case, exists, func, literal, or_, select
from sqlalchemy.orm import Session

from agents.contract import COMMANDS
from manager.db import epoch
from manager.models import (
    Account,
    Agent,
    AgentCommandRow,
    Domain,
    DomainUse,
    Host,
    ImageStore,
    Network,
    Nic,
    PublicAddress,
    ResourceUse,
    Router,
    StoragePool,
    Template,
    TunnelKey,
    UsageSpan,
    VlanKey,
    Vm,
    Volume,
    Vpc,
    WorkflowRow,
)
from manager.models.meters import RUNNING_VM, RUNS, key_of
from manager.models.states import NETWORK_MOVES, ROUTER_MOVES, TEMPLATE_MOVES, VM_MOVES, VOLUME_MOVES, VPC_MOVES
from manager.placement import holdings

OVERDUE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement. `surveyed` is the time of the survey that shows it (database clock), None where the database
    alone does; `host_id` names a host or, for images, an image store.
    """

    type: str
    resource_type: str
    resource_id: str
    detail: str
    expected: str = ""
    found: str = ""
    host_id: str | None = None
    host_name: str | None = None
    zone_id: str | None = None
    surveyed: float | None = None


def drift(session: Session) -> Iterator[Finding]:
    """Rows that contradict other rows, and work that does not go on."""
    yield from _hosts(session)
    yield from _pools(session)
    yield from _accounts(session)
    yield from _keys(session)
    yield from _places(session)
    yield from _passing(session)
    yield from _workflows(session)
    yield from _commands(session)
    yield from _usage(session)


def orphans(session: Session) -> Iterator[Finding]:
    """Rows whose owner is gone."""
    yield from _addresses(session)
    yield from _nics(session)
    yield from _volumes(session)


def _differing(kind: str, row: Any, name: str, columns: tuple[str, ...], **place: Any) -> Iterator[Finding]:
    """A finding of each column of `row` that is not what `<column>_counted` says."""
    for column in columns:
        kept, counted = int(getattr(row, column)), int(getattr(row, f"{column}_counted") or 0)
        if kept != counted:
            detail = f"{kind} {name} counts {kept} in {column}, and {counted} by what there is."
            yield Finding("counter", kind, row.id, detail, f"{column}={counted}", f"{column}={kept}", **place)


def _sum(value: SQLColumnExpression[Any], *where: ColumnElement[bool]) -> Any:
    return select(func.coalesce(func.sum(value), 0)).where(*where).scalar_subquery()


def _hosts(session: Session) -> Iterator[Finding]:
    here = (Vm.host_id == Host.id, Vm.removed.is_(None))
    query = select(
        Host.id, Host.name, Host.zone_id, Host.cpu_used, Host.memory_used,
        _sum(Vm.cpus * Vm.cpu_mhz, *here).label("cpu_used_counted"),
        _sum(Vm.memory, *here).label("memory_used_counted"),
    ).where(Host.removed.is_(None))  # fmt: skip
    for row in session.execute(query):
        place = {"host_id": row.id, "host_name": row.name, "zone_id": row.zone_id}
        yield from _differing("Host", row, row.name, ("cpu_used", "memory_used"), **place)


def _pools(session: Session) -> Iterator[Finding]:
    held = _sum(Volume.size, Volume.pool_id == StoragePool.id, Volume.removed.is_(None)).label("allocated_counted")
    query = select(
        StoragePool.id, StoragePool.name, StoragePool.zone_id, StoragePool.host_id, StoragePool.allocated, held
    )
    for row in session.execute(query.where(StoragePool.removed.is_(None))):
        yield from _differing("StoragePool", row, row.name, ("allocated",), host_id=row.host_id, zone_id=row.zone_id)


def _accounts(session: Session) -> Iterator[Finding]:
    kinds: tuple[tuple[str, Any, Any, Any, dict[str, Any]], ...] = (
        ("Account", ResourceUse, Account, ResourceUse.account_id, holdings.by_account()),
        ("Domain", DomainUse, Domain, DomainUse.domain_id, holdings.by_domain()),
    )
    for kind, model, owner, owner_id, counted in kinds:
        columns = [getattr(model, key) for key in counted]
        labelled = [value.label(f"{key}_counted") for key, value in counted.items()]
        query = select(owner.id, owner.name, *columns, *labelled).join(model, owner_id == owner.id)
        for row in session.execute(query.where(owner.removed.is_(None))):
            yield from _differing(kind, row, row.name, tuple(counted))


def _keys(session: Session) -> Iterator[Finding]:
    held_key = func.coalesce(TunnelKey.key, VlanKey.vlan)
    query = (
        select(Network.id, Network.name, Network.zone_id, Network.key, held_key.label("held"))
        .outerjoin(TunnelKey, (TunnelKey.network_id == Network.id) & (TunnelKey.zone_id == Network.zone_id))
        .outerjoin(VlanKey, VlanKey.network_id == Network.id)
        .where(Network.removed.is_(None), or_(held_key.is_(None), held_key != Network.key))
    )
    for row in session.execute(query):
        held = "none" if row.held is None else str(row.held)
        detail = f"Network {row.name} uses the tunnel key {row.key}; it holds {held}."
        yield Finding("key", "Network", row.id, detail, held, str(row.key), zone_id=row.zone_id)


def _places(session: Session) -> Iterator[Finding]:
    """VMs that run nowhere, and VMs at rest that still hold a place."""
    nowhere = and_(Vm.state == "Running", Vm.host_id.is_(None))
    held = and_(Vm.state.in_(("Stopped", "Destroyed", "Error")), Vm.host_id.is_not(None))
    for row in session.execute(_unattended(Vm, "vms", Vm.id).where(or_(nowhere, held))):
        found = "no host" if row.state == "Running" else "a host"
        wanted = "a host" if row.state == "Running" else "no host"
        detail = f"The virtual machine {row.name} is {row.state} and holds {found}."
        yield Finding("vm.place", "VirtualMachine", row.id, detail, wanted, found, zone_id=row.zone_id)


def _unattended(model: Any, subject_type: Any, subject_id: SQLColumnExpression[Any]) -> Select[Any]:
    """Living rows of `model` of whose subject no workflow is open."""
    open_work = exists().where(
        WorkflowRow.subject_id == subject_id, WorkflowRow.subject_type == subject_type, WorkflowRow.status == "running"
    )
    columns = (model.id, model.name, model.state, model.zone_id)
    return select(*columns).where(model.removed.is_(None), ~open_work)


def _passing(session: Session) -> Iterator[Finding]:
    kinds: tuple[tuple[str, Any, Any, Any, Any], ...] = (
        ("VirtualMachine", Vm, VM_MOVES, "vms", Vm.id),
        ("Volume", Volume, VOLUME_MOVES, "vms", Volume.vm_id),
        ("Network", Network, NETWORK_MOVES, "networks", Network.id),
        ("Router", Router, ROUTER_MOVES, case((Router.vpc_id.is_(None), "networks"), else_="vpcs"),
         func.coalesce(Router.vpc_id, Router.network_id)),
        ("VPC", Vpc, VPC_MOVES, "vpcs", Vpc.id),
        ("Template", Template, TEMPLATE_MOVES, "templates", Template.id),
    )  # fmt: skip
    for kind, model, moves, subject_type, subject_id in kinds:
        query = _unattended(model, subject_type, subject_id).where(model.state.in_(moves.passing))
        for row in session.execute(query):
            detail = f"{kind} {row.name} is {row.state}, and no job is at work on it."
            yield Finding("state", kind, row.id, detail, "an open job", row.state, zone_id=row.zone_id)


def _workflows(session: Session) -> Iterator[Finding]:
    late = and_(WorkflowRow.status == "running", WorkflowRow.wake_at < epoch() - OVERDUE_SECONDS)
    query = select(WorkflowRow.id, WorkflowRow.name, WorkflowRow.status, WorkflowRow.subject_id, WorkflowRow.error)
    for row in session.execute(query.where(or_(WorkflowRow.status == "stuck", late))):
        stuck = row.status == "stuck"
        told = f"is stuck and needs an operator: {row.error}" if stuck else "should have gone on, and nobody did"
        detail = f"The job {row.id} ({row.name} of {row.subject_id}) {told}."
        yield Finding("job.stuck" if stuck else "job.late", "AsyncJob", row.id, detail, "ended", row.status)


def _commands(session: Session) -> Iterator[Finding]:
    overdue = and_(AgentCommandRow.status == "open", AgentCommandRow.deadline < epoch() - OVERDUE_SECONDS)
    query = (
        select(AgentCommandRow.id, AgentCommandRow.name, AgentCommandRow.subject, AgentCommandRow.status,
               Host.id.label("host_id"), func.coalesce(Host.name, ImageStore.name).label("place"), Agent.kind,
               func.coalesce(Host.zone_id, ImageStore.zone_id).label("zone_id"))
        .join(Agent, Agent.id == AgentCommandRow.agent_id)
        .outerjoin(Host, Host.agent_id == Agent.id)
        .outerjoin(ImageStore, ImageStore.agent_id == Agent.id)
        .where(or_(AgentCommandRow.status == "owed", overdue))
    )  # fmt: skip
    for row in session.execute(query):
        owed = row.status == "owed"
        seconds = COMMANDS[row.name].timeout if row.name in COMMANDS else 0
        told = "is owed to it until it is back" if owed else f"has no answer, which was due within {seconds} s"
        detail = f"{row.kind} {row.place}: {row.name} of {row.subject} {told}."
        place = {"host_id": row.host_id, "host_name": row.place, "zone_id": row.zone_id}
        yield Finding(
            "command.owed" if owed else "command.overdue", "Command", row.id, detail, "an answer", "none", **place
        )


def _usage(session: Session) -> Iterator[Finding]:
    """VMs that run unmeasured, or are measured as running and do not run."""
    measured = exists().where(UsageSpan.open == literal(key_of(RUNNING_VM, "")) + Vm.id)
    runs = and_(Vm.state.in_(RUNS), Vm.removed.is_(None))
    query = select(Vm.id, Vm.name, Vm.state, Vm.zone_id).where(or_(and_(runs, ~measured), and_(~runs, measured)))
    for row in session.execute(query):
        wanted, found = ("measured", "not measured") if row.state in RUNS else ("not measured", "measured")
        detail = f"The running time of the virtual machine {row.name}, which is {row.state}, is {found}."
        yield Finding("usage", "VirtualMachine", row.id, detail, wanted, found, zone_id=row.zone_id)


def _addresses(session: Session) -> Iterator[Finding]:
    query = (
        select(PublicAddress.id, PublicAddress.address, PublicAddress.zone_id, Network.name)
        .join(Network, Network.id == PublicAddress.network_id)
        .where(Network.removed.is_not(None))
    )
    for row in session.execute(query):
        detail = f"The public address {row.address} is held by network {row.name}, which is removed."
        yield Finding("publicaddress", "IpAddress", row.id, detail, "free", "held", zone_id=row.zone_id)


def _nics(session: Session) -> Iterator[Finding]:
    owners = (Nic.vm_id, Nic.router_id, Nic.hardware_id)
    gone = or_(Vm.removed.is_not(None), Router.removed.is_not(None), and_(*(owner.is_(None) for owner in owners)))
    query = (
        select(Nic.id, Nic.address, Network.name, Network.zone_id)
        .join(Network, Network.id == Nic.network_id)
        .outerjoin(Vm, Vm.id == Nic.vm_id)
        .outerjoin(Router, Router.id == Nic.router_id)
        .where(gone)
    )
    for row in session.execute(query):
        detail = f"The NIC {row.id} holds {row.address} of network {row.name}, and its owner is gone."
        yield Finding("nic", "Nic", row.id, detail, "no NIC", row.address, zone_id=row.zone_id)


def _volumes(session: Session) -> Iterator[Finding]:
    query = select(Volume.id, Volume.name, Volume.zone_id, Vm.name.label("vm_name")).join(Vm, Vm.id == Volume.vm_id)
    for row in session.execute(query.where(Volume.removed.is_(None), Vm.removed.is_not(None))):
        detail = f"The volume {row.name} is of the virtual machine {row.vm_name}, which is removed."
        yield Finding("volume", "Volume", row.id, detail, "removed", "kept", zone_id=row.zone_id)
