"""Hypervisors that hosts may have."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from manager.api.call import Call
from manager.api.command import EVERYONE, Page, Request, command
from manager.api.commands.place import HYPERVISORS
from manager.api.fields import Ref
from manager.api.response import Response, Shown, Str
from manager.models import Cluster, Zone


class HypervisorResponse(Response):
    object_key = "hypervisor"
    name = Str("the hypervisor's name")

    @classmethod
    def render(cls, call: Call, rows: Sequence[str]) -> list[Shown]:  # noqa: ARG003 - a name shows itself alone
        return [{"name": row} for row in rows]


class ListHypervisors(Request):
    zoneid = Ref(Zone, "only hypervisors of this zone's clusters")


@command("listHypervisors", ListHypervisors, HypervisorResponse, roles=EVERYONE)
def list_hypervisors(call: Call, zoneid: Zone | None) -> Page:
    """List hypervisors: all that there may be, or those of a zone."""
    if zoneid is None:
        return Page(HYPERVISORS, len(HYPERVISORS))
    query = select(Cluster.hypervisor).where(Cluster.zone_id == zoneid.id, Cluster.removed.is_(None))
    names = call.session.scalars(query.distinct().order_by(Cluster.hypervisor)).all()
    return Page(names, len(names))
