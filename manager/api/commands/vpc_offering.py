"""VPC offerings: which services the tiers of a VPC may have, and who gives them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select

from manager.api.call import Call
from manager.api.command import EVERYONE, Given, ListRequest, Page, Request, command
from manager.api.commands.network_offering import ServiceResponse, demand_for_routers, services_of, shown_services
from manager.api.commands.network_offering_traits import asks_redundant_router, check_capabilities, chosen_values
from manager.api.commands.place import with_keyword
from manager.api.errors import Invalid
from manager.api.fields import Choice, Flag, Integer, ListOf, MapList, Ref, Text
from manager.api.offered import ALL_ZONES, PUBLIC, RefsOr, default_router_offering, listed, restrict, shown_limits
from manager.api.response import Bool, Many, Response, Shown, Str, SuccessResponse, When
from manager.models import Domain, ServiceOffering, Vpc, VpcOffering, WorkflowRow, Zone

STATES = ("Enabled", "Disabled")


class VpcOfferingResponse(Response):
    object_key = "vpcoffering"
    shows = VpcOffering
    has_jobs = True
    id = Str("the offering's id")
    name = Str("its name")
    displaytext = Str("what it is")
    created = When("when it was made")
    state = Str("Enabled or Disabled; disabled ones are not for new VPCs")
    isdefault = Bool("whether it comes with the cloud and stays")
    distributedvpcrouter = Bool("always false: a VPC has one router")
    supportsregionLevelvpc = Bool("always false: a VPC is in one zone")  # noqa: N815 - CloudStack's name
    internetprotocol = Str("always IPv4")
    service = Many("the services and who gives them", ServiceResponse)
    domainid = Str("the ids of the domains that it is for; absent for all")
    domain = Str("the paths of those domains")
    zoneid = Str("the ids of the zones that it is for; absent for all")
    zone = Str("the names of those zones")

    @classmethod
    def render(cls, call: Call, rows: Sequence[VpcOffering]) -> list[Shown]:
        limits = shown_limits(call, rows)
        return [{**_describe(row), **limits[row.id]} for row in rows]


def _describe(row: VpcOffering) -> Shown:
    return {
        "id": row.id,
        "name": row.name,
        "displaytext": row.display_text,
        "created": row.created,
        "state": row.state,
        "isdefault": row.is_default,
        "distributedvpcrouter": False,
        "supportsregionLevelvpc": False,
        "internetprotocol": "IPv4",
        "service": shown_services(row.services, chosen_values(row)),
    }


class CreateVpcOffering(Request):
    name = Text("its name, new in the cloud", required=True)
    displaytext = Text("what it is; the name when absent")
    supportedservices = ListOf(Text("a service"), "the services; those of serviceproviderlist when absent")
    serviceproviderlist = MapList("which provider gives which service: service and provider of each")
    servicecapabilitylist = MapList("what services can do: service, capabilitytype and capabilityvalue of each")
    internetprotocol = Choice("only IPv4 is possible", ["IPv4"])
    serviceofferingid = Ref(ServiceOffering, "the service offering of its virtual routers; else that of the cloud")
    enable = Flag("whether VPCs may be made of it at once", default=False)
    domainid = ListOf(Ref(Domain, ""), "the domains, with those below them, that it is for; all when absent")
    zoneid = ListOf(Ref(Zone, ""), "the zones that it is for; all when absent")


@command("createVPCOffering", CreateVpcOffering, VpcOfferingResponse, is_async=True, creates=True,
         event="VPC.OFFERING.CREATE")  # fmt: skip
def create_vpc_offering(call: Call, given: Given) -> WorkflowRow:
    """Offer a kind of VPC; it is Disabled unless `enable` says otherwise."""
    services = services_of(given.supportedservices or [], given.serviceproviderlist or [], for_vpc=True)
    check_capabilities(services, given.servicecapabilitylist or [])
    if "SourceNat" not in services:
        raise Invalid("A VPC offering needs the service SourceNat: the router of a VPC has a public side.")
    if given.serviceofferingid is not None:
        demand_for_routers(given.serviceofferingid)
    router = given.serviceofferingid.id if given.serviceofferingid is not None else default_router_offering(call)
    offering = VpcOffering(
        name=given.name,
        display_text=given.displaytext or given.name,
        services=services,
        service_offering_id=router,
        redundant_router=asks_redundant_router(given.servicecapabilitylist or []),
        state="Enabled" if given.enable else "Disabled",
        live=given.name,
    )
    made: VpcOffering = call.add(offering, taken=_taken(given.name))
    restrict(call, made, given.domainid, given.zoneid)
    return call.job_done(made)


def _taken(name: str) -> str:
    return f"A VPC offering named {name} exists already."


class ListVpcOfferings(ListRequest):
    id = Ref(VpcOffering, "only this offering")
    name = Text("only the offering of this name")
    displaytext = Text("only offerings of this display text")
    isdefault = Flag("only those that come with the cloud, or only others")
    supportedservices = ListOf(Text("a service"), "only offerings of all these services")
    state = Choice("only offerings of this state", STATES)
    domainid = Ref(Domain, "only offerings that this domain may use")
    zoneid = Ref(Zone, "only offerings for this zone")


@command("listVPCOfferings", ListVpcOfferings, VpcOfferingResponse, roles=EVERYONE)
def list_vpc_offerings(call: Call, given: Given) -> Page:
    """List VPC offerings."""
    query = select(VpcOffering).where(VpcOffering.removed.is_(None), *listed(call, VpcOffering, given))
    for column, value in ((VpcOffering.id, given.id), (VpcOffering.name, given.name),
                          (VpcOffering.display_text, given.displaytext), (VpcOffering.state, given.state),
                          (VpcOffering.is_default, given.isdefault)):  # fmt: skip
        if value is not None:
            query = query.where(column == getattr(value, "id", value))
    query = with_keyword(query, given.keyword, VpcOffering.name)
    query = query.order_by(VpcOffering.sort_key, VpcOffering.name, VpcOffering.id)
    if given.supportedservices is None:
        return call.paged(query)
    # no SQL reads JSON alike on all databases, and there are few offerings
    wanted = {name.lower() for name in given.supportedservices}
    return call.window([row for row in call.session.scalars(query) if wanted <= {one.lower() for one in row.services}])


class UpdateVpcOffering(Request):
    id = Ref(VpcOffering, "the offering", required=True)
    name = Text("its new name")
    displaytext = Text("what it is")
    state = Choice("Enabled or Disabled", STATES)
    sortkey = Integer("its place in lists, from the smallest", least=-(2**31))
    domainid = RefsOr(PUBLIC, Ref(Domain, ""), "the domains that it is for; public for all")
    zoneid = RefsOr(ALL_ZONES, Ref(Zone, ""), "the zones that it is for; all for all")


@command("updateVPCOffering", UpdateVpcOffering, VpcOfferingResponse, is_async=True, event="VPC.OFFERING.UPDATE")
def update_vpc_offering(call: Call, given: Given) -> WorkflowRow:
    """Change a VPC offering; VPCs that have it keep it."""
    offering: VpcOffering = given.id
    if given.name and given.name != offering.name:
        if offering.is_default:
            raise Invalid(f"The VPC offering {offering.name} comes with the cloud and keeps its name.")
        offering.name = offering.live = given.name
    offering.display_text = given.displaytext or offering.display_text
    offering.state = given.state or offering.state
    if given.sortkey is not None:
        offering.sort_key = given.sortkey
    call.flush(taken=_taken(offering.name))
    restrict(call, offering, given.domainid, given.zoneid)
    return call.job_done(offering)


class DeleteVpcOffering(Request):
    id = Ref(VpcOffering, "the offering", required=True)


@command("deleteVPCOffering", DeleteVpcOffering, SuccessResponse, is_async=True, event="VPC.OFFERING.DELETE")
def delete_vpc_offering(call: Call, id: VpcOffering) -> WorkflowRow:
    """Take away a VPC offering that no VPC has."""
    if id.is_default:
        raise Invalid(f"The VPC offering {id.name} comes with the cloud and cannot be deleted.")
    used = select(func.count(Vpc.id)).where(Vpc.offering_id == id.id, Vpc.removed.is_(None))
    count = call.session.scalar(used) or 0
    if count:
        raise Invalid(f"The VPC offering {id.name} is that of {count} VPCs and cannot be deleted.")
    id.remove()
    return call.job_done(id)


def demand_services(vpc: Vpc, offering: VpcOffering, services: dict[str, str]) -> None:
    """:raises Invalid: a tier's service is none of its VPC's"""
    lacking = sorted(service for service in services if service not in offering.services)
    if lacking:
        raise Invalid(f"The VPC {vpc.name} has no service {lacking[0]}; its offering {offering.name} lacks it.")
