"""What there is of each resource, counted anew: the measure of the counters that limits are held against."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression, func, select, update
from sqlalchemy.orm import Session, aliased

from manager.db import write
from manager.models import (
    Account,
    Domain,
    DomainUse,
    Network,
    Project,
    PublicAddress,
    ResourceUse,
    Template,
    Vm,
    Volume,
    Vpc,
)

UNCOUNTED = ("Error", "Destroyed", "Expunging")
"""States of a VM whose place, CPUs and memory do not count."""


def by_account() -> dict[str, Any]:
    """By key of a resource: what the account of a row of ResourceUse holds, as a scalar subquery."""

    def living(model: Any, *more: ColumnElement[bool]) -> tuple[ColumnElement[bool], ...]:
        return (model.account_id == ResourceUse.account_id, model.removed.is_(None), *more)

    vms = living(Vm, Vm.state.not_in(UNCOUNTED))
    return {
        "vms": _number(Vm, *vms),
        "cpus": _sum(Vm.cpus, *vms),
        "memory": _sum(Vm.memory, *vms),
        "volumes": _number(Volume, *living(Volume)),
        "primary_storage": _sum(Volume.size, *living(Volume)),
        "networks": _number(Network, *living(Network)),
        "vpcs": _number(Vpc, *living(Vpc)),
        "templates": _number(Template, *living(Template)),
        "secondary_storage": _sum(Template.physical_size, *living(Template)),
        "public_addresses": _number(PublicAddress, PublicAddress.account_id == ResourceUse.account_id),
        "projects": _number(Project, Project.owner_id == ResourceUse.account_id, Project.removed.is_(None)),
    }


def by_domain() -> dict[str, Any]:
    """As `by_account`, for a row of DomainUse joined to its Domain: the sum of the accounts in it and below it."""
    inner = aliased(Domain)
    place = (
        ResourceUse.account_id == Account.id,
        Account.domain_id == inner.id,
        func.substr(inner.path, 1, func.char_length(Domain.path)) == Domain.path,
    )
    return {
        key: select(func.coalesce(func.sum(getattr(ResourceUse, key)), 0))
        .where(*place)
        .correlate(Domain)
        .scalar_subquery()
        for key in by_account()
    }


def _number(model: Any, *where: ColumnElement[bool]) -> Any:
    return select(func.count()).select_from(model).where(*where).correlate(ResourceUse).scalar_subquery()


def _sum(value: SQLColumnExpression[Any], *where: ColumnElement[bool]) -> Any:
    return select(func.coalesce(func.sum(value), 0)).where(*where).correlate(ResourceUse).scalar_subquery()


def count_anew(session: Session, accounts: list[str], domains: list[str]) -> None:
    """Set the counters of these accounts, and then of these domains (those below before those above), to what there is.

    Each row is locked before it is counted: who claims or releases meanwhile has either been counted, or waits and
    adds its part to the new count.
    """
    for account_id in sorted(accounts):
        session.execute(select(ResourceUse.account_id).filter_by(account_id=account_id).with_for_update())
        values = {key: session.scalar(select(counted).where(ResourceUse.account_id == account_id))
                  for key, counted in by_account().items()}  # fmt: skip
        write(session, update(ResourceUse).where(ResourceUse.account_id == account_id).values(values))
    for domain_id in domains:
        session.execute(select(DomainUse.domain_id).filter_by(domain_id=domain_id).with_for_update())
        columns = [counted.label(key) for key, counted in by_domain().items()]
        row = session.execute(select(*columns).select_from(Domain).where(Domain.id == domain_id)).one()
        write(
            session,
            update(DomainUse).where(DomainUse.domain_id == domain_id).values(dict(zip(by_domain(), row, strict=True))),
        )
    session.expire_all()
