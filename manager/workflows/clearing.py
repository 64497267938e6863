"""How what belongs to an account goes away: each kind of thing by workflows of its own, awaited together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, true, update
from sqlalchemy.orm import Session

from manager.db import write
from manager.models import (
    ActionRun,
    AffinityGroup,
    Base,
    Dedication,
    InstanceGroup,
    KeyRange,
    LdapLink,
    Network,
    NetworkAclItem,
    NetworkAclList,
    NetworkShare,
    PacketCapture,
    SecurityGroup,
    SecurityGroupRule,
    SshKeyPair,
    SslCert,
    Tag,
    Template,
    TemplateShare,
    UserData,
    Vm,
    Vpc,
    VpnCustomerGateway,
    VpnUser,
    Webhook,
    WebhookDelivery,
    WorkflowRow,
    utcnow,
)
from manager.models.states import VM_MOVES
from manager.workflows.engine import Await, Outcome, Run, Step, StepFailed
from manager.workflows.template import delete_template
from manager.workflows.tier import deletion_of
from manager.workflows.vm import destroy_vm, expunge_vm, stop_vm
from manager.workflows.vpc import delete_vpc

Begin = Callable[[Session, Any], WorkflowRow]
"""Starts the workflow that ends one thing, and is awaited."""


def _subject_id(run: Run) -> str:
    return run.row.subject_id


@dataclass(frozen=True)
class Way:
    """How things of a kind end: `begin` for each that is `due`; it is not due any more once that is done."""

    name: str
    model: type[Any]
    begin: Begin
    due: Callable[[], ColumnElement[bool]] = true

    def things(self, session: Session, account_id: str) -> list[Any]:
        query = select(self.model).where(self.model.account_id == account_id, self.model.removed.is_(None))
        return list(session.scalars(query.where(self.due()).order_by(self.model.created, self.model.id)))

    def step(self, owner: Callable[[Run], str] = _subject_id) -> Step:
        """For the account whose id `owner` gives. No undo: what is gone stays gone."""

        def clear(run: Run) -> Outcome:
            return end_all(run, self.name, self.begin, self.things(run.session, owner(run)))

        clear.__name__ = self.name
        return Step(clear)


def end_all(run: Run, name: str, begin: Begin, things: list[Any]) -> Await | None:
    """Begin the end of each thing once, and wait until none is left; `name` is that of the step.

    A workflow that is already open for a thing is waited for first.

    :raises StepFailed: what was begun has ended, and the thing is still there
    """
    if not things:
        return None
    table = things[0].__tablename__
    held = select(WorkflowRow).where(WorkflowRow.holds.in_([f"{table}:{thing.id}" for thing in things]))
    under_way = {row.subject_id: row for row in run.session.scalars(held)}
    begun: dict[str, str] = dict(run.recall(name) or {})
    for thing in things:
        row = under_way.get(thing.id)
        if row is None:
            _demand_first(run, thing, begun.get(thing.id))
            row = under_way[thing.id] = begin(run.session, thing)
            begun[thing.id] = row.id
        if row.status == "stuck":
            raise StepFailed(f"{_called(thing)} is held by job {row.id}, which is stuck: {row.error}")
    run.note(**{name: begun})
    return Await(under_way[things[0].id].id)


def _demand_first(run: Run, thing: Any, begun: str | None) -> None:
    if begun is not None:
        ended = run.session.get(WorkflowRow, begun)
        reason = ended.error if ended is not None and ended.error else "its job has ended and it is still there"
        raise StepFailed(f"{_called(thing)} could not be ended: {reason}", ended.error_code if ended else 530)


def _called(thing: Any) -> str:
    return f"The {thing.__tablename__.removesuffix('s')} {thing.name} ({thing.id})"


def _end_vm(session: Session, vm: Vm) -> WorkflowRow:
    if vm.state == "Destroyed":
        return expunge_vm.start(session, vm, expunge=True, awaited=True)
    if vm.state in VM_MOVES.passing:
        raise StepFailed(f"{_called(vm)} is {vm.state}, and no job is at work on it; an operator must see to it.")
    return destroy_vm.start(session, vm, expunge=True, forced=True, awaited=True)


def _stop_vm(session: Session, vm: Vm) -> WorkflowRow:
    return stop_vm.start(session, vm, forced=False, awaited=True)


def _remove_network(session: Session, network: Network) -> WorkflowRow:
    return deletion_of(network).start(session, network)


def _remove_vpc(session: Session, vpc: Vpc) -> WorkflowRow:
    return delete_vpc.start(session, vpc)


def _remove_template(session: Session, template: Template) -> WorkflowRow:
    return delete_template.start(session, template, awaited=True)


STOPPING = Way("stop_vms", Vm, _stop_vm, lambda: Vm.state.in_(("Starting", "Running", "Stopping")))
"""What happens to the VMs of an account that is disabled."""

WAYS = (
    Way("remove_vms", Vm, _end_vm),
    Way("remove_networks", Network, _remove_network),
    Way("remove_vpcs", Vpc, _remove_vpc),
    Way("remove_templates", Template, _remove_template),
)
"""The kinds of things that end with their account by a workflow each, in this order."""

ROWS: tuple[type[Any], ...] = (
    SshKeyPair, UserData, InstanceGroup, AffinityGroup, SecurityGroup, SecurityGroupRule, Webhook, SslCert, VpnUser,
    VpnCustomerGateway, NetworkAclItem, NetworkAclList,
)  # fmt: skip
"""The kinds of things that are nothing but their row, which is removed with the account."""

FORGOTTEN: tuple[type[Any], ...] = (
    Tag,
    WebhookDelivery,
    Dedication,
    TemplateShare,
    NetworkShare,
    PacketCapture,
    KeyRange,
    LdapLink,
    ActionRun,
)
"""What is deleted with the account, since it says nothing any more."""


def owned_models() -> Iterator[Any]:
    """The models whose rows belong to an account and are removed one day."""
    for mapper in sorted(Base.registry.mappers, key=lambda mapper: mapper.class_.__name__):
        model = mapper.class_
        if hasattr(model, "account_id") and hasattr(model, "removed"):
            yield model


def held_by(session: Session, account_id: str) -> dict[str, int]:
    """How many living things with workflows of their own the account owns, by the table's name; only what there is."""
    counts = {way.model.__tablename__: len(way.things(session, account_id)) for way in WAYS}
    return {table: count for table, count in counts.items() if count}


def demand_cleared(session: Session, account_id: str, but: tuple[type[Any], ...]) -> None:
    """:raises StepFailed: something living still belongs to the account, other than rows of `but`"""
    for model in owned_models():
        living = select(func.count()).select_from(model).where(model.account_id == account_id, model.removed.is_(None))
        count = 0 if model in but else session.scalar(living) or 0
        if count:
            kind = model.__tablename__.replace("_", " ")
            raise StepFailed(f"The account still holds {count} {kind}; end those and delete the account again.")


def forget(session: Session, account_id: str, removed: tuple[type[Any], ...], deleted: tuple[type[Any], ...]) -> None:
    """Mark the account's living rows of `removed` as removed, and delete those of `deleted`."""
    for model in removed:
        mine = update(model).where(model.account_id == account_id, model.removed.is_(None))
        write(session, mine.values(removed=utcnow(), live=None))
    for kind in deleted:
        write(session, delete(kind).where(kind.account_id == account_id))
