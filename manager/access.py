"""The one authorize path: what a caller may see, use and manage, and which commands a role allows.

Every condition is SQL, so a thing that the caller may not touch is not even read. That it exists is not told: a
foreign identifier and an unknown one are answered alike.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import ColumnElement, Select, and_, false, or_, select, true
from sqlalchemy.orm import Session, object_session

from manager.api.command import COMMANDS
from manager.api.errors import Denied, Invalid, gone, unknown
from manager.models import (
    Account,
    DiskOffering,
    Domain,
    NetworkOffering,
    Nic,
    OfferingDomain,
    OsCategory,
    OsType,
    Region,
    Role,
    ServiceOffering,
    Template,
    User,
    Vm,
    Zone,
)
from manager.models.identity import ROOT_ADMIN
from manager.roles import ALLOW, DEFAULT_ROLES, ENABLED, KnownRole, Rules, known_role, known_roles

if TYPE_CHECKING:
    from manager.api.call import Call
    from manager.api.command import ApiCommand

READ, USE, MANAGE = "read", "use", "manage"

PUBLIC = frozenset({Zone, OsType, OsCategory, Region})
"""What everyone may read and use and only root administrators manage."""

OFFERINGS = frozenset({ServiceOffering, DiskOffering, NetworkOffering})
"""As PUBLIC, unless they are for some domains only."""

PEOPLE = frozenset({Account, User})
"""Whose rights decide, besides where they stand, who may manage them."""

RANKS = {"User": 0, "ResourceAdmin": 1, "DomainAdmin": 2, "Admin": 3}
"""Types of roles by how much they reach."""

Condition = ColumnElement[bool]


@dataclass(frozen=True)
class Scope:
    """Which part of what the caller may see a list asks for."""

    listall: bool = False
    domain: Domain | None = None
    recursive: bool = False
    account: Account | None = None
    by_id: bool = False


def entity(call: Call, model: type[Any], name: str, value: str, right: str) -> Any:
    """The living `model` with id `value` (given as parameter `name`) on which the caller has `right`.

    :raises ApiError: there is none for this caller
    :raises Gone: there was one
    """
    try:
        identifier: Any = int(value) if model is Region else str(uuid.UUID(value))
    except ValueError:
        raise unknown(call.command, name, value) from None
    found = call.session.scalar(select(model).where(model.id == identifier, reach(call, model, right)))
    if found is None:
        raise unknown(call.command, name, value)
    if getattr(found, "removed", None) is not None:
        raise gone(call.command, name, value)
    return found


def entities(call: Call, model: type[Any], name: str, values: list[str], right: str) -> list[Any]:
    """As `entity`, for many at once in one statement; in the order of `values`."""
    query = select(model).where(model.id.in_(values), reach(call, model, right))
    found = {thing.id: thing for thing in call.session.scalars(query)}
    for value in values:
        if value not in found:
            raise unknown(call.command, name, value)
        if getattr(found[value], "removed", None) is not None:
            raise gone(call.command, name, value)
    return [found[value] for value in values]


def reach(call: Call, model: type[Any], right: str) -> Condition:
    """The rows of `model` on which the caller has `right`; removed ones too."""
    if model in PEOPLE and right == MANAGE:
        return and_(_place_reach(call, model, right), _not_mightier(call, model))
    return _place_reach(call, model, right)


def _place_reach(call: Call, model: type[Any], right: str) -> Condition:
    """As `reach`, by where the caller and the rows stand."""
    if call.is_root_admin:
        return true()
    if model is Domain:
        return _domain_reach(call, right)
    if model in PUBLIC or model in OFFERINGS:
        return false() if right == MANAGE else _open_to(call, model)
    if model is Template and right != MANAGE:
        return or_(Template.is_public, Template.account_id.in_(_accounts(call)))
    if model is Role:
        return _role_reach(call, right)
    column = _owner_column(model)
    return false() if column is None else column.in_(_accounts(call))


def visible(call: Call, model: type[Any], *, removed: bool = False) -> Condition:
    """The rows of `model` that a list shows by its listall, domainid, isrecursive and account; `removed` ones too."""
    wanted = _in_scope(call, model)
    if removed or not hasattr(model, "removed"):
        return wanted
    return and_(wanted, model.removed.is_(None))


def _in_scope(call: Call, model: type[Any]) -> Condition:
    column = _owner_column(model)
    scope = call.scope
    if column is None or model in PUBLIC or model is Domain:
        return reach(call, model, READ)
    if scope.account is not None:
        return column == scope.account.id
    mine = column == call.account.id
    if scope.domain is not None and (call.is_root_admin or call.is_domain_admin):
        return and_(reach(call, model, READ), column.in_(_accounts_of(scope.domain, recursive=scope.recursive)))
    if scope.listall or scope.by_id:
        return reach(call, model, READ)
    return mine


def _owner_column(model: type[Any]) -> ColumnElement[str] | None:
    """The column, or its like, that holds the owning account; None for what belongs to nobody."""
    if model is Account:
        return cast("ColumnElement[str]", Account.id)
    if model is Nic:
        return select(Vm.account_id).where(Vm.id == Nic.vm_id).correlate(Nic).scalar_subquery()
    column: ColumnElement[str] | None = getattr(model, "account_id", None)
    return column


def _accounts(call: Call) -> Select[Any]:
    """Whose things the caller reaches: its own account's, and an administrator of a domain all below that.

    It stands by itself even within a statement that reads accounts, or what joins to them.

    Root administrators stand above that one even where they are in its domain.
    """
    if call.is_domain_admin:
        return _accounts_of(call.domain, recursive=True).where(Account.type != ROOT_ADMIN)
    return select(Account.id).where(Account.id == call.account.id).correlate(None)


def _accounts_of(domain: Domain, *, recursive: bool) -> Select[Any]:
    if not recursive:
        return select(Account.id).where(Account.domain_id == domain.id).correlate(None)
    inside = select(Account.id).join(Domain, Domain.id == Account.domain_id).where(below(domain))
    return inside.correlate(None)


def _role_reach(call: Call, right: str) -> Condition:
    if call.is_domain_admin and right != MANAGE:
        return or_(Role.id == call.role.id, and_(Role.type != "Admin", Role.is_public))
    return Role.id == call.role.id


def _open_to(call: Call, model: type[Any]) -> Condition:
    if model in PUBLIC:
        return true()
    return offered(model, related(call.domain, below_too=call.is_domain_admin))


def _not_mightier(call: Call, model: type[Any]) -> Condition:
    """Who has no right that the caller lacks: else keys and passwords would give the caller that right."""
    own = known_role(call.session, call.role.id)
    known = known_roles(call.session).values()
    weaker = [role.id for role in known if not excess(role, own)]
    if len(weaker) == len(known):
        return true()
    people = Account.role_id.in_(weaker)
    return people if model is Account else User.account_id.in_(select(Account.id).where(people).correlate(None))


def offered(model: type[Any], domains: Condition) -> Condition:
    """The offerings that are for everyone, or for one of the domains that meet the condition."""
    wanted = select(Domain.id).where(domains).correlate(None)
    named = select(OfferingDomain.offering_id).where(OfferingDomain.domain_id.in_(wanted))
    return or_(model.id.not_in(select(OfferingDomain.offering_id)), model.id.in_(named))


def related(domain: Domain, *, below_too: bool) -> Condition:
    """The domain, all above it and, if wanted, all below it."""
    names = domain.path.strip("/").split("/") if domain.path != "/" else []
    paths = ["/", *(f"/{'/'.join(names[:count])}/" for count in range(1, len(names) + 1))]
    return or_(Domain.path.in_(paths), below(domain)) if below_too else Domain.path.in_(paths)


def below(domain: Domain) -> Condition:
    """The domain itself and all under it."""
    return Domain.path.startswith(domain.path, autoescape=True)


def _domain_reach(call: Call, right: str) -> Condition:
    if call.is_domain_admin:
        inside = below(call.domain)
        return and_(inside, Domain.id != call.domain.id) if right == MANAGE else inside
    return Domain.id == call.domain.id if right != MANAGE else false()


def owner(call: Call, name: str | None, domain: Domain | None, right: str = USE) -> Account:
    """The account for which the call acts: the one named, on which the caller has `right`, else the caller's own.

    :raises ApiError: no such account that the caller may act for
    """
    if name is None:
        return call.account
    if domain is None and name == call.account.name:
        return call.account
    if domain is None:
        raise Invalid("The parameter account needs domainid, which says where the account is.")
    query = select(Account).where(Account.name == name, Account.domain_id == domain.id, Account.removed.is_(None))
    found = call.session.scalar(query.where(reach(call, Account, right)))
    if found is None:
        raise Denied(f"There is no account {name} in domain {domain.id} that you may act for.")
    return found


def allows(role: Role, account: Account, command: ApiCommand) -> bool:
    """Whether the role permits the command; what is declared for root administrators alone needs such an account."""
    if role.state != ENABLED or (account.type != ROOT_ADMIN and set(command.roles) <= {"Admin"}):
        return False
    session = object_session(role)
    if session is None:
        raise ValueError(f"The role {role.name} belongs to no session, so its rules cannot be read.")
    return known_role(session, role.id).permits(command.name, command.roles)


def rights(role: KnownRole) -> frozenset[str]:
    """The commands that the role permits."""
    return frozenset(name for name, command in COMMANDS.items() if role.permits(name, command.roles))


def rules_of(role: KnownRole) -> Rules:
    """The rules that say what the role permits; those of a default role follow from the commands' declarations."""
    if not role.is_default:
        return role.rules
    if role.type == "Admin":
        return DEFAULT_ROLES[role.name].rules or (("*", ALLOW),)
    return tuple((name, ALLOW) for name in sorted(rights(role)))


def excess(role: KnownRole, own: KnownRole) -> str:
    """What the role permits and `own` does not: its type or commands, as words; nothing when there is none."""
    if RANKS[role.type] > RANKS[own.type]:
        return f"the type {role.type}"
    return ", ".join(sorted(rights(role) - rights(own)))


def demand_no_excess(session: Session, role: KnownRole, own: Role) -> None:
    """:raises Denied: the role permits more than the caller's `own`"""
    beyond = excess(role, known_role(session, own.id))
    if beyond:
        raise Denied(f"The role {role.name} would permit more than your own role {own.name}: {beyond}.")
