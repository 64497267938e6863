"""The one authorize path: what a caller may see, use and manage, and which commands a role allows.

Every condition is SQL, so a thing that the caller may not touch is not even read. That it exists is not told: a
foreign identifier and an unknown one are answered alike.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, and_, false, or_, select, true

from manager.api.command import COMMANDS
from manager.api.errors import Denied, Invalid, gone, unknown
from manager.membership import member_of, project_accounts
from manager.models import (
    Account,
    ApiKey,
    CustomAction,
    DiskOffering,
    Domain,
    Extension,
    Network,
    NetworkAclItem,
    NetworkAclList,
    NetworkOffering,
    NetworkShare,
    Nic,
    NicAddress,
    OfferingDomain,
    OsCategory,
    OsType,
    Project,
    ProjectInvitation,
    ProjectRole,
    ProjectRolePermission,
    Region,
    Role,
    ServiceOffering,
    Template,
    TemplateShare,
    User,
    Vm,
    VpcOffering,
    Zone,
)
from manager.models.extensions import runnable_by
from manager.models.identity import PROJECT, ROOT_ADMIN
from manager.models.project import EVERY_USER
from manager.network_access import opened
from manager.roles import ALLOW, DEFAULT_ROLES, ENABLED, KnownRole, Rules, known_roles

if TYPE_CHECKING:
    from manager.api.call import Call
    from manager.api.command import ApiCommand

READ, USE, MANAGE = "read", "use", "manage"
ANSWER = "answer"
"""The right on a project of who takes part in it or is invited to."""
ALL_PROJECTS = "-1"
"""In place of a project's id: all projects that the caller takes part in, or for administrators may see."""

PERSONAL = frozenset({Account, User})
"""What belongs to an account as such: taking part in a project opens nothing of it, and whose rights decide, besides
where they stand, who may manage them."""
PUBLIC = frozenset({Zone, OsType, OsCategory, Region})
"""What everyone may read and use and only root administrators manage."""

OFFERINGS = frozenset({ServiceOffering, DiskOffering, NetworkOffering, VpcOffering})
"""As PUBLIC, unless they are for some domains only."""

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
    project: Project | Literal["-1"] | None = None


def entity(call: Call, model: type[Any], name: str, value: str, right: str) -> Any:
    """The living `model` with id `value` (given as parameter `name`) on which the caller has `right`.

    :raises ApiError: there is none for this caller
    :raises Gone: there was one
    """
    try:
        identifier: Any = Region.number(value) if model is Region else str(uuid.UUID(value))
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
    """The rows of `model` on which the caller has `right`; removed ones too. Keys are reached as their users."""
    if model is ApiKey:
        return ApiKey.user_id.in_(select(User.id).where(reach(call, User, right)).correlate(None))
    if model in PERSONAL and right == MANAGE:
        return and_(_place_reach(call, model, right), _not_mightier(call, model))
    return _place_reach(call, model, right)


def _place_reach(call: Call, model: type[Any], right: str) -> Condition:
    """As `reach`, by where the caller and the rows stand."""
    if call.is_root_admin:
        return true()
    if model in _OWN_RULES:
        return _OWN_RULES[model](call, right)
    if model in PUBLIC or model in OFFERINGS:
        return false() if right == MANAGE else _open_to(call, model)
    if model is Template and right != MANAGE:
        shared = select(TemplateShare.template_id).where(_owned(call, TemplateShare.account_id))
        return or_(Template.is_public, _owned(call, Template.account_id), Template.id.in_(shared))
    column = _owner_column(model)
    if column is None:
        return false()
    return column.in_(_accounts(call)) if model in PERSONAL else _owned(call, column)


def _owned(call: Call, column: SQLColumnExpression[str]) -> Condition:
    """Owned by an account that the caller reaches, or by a project where it takes part."""
    return or_(column.in_(_accounts(call)), column.in_(project_accounts(call)))


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
    if scope.project is not None:
        return _of_projects(call, column, scope.project)
    if scope.account is not None:
        return column == scope.account.id
    if scope.domain is not None and (call.is_root_admin or call.is_domain_admin):
        place = _accounts_of(scope.domain, recursive=scope.recursive).where(Account.type != PROJECT)
        return and_(reach(call, model, READ), column.in_(place))
    if scope.by_id:
        return reach(call, model, READ)
    return _of_accounts(call, model, column) if scope.listall else column == call.account.id


def _of_accounts(call: Call, model: type[Any], column: ColumnElement[str]) -> Condition:
    """All that the caller may see but what belongs to projects; of templates also the public ones."""
    if call.is_root_admin:
        return or_(column.is_(None), column.not_in(select(Project.account_id)))
    apart = column.in_(_accounts(call).where(Account.type != PROJECT))
    return or_(Template.is_public, apart) if model is Template else apart


def _of_projects(call: Call, column: ColumnElement[str], project: Project | Literal["-1"]) -> Condition:
    """What belongs to the project, or with -1 to any that the caller sees."""
    if isinstance(project, Project):
        return column == project.account_id
    if call.is_root_admin or call.is_domain_admin:
        return column.in_(select(Project.account_id).where(_project_reach(call, READ)))
    return column.in_(project_accounts(call))


def _owner_column(model: type[Any]) -> ColumnElement[str] | None:
    """The column, or its like, that holds the owning account; None for what belongs to nobody."""
    if model is Account:
        return cast("ColumnElement[str]", Account.id)
    if model is Nic:
        return select(Vm.account_id).where(Vm.id == Nic.vm_id).correlate(Nic).scalar_subquery()
    if model is NicAddress:
        owner_of_nic = select(Vm.account_id).join(Nic, Nic.vm_id == Vm.id).where(Nic.id == NicAddress.nic_id)
        return owner_of_nic.correlate(NicAddress).scalar_subquery()
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


