"""Resource limits of accounts, domains and projects, and the counts that are held against them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from manager import access
from manager.api.call import Call
from manager.api.command import EVERYONE, STAFF, Given, ListRequest, Page, Request, command
from manager.api.errors import Denied, Invalid
from manager.api.fields import Integer, Long, Ref, Text
from manager.api.resource_fields import everything
from manager.api.response import Long as LongOut
from manager.api.response import Response, Shown, Str
from manager.api.rows import by_id, owner_shown
from manager.models import Account, Domain, DomainLimit, DomainUse, Project, ResourceLimit, ResourceUse
from manager.models.identity import PROJECT, ROOT_ADMIN
from manager.models.resources import BY_NAME, BY_NUMBER, RESOURCES, Resource
from manager.placement import holdings, limits
from manager.placement.limits import UNLIMITED, domain_maximum, maximum_of, places_of

Holder = Account | Domain


@dataclass(frozen=True)
class Held:
    """A resource of an account, a project's account or a domain: its limit or its count, in the resource's unit."""

    holder: Holder
    resource: Resource
    number: int


class HolderResponse(Response):
    """What both responses show of a holder and a resource."""

    account = Str("the account")
    projectid = Str("the id of the project, in place of the account")
    project = Str("the project")
    domainid = Str("the id of the domain")
    domain = Str("the domain")
    domainpath = Str("the path of the domain")
    resourcetype = Str("the number of the resource type")
    resourcetypename = Str("the resource type")

    number = ""

    @classmethod
    def render(cls, call: Call, rows: Sequence[Held]) -> list[Shown]:
        domains = by_id(call, Domain, (_domain_id(row.holder) for row in rows))
        of_projects = {row.holder.id for row in rows if isinstance(row.holder, Account) and row.holder.type == PROJECT}
        projects = {}
        if of_projects:
            query = select(Project).where(Project.account_id.in_(of_projects))
            projects = {project.account_id: project for project in call.session.scalars(query)}
        return [
            {
                **_owner(row.holder, projects.get(row.holder.id)),
                "domainid": _domain_id(row.holder),
                "domain": domains[_domain_id(row.holder)].name,
                "domainpath": domains[_domain_id(row.holder)].shown_path,
                "resourcetype": str(row.resource.number),
                "resourcetypename": row.resource.name,
                cls.number: row.number,
            }
            for row in rows
        ]


def _domain_id(holder: Holder) -> str:
    return holder.id if isinstance(holder, Domain) else holder.domain_id


def _owner(holder: Holder, project: Project | None) -> Shown:
    if isinstance(holder, Domain):
        return {}
    return owner_shown(holder.name, project.id if project else None, project.name if project else None)


class ResourceLimitResponse(HolderResponse):
    object_key = "resourcelimit"
    max = LongOut("how many may be held; memory in MiB, storage in GiB, -1 for any number")
    number = "max"


class ResourceCountResponse(HolderResponse):
    object_key = "resourcecount"
    resourcecount = LongOut("how many are held; memory in MiB, storage in bytes")
    number = "resourcecount"


class ListResourceLimits(ListRequest):
    resourcetype = Integer("only this type, by its number", most=max(BY_NUMBER))
    resourcetypename = Text("only this type, by its name, such as user_vm")
    account = Text("the limits of this account; needs domainid")
    domainid = Ref(Domain, "the limits of this domain, or where its account is", right=access.READ)
    projectid = Ref(Project, "the limits of this project")


@command("listResourceLimits", ListResourceLimits, ResourceLimitResponse, roles=EVERYONE)
def list_resource_limits(call: Call, given: Given) -> Page:
    """List the limits of an account, a domain or a project; the caller's own account when none is named."""
    wanted = _types(given.resourcetype, given.resourcetypename)
    if given.keyword:
        wanted = [resource for resource in wanted if given.keyword.lower() in resource.name]
    holder = _holder(call, given) or call.account
    if isinstance(holder, Account):
        query = select(ResourceLimit.resource, ResourceLimit.maximum).filter_by(account_id=holder.id)
        own = {row.resource: row.maximum for row in call.session.execute(query)}
        found = [
            Held(holder, resource, maximum_of(call.session, holder, resource, own.get(resource.key)))
            for resource in wanted
            if holder.type != PROJECT or resource.key != "projects"
        ]
    else:
        place = places_of(call.session, [holder.path]).get(holder.path)
        found = [Held(holder, resource, domain_maximum(call.session, place, resource)) for resource in wanted]
    return call.window(found)


def _types(number: int | None, name: str | None = None) -> list[Resource]:
    if number is not None and name is not None and BY_NUMBER[number].name != name:
        raise Invalid(f"The resource type {number} is {BY_NUMBER[number].name}, not {name}.")
    if name is not None and name not in BY_NAME:
        raise Invalid(f"There is no resource type {name}; the types are {', '.join(BY_NAME)}.")
    if number is not None:
        return [BY_NUMBER[number]]
    return list(RESOURCES) if name is None else [BY_NAME[name]]


