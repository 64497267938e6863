"""Zones, pods, clusters and hosts that are kept for one account, or for a domain and all below it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session, aliased

from manager.models import Account, Dedication, Domain, Host

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


@lru_cache(maxsize=1024)
def admits(account_id: str) -> ColumnElement[bool]:
    """Whether neither a row of Host nor a place that it stands in is kept for others than the account.

    Kept, since it is part of two statements of each placement, and to build it takes longer than they do.
    """
    home = aliased(Domain)
    path = select(home.path).join(Account, Account.domain_id == home.id).where(Account.id == account_id)
    within = func.substr(path.scalar_subquery(), 1, func.length(Domain.path)) == Domain.path
    for_others = or_(
        and_(Dedication.account_id.is_(None), ~within),
        and_(Dedication.account_id.is_not(None), Dedication.account_id != account_id),
    )
    around = Dedication.resource_id.in_((Host.id, Host.cluster_id, Host.pod_id, Host.zone_id))
    kept_back = select(Dedication.id).join(Domain, Domain.id == Dedication.domain_id).where(around, for_others)
    return ~kept_back.correlate(Host).exists()
