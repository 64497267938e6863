"""Service offerings: sizes that virtual machines may have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, select

from manager.api.call import Call
from manager.api.command import EVERYONE, Given, ListRequest, Page, Request, command
from manager.api.commands.deployment_planner import planner_field
from manager.api.commands.disk_traits import DiskTraitsResponse, NewDiskTraits, shown_traits, take_limits
from manager.api.commands.vm_lease import action_field, days_field, lease_of_offering
from manager.api.errors import Invalid
from manager.api.fields import GIB, MIB, Choice, Flag, Integer, ListOf, MapOf, Ref, Size, Text
from manager.api.offered import ALL_ZONES, PUBLIC, RefsOr, change, listed, restrict, shown_limits
from manager.api.response import Bool, Int, Long, Map, Shown, Str, SuccessResponse, When
from manager.models import Domain, ServiceOffering, Vm, Zone
from manager.models.catalog import DEFAULT_ROUTER_OFFERING, DOMAIN_ROUTER

MOST_CPUS, MOST_MHZ, MOST_MBITS = 512, 10_000, 100_000
BOUNDS = ("mincpunumber", "maxcpunumber", "minmemory", "maxmemory")
STORAGE_TYPES = ("shared", "local")
STATES = ("Active", "Inactive")
SYSTEM_TYPES = (DOMAIN_ROUTER,)
NOT_OF_ROUTERS = ("customized", "tags", "offerha", "limitcpuuse", "rootdisksize", "domainid", "zoneid")


class ServiceOfferingResponse(DiskTraitsResponse):
    object_key = "serviceoffering"
    shows = ServiceOffering
    id = Str("the offering's id")
    name = Str("its name")
    displaytext = Str("what it is")
    cpunumber = Int("how many CPUs; absent where the user chooses")
    cpuspeed = Int("MHz of each CPU; absent where the user chooses")
    memory = Int("memory in MiB; absent where the user chooses")
    created = When("when it was made")
    storagetype = Str("local or shared: where the root disk is")
    offerha = Bool("whether virtual machines of it start elsewhere when their host fails")
    limitcpuuse = Bool("whether CPU use is capped at what the offering says")
    networkrate = Int("Mbit/s that the default NIC may send, and receive; absent for any")
    serviceofferingdetails = Map("what else is said of it, and between what users choose: mincpunumber and so on")
    deploymentplanner = Str("in which order hosts are taken; absent for UserDispersingPlanner")
    leaseduration = Int("days that virtual machines of it are kept, where they ask for no lease of their own")
    leaseexpiryaction = Str("what is done to them then: STOP or DESTROY")
    isvolatile = Bool("always false")
    storagetags = Str("tags that a storage pool must have")
    hosttags = Str("tags that a host must have")
    rootdisksize = Long("the size of the root disk in GiB; absent for that of the template")
    iscustomized = Bool("whether the user chooses the size")
    issystem = Bool("whether it is for virtual routers")
    systemvmtype = Str("domainrouter where it is for virtual routers")
    defaultuse = Bool("whether it comes with the cloud, for virtual routers that have no other, and stays")
    dynamicscalingenabled = Bool("always false")
    state = Str("Active or Inactive; inactive ones are not for new virtual machines")
    domainid = Str("the ids of the domains that it is for; absent for all")
    domain = Str("the paths of those domains")
    zoneid = Str("the ids of the zones that it is for; absent for all")
    zone = Str("the names of those zones")

    @classmethod
    def render(cls, call: Call, rows: Sequence[ServiceOffering]) -> list[Shown]:
        limits = shown_limits(call, rows)
        return [{**_describe(row), **limits[row.id]} for row in rows]


def _describe(row: ServiceOffering) -> Shown:
    return {
        "id": row.id,
        "name": row.name,
        "displaytext": row.display_text,
        "cpunumber": row.cpus or None,
        "cpuspeed": row.cpu_mhz or None,
        "memory": row.memory // MIB or None,
        "created": row.created,
        "storagetype": row.storage_type,
        **shown_traits(row),
        "networkrate": row.network_rate,
        "serviceofferingdetails": {**row.details, **row.bounds} or None,
        "deploymentplanner": row.planner,
        "leaseduration": row.lease_days,
        "leaseexpiryaction": row.lease_action,
        "offerha": row.offer_ha,
        "limitcpuuse": row.limit_cpu_use,
        "isvolatile": False,
        "storagetags": row.storage_tags or None,
        "hosttags": row.host_tags or None,
        "rootdisksize": row.root_disk_size // GIB or None,
        "iscustomized": row.customized,
        "issystem": row.system_vm_type is not None,
        "systemvmtype": row.system_vm_type,
        "defaultuse": row.id == DEFAULT_ROUTER_OFFERING,
        "dynamicscalingenabled": False,
        "state": row.state,
    }


class CreateServiceOffering(NewDiskTraits):
    name = Text("its name, new in the cloud", required=True)
    displaytext = Text("what it is; the name when absent")
    cpunumber = Integer("how many CPUs", least=1, most=MOST_CPUS)
    cpuspeed = Integer("MHz of each CPU", least=1, most=MOST_MHZ)
    memory = Integer("memory in MiB", least=32)
    customized = Flag("whether the user chooses CPUs and memory; so it is when none of them is given")
    mincpunumber = Integer("the fewest CPUs that the user may choose", least=1, most=MOST_CPUS)
    maxcpunumber = Integer("the most CPUs that the user may choose", least=1, most=MOST_CPUS)
    minmemory = Integer("the least memory in MiB that the user may choose", least=32)
    maxmemory = Integer("the most memory in MiB that the user may choose", least=32)
    networkrate = Integer("Mbit/s that the default NIC may send, and receive", least=1, most=MOST_MBITS)
    storagetype = Choice("where the root disk is", STORAGE_TYPES, default="shared")
    hosttags = Text("tags, separated by commas, that a host must have")
    tags = Text("tags, separated by commas, that a storage pool must have")
    offerha = Flag("whether virtual machines of it start elsewhere when their host fails", default=False)
    limitcpuuse = Flag("whether CPU use is capped at what the offering says", default=False)
    rootdisksize = Size("the size of the root disk in GiB")
    serviceofferingdetails = MapOf("what else is to be said of it")
    deploymentplanner = planner_field("in which order hosts are taken; where absent UserDispersingPlanner")
    leaseduration = days_field("the days that virtual machines of it are kept")
    leaseexpiryaction = action_field()
    issystem = Flag(
        "whether it is for virtual routers, which run on hosts of its host tags and claim none of its CPUs and memory",
        default=False,
    )
    systemvmtype = Choice("the kind of system virtual machine, with issystem", SYSTEM_TYPES)
    domainid = ListOf(Ref(Domain, ""), "the domains, with those below them, that it is for; all when absent")
    zoneid = ListOf(Ref(Zone, ""), "the zones that it is for; all when absent")


@command(
    "createServiceOffering",
    CreateServiceOffering,
    ServiceOfferingResponse,
    creates=True,
    event="SERVICE.OFFERING.CREATE",
)
def create_service_offering(call: Call, given: Given) -> ServiceOffering:
    """Offer a size of virtual machines, or with issystem one of virtual routers."""
    _check_system(given)
    customized = _is_customized(given)
    offering = ServiceOffering(
        name=given.name,
        display_text=given.displaytext or given.name,
        cpus=given.cpunumber or 0,
        cpu_mhz=given.cpuspeed or 0,
        memory=(given.memory or 0) * MIB,
        customized=customized,
        storage_type=given.storagetype,
        host_tags=clean_tags(given.hosttags),
        storage_tags=clean_tags(given.tags),
        offer_ha=given.offerha,
        limit_cpu_use=given.limitcpuuse,
        root_disk_size=given.rootdisksize or 0,
        bounds=_bounds(given, customized=customized),
        network_rate=given.networkrate,
        planner=given.deploymentplanner,
        provisioning=given.provisioningtype,
        details=given.serviceofferingdetails or {},
        system_vm_type=(given.systemvmtype or DOMAIN_ROUTER) if given.issystem else None,
        live=given.name.lower(),
    )
    take_limits(offering, given)
    offering.lease_days, offering.lease_action = lease_of_offering(call, given)
    made: ServiceOffering = call.add(offering, taken=f"A service offering named {given.name} exists already.")
    restrict(call, made, given.domainid, given.zoneid)
    return made


def _check_system(given: Given) -> None:
    """:raises Invalid: a parameter does not go with issystem, or only with it"""
    if given.systemvmtype and not given.issystem:
        raise Invalid("The parameter systemvmtype goes with issystem=true.")
    if given.issystem:
        _refuse_for_routers(given, NOT_OF_ROUTERS)


def _refuse_for_routers(given: Given, names: Sequence[str]) -> None:
    """:raises Invalid: one of these parameters is given, none of which means anything to a virtual router"""
    wrong = [name for name in names if getattr(given, name)]
    if wrong:
        raise Invalid(f"An offering of virtual routers has no {' and no '.join(wrong)}: they are no guests.")


def _is_customized(given: Given) -> bool:
    """Whether the user of the offering chooses CPUs and memory.

    :raises Invalid: too little is given for a fixed size, or too much for one to choose
    """
    size = {"cpunumber": given.cpunumber, "cpuspeed": given.cpuspeed, "memory": given.memory}
    missing = [name for name, value in size.items() if value is None]
    customized = given.customized if given.customized is not None else len(missing) == len(size)
    if customized and (given.cpunumber or given.memory):
        raise Invalid("A customized offering has no cpunumber and no memory: who deploys chooses them.")
    if not customized and missing:
        raise Invalid(f"An offering of a fixed size needs {', '.join(missing)} too.")
    return bool(customized)


def _bounds(given: Given, *, customized: bool) -> dict[str, int]:
    """Between what the user chooses, by parameter.

    :raises Invalid: bounds of a fixed size, or none between which anything lies
    """
    bounds = {name: getattr(given, name) for name in BOUNDS if getattr(given, name) is not None}
    if bounds and not customized:
        raise Invalid(f"The parameter {next(iter(bounds))} is for customized offerings; this one has a fixed size.")
    for thing in ("cpunumber", "memory"):
        least, most = bounds.get(f"min{thing}"), bounds.get(f"max{thing}")
        if least is not None and most is not None and least > most:
            raise Invalid(f"The parameter min{thing} of {least} is greater than max{thing}, {most}.")
    return bounds


def clean_tags(text: str | None) -> str:
    """The tags, each once, separated by commas without blanks."""
    return ",".join(dict.fromkeys(tag.strip() for tag in (text or "").split(",") if tag.strip()))


class ListServiceOfferings(ListRequest):
    id = Ref(ServiceOffering, "only this offering")
    name = Text("only the offering of this name")
    virtualmachineid = Ref(Vm, "only offerings to which this virtual machine could change")
    zoneid = Ref(Zone, "only offerings for this zone")
    domainid = Ref(Domain, "only offerings that this domain may use")
    isrecursive = Flag("also those of the domains below that domain, or the caller's", default=False)
    cpunumber = Integer("only offerings of at least as many CPUs")
    cpuspeed = Integer("only offerings of at least as many MHz")
    memory = Integer("only offerings of at least as many MiB of memory")
    storagetype = Choice("only offerings of this storage type", STORAGE_TYPES)
    state = Choice("only offerings of this state; all for both", [*STATES, "all"], default="Active")
    issystem = Flag("only offerings for virtual routers, for root administrators; else only others", default=False)
    systemvmtype = Choice("with issystem, only offerings for this kind of system virtual machine", SYSTEM_TYPES)


@command("listServiceOfferings", ListServiceOfferings, ServiceOfferingResponse, roles=EVERYONE)
def list_service_offerings(call: Call, given: Given) -> Page:
    """List service offerings."""
    scope = [_of_kind(call, given), *listed(call, ServiceOffering, given, recursive=given.isrecursive)]
    query = select(ServiceOffering).where(ServiceOffering.removed.is_(None), *scope)
    if given.id is not None:
        query = query.where(ServiceOffering.id == given.id.id)
    elif given.state != "all":
        query = query.where(ServiceOffering.state == given.state)
    if given.name is not None:
        query = query.where(ServiceOffering.name == given.name)
    if given.keyword:
        query = query.where(ServiceOffering.name.contains(given.keyword, autoescape=True))
    if given.storagetype is not None:
        query = query.where(ServiceOffering.storage_type == given.storagetype)
    if given.virtualmachineid is not None:
        query = query.where(_is_choice_for(call, given.virtualmachineid))
    query = _of_size(query, given)
    return call.paged(query.order_by(ServiceOffering.sort_key, ServiceOffering.name, ServiceOffering.id))


def _of_kind(call: Call, given: Given) -> ColumnElement[bool]:
    """:raises Invalid: others than root administrators ask for offerings of system virtual machines"""
    if not given.issystem:
        return ServiceOffering.system_vm_type.is_(None)
    if not call.is_root_admin:
        raise Invalid("Only root administrators see the offerings of system virtual machines.")
    kinds = [given.systemvmtype] if given.systemvmtype else SYSTEM_TYPES
    return ServiceOffering.system_vm_type.in_(kinds)


def _is_choice_for(call: Call, vm: Vm) -> Any:
    """Offerings that are not the VM's own and keep its disks where they are."""
    own = call.session.get_one(ServiceOffering, vm.service_offering_id)
    return (ServiceOffering.id != own.id) & (ServiceOffering.storage_type == own.storage_type)