def _holder(call: Call, given: Given) -> Holder | None:
    """The account, project's account or domain that is named; None for none."""
    if given.projectid is not None:
        if given.account is not None:
            raise Invalid("Account and projectId can't be specified together.")
        return call.session.get_one(Account, given.projectid.account_id)
    if given.account is not None:
        return access.owner(call, given.account, given.domainid)
    domain: Domain | None = given.domainid
    return domain


class UpdateResourceLimit(Request):
    resourcetype = Integer("the type, by its number", required=True, most=max(BY_NUMBER))
    max = Long("how many may be held; memory in MiB, storage in GiB, -1 for any number", least=-1, most=2**31 - 1,
               default=UNLIMITED)  # fmt: skip
    account = Text("the account that is limited; needs domainid")
    domainid = Ref(Domain, "the domain that is limited, with all below it; or where the account is")
    projectid = Ref(Project, "the project that is limited")


@command("updateResourceLimit", UpdateResourceLimit, ResourceLimitResponse, roles=STAFF, event="RESOURCE.LIMIT.UPDATE")
def update_resource_limit(call: Call, given: Given) -> Held:
    """Set the limit of an account, a domain or a project. What is held beyond it stays."""
    resource = BY_NUMBER[given.resourcetype]
    holder = _holder(call, given)
    if holder is None:
        raise Invalid("A limit needs whom it binds: account with domainid, domainid, or projectid.")
    _demand_above(call, holder)
    if isinstance(holder, Account):
        _check_account(holder, resource, given.max)
        key = {"account_id": holder.id, "resource": resource.key}
        model: Any = ResourceLimit
    else:
        _check_domain(call, holder, resource, given.max)
        key, model = {"domain_id": holder.id, "resource": resource.key}, DomainLimit
    row = call.session.get(model, key)
    if row is None:
        call.session.add(model(**key, maximum=given.max))
    else:
        row.maximum = given.max
    call.flush(taken="That limit is being set by another call; try again.")
    call.subject = holder
    return Held(holder, resource, given.max)


def _demand_above(call: Call, holder: Holder) -> None:
    """:raises Denied: the caller is no administrator above the holder, who would set its own limit"""
    if call.is_root_admin:
        return
    reached = access.reach(call, Domain, access.MANAGE if isinstance(holder, Domain) else access.USE)
    found = call.session.scalar(select(Domain.id).where(Domain.id == _domain_id(holder), reached))
    if not call.is_domain_admin or found is None or holder.id == call.account.id:
        raise Denied("A limit is set by an administrator of a domain above it, not by the one that it binds.")


def _check_account(account: Account, resource: Resource, maximum: int) -> None:
    if account.type == ROOT_ADMIN and maximum != UNLIMITED:
        raise Invalid(
            f"The account {account.name} is a root administrator's, which has no limits: only -1 is possible."
        )
    if account.type == PROJECT and resource.key == "projects":
        raise Invalid("A project holds no projects, so that it has no limit of them.")


def _check_domain(call: Call, domain: Domain, resource: Resource, maximum: int) -> None:
    if domain.parent_id is None:
        raise Invalid("The domain ROOT has no limits.")
    parent = call.session.get_one(Domain, domain.parent_id)
    above = domain_maximum(call.session, places_of(call.session, [parent.path]).get(parent.path), resource)
    if parent.parent_id is not None and above != UNLIMITED and maximum > above:
        raise Invalid(f"The domain {parent.shown_path} above it may hold {above} {resource.label}; the limit of "
                      f"{domain.name} must not be larger.")  # fmt: skip


class UpdateResourceCount(Request):
    resourcetype = Integer("only this type, by its number", most=max(BY_NUMBER))
    account = Text("only the count of this account")
    domainid = Ref(Domain, "the domain, with all accounts below it; or where the account is", required=True)
    projectid = Ref(Project, "only the count of this project")


@command(
    "updateResourceCount", UpdateResourceCount, ResourceCountResponse, shape="list", roles=STAFF,
    event="RESOURCE.COUNT.UPDATE",
)  # fmt: skip
def update_resource_count(call: Call, given: Given) -> Page:
    """Count anew what an account, a project or a domain holds."""
    holder = _holder(call, given)
    if holder is None:
        raise Invalid("The parameter domainid is needed.")
    _demand_above(call, holder)
    counted = _types(given.resourcetype)
    if isinstance(holder, Account):
        holdings.count_anew(call.session, [holder.id], limits.domains_above(call.session, holder.id))
        use: Any = call.session.get(ResourceUse, holder.id)
    else:
        inside = select(Account.id).where(access.in_domain(Account.domain_id, holder, recursive=True))
        domains = select(Domain.id).where(access.below(holder), Domain.parent_id.is_not(None))
        ids = [*call.session.scalars(domains.order_by(Domain.level.desc(), Domain.id))]
        above = [place.id for place in limits.places(call.session, holder.id) if place.id not in ids]
        holdings.count_anew(call.session, [*call.session.scalars(inside)], [*ids, *above])
        use = call.session.get(DomainUse, holder.id) if holder.parent_id else everything(call)
    call.subject = holder
    found = []
    for resource in counted:
        unit = resource.unit if resource.key == "memory" else 1
        found.append(Held(holder, resource, getattr(use, resource.key, 0) // unit))
    return Page(found, len(found))
