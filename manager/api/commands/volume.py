"""Volumes of virtual machines, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.orm import Bundle

from manager import access
from manager.api.call import Call
from manager.api.command import EVERYONE, ROOT, AccountListRequest, CountedListRequest, Given, Page, Request, command
from manager.api.commands.place import named
from manager.api.commands.tag import TagResponse
from manager.api.errors import missing
from manager.api.fields import Choice, ListOf, MapOf, Ref, Text
from manager.api.response import Bool, Long, Many, Response, Shown, Str, When
from manager.api.rows import owner_shown, tags_of
from manager.models import (
    Account,
    Cluster,
    DiskOffering,
    Domain,
    Host,
    Pod,
    Project,
    ServiceOffering,
    StoragePool,
    Tag,
    Template,
    Vm,
    Volume,
    WorkflowRow,
    Zone,
)


class VolumeResponse(Response):
    object_key = "volume"
    shows = Volume
    is_owned = True
    id = Str("the volume's id")
    name = Str("its name")
    type = Str("ROOT or DATADISK")
    state = Str("its state")
    size = Long("its size in bytes")
    virtualsize = Long("its size in bytes")
    deviceid = Long("its place in the virtual machine; 0 is the root volume")
    created = When("when it was made")
    zoneid = Str("the id of its zone")
    zonename = Str("its zone")
    virtualmachineid = Str("the id of its virtual machine")
    vmname = Str("the name of its virtual machine")
    vmdisplayname = Str("the shown name of its virtual machine")
    vmstate = Str("the state of its virtual machine")
    templateid = Str("the id of the template it was made of")
    templatename = Str("the template it was made of")
    templatedisplaytext = Str("the text of that template")
    serviceofferingid = Str("for a root volume: the id of the service offering")
    serviceofferingname = Str("for a root volume: the service offering")
    diskofferingid = Str("for another volume: the id of the disk offering")
    diskofferingname = Str("for another volume: the disk offering")
    hypervisor = Str("the kind of hypervisor that uses it")
    storagetype = Str("local, or shared between hosts")
    provisioningtype = Str("always thin")
    storageid = Str("the id of the storage pool that holds it", root_only=True)
    storage = Str("the storage pool that holds it", root_only=True)
    destroyed = Bool("whether it is being removed")
    isextractable = Bool("whether it can be downloaded")
    tags = Many("its tags", TagResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[Any]) -> list[Shown]:
        if isinstance(rows[0], Volume):
            found = call.session.scalars(_described().where(Volume.id.in_([row.id for row in rows])))
            by_id = {row.id: row for row in found}
            rows = [by_id[row.id] for row in rows]
        tags = tags_of(call, rows)
        return [_describe(row, tags[row.id]) for row in rows]


@cache
def _described() -> Select[Any]:
    columns = (
        Volume.id, Volume.name, Volume.type, Volume.state, Volume.size, Volume.device, Volume.created,
        Volume.account_id, Volume.zone_id, Volume.vm_id, Volume.pool_id, Volume.template_id, Volume.disk_offering_id,
        Zone.name.label("zone_name"), Vm.name.label("vm_name"), Vm.display_name, Vm.state.label("vm_state"),
        Vm.hypervisor, Template.name.label("template_name"), Template.display_text, StoragePool.name.label("pool_name"),
        StoragePool.scope, ServiceOffering.id.label("offering_id"), ServiceOffering.name.label("offering_name"),
        DiskOffering.name.label("disk_offering_name"), Account.name.label("account_name"),
        Domain.id.label("domain_id"), Domain.name.label("domain_name"), Domain.path.label("domain_path"),
        Project.id.label("project_id"), Project.name.label("project_name"),
    )  # fmt: skip
    return (
        select(Bundle("volume", *columns, single_entity=True))
        .select_from(Volume)
        .join(Zone, Zone.id == Volume.zone_id)
        .join(Account, Account.id == Volume.account_id)
        .join(Domain, Domain.id == Account.domain_id)
        .outerjoin(Project, Project.account_id == Volume.account_id)
        .outerjoin(Vm, Vm.id == Volume.vm_id)
        .outerjoin(ServiceOffering, (ServiceOffering.id == Vm.service_offering_id) & (Volume.type == "ROOT"))
        .outerjoin(Template, Template.id == Volume.template_id)
        .outerjoin(DiskOffering, DiskOffering.id == Volume.disk_offering_id)
        .outerjoin(StoragePool, StoragePool.id == Volume.pool_id)
    )


def _describe(row: Any, tags: list[Shown]) -> Shown:
    return {
        "id": row.id,
        "name": row.name,
        "type": row.type,
        "state": row.state,
        "size": row.size,
        "virtualsize": row.size,
        "deviceid": row.device,
        "created": row.created,
        **owner_shown(row.account_name, row.project_id, row.project_name),
        "domainid": row.domain_id,
        "domain": row.domain_name,
        "domainpath": ("ROOT" + row.domain_path).rstrip("/"),
        "zoneid": row.zone_id,
        "zonename": row.zone_name,
        "virtualmachineid": row.vm_id,
        "vmname": row.vm_name,
        "vmdisplayname": row.display_name,
        "vmstate": row.vm_state,
        "templateid": row.template_id,
        "templatename": row.template_name,
        "templatedisplaytext": row.display_text,
        "serviceofferingid": row.offering_id,
        "serviceofferingname": row.offering_name,
        "diskofferingid": row.disk_offering_id,
        "diskofferingname": row.disk_offering_name,
        "hypervisor": row.hypervisor,
        "storagetype": None if row.scope is None else "local" if row.scope == "HOST" else "shared",
        "provisioningtype": "thin",
        "storageid": row.pool_id,
        "storage": row.pool_name,
        "destroyed": row.state in ("Destroy", "Expunging", "Expunged"),
        "isextractable": False,
        "tags": tags,
    }


class ListVolumes(CountedListRequest, AccountListRequest):
    id = Ref(Volume, "only this volume")
    ids = ListOf(Ref(Volume, ""), "only these volumes")
    name = Text("only the volume of this name")
    type = Choice("only those of this kind", ["ROOT", "DATADISK"])
    state = Text("only those in this state")
    virtualmachineid = Ref(Vm, "only those of this virtual machine")
    zoneid = Ref(Zone, "only those in this zone")
    diskofferingid = Ref(DiskOffering, "only those of this disk offering")
    serviceofferingid = Ref(ServiceOffering, "only root volumes of virtual machines of this service offering")
    hostid = Ref(Host, "only those of virtual machines on this host", roles=ROOT)
    storageid = Ref(StoragePool, "only those in this storage pool", roles=ROOT)
    podid = Ref(Pod, "only those of virtual machines on hosts of this pod", roles=ROOT)
    clusterid = Ref(Cluster, "only those of virtual machines on hosts of this cluster", roles=ROOT)
    tags = MapOf("only those with all these tags")


@command("listVolumes", ListVolumes, VolumeResponse, roles=EVERYONE)
def list_volumes(call: Call, given: Given) -> Page:
    """List volumes."""
    query = _described().where(access.visible(call, Volume), *_matching(given))
    for key, value in (given.tags or {}).items():
        query = query.where(Volume.id.in_(select(Tag.resource_id).where(Tag.key == key, Tag.value == value)))
    return call.paged(query.order_by(Volume.created, Volume.id))


def _matching(given: Given) -> list[ColumnElement[bool]]:
    columns: dict[str, Any] = {
        "id": Volume.id,
        "virtualmachineid": Volume.vm_id,
        "zoneid": Volume.zone_id,
        "diskofferingid": Volume.disk_offering_id,
        "hostid": Vm.host_id,
        "storageid": Volume.pool_id,
    }
    found: list[ColumnElement[bool]] = [
        column == getattr(given, name).id for name, column in columns.items() if getattr(given, name) is not None
    ]
    for place, column in ((given.podid, Host.pod_id), (given.clusterid, Host.cluster_id)):
        if place is not None:
            found.append(Vm.host_id.in_(select(Host.id).where(column == place.id)))
    if given.serviceofferingid is not None:
        found += [Vm.service_offering_id == given.serviceofferingid.id, Volume.type == "ROOT"]
    if given.ids is not None:
        found.append(Volume.id.in_([volume.id for volume in given.ids]))
    plain: dict[str, Any] = {"name": Volume.name, "type": Volume.type, "state": Volume.state}
    found += [column == getattr(given, name) for name, column in plain.items() if getattr(given, name)]
    if given.keyword:
        found.append(
            or_(
                Volume.name.contains(given.keyword, autoescape=True),
                Volume.state.contains(given.keyword, autoescape=True),
            )
        )
    return found


class UpdateVolume(Request):
    id = Ref(Volume, "the volume")
    name = Text("its new name")


@command("updateVolume", UpdateVolume, VolumeResponse, is_async=True, roles=EVERYONE, event="VOLUME.UPDATE")
def update_volume(call: Call, id: Volume | None, name: str | None) -> WorkflowRow:
    """Change how a volume is called."""
    if id is None:
        raise missing(call.command, "id")
    if name is not None:
        id.name = named("volume", name)
    call.flush()
    return call.job_done(id)
