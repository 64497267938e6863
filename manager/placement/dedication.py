"""Zones, pods, clusters and hosts that are kept for one account, or for a domain and all below it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from manager.models import Account, Dedication, Domain

TAKEN = "it is dedicated to another account or domain"
NOT_OWN = "it is not among those dedicated to the account"


@dataclass(frozen=True, slots=True)
class Kept:
    """Ids of resources, as they concern one account: those kept for others, and those kept for it."""

    others: frozenset[str]
    own: frozenset[str]


def kept(session: Session, account_id: str) -> Kept:
    """What is dedicated, seen from the account."""
    path = select(Domain.path).join(Account, Account.domain_id == Domain.id).where(Account.id == account_id)
    query = select(Dedication.resource_id, Dedication.account_id, Domain.path, path.scalar_subquery()).join(
        Domain, Domain.id == Dedication.domain_id
    )
    own: set[str] = set()
    others: set[str] = set()
    for resource_id, dedicated_to, domain_path, account_path in session.execute(query):
        within = (account_path or "").startswith(domain_path)
        mine = dedicated_to == account_id if dedicated_to is not None else within
        (own if mine else others).add(resource_id)
    return Kept(frozenset(others), frozenset(own))