def _project_reach(call: Call, right: str) -> Condition:
    """Members see and use a project, its administrators and those of its domain manage it."""
    if call.is_root_admin:
        return true()
    part: Condition = Project.id.in_(member_of(call, administers=right == MANAGE))
    if right == ANSWER:
        part = or_(part, Project.id.in_(select(ProjectInvitation.project_id).where(_invited(call))))
    if call.is_domain_admin:
        return or_(part, Project.domain_id.in_(select(Domain.id).where(below(call.domain))))
    return part


def _invited(call: Call) -> Condition:
    return and_(
        ProjectInvitation.account_id == call.account.id, ProjectInvitation.user_id.in_((call.user.id, EVERY_USER))
    )


def _invitation_reach(call: Call, right: str) -> Condition:
    """Who is invited sees an invitation, who manages the project manages it too."""
    inviting = ProjectInvitation.project_id.in_(select(Project.id).where(_project_reach(call, MANAGE)))
    return inviting if right == MANAGE else or_(inviting, _invited(call))


def demand_active(call: Call, project: Project) -> None:
    """Hold the project in its state until the transaction ends.

    :raises Denied: it is suspended or going, so that nothing is made in it
    """
    call.session.refresh(project, ["state"], with_for_update={"read": True})
    if project.state != "Active":
        raise Denied(f"The project {project.name} is {project.state}; only in an Active one can things be made.")


def demand_active_owner(call: Call, thing: Any) -> None:
    """:raises Denied: the thing belongs to a project that is suspended or going"""
    project = call.session.scalar(select(Project).filter_by(account_id=thing.account_id))
    if project is not None:
        demand_active(call, project)


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
    here = offered(model, related(call.domain, below_too=call.is_domain_admin))
    return and_(here, ServiceOffering.system_vm_type.is_(None)) if model is ServiceOffering else here


def _not_mightier(call: Call, model: type[Any]) -> Condition:
    """Who has no right that the caller lacks: else keys and passwords would give the caller that right."""
    own = call.permitted
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


def in_domain(column: SQLColumnExpression[str], domain: Domain, *, recursive: bool) -> Condition:
    """What stands in the domain by its `column`, and with `recursive` in those below it."""
    return column.in_(select(Domain.id).where(below(domain))) if recursive else column == domain.id


def _domain_reach(call: Call, right: str) -> Condition:
    if call.is_domain_admin:
        inside = below(call.domain)
        return and_(inside, Domain.id != call.domain.id) if right == MANAGE else inside
    return Domain.id == call.domain.id if right != MANAGE else false()


def _project_role_reach(call: Call, right: str) -> Condition:
    return ProjectRole.project_id.in_(select(Project.id).where(_project_reach(call, right)))


def _permission_reach(call: Call, right: str) -> Condition:
    return ProjectRolePermission.role_id.in_(select(ProjectRole.id).where(_project_role_reach(call, right)))


def _action_reach(call: Call, right: str) -> Condition:
    return false() if right == MANAGE else runnable_by(call.role.type)


def _network_reach(call: Call, right: str) -> Condition:
    """Owners and administrators of the domain that it is for manage a network; those whom it is open to use it."""
    inside = below(call.domain) if call.is_domain_admin else false()
    mine = _owned(call, Network.account_id)
    if right == MANAGE:
        return or_(mine, Network.domain_id.in_(select(Domain.id).where(inside).correlate(None)))
    shares = _owned(call, NetworkShare.account_id)
    return or_(mine, opened(shares, or_(Domain.id == call.domain.id, inside), related(call.domain, below_too=False)))


def _extension_reach(call: Call, right: str) -> Condition:
    """Those of the actions that the caller may run, to ask for these; root administrators keep all else."""
    actions = select(CustomAction.extension_id).where(_action_reach(call, right))
    return Extension.id.in_(actions.correlate(None)) if right == READ else false()


def _common_reach(model: type[Any]) -> Callable[[Call, str], Condition]:
    """Those of nobody are everybody's to see and use, and root administrators' to manage."""

    def reached(call: Call, right: str) -> Condition:
        mine = _owned(call, model.account_id)
        return mine if right == MANAGE else or_(mine, model.account_id.is_(None))

    return reached


_OWN_RULES: dict[type[Any], Callable[[Call, str], Condition]] = {
    CustomAction: _action_reach,
    Domain: _domain_reach,
    Extension: _extension_reach,
    Network: _network_reach,
    NetworkAclItem: _common_reach(NetworkAclItem),
    NetworkAclList: _common_reach(NetworkAclList),
    Role: _role_reach,
    Project: _project_reach,
    ProjectRole: _project_role_reach,
    ProjectRolePermission: _permission_reach,
    ProjectInvitation: _invitation_reach,
}


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
    query = select(Account).where(
        Account.name == name, Account.domain_id == domain.id, Account.removed.is_(None), Account.type != PROJECT
    )
    found = call.session.scalar(query.where(reach(call, Account, right)))
    if found is None:
        raise Denied(f"There is no account {name} in domain {domain.id} that you may act for.")
    return found


def allows(call: Call, command: ApiCommand) -> bool:
    """Whether role and key permit the command; what is declared for root administrators alone needs such an account."""
    if call.role.state != ENABLED or (call.account.type != ROOT_ADMIN and set(command.roles) <= {"Admin"}):
        return False
    return call.permitted.permits(command.name, command.roles)


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


def demand_no_excess(call: Call, role: KnownRole) -> None:
    """:raises Denied: the role permits more than the caller's own, or than the key that signed"""
    beyond = excess(role, call.permitted)
    if beyond:
        raise Denied(f"The role {role.name} would permit more than your own role {call.role.name}: {beyond}.")
