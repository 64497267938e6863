"""Logins of people whose passwords an LDAP directory keeps: whose directory, which user, and who is new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Engine, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from manager import access, configuration, directory
from manager.api import origin
from manager.api.admission import admitted, domain_path
from manager.api.errors import CONFLICT, ApiError
from manager.api.opening import OpenCall
from manager.api.wire import Incoming
from manager.db import transaction
from manager.directory import Person, Place, Server, Terms
from manager.models import Account, Domain, LdapLink, LdapServer, ResourceUse, Role, User
from manager.models.identity import DOMAIN_ADMIN
from manager.roles import DOMAIN_ADMIN_ROLE, USER_ROLE
from manager.secrets import unusable_hash
from manager.workflows.numbers import next_number

LDAP = "ldap"

log = structlog.get_logger()


@dataclass(frozen=True)
class Proof:
    """Who the directory has proved the caller to be: a user, or somebody who becomes one by `link`."""

    user_id: str | None
    person: Person
    link: LdapLink | None


@dataclass(frozen=True)
class Candidate:
    """Who may be who logs in, and where in the directory that one must then be: any of `links`, or anywhere."""

    user_id: str | None
    terms: Terms
    links: tuple[LdapLink, ...]


def proof(request: Incoming, engine: Engine | None) -> Proof | None:
    """What the directory proves of the name and password of the request; None where it is not asked, or denies it.

    A directory that cannot be asked proves nothing: the caller is answered as with a wrong password.
    """
    names = request.names
    username, password = names.get("username", ""), names.get("password", "")
    if request.method != "POST" or not username or not password:
        return None
    with transaction(engine) as session:
        if session.scalar(select(LdapServer.id).where(LdapServer.removed.is_(None)).limit(1)) is None:
            return None
        candidate = _candidate(session, username, domain_path(names.get("domain", "")), names.get("domainid"))
    if candidate is None:
        return None
    try:
        return _proven(candidate, username, password)
    except directory.DirectoryUnusable as error:
        log.warning("an LDAP directory cannot be asked", username=username, cause=str(error))
        return None


def _candidate(session: Session, username: str, path: str, domain_id: str | None) -> Candidate | None:
    found = session.execute(admitted(path, domain_id).where(User.username == username)).first()
    if found is not None:
        user, account, domain = found
        if user.source != LDAP:
            return None
        terms = terms_of(session, domain)
        either = or_(LdapLink.linked == account.id, LdapLink.linked == domain.id)
        links = session.scalars(select(LdapLink).where(either)).all()
        own = [link for link in links if link.linked == account.id] or links
        return Candidate(user.id, terms, tuple(own)) if terms else None
    here = Domain.id == domain_id if domain_id else Domain.path == path
    place = session.scalar(select(Domain).where(here, Domain.state == "Active"))
    known = place is not None and session.scalar(select(User.id).where(User.live == f"{place.id}/{username.lower()}"))
    if place is None or known:
        return None
    links = session.scalars(select(LdapLink).where(LdapLink.domain_id == place.id)).all()
    terms = terms_of(session, place) if links else None
    return Candidate(None, terms, tuple(links)) if terms else None


def _proven(candidate: Candidate, username: str, password: str) -> Proof | None:
    link = None
    if candidate.links:
        link = _link_of(candidate, username)
        if link is None:
            log.info("login by LDAP is refused", username=username, cause="not in what the domain is linked to")
            return None
    person = directory.proven(candidate.terms, username, password, _place(link))
    return Proof(candidate.user_id, person, link) if person else None


def _link_of(candidate: Candidate, username: str) -> LdapLink | None:
    """The link by which that person enters: the one of an account if he is in exactly one, else the domain's."""
    fitting = [link for link in candidate.links if directory.person(candidate.terms, username, _place(link))]
    accounts = [link for link in fitting if link.account_id is not None]
    if len(accounts) > 1:
        return None
    return accounts[0] if accounts else next(iter(fitting), None)


def _place(link: LdapLink | None) -> Place | None:
    return Place(link.kind, link.place) if link else None


def terms_of(session: Session, domain: Domain | None) -> Terms | None:
    """The directory of the domain: its own servers, those of the nearest domain above it, or those of all."""
    query = select(LdapServer, Domain.level).outerjoin(Domain, Domain.id == LdapServer.domain_id)
    mine: access.Condition = LdapServer.domain_id.is_(None)
    if domain is not None:
        mine = or_(mine, access.related(domain, below_too=False))
    rows = session.execute(query.where(LdapServer.removed.is_(None), mine).order_by(LdapServer.created, LdapServer.id))
    found = [(-1 if level is None else level, Server(row.hostname, row.port)) for row, level in rows]
    if not found:
        return None
    nearest = max(level for level, _ in found)
    given = {field: configuration.value(session, name, domain) for field, name in _SETTINGS.items()}
    seconds = configuration.value(session, "ldap.read.timeout", domain) / 1000
    return Terms(servers=tuple(one for level, one in found if level == nearest), seconds=seconds, **given)


_SETTINGS = {
    "base": "ldap.basedn", "principal": "ldap.bind.principal", "password": "ldap.bind.password", "tls": "ldap.tls",
    "truststore": "ldap.truststore", "page": "ldap.request.page.size", "person_class": "ldap.user.object",
    "username": "ldap.username.attribute", "email": "ldap.email.attribute", "first_name": "ldap.firstname.attribute",
    "last_name": "ldap.lastname.attribute", "group_class": "ldap.group.object",
    "member": "ldap.group.user.uniquemember", "needed_group": "ldap.search.group.principle",
}  # fmt: skip


def add_proven(call: OpenCall, proof: Proof) -> None:
    """Make the proven person a user: of the linked account, or of a new one; nobody, where that may not enter.

    :raises ApiError: 536, another login made it first, or an account has the name
    """
    session, person, link = call.session, proof.person, proof.link
    if link is None:
        raise ValueError("Nobody becomes a user without a link.")
    domain = session.get_one(Domain, link.domain_id, with_for_update={"read": True})
    user = User(username=person.username, password_hash=unusable_hash(), source=LDAP, **names_of(person))
    user.live = f"{domain.id}/{person.username.lower()}"
    point = session.begin_nested()
    try:
        account = session.get_one(Account, link.account_id) if link.account_id else _new_account(session, domain, proof)
        user.account_id = account.id
        session.add(user)
        session.flush()
        is_open = account.removed is None and account.state == "enabled" and domain.state == "Active"
        if not is_open or not origin.may_call(session, account, call.request.source):
            point.rollback()
    except IntegrityError as error:
        raise ApiError(CONFLICT, "The user is being made by another login, or its name is taken; try again.") from error


def names_of(person: Person) -> dict[str, Any]:
    return {"first_name": person.first_name, "last_name": person.last_name, "email": person.email}


def _new_account(session: Session, domain: Domain, proof: Proof) -> Account:
    name = DOMAIN_ADMIN_ROLE if proof.link and proof.link.account_type == DOMAIN_ADMIN else USER_ROLE
    role = session.scalars(select(Role).where(Role.is_default, Role.name == name)).one()
    account = Account(
        number=next_number(session, "account"),
        name=proof.person.username,
        domain_id=domain.id,
        type=proof.link.account_type if proof.link else 0,
        role_id=role.id,
        live=f"{domain.id}/{proof.person.username.lower()}",
    )
    session.add(account)
    session.flush()
    session.add(ResourceUse(account_id=account.id))
    return account
