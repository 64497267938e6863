"""Domains: the tree that accounts stand in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, literal, or_, select, update

from manager import access
from manager.api.call import Call
from manager.api.command import ADMINS, EVERYONE, IconListRequest, Page, Request, command
from manager.api.errors import Invalid
from manager.api.fields import Flag, Integer, Ref, Text
from manager.api.resource_fields import domain_limits, limit_fields
from manager.api.response import Bool, Int, Response, Shown, Str, SuccessResponse, When
from manager.api.rows import by_id
from manager.db import write
from manager.models import Domain, WorkflowRow
from manager.placement import holdings
from manager.workflows import domain as work

LONGEST_PATH = 400
NETWORK_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,62})(\.[A-Za-z0-9]([A-Za-z0-9-]{0,62})){0,8}")


class DomainResponse(Response):
    object_key = "domain"
    shows = Domain
    fields = limit_fields()
    id = Str("the domain's id")
    name = Str("its name")
    level = Int("how many domains stand above it")
    parentdomainid = Str("the id of the domain above it")
    parentdomainname = Str("the name of the domain above it")
    haschild = Bool("whether there are domains below it")
    networkdomain = Str("the DNS suffix of its networks")
    path = Str("its name and those of all above it")
    state = Str("Active or Inactive")
    created = When("when it was made")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Domain]) -> list[Shown]:
        parents = by_id(call, Domain, (row.parent_id for row in rows))
        below = select(Domain.parent_id).where(Domain.parent_id.in_([row.id for row in rows]), Domain.removed.is_(None))
        limits = domain_limits(call, rows)
        with_children = set(call.session.scalars(below.distinct()))
        return [
            {
                "id": row.id,
                "name": row.name,
                "level": row.level,
                "parentdomainid": row.parent_id,
                "parentdomainname": parents[row.parent_id].name if row.parent_id else None,
                "haschild": row.id in with_children,
                "networkdomain": row.network_domain,
                "path": row.shown_path,
                "state": row.state,
                "created": row.created,
                **limits[row.id],
            }
            for row in rows
        ]


class CreateDomain(Request):
    name = Text("its name, new below its parent", required=True)
    parentdomainid = Ref(Domain, "the domain above it; the caller's own when absent", right=access.USE)
    networkdomain = Text("the DNS suffix of its networks")


class UpdateDomain(Request):
    id = Ref(Domain, "the domain", required=True)
    name = Text("its new name, new below its parent")
    networkdomain = Text("the DNS suffix of its new networks; empty for that of the cloud")


class DeleteDomain(Request):
    id = Ref(Domain, "the domain", required=True)
    cleanup = Flag("delete all accounts and domains in it, with everything they hold", default=False)


class ListDomains(IconListRequest):
    id = Ref(Domain, "only this domain")
    name = Text("only domains of this name")
    level = Integer("only domains of this level")
    listall = Flag("all domains that the caller may see", default=False)


class ListDomainChildren(IconListRequest):
    id = Ref(Domain, "the domain above; the caller's own when absent")
    name = Text("only domains of this name")
    isrecursive = Flag("all levels below, not only the next", default=False)
    listall = Flag("all that the caller may see, whatever the id", default=False)


@command("createDomain", CreateDomain, DomainResponse, creates=True, roles=ADMINS, event="DOMAIN.CREATE")
def create_domain(call: Call, name: str, parentdomainid: Domain | None, networkdomain: str | None) -> Domain:
    """Make a domain below another."""
    check_name(name)
    check_network_domain(networkdomain)
    work.lock_tree(call.session)
    parent = open_domain(call, parentdomainid or call.domain)
    path = f"{parent.path}{name}/"
    _check_length(name, len(path))
    domain = Domain(
        name=name,
        parent_id=parent.id,
        path=path,
        level=parent.level + 1,
        network_domain=networkdomain or parent.network_domain,
        live=f"{parent.id}/{name.lower()}",
    )
    made: Domain = call.add(domain, taken=_taken(parent, name))
    return made


def open_domain(call: Call, domain: Domain) -> Domain:
    """The domain as it stands now, which does not change until the call has ended.

    :raises Invalid: it is being deleted
    """
    call.session.refresh(domain, with_for_update={"read": True})
    if domain.state != "Active" or domain.removed is not None:
        raise Invalid(f"The domain {domain.shown_path} is being deleted; nothing is made in it.")
    return domain


def check_name(name: str) -> None:
    """:raises Invalid: no domain can have the name"""
    if "/" in name or not name.strip():
        raise Invalid(f"A domain cannot be named '{name}': it needs a name without slashes.")


def _check_length(name: str, length: int) -> None:
    if length > LONGEST_PATH:
        raise Invalid(
            f"The path of the domain {name}, or of one below it, has {length} characters; "
            f"at most {LONGEST_PATH} are possible."
        )


def _taken(parent: Domain, name: str) -> str:
    return f"The domain {parent.shown_path} has a domain {name} already."


@command("updateDomain", UpdateDomain, DomainResponse, roles=ADMINS, event="DOMAIN.UPDATE")
def update_domain(call: Call, id: Domain, name: str | None, networkdomain: str | None) -> Domain:
    """Change the name of a domain, and with it the paths of all below it, or its DNS suffix."""
    check_network_domain(networkdomain)
    if networkdomain is not None:
        id.network_domain = networkdomain or None
    if name and name != id.name:
        _rename(call, id, name)
    call.flush()
    return id


def _rename(call: Call, domain: Domain, name: str) -> None:
    check_name(name)
    work.lock_tree(call.session)
    call.session.refresh(domain)
    if domain.parent_id is None:
        raise Invalid("The domain ROOT keeps its name.")
    _place(call, domain, call.session.get_one(Domain, domain.parent_id), name)


def _place(call: Call, domain: Domain, parent: Domain, name: str) -> None:
    """Have the domain stand below `parent` under `name`; all below it follow. The tree is locked.

    :raises Invalid: the name is taken there, or a path becomes too long
    """
    inside = access.below(domain)
    old, new = domain.path, f"{parent.path}{name}/"
    deeper = parent.level + 1 - domain.level
    longest = call.session.scalar(select(func.max(func.length(Domain.path))).where(work.within(domain))) or 0
    _check_length(name, longest - len(old) + len(new))
    domain.name, domain.parent_id, domain.live = name, parent.id, f"{parent.id}/{name.lower()}"
    call.flush(taken=_taken(parent, name))
    path = literal(new) + func.substr(Domain.path, len(old) + 1)
    write(call.session, update(Domain).where(inside).values(path=path, level=Domain.level + deeper))
    call.session.refresh(domain)


class MoveDomain(Request):
    domainid = Ref(Domain, "the domain", required=True, right=access.MANAGE)
    parentdomainid = Ref(Domain, "the domain above it from now on", required=True, right=access.USE)


@command("moveDomain", MoveDomain, DomainResponse, event="DOMAIN.MOVE")
def move_domain(call: Call, domainid: Domain, parentdomainid: Domain) -> Domain:
    """Put a domain, with all below it, under another one."""
    work.lock_tree(call.session)
    domain, parent = domainid, open_domain(call, parentdomainid)
    call.session.refresh(domain)
    if domain.parent_id is None:
        raise Invalid("The domain ROOT stays above all others.")
    if parent.path.startswith(domain.path):
        raise Invalid(f"The domain {domain.shown_path} cannot stand below itself, in {parent.shown_path}.")
    if parent.id == domain.parent_id:
        raise Invalid(f"The domain {domain.name} stands in {parent.shown_path} already.")
    left = call.session.get_one(Domain, domain.parent_id)
    _place(call, domain, parent, domain.name)
    call.session.flush()
    above = or_(access.related(left, below_too=False), access.related(parent, below_too=False))
    counted = select(Domain.id).where(above, Domain.removed.is_(None)).order_by(Domain.level.desc(), Domain.id)
    holdings.count_anew(call.session, [], list(call.session.scalars(counted)))
    call.subject = domain
    return domain


@command("deleteDomain", DeleteDomain, SuccessResponse, is_async=True, roles=ADMINS, event="DOMAIN.DELETE")
def delete_domain(call: Call, id: Domain, cleanup: bool) -> WorkflowRow:
    """Remove a domain; with cleanup also everything in it."""
    if id.parent_id is None:
        raise Invalid("The domain ROOT cannot be deleted.")
    if call.domain.path.startswith(id.path):
        raise Invalid(f"The domain {id.shown_path} is your own, or above it; it is not yours to delete.")
    work.lock_tree(call.session)
    held = _contents(call, id)
    if held and not cleanup:
        raise Invalid(f"The domain {id.shown_path} still holds {held}; delete those first, or all with cleanup=true.")
    work.close_domain(call.session, id)
    return work.delete_domain.start(call.session, id, call=call)


def _contents(call: Call, domain: Domain) -> str:
    """What is in the domain itself, as words."""
    below = select(func.count(Domain.id)).where(Domain.parent_id == domain.id, Domain.removed.is_(None))
    count = call.session.scalar(below)
    parts = [work.contents(call.session, [domain.id]), f"{count} domains" if count else ""]
    return " and ".join(part for part in parts if part)


def check_network_domain(name: str | None) -> None:
    """:raises Invalid: `name` is given and no DNS suffix"""
    if name and not NETWORK_DOMAIN.fullmatch(name):
        raise Invalid(f"The network domain {name} is not a DNS suffix such as cloud.example.org.")


@command("listDomains", ListDomains, DomainResponse, roles=EVERYONE)
def list_domains(call: Call, **filters: Any) -> Page:
    """List domains."""
    query = select(Domain).where(access.reach(call, Domain, access.READ), Domain.removed.is_(None))
    if filters["id"] is not None:
        query = query.where(Domain.id == filters["id"].id)
    elif not filters["listall"] and not call.is_root_admin:
        query = query.where(Domain.id == call.domain.id)
    if filters["name"] is not None:
        query = query.where(Domain.name == filters["name"])
    if filters["level"] is not None:
        query = query.where(Domain.level == filters["level"])
    if filters["keyword"]:
        query = query.where(Domain.name.contains(filters["keyword"], autoescape=True))
    return call.paged(query.order_by(Domain.path, Domain.id))


@command("listDomainChildren", ListDomainChildren, DomainResponse, roles=ADMINS)
def list_domain_children(call: Call, **filters: Any) -> Page:
    """List the domains below a domain."""
    top: Domain = filters["id"] or call.domain
    query = select(Domain).where(access.reach(call, Domain, access.READ), Domain.removed.is_(None))
    if filters["listall"]:
        query = query.where(Domain.id != call.domain.id)
    elif filters["isrecursive"]:
        query = query.where(access.below(top), Domain.id != top.id)
    else:
        query = query.where(Domain.parent_id == top.id)
    if filters["name"] is not None:
        query = query.where(Domain.name == filters["name"])
    if filters["keyword"]:
        query = query.where(Domain.name.contains(filters["keyword"], autoescape=True))
    return call.paged(query.order_by(Domain.path, Domain.id))
