"""What accounts, projects and domains show of each resource: its limit, what is held, what is still free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from manager.api.call import Call
from manager.api.response import Long, Out, Shown, Str
from manager.models import Account, Domain, DomainUse, ResourceLimit, ResourceUse
from manager.models.resources import RESOURCES, Resource
from manager.placement.limits import UNLIMITED, domain_maximum, maximum_of, places_of

NUMBERED = ("secondarystorage",)
"""Totals that are fractions of a GiB."""


def shown_resources(*, projects: bool) -> list[Resource]:
    """Those that a response shows; projects do not hold projects."""
    return [resource for resource in RESOURCES if projects or resource.key != "projects"]


def limit_fields(*, projects: bool = True) -> dict[str, Out]:
    """The declared fields of a response."""
    fields: dict[str, Out] = {}
    for resource in shown_resources(projects=projects):
        total = f"how many {resource.label} it has"
        number = Out("float", total) if resource.shown in NUMBERED else Long(total)
        fields[f"{resource.shown}limit"] = Str(f"how many {resource.label} it may have, or Unlimited")
        fields[f"{resource.shown}total"] = number
        fields[f"{resource.shown}available"] = Str(f"how many {resource.label} it may still take, or Unlimited")
    return fields


def account_limits(call: Call, rows: Sequence[Account], *, projects: bool = True) -> dict[str, Shown]:
    """By account id: the fields of `limit_fields`."""
    ids = [row.id for row in rows]
    uses = {
        use.account_id: use for use in call.session.scalars(select(ResourceUse).filter(ResourceUse.account_id.in_(ids)))
    }
    query = select(ResourceLimit).where(ResourceLimit.account_id.in_(ids))
    own = {(limit.account_id, limit.resource): limit.maximum for limit in call.session.scalars(query)}
    shown: dict[str, Shown] = {}
    for row in rows:
        shown[row.id] = {}
        for resource in shown_resources(projects=projects):
            maximum = maximum_of(call.session, row, resource, own.get((row.id, resource.key)))
            held = getattr(uses.get(row.id), resource.key, 0)
            shown[row.id] |= _fields(resource, maximum, held)
    return shown


def domain_limits(call: Call, rows: Sequence[Domain]) -> dict[str, Shown]:
    """By domain id: the fields of `limit_fields`."""
    ids = [row.id for row in rows]
    uses: dict[str, Any] = {
        use.domain_id: use for use in call.session.scalars(select(DomainUse).where(DomainUse.domain_id.in_(ids)))
    }
    above = places_of(call.session, (row.path for row in rows))
    root_use = everything(call) if any(row.parent_id is None for row in rows) else None
    shown: dict[str, Shown] = {}
    for row in rows:
        use = uses.get(row.id) if row.parent_id else root_use
        shown[row.id] = {}
        for resource in RESOURCES:
            maximum = domain_maximum(call.session, above.get(row.path), resource)
            shown[row.id] |= _fields(resource, maximum, getattr(use, resource.key, 0))
    return shown


def everything(call: Call) -> Any:
    """What all accounts hold together, which is what ROOT holds."""
    columns = [func.coalesce(func.sum(getattr(ResourceUse, r.key)), 0).label(r.key) for r in RESOURCES]
    return call.session.execute(select(*columns)).one()


def _fields(resource: Resource, maximum: int, held: int) -> Shown:
    total = held / resource.unit if resource.shown in NUMBERED else held // resource.unit
    free = max(0, maximum - -(-held // resource.unit))
    return {
        f"{resource.shown}limit": "Unlimited" if maximum == UNLIMITED else str(maximum),
        f"{resource.shown}total": total,
        f"{resource.shown}available": "Unlimited" if maximum == UNLIMITED else str(free),
    }
