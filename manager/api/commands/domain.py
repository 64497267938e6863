"""Domains: the tree that accounts stand in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from manager import access
from manager.api.call import Call
from manager.api.command import ADMINS, EVERYONE, ListRequest, Page, Request, command
from manager.api.errors import Invalid
from manager.api.fields import Flag, Integer, Ref, Text
from manager.api.resource_fields import domain_limits, limit_fields
from manager.api.response import Bool, Int, Response, Shown, Str, When
from manager.api.rows import by_id
from manager.models import Domain

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


class ListDomains(ListRequest):
    id = Ref(Domain, "only this domain")
    name = Text("only domains of this name")
    level = Integer("only domains of this level")
    listall = Flag("all domains that the caller may see", default=False)


class ListDomainChildren(ListRequest):
    id = Ref(Domain, "the domain above; the caller's own when absent")
    name = Text("only domains of this name")
    isrecursive = Flag("all levels below, not only the next", default=False)


@command("createDomain", CreateDomain, DomainResponse, creates=True, roles=ADMINS, event="DOMAIN.CREATE")
def create_domain(call: Call, name: str, parentdomainid: Domain | None, networkdomain: str | None) -> Domain:
    """Make a domain below another."""
    parent = parentdomainid or call.domain
    if "/" in name or not name.strip():
        raise Invalid(f"A domain cannot be named '{name}': it needs a name without slashes.")
    path = f"{parent.path}{name}/"
    if len(path) > LONGEST_PATH:
        raise Invalid(f"The path of the domain {name} has {len(path)} characters; at most {LONGEST_PATH} are possible.")
    check_network_domain(networkdomain)
    domain = Domain(
        name=name,
        parent_id=parent.id,
        path=path,
        level=parent.level + 1,
        network_domain=networkdomain or parent.network_domain,
        live=f"{parent.id}/{name.lower()}",
    )
    made: Domain = call.add(domain, taken=f"The domain {parent.shown_path} has a domain {name} already.")
    return made


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
    if filters["isrecursive"]:
        query = query.where(access.below(top), Domain.id != top.id)
    else:
        query = query.where(Domain.parent_id == top.id)
    if filters["name"] is not None:
        query = query.where(Domain.name == filters["name"])
    if filters["keyword"]:
        query = query.where(Domain.name.contains(filters["keyword"], autoescape=True))
    return call.paged(query.order_by(Domain.path, Domain.id))
