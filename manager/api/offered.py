"""Offerings that are for some domains or zones only: parameters, answers, lists, and who may use them where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, or_, select

from manager import access
from manager.api.call import Call
from manager.api.command import Given
from manager.api.errors import Denied, Invalid
from manager.api.fields import ListOf
from manager.api.response import Shown
from manager.db import write
from manager.models import Account, Domain, OfferingDomain, OfferingZone, ServiceOffering, Zone
from manager.models.catalog import DEFAULT_ROUTER_OFFERING

PUBLIC, ALL_ZONES = "public", "all"


class RefsOr(ListOf):
    """Identifiers, or a word that stands for none of them, which loads as []."""

    def __init__(self, word: str, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.word = word

    def read(self, name: str, value: str) -> list[Any]:
        return [] if value.lower() == self.word else super().read(name, value)


def restrict(call: Call, offering: Any, domains: Sequence[Domain] | None, zones: Sequence[Zone] | None) -> None:
    """Have the stored offering be for these domains, with those below them, and zones only; [] for all, None as is.

    A domain below another one that is named needs no row of its own.

    :raises Invalid: a domain is being deleted
    """
    if domains is not None:
        closed = [domain.shown_path for domain in domains if domain.state != "Active"]
        if closed:
            raise Invalid(f"The domain {closed[0]} is being deleted; nothing is offered to it.")
        tops = {d.id for d in domains if not any(d.path != top.path and d.path.startswith(top.path) for top in domains)}
        write(call.session, delete(OfferingDomain).where(OfferingDomain.offering_id == offering.id))
        call.session.add_all(OfferingDomain(offering_id=offering.id, domain_id=key) for key in sorted(tops))
    if zones is not None:
        write(call.session, delete(OfferingZone).where(OfferingZone.offering_id == offering.id))
        call.session.add_all(
            OfferingZone(offering_id=offering.id, zone_id=key) for key in sorted({z.id for z in zones})
        )
    call.session.flush()


def change(call: Call, offering: Any, given: Given, kind: str) -> None:
    """What offerings for virtual machines and for disks (`kind` in words) change alike, from `given`.

    :raises Invalid: the name is taken
    """
    if given.name:
        offering.name, offering.live = given.name, given.name.lower()
    if given.displaytext:
        offering.display_text = given.displaytext
    if given.sortkey is not None:
        offering.sort_key = given.sortkey
    if given.state is not None:
        offering.state = given.state
    call.flush(taken=f"A {kind} named {offering.name} exists already.")
    restrict(call, offering, given.domainid, given.zoneid)


def shown_limits(call: Call, rows: Iterable[Any]) -> dict[str, Shown]:
    """By offering id: domainid, domain, zoneid and zone, each separated by commas; two statements."""
    ids = [row.id for row in rows]
    found: dict[str, dict[str, list[str]]] = {key: {} for key in ids}
    domains = select(OfferingDomain.offering_id, Domain).join(Domain, Domain.id == OfferingDomain.domain_id)
    for key, domain in call.session.execute(domains.where(OfferingDomain.offering_id.in_(ids)).order_by(Domain.path)):
        found[key].setdefault("domainid", []).append(domain.id)
        found[key].setdefault("domain", []).append(domain.shown_path)
    zones = select(OfferingZone.offering_id, Zone.id, Zone.name).join(Zone, Zone.id == OfferingZone.zone_id)
    for key, zone_id, name in call.session.execute(zones.where(OfferingZone.offering_id.in_(ids)).order_by(Zone.name)):
        found[key].setdefault("zoneid", []).append(zone_id)
        found[key].setdefault("zone", []).append(name)
    return {key: {name: ",".join(values) for name, values in fields.items()} for key, fields in found.items()}


def default_router_offering(call: Call) -> str | None:
    """The id of the service offering of virtual routers that have no other; None where it is not seeded."""
    return call.session.scalar(select(ServiceOffering.id).filter_by(id=DEFAULT_ROUTER_OFFERING))


def listed(call: Call, model: type[Any], given: Given, *, recursive: bool = False) -> list[ColumnElement[bool]]:
    """What a list of offerings shows: those that the caller's domain, or that of `given.domainid`, may use.

    With `recursive`, those of the domains below it as well; a root administrator who names no domain sees all.
    `given.zoneid` leaves those that this zone has.

    :raises Denied: a user asks for the domains below
    """
    if recursive and not (call.is_root_admin or call.is_domain_admin):
        raise Denied("The parameter isrecursive is for administrators.")
    found = [access.reach(call, model, access.READ)]
    if given.domainid is not None or not call.is_root_admin:
        domain = given.domainid or call.domain
        below_too = recursive or (given.id is not None and call.is_domain_admin)
        found.append(access.offered(model, access.related(domain, below_too=below_too)))
    if given.zoneid is not None:
        found.append(in_zone(model, given.zoneid))
    return found


def in_zone(model: type[Any], zone: Zone) -> ColumnElement[bool]:
    named = select(OfferingZone.offering_id).where(OfferingZone.zone_id == zone.id)
    return or_(model.id.not_in(select(OfferingZone.offering_id)), model.id.in_(named))


def demand_offered(call: Call, offering: Any, owner: Account, zone: Zone) -> None:
    """:raises ApiError: the offering is not for the owner's domain, or not for the zone"""
    model = type(offering)
    domain = call.domain if owner.domain_id == call.domain.id else call.session.get_one(Domain, owner.domain_id)
    here = access.offered(model, access.related(domain, below_too=False))
    query = select(here.label("here"), in_zone(model, zone).label("there"))
    row = call.session.execute(query.where(model.id == offering.id)).one()
    if not row.here:
        raise Denied(f"The offering {offering.name} is not for the domain {domain.shown_path} of {owner.name}.")
    if not row.there:
        raise Invalid(f"The offering {offering.name} is not for the zone {zone.name}.")
