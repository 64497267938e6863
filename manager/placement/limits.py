"""What an account, a project and a domain may hold: guarded UPDATEs claim all that a call needs, or nothing.

An account's claim counts in its own row and in that of each domain above it but ROOT, which nothing limits. The rows
are taken in one order (the account's, then its domain's, then upwards), so that two claims never wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, case, func, literal, select, update
from sqlalchemy.orm import Session

from manager.configuration import value
from manager.db import write
from manager.models import Account, Domain, DomainLimit, DomainUse, Project, ResourceLimit, ResourceUse
from manager.models.identity import PROJECT, ROOT_ADMIN
from manager.models.resources import BY_KEY, RESOURCES, Resource

UNLIMITED = -1
ENDLESS = literal(2**62, BigInteger())


class LimitReached(Exception):  # noqa: N818 - it names what happened
    """A limit does not allow it; the message names whose, what it is, what is used and what was asked."""

    code = 535


class Place(NamedTuple):
    """A domain above an account, and by resource its own limit or that of the nearest above it with one."""

    id: str
    path: str
    own: dict[str, int]

    @property
    def name(self) -> str:
        return ("ROOT" + self.path).rstrip("/")


def claim(session: Session, account: Account, **wanted: int) -> None:
    """Count `wanted` (by key of manager.models.resources; memory and storage in bytes) against the account.

    :raises LimitReached: a limit stands against it; nothing was counted
    """
    within = [getattr(ResourceUse, key) + amount <= _limit(session, account, key) for key, amount in wanted.items()]
    if not write(session, update(ResourceUse).where(ResourceUse.account_id == account.id, *within).values(
        {key: getattr(ResourceUse, key) + amount for key, amount in wanted.items()}
    )):  # fmt: skip
        raise LimitReached(_explain_account(session, account, wanted))
    above = places(session, account.domain_id)
    for number, place in enumerate(above):
        if not _claim_in(session, account, place, wanted):
            reason = _explain_domain(session, place, wanted)
            _add(session, ResourceUse, ResourceUse.account_id == account.id, wanted, -1)
            for counted in above[:number]:
                _add(session, DomainUse, DomainUse.domain_id == counted.id, wanted, -1)
            raise LimitReached(reason)


def release(session: Session, account_id: str, **held: int) -> None:
    """Take `held` off the counts again."""
    _add(session, ResourceUse, ResourceUse.account_id == account_id, held, -1)
    for domain_id in domains_above(session, account_id):
        _add(session, DomainUse, DomainUse.domain_id == domain_id, held, -1)


def domains_above(session: Session, account_id: str) -> list[str]:
    """Ids of the domains that count what the account holds, from its own upwards."""
    own = select(Domain.path).join(Account, Account.domain_id == Domain.id).where(Account.id == account_id)
    paths = _prefixes(session.scalars(own).one())
    if not paths:
        return []
    query = select(Domain.id).where(Domain.path.in_(paths), Domain.removed.is_(None))
    return list(session.scalars(query.order_by(Domain.level.desc())))


def places(session: Session, domain_id: str) -> list[Place]:
    """The domain and those above it but ROOT, from below upwards."""
    found = places_of(session, [session.get_one(Domain, domain_id).path])
    return sorted(found.values(), key=lambda place: -len(place.path))


def places_of(session: Session, paths: Iterable[str]) -> dict[str, Place]:
    """The domains of these paths and those above them but ROOT, by path; one statement, none for ROOT alone."""
    wanted = {prefix for path in paths for prefix in _prefixes(path)}
    if not wanted:
        return {}
    query = (
        select(Domain.id, Domain.path, DomainLimit.resource, DomainLimit.maximum)
        .outerjoin(DomainLimit, DomainLimit.domain_id == Domain.id)
        .where(Domain.path.in_(wanted), Domain.removed.is_(None))
        .order_by(Domain.level)
    )
    found: dict[str, Place] = {}
    for row in session.execute(query):
        above = found.get(row.path[: row.path.rstrip("/").rindex("/") + 1])
        place = found.setdefault(row.path, Place(row.id, row.path, dict(above.own) if above else {}))
        if row.resource is not None:
            place.own[row.resource] = row.maximum
    return found


def _prefixes(path: str) -> list[str]:
    """'/a/b/' gives ['/a/b/', '/a/']."""
    names = path.strip("/").split("/") if path != "/" else []
    return ["/" + "/".join(names[:count]) + "/" for count in range(len(names), 0, -1)]


def maximum_of(session: Session, account: Account, resource: Resource, own: int | None) -> int:
    """The account's limit, of which `own` is its own if it has one; in the resource's unit, -1 for none."""
    if account.type == ROOT_ADMIN:
        return UNLIMITED
    return own if own is not None else _general(session, account, resource)


def domain_maximum(session: Session, place: Place | None, resource: Resource) -> int:
    """The domain's limit; None is ROOT, which has none."""
    if place is None:
        return UNLIMITED
    own = place.own.get(resource.key)
    return int(value(session, resource.setting_of("domain"))) if own is None else own


