"""The one authorize path: what a caller may see, use and manage, and which commands a role allows.

Every condition is SQL, so a thing that the caller may not touch is not even read. That it exists is not told: a
foreign identifier and an unknown one are answered alike.
"""

from __future__ import annotations

import fnmatch
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import ColumnElement, Select, and_, false, or_, select, true

from manager.api.errors import Denied, Invalid, gone, unknown
from manager.models import (
    Account,
    DiskOffering,
    Domain,
    NetworkOffering,
    Nic,
    OsCategory,
    OsType,
    Region,
    Role,
    ServiceOffering,
    Template,
    TemplateShare,
    Vm,
    Zone,
)
from manager.models.identity import DOMAIN_ADMIN, ROOT_ADMIN

if TYPE_CHECKING:
    from manager.api.call import Call
    from manager.api.command import ApiCommand

READ, USE, MANAGE = "read", "use", "manage"

PUBLIC = frozenset({Zone, ServiceOffering, DiskOffering, NetworkOffering, OsType, OsCategory, Region})
"""What everyone may read and use and only root administrators manage."""

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
    if call.is_root_admin:
        return true()
    if model is Domain:
        return _domain_reach(call, right)
    if model in PUBLIC:
        return false() if right == MANAGE else true()
    if model is Template and right != MANAGE:
        shared = select(TemplateShare.template_id).where(TemplateShare.account_id.in_(_accounts(call)))
        return or_(Template.is_public, Template.account_id.in_(_accounts(call)), Template.id.in_(shared))
    if model is Role:
        return Role.type != "Admin" if call.is_domain_admin and right != MANAGE else Role.id == call.role.id
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
        return select(Vm.account_id).where(Vm.id == Nic.vm_id).scalar_subquery()
    column: ColumnElement[str] | None = getattr(model, "account_id", None)
    return column


def _accounts(call: Call) -> Select[Any]:
    """Whose things the caller reaches: its own account's, and an administrator of a domain all below that.

    Root administrators stand above that one even where they are in its domain.
    """
    if call.is_domain_admin:
        return _accounts_of(call.domain, recursive=True).where(Account.type != ROOT_ADMIN)
    return select(Account.id).where(Account.id == call.account.id)


def _accounts_of(domain: Domain, *, recursive: bool) -> Select[Any]:
    if not recursive:
        return select(Account.id).where(Account.domain_id == domain.id)
    return select(Account.id).join(Domain, Domain.id == Account.domain_id).where(below(domain))


def below(domain: Domain) -> Condition:
    """The domain itself and all under it."""
    return Domain.path.startswith(domain.path, autoescape=True)


def _domain_reach(call: Call, right: str) -> Condition:
    if call.is_domain_admin:
        inside = below(call.domain)
        return and_(inside, Domain.id != call.domain.id) if right == MANAGE else inside
    return Domain.id == call.domain.id if right != MANAGE else false()


def owner(call: Call, name: str | None, domain: Domain | None) -> Account:
    """The account for which the call acts: the one named, else the caller's own.

    :raises ApiError: no such account that the caller may act for
    """
    if name is None:
        return call.account
    if domain is None and name == call.account.name:
        return call.account
    if domain is None:
        raise Invalid("The parameter account needs domainid, which says where the account is.")
    query = select(Account).where(Account.name == name, Account.domain_id == domain.id, Account.removed.is_(None))
    found = call.session.scalar(query.where(reach(call, Account, USE)))
    if found is None:
        raise Denied(f"There is no account {name} in domain {domain.id} that you may act for.")
    return found


def allows(role: Role, account: Account, command: ApiCommand) -> bool:
    """Whether the role permits the command: a default role by the command's declaration, others by their rules."""
    if role.is_default:
        return role.type == "Admin" or role.type in command.roles
    if account.type not in (ROOT_ADMIN, DOMAIN_ADMIN) and not set(command.roles) - {"Admin"}:
        return False
    for permission, pattern in role.rules:
        if fnmatch.fnmatchcase(command.name, pattern):
            return bool(permission == "allow")
    return False
