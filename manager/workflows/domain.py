"""The workflow that deletes a domain with all that is in it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from manager.db import write
from manager.models import (
    Account,
    Base,
    DiskOffering,
    Domain,
    LdapLink,
    LdapServer,
    Network,
    NetworkOffering,
    OfferingDomain,
    ServiceOffering,
    WorkflowRow,
    utcnow,
)
from manager.models.identity import PROJECT
from manager.workflows.account import delete_account, end_sessions
from manager.workflows.clearing import end_all
from manager.workflows.engine import Outcome, Run, Step, StepFailed, workflow
from manager.workflows.network import delete_network

OFFERINGS: tuple[type[Any], ...] = (ServiceOffering, DiskOffering, NetworkOffering)


def lock_tree(session: Session) -> None:
    """Wait for, and keep out, all others that change the tree of domains, until the transaction ends."""
    session.execute(select(Domain.id).where(Domain.parent_id.is_(None)).with_for_update())


def domain_of(run: Run) -> Domain:
    domain: Domain = run.subject(Domain)
    return domain


def within(domain: Domain) -> ColumnElement[bool]:
    """The living domains that are this one or below it."""
    return (Domain.removed.is_(None)) & Domain.path.startswith(domain.path, autoescape=True)


def close_domain(session: Session, domain: Domain) -> None:
    """Nobody of the domain and those below it enters any more, and nothing new is made there."""
    write(session, update(Domain).where(within(domain)).values(state="Inactive"))
    end_sessions(session, Account.domain_id.in_(select(Domain.id).where(within(domain))))


def begin_deleting(run: Run) -> Outcome:
    lock_tree(run.session)
    close_domain(run.session, domain_of(run))
    return None


def reopen(run: Run) -> Outcome:
    """What could not be deleted is open again; accounts whose deletion was begun stay disabled."""
    write(run.session, update(Domain).where(within(domain_of(run))).values(state="Active"))
    return None


def remove_accounts(run: Run) -> Outcome:
    """No undo: an account that is gone stays gone."""
    places = select(Domain.id).where(within(domain_of(run)))
    query = select(Account).where(Account.domain_id.in_(places), Account.removed.is_(None), Account.type != PROJECT)
    accounts = list(run.session.scalars(query.order_by(Account.created, Account.id)))
    return end_all(run, remove_accounts.__name__, _delete_account, accounts)


def _delete_account(session: Session, account: Account) -> WorkflowRow:
    return delete_account.start(session, account, awaited=True)


def remove_networks(run: Run) -> Outcome:
    """What is shared by the domain's accounts goes when these are gone. No undo: a network that is gone stays gone."""
    places = select(Domain.id).where(within(domain_of(run)))
    query = select(Network).where(Network.domain_id.in_(places), Network.removed.is_(None))
    networks = list(run.session.scalars(query.order_by(Network.created, Network.id)))
    return end_all(run, remove_networks.__name__, delete_network.start, networks)


def remove_domains(run: Run) -> Outcome:
    """Remove the domain and those below it, and the offerings that were for them only."""
    session, domain = run.session, domain_of(run)
    if domain.removed is not None:
        return None
    lock_tree(session)
    ids = list(session.scalars(select(Domain.id).where(within(domain)).with_for_update()))
    servers = update(LdapServer).where(LdapServer.domain_id.in_(ids), LdapServer.removed.is_(None))
    write(session, servers.values(removed=utcnow(), live=None))
    held = contents(session, ids)
    if held:
        raise StepFailed(f"The domain {domain.shown_path} still holds {held}.")
    remove_offerings(session, OfferingDomain.domain_id.in_(ids))
    write(session, delete(LdapLink).where(LdapLink.domain_id.in_(ids)))
    write(session, update(Domain).where(Domain.id.in_(ids)).values(removed=utcnow(), live=None))
    return None


def remove_offerings(session: Session, going: ColumnElement[bool]) -> None:
    """Remove the rows of OfferingDomain that meet the condition, and the offerings to which none is left.

    Without a row they would be for everyone.
    """
    named = set(session.scalars(select(OfferingDomain.offering_id).where(going)))
    write(session, delete(OfferingDomain).where(going))
    orphans = named - set(session.scalars(select(OfferingDomain.offering_id)))
    for model in OFFERINGS:
        write(session, update(model).where(model.id.in_(orphans)).values(removed=utcnow(), live=None))


def contents(session: Session, ids: list[str]) -> str:
    """What lives in the domains, as '2 accounts and 1 projects'; nothing when they are empty."""
    found = []
    for mapper in sorted(Base.registry.mappers, key=lambda mapper: mapper.class_.__tablename__):
        model = mapper.class_
        if hasattr(model, "domain_id") and hasattr(model, "removed"):
            living = select(func.count()).select_from(model).where(model.domain_id.in_(ids), model.removed.is_(None))
            count = session.scalar(living)
            if count:
                found.append(f"{count} {model.__tablename__.replace('_', ' ')}")
    return " and ".join(found)


delete_domain = workflow(
    "domain.delete",
    Domain,
    [Step(begin_deleting, undo=reopen), Step(remove_accounts), Step(remove_networks), Step(remove_domains)],
)