def _general(session: Session, account: Account, resource: Resource) -> int:
    kind = "project" if account.type == PROJECT else "account"
    if kind == "project" and resource.key == "projects":
        return 0
    return int(value(session, resource.setting_of(kind)))


def _limit(session: Session, account: Account, key: str) -> Any:
    """The account's limit, its own or the general one, as SQL; in bytes where the counter is."""
    if account.type == ROOT_ADMIN:
        return ENDLESS
    return _own_or(account.id, key, _general(session, account, BY_KEY[key]))


@lru_cache(maxsize=8192)
def _own_or(account_id: str, key: str, general: int) -> Any:
    """Kept, since a deployment needs five of them, and to build them takes longer than the statement."""
    unit = BY_KEY[key].unit
    own = select(case((ResourceLimit.maximum == UNLIMITED, ENDLESS), else_=ResourceLimit.maximum * unit))
    mine = own.where(ResourceLimit.account_id == account_id, ResourceLimit.resource == key)
    return func.coalesce(mine.scalar_subquery(), ENDLESS if general == UNLIMITED else general * unit)


def _claim_in(session: Session, account: Account, place: Place, wanted: dict[str, int]) -> bool:
    within = []
    for key, amount in wanted.items():
        maximum = domain_maximum(session, place, BY_KEY[key])
        if maximum != UNLIMITED and account.type != ROOT_ADMIN:
            within.append(getattr(DomainUse, key) + amount <= maximum * BY_KEY[key].unit)
    return _add(session, DomainUse, DomainUse.domain_id == place.id, wanted, 1, *within) > 0


def _add(session: Session, model: type[Any], where: Any, amounts: dict[str, int], sign: int, *within: Any) -> int:
    values = {key: getattr(model, key) + sign * amount for key, amount in amounts.items()}
    return write(session, update(model).where(where, *within).values(values))


def _explain_account(session: Session, account: Account, wanted: dict[str, int]) -> str:
    use = session.get(ResourceUse, account.id, populate_existing=True)
    query = select(ResourceLimit.resource, ResourceLimit.maximum).filter_by(account_id=account.id)
    own = {row.resource: row.maximum for row in session.execute(query)}
    project = session.scalar(select(Project.name).filter_by(account_id=account.id))
    who = f"Project {project}" if account.type == PROJECT else f"Account {account.name}"
    limits = {key: maximum_of(session, account, BY_KEY[key], own.get(key)) for key in wanted}
    return _sentence(who, use, limits, wanted)


def _explain_domain(session: Session, place: Place, wanted: dict[str, int]) -> str:
    use = session.get(DomainUse, place.id, populate_existing=True)
    limits = {key: domain_maximum(session, place, BY_KEY[key]) for key in wanted}
    return _sentence(f"Domain {place.name}", use, limits, wanted)


def _sentence(who: str, use: Any, limits: dict[str, int], wanted: dict[str, int]) -> str:
    for resource in RESOURCES:
        amount, maximum = wanted.get(resource.key, 0), limits.get(resource.key, UNLIMITED)
        used = getattr(use, resource.key) if use else 0
        if amount and maximum != UNLIMITED and used + amount > maximum * resource.unit:
            held, more = (f"{number / resource.unit:g}" for number in (used, amount))
            return f"{who} may hold {maximum} {resource.label}; it holds {held}, asked for {more} more."
    return f"{who} holds as much as it may."
