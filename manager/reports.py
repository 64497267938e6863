"""What agents send: answers to commands, heartbeats, inventories. Each is verified with that agent's own key.

A host speaks only for itself: an answer counts only for a command that was given to it, a report only for the VMs
that the database places on it. Absence from a report is never taken as death.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from functools import lru_cache
from typing import Any

import msgspec
import structlog
from sqlalchemy import or_, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from agents.contract import Answer, DomainFacts, HostFacts, HostInventory, HostReport
from agents.envelope import BadEnvelope, Expired, peek, public_key, verify
from manager import acl_hits, alerts, figures, router_roles, traffic
from manager.alerts import Trouble
from manager.db import epoch, transaction, write
from manager.messages import together
from manager.models import Agent, Host, Inventory, StoragePool, Vm, WorkflowRow
from manager.workflows import engine, vpn_site
from manager.workflows.vm import stop_vm

GIB = 2**30
LINGER_SECONDS = 0.03
TELL_AGAIN_SECONDS = 60.0

log = structlog.get_logger()


def take(envelope: Any) -> None:
    """Take a report of an agent; a forged or unreadable one leaves a line in the log and an alert."""
    try:
        payload = _genuine(envelope)
        agent_id = payload["agent"]
        match payload["kind"]:
            case "heartbeat":
                _heartbeat(agent_id, msgspec.convert(payload["body"], HostReport))
            case "alive":
                with transaction() as session:
                    _seen(session, agent_id, payload["body"]["incarnation"], int(payload["body"]["sequence"]))
            case "inventory":
                _inventory(agent_id, msgspec.convert(payload["body"], HostInventory), payload["body"])
            case kind:
                raise BadEnvelope(f"There is no message of kind {kind}.")
    except (BadEnvelope, KeyError, msgspec.ValidationError) as error:
        _refuse(envelope, error)


_waiting: deque[Any] = deque()
_turn = threading.Lock()


def take_answers(envelopes: Any) -> None:
    """As `take`, for answers: those that come within a moment are stored together, by who waited first."""
    if not isinstance(envelopes, list):
        log.error("message of an agent refused", reason="Answers come in a list.")
        return
    _waiting.extend(envelopes)
    time.sleep(LINGER_SECONDS)
    with _turn:
        batch = [_waiting.popleft() for _ in range(len(_waiting))]
        answered = _store([reply for reply in map(_reply, batch) if reply])
    with together():
        for workflow_id in answered:
            engine.advance(workflow_id)


def _store(replies: list[tuple[str, str, Answer]]) -> list[str]:
    """As engine.store_answers; an answer that the database refuses does not take those of other hosts with it."""
    try:
        return engine.store_answers(replies)
    except DBAPIError as error:
        if len(replies) < 2:  # noqa: PLR2004 - with one there is nobody else to save
            log.error("answer not stored", agents=[agent_id for agent_id, _, _ in replies], error=str(error))
            return []
    return [workflow_id for reply in replies for workflow_id in _store([reply])]


def _reply(envelope: Any) -> tuple[str, str, Answer] | None:
    """The agent, its workflow and its answer, of a genuine envelope."""
    try:
        payload = _genuine(envelope)
        if payload["kind"] != "answer":
            raise BadEnvelope(f"A message of kind {payload['kind']} is no answer.")
        return payload["agent"], payload["job"], msgspec.convert(payload["answer"], Answer)
    except (BadEnvelope, KeyError, msgspec.ValidationError) as error:
        _refuse(envelope, error)
        return None


_told: dict[str, float] = {}


def _refuse(envelope: Any, error: Exception) -> None:
    """Log a message that is not taken, and raise an alert of the agent, or of all unknown ones together."""
    log.error("message of an agent refused", reason=str(error))
    if isinstance(error, Expired):
        return
    try:
        agent_id = str(peek(envelope).get("agent"))
    except BadEnvelope:
        agent_id = ""
    known = agent_id if agent_id and _public_key(agent_id) else "unknown"
    if time.monotonic() < _told.get(known, 0.0):
        return
    _told[known] = time.monotonic() + TELL_AGAIN_SECONDS
    told = f"A message in the name of agent {known} was refused: {error}"
    with transaction() as session:
        alerts.tell(session, Trouble(f"{alerts.ONCE}:agent:{known}", alerts.MANAGEMENT, told))


def _genuine(envelope: Any) -> dict[str, Any]:
    key = _public_key(str(peek(envelope).get("agent")))
    if key is None:
        raise BadEnvelope("No agent of that id is enrolled.")
    return verify(public_key(key), envelope)


@lru_cache(maxsize=4096)
def _cached_key(agent_id: str) -> str:
    with transaction() as session:
        key = session.scalar(select(Agent.public_key).filter_by(id=agent_id, removed=None))
    if key is None:
        raise LookupError(agent_id)
    return key


def _public_key(agent_id: str) -> str | None:
    try:
        return _cached_key(agent_id)
    except LookupError:
        return None


def _seen(session: Session, agent_id: str, incarnation: str, sequence: int) -> bool:
    """Note that the agent lives; False for a report that a newer one has overtaken."""
    newer = or_(Agent.incarnation != incarnation, Agent.report_sequence < sequence)
    seen = write(
        session,
        update(Agent)
        .where(Agent.id == agent_id, Agent.removed.is_(None), newer)
        .values(last_seen=epoch(), incarnation=incarnation, report_sequence=sequence),
    )
    return bool(seen)


def _heartbeat(agent_id: str, report: HostReport) -> None:
    with transaction() as session:
        if not _seen(session, agent_id, report.incarnation, report.sequence):
            return
        host = session.scalar(select(Host).filter_by(agent_id=agent_id, removed=None))
        if host is not None:
            _update_host(host, report.facts)
            _size_pools(session, host)
            _notice_ended(session, host, report.domains)


def _update_host(host: Host, facts: HostFacts) -> None:
    """Write what differs; SQLAlchemy leaves the row alone where nothing does."""
    if host.state in ("Connecting", "Disconnected", "Down"):
        host.state = "Up"
    host.cpus, host.cpu_mhz, host.memory = facts.cpus, facts.cpu_mhz, facts.memory
    host.virt_type, host.hypervisor_version = facts.virt_type, facts.hypervisor_version
    host.underlay_address, host.boot_id = facts.underlay_address, facts.boot_id
    host.address = host.address or facts.underlay_address
    disk = {"disk_total": facts.disk_total, "disk_used": facts.disk_used // GIB * GIB}
    if any(host.details.get(name) != value for name, value in disk.items()):
        host.details = {**host.details, **disk}


def _size_pools(session: Session, host: Host) -> None:
    """A local pool that was made before the host had told its disk gets its capacity now."""
    total = host.details.get("disk_total", 0)
    if total:
        unsized = (StoragePool.host_id == host.id, StoragePool.capacity == 0, StoragePool.removed.is_(None))
        write(session, update(StoragePool).where(*unsized).values(capacity=total))


def _notice_ended(session: Session, host: Host, domains: tuple[DomainFacts, ...]) -> None:
    """A guest that shut itself down: its domain is there, at our generation, and off. It is stopped in good order."""
    off = {d.vm_id: d.generation for d in domains if d.state in ("shutoff", "crashed")}
    if not off:
        return
    query = select(Vm).where(Vm.id.in_(off), Vm.host_id == host.id, Vm.state == "Running")
    for vm in session.scalars(query).all():
        busy = session.scalar(select(WorkflowRow.id).filter_by(holds=f"vms:{vm.id}"))
        if vm.generation == off[vm.id] and busy is None:
            stop_vm.start(session, vm, forced=True, reason="The guest shut itself down.")


def _inventory(agent_id: str, inventory: HostInventory, body: dict[str, Any]) -> None:
    with transaction() as session:
        row = session.get(Inventory, agent_id)
        if row is None:
            row = Inventory(agent_id=agent_id, incarnation="", sequence=-1)
            session.add(row)
        if row.incarnation == inventory.incarnation and row.sequence >= inventory.sequence:
            return
        row.incarnation, row.sequence = inventory.incarnation, inventory.sequence
        row.body = {**body, "guests": [], "rule_hits": []}  # they have rows of their own; nothing looks for them here
        row.at = epoch()
        traffic.note(session, agent_id, inventory.traffic)
        acl_hits.note(session, agent_id, inventory.rule_hits)
        figures.note(session, agent_id, inventory.guests)
        vpn_site.note(session, inventory.tunnels)
        router_roles.note(session, agent_id, inventory.roles)
