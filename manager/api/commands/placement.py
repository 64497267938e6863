"""Why a virtual machine can, or cannot, run on each host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from manager.api.call import Call
from manager.api.command import EVERYONE, Given, Page, Request, command
from manager.api.commands.affinity_group import group_ids_field
from manager.api.commands.vm_deploy import root_size, shape_of, usable_template
from manager.api.errors import Invalid
from manager.api.fields import MapOf, Ref, Size
from manager.api.response import Bool, Float, Int, Many, Response, Shown, Str
from manager.models import AffinityMember, DiskOffering, Host, ServiceOffering, StoragePool, Template, Vm, Volume, Zone
from manager.placement.host import Need, Verdict, judge
from manager.placement.planner import DEFAULT


class PlacementResponse(Response):
    object_key = "placement"
    host = Str("the host's name; to others than root administrators a number")
    hostid = Str("the host's id", root_only=True)
    rank = Int("its place in the order of choice, from 1; only of hosts that fit")
    fits = Bool("whether the virtual machine can run there")
    chosen = Bool("whether it would be taken first")
    reason = Str("what stands against it")
    neighbours = Int("virtual machines of the account that it runs; of equal wishes, the fewest go first")
    wishes = Many("what speaks against it without ruling it out; the host with the fewest goes first")
    load = Float("the share of its memory that would be given out; of equal neighbours, the least is taken first")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[Shown]) -> list[Shown]:
        return list(rows)


class ExplainPlacement(Request):
    virtualmachineid = Ref(Vm, "the VM to place; the other parameters are then taken from it")
    zoneid = Ref(Zone, "the zone to deploy in")
    serviceofferingid = Ref(ServiceOffering, "its CPUs and memory")
    templateid = Ref(Template, "what its root volume is made of")
    rootdisksize = Size("the least size of its root volume in GiB")
    details = MapOf("cpuNumber, cpuSpeed (MHz) and memory (MiB) for a custom offering")
    affinitygroupids = group_ids_field()
    hostid = Ref(Host, "the host to start it on", roles=("Admin",))


@command("explainPlacement", ExplainPlacement, PlacementResponse, roles=EVERYONE, shape="list")
def explain_placement(call: Call, given: Given) -> Page:
    """Tell of every host of the zone whether a VM can run there, and if not, why. Nothing is reserved."""
    host_id = given.hostid.id if given.hostid else None
    need = need_of_vm(call, given.virtualmachineid, host_id) if given.virtualmachineid else _need(call, given, host_id)
    verdicts = judge(call.session, need)
    pools = [] if call.is_root_admin else list(
        call.session.scalars(select(StoragePool.name).where(StoragePool.zone_id == need.zone_id))
    )  # fmt: skip
    rows = [_describe(call, number, verdict, pools) for number, verdict in enumerate(verdicts, 1)]
    return Page(rows, len(rows))


def _need(call: Call, given: Given, host_id: str | None) -> Need:
    for name in ("zoneid", "serviceofferingid", "templateid"):
        if getattr(given, name) is None:
            raise Invalid("Either virtualmachineid, or zoneid, serviceofferingid and templateid must be given.")
    template = usable_template(call, given.templateid, given.zoneid)
    offering: ServiceOffering = given.serviceofferingid
    shape = shape_of(offering, given.details)
    return Need(
        zone_id=given.zoneid.id,
        hypervisor=template.hypervisor,
        cpus=shape.cpus,
        cpu_mhz=shape.cpus * shape.cpu_mhz,
        memory=shape.memory,
        disk=root_size(template, offering, given.rootdisksize),
        host_tags=offering.host_tags,
        storage_tags=offering.storage_tags,
        storage_type=offering.storage_type,
        host_id=host_id,
        account_id=call.account.id,
        planner=offering.planner or DEFAULT,
        groups=tuple(group.id for group in given.affinitygroupids or ()),
    )


def need_of_vm(call: Call, vm: Vm, host_id: str | None) -> Need:
    """What the VM would need if it were started now; where it runs, its own share counts as used."""
    offering = call.session.get_one(ServiceOffering, vm.service_offering_id)
    query = select(Volume.size, Volume.pool_id, Volume.type, DiskOffering.tags, DiskOffering.storage_type)
    query = query.outerjoin(DiskOffering, DiskOffering.id == Volume.disk_offering_id)
    volumes: Sequence[Any] = call.session.execute(query.where(Volume.vm_id == vm.id, Volume.removed.is_(None))).all()
    own = next((volume for volume in volumes if volume.type == "ROOT" and volume.storage_type), None)
    return Need(
        zone_id=vm.zone_id,
        hypervisor=vm.hypervisor,
        cpus=vm.cpus,
        cpu_mhz=vm.cpus * vm.cpu_mhz,
        memory=vm.memory,
        disk=sum(volume.size for volume in volumes if volume.pool_id is None),
        host_tags=offering.host_tags,
        storage_tags=own.tags if own else offering.storage_tags,
        storage_type=own.storage_type if own else offering.storage_type,
        host_id=host_id,
        pool_id=next((volume.pool_id for volume in volumes if volume.pool_id), None),
        account_id=vm.account_id,
        vm_id=vm.id,
        planner=offering.planner or DEFAULT,
        groups=tuple(call.session.scalars(select(AffinityMember.group_id).where(AffinityMember.vm_id == vm.id))),
    )


def _describe(call: Call, number: int, verdict: Verdict, pools: list[str]) -> Shown:
    reason = verdict.reason
    for pool in pools:
        reason = reason.replace(f"storage pool {pool} ", "storage pool ")
    return {
        "host": verdict.host_name if call.is_root_admin else f"host {number}",
        "hostid": verdict.host_id,
        "rank": number if verdict.fits else None,
        "fits": verdict.fits,
        "chosen": verdict.fits and number == 1,
        "reason": reason or None,
        "neighbours": verdict.neighbours,
        "wishes": list(verdict.wishes) or None,
        "load": round(verdict.load, 4),
    }
