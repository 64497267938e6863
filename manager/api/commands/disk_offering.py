"""Disk offerings: sizes that data volumes may have."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from manager.api.call import Call
from manager.api.command import EVERYONE, Given, ListRequest, Page, Request, command
from manager.api.commands.disk_traits import (
    DiskLimits,
    DiskTraitsResponse,
    NewDiskTraits,
    shown_traits,
    take_limits,
)
from manager.api.commands.service_offering import STATES, STORAGE_TYPES, clean_tags
from manager.api.errors import Invalid
from manager.api.fields import GIB, Choice, Flag, Integer, ListOf, MapOf, Ref, Size, Text
from manager.api.offered import ALL_ZONES, PUBLIC, RefsOr, change, listed, restrict, shown_limits
from manager.api.response import Bool, Long, Map, Shown, Str, SuccessResponse, When
from manager.models import DiskOffering, Domain, Zone


class DiskOfferingResponse(DiskTraitsResponse):
    object_key = "diskoffering"
    shows = DiskOffering
    id = Str("the offering's id")
    name = Str("its name")
    displaytext = Str("what it is")
    disksize = Long("the size in GiB; 0 where the user chooses")
    iscustomized = Bool("whether the user chooses the size")
    iscustomizediops = Bool("always false")
    created = When("when it was made")
    storagetype = Str("local or shared: where the volume is")
    tags = Str("tags that a storage pool must have")
    details = Map("what else is said of it")
    displayoffering = Bool("whether users see it")
    state = Str("Active or Inactive; inactive ones are not for new volumes")
    domainid = Str("the ids of the domains that it is for; absent for all")
    domain = Str("the paths of those domains")
    zoneid = Str("the ids of the zones that it is for; absent for all")
    zone = Str("the names of those zones")

    @classmethod
    def render(cls, call: Call, rows: Sequence[DiskOffering]) -> list[Shown]:
        limits = shown_limits(call, rows)
        return [
            {
                "id": row.id,
                "name": row.name,
                "displaytext": row.display_text,
                "disksize": row.size // GIB,
                "iscustomized": row.customized,
                "iscustomizediops": False,
                "created": row.created,
                "storagetype": row.storage_type,
                **shown_traits(row),
                "details": row.details or None,
                "tags": row.tags or None,
                "displayoffering": row.display,
                "state": row.state,
                **limits[row.id],
            }
            for row in rows
        ]


class CreateDiskOffering(NewDiskTraits):
    name = Text("its name, new in the cloud", required=True)
    displaytext = Text("what it is; the name when absent")
    disksize = Size("the size in GiB")
    customized = Flag("whether the user chooses the size; so it is when none is given")
    storagetype = Choice("where the volume is", STORAGE_TYPES, default="shared")
    tags = Text("tags, separated by commas, that a storage pool must have")
    details = MapOf("what else is to be said of it")
    displayoffering = Flag("whether users see it", default=True)
    domainid = ListOf(Ref(Domain, ""), "the domains, with those below them, that it is for; all when absent")
    zoneid = ListOf(Ref(Zone, ""), "the zones that it is for; all when absent")


@command("createDiskOffering", CreateDiskOffering, DiskOfferingResponse, creates=True, event="DISK.OFFERING.CREATE")
def create_disk_offering(call: Call, given: Given) -> DiskOffering:
    """Offer a size of data volumes."""
    customized = given.customized if given.customized is not None else given.disksize is None
    if customized and given.disksize is not None:
        raise Invalid("A customized disk offering has no disksize: who makes the volume chooses it.")
    if not customized and given.disksize is None:
        raise Invalid("A disk offering of a fixed size needs disksize.")
    offering = DiskOffering(
        name=given.name,
        display_text=given.displaytext or given.name,
        size=given.disksize or 0,
        customized=customized,
        storage_type=given.storagetype,
        tags=clean_tags(given.tags),
        display=given.displayoffering,
        provisioning=given.provisioningtype,
        details=given.details or {},
        live=given.name.lower(),
    )
    take_limits(offering, given)
    made: DiskOffering = call.add(offering, taken=f"A disk offering named {given.name} exists already.")
    restrict(call, made, given.domainid, given.zoneid)
    return made


class ListDiskOfferings(ListRequest):
    id = Ref(DiskOffering, "only this offering")
    name = Text("only the offering of this name")
    zoneid = Ref(Zone, "only offerings for this zone")
    domainid = Ref(Domain, "only offerings that this domain may use")
    isrecursive = Flag("also those of the domains below that domain, or the caller's", default=False)
    storagetype = Choice("only offerings of this storage type", STORAGE_TYPES)
    state = Choice("only offerings of this state; all for both", [*STATES, "all"], default="Active")


@command("listDiskOfferings", ListDiskOfferings, DiskOfferingResponse, roles=EVERYONE)
def list_disk_offerings(call: Call, given: Given) -> Page:
    """List disk offerings."""
    scope = listed(call, DiskOffering, given, recursive=given.isrecursive)
    query = select(DiskOffering).where(DiskOffering.removed.is_(None), *scope)
    if not call.is_root_admin:
        query = query.where(DiskOffering.display)
    if given.id is not None:
        query = query.where(DiskOffering.id == given.id.id)
    elif given.state != "all":
        query = query.where(DiskOffering.state == given.state)
    if given.name is not None:
        query = query.where(DiskOffering.name == given.name)
    if given.keyword:
        query = query.where(DiskOffering.name.contains(given.keyword, autoescape=True))
    if given.storagetype is not None:
        query = query.where(DiskOffering.storage_type == given.storagetype)
    return call.paged(query.order_by(DiskOffering.sort_key, DiskOffering.name, DiskOffering.id))


class UpdateDiskOffering(DiskLimits):
    id = Ref(DiskOffering, "the offering", required=True)
    name = Text("its new name")
    displaytext = Text("what it is")
    sortkey = Integer("its place in lists, from the smallest", least=-(2**31))
    displayoffering = Flag("whether users see it")
    tags = Text("tags, separated by commas, that a storage pool must have; empty for none")
    state = Choice("Inactive for one that is not for new volumes", STATES)
    domainid = RefsOr(PUBLIC, Ref(Domain, ""), "the domains that it is for; public for all")
    zoneid = RefsOr(ALL_ZONES, Ref(Zone, ""), "the zones that it is for; all for all")


@command("updateDiskOffering", UpdateDiskOffering, DiskOfferingResponse, event="DISK.OFFERING.EDIT")
def update_disk_offering(call: Call, given: Given) -> DiskOffering:
    """Change a disk offering; volumes that have it keep their size."""
    offering: DiskOffering = given.id
    if given.displayoffering is not None:
        offering.display = given.displayoffering
    if given.tags is not None:
        offering.tags = clean_tags(given.tags)
    take_limits(offering, given)
    change(call, offering, given, "disk offering")
    return offering


class DeleteDiskOffering(Request):
    id = Ref(DiskOffering, "the offering", required=True)


@command("deleteDiskOffering", DeleteDiskOffering, SuccessResponse, event="DISK.OFFERING.DELETE")
def delete_disk_offering(_call: Call, id: DiskOffering) -> bool:
    """Take a disk offering away; volumes that have it keep it."""
    id.state = "Inactive"
    id.remove()
    return True