def _of_size(query: Select[Any], given: Given) -> Select[Any]:
    least = {
        ServiceOffering.cpus: given.cpunumber,
        ServiceOffering.cpu_mhz: given.cpuspeed,
        ServiceOffering.memory: given.memory * MIB if given.memory is not None else None,
    }
    for column, value in least.items():
        if value is not None:
            query = query.where((column >= value) | ServiceOffering.customized)
    return query


class UpdateServiceOffering(Request):
    id = Ref(ServiceOffering, "the offering", required=True)
    name = Text("its new name")
    displaytext = Text("what it is")
    sortkey = Integer("its place in lists, from the smallest", least=-(2**31))
    hosttags = Text("tags, separated by commas, that a host must have; empty for none")
    storagetags = Text("tags, separated by commas, that a storage pool must have; empty for none")
    state = Choice("Inactive for one that is not for new virtual machines", STATES)
    domainid = RefsOr(PUBLIC, Ref(Domain, ""), "the domains that it is for; public for all")
    zoneid = RefsOr(ALL_ZONES, Ref(Zone, ""), "the zones that it is for; all for all")


@command("updateServiceOffering", UpdateServiceOffering, ServiceOfferingResponse, event="SERVICE.OFFERING.EDIT")
def update_service_offering(call: Call, given: Given) -> ServiceOffering:
    """Change a service offering; virtual machines that have it keep their size."""
    offering: ServiceOffering = given.id
    if offering.system_vm_type is not None:
        _refuse_for_routers(given, ("storagetags", "domainid", "zoneid"))
    if given.hosttags is not None:
        offering.host_tags = clean_tags(given.hosttags)
    if given.storagetags is not None:
        offering.storage_tags = clean_tags(given.storagetags)
    change(call, offering, given, "service offering")
    return offering


class DeleteServiceOffering(Request):
    id = Ref(ServiceOffering, "the offering", required=True)


@command("deleteServiceOffering", DeleteServiceOffering, SuccessResponse, event="SERVICE.OFFERING.DELETE")
def delete_service_offering(_call: Call, id: ServiceOffering) -> bool:
    """Take a service offering away; virtual machines and routers that have it keep it."""
    if id.id == DEFAULT_ROUTER_OFFERING:
        raise Invalid(f"The service offering {id.name} comes with the cloud and cannot be deleted.")
    id.state = "Inactive"
    id.remove()
    return True
