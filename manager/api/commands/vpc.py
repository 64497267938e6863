"""VPCs: ranges of addresses with tiers in them, which share one router."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network

from sqlalchemy import func, select

from manager import access
from manager.api.call import Call
from manager.api.command import (
    EVERYONE,
    ROOT,
    AccountListRequest,
    Given,
    IconListRequest,
    OwnedRequest,
    Page,
    Request,
    command,
)
from manager.api.commands import ipv4
from manager.api.commands.network import default_domain
from manager.api.commands.network_kinds import PRIVATE
from manager.api.commands.network_offering import ServiceResponse, shown_services
from manager.api.commands.network_offering_traits import chosen_values, offerings_with
from manager.api.commands.network_response import NetworkResponse
from manager.api.commands.network_traits import RESOLVERS, mtus, usual_mtus
from manager.api.commands.place import network_domain, with_keyword
from manager.api.commands.tag import TagResponse
from manager.api.errors import PARAMETER, ApiError, Denied, Invalid, missing
from manager.api.fields import Choice, Flag, Integer, ListOf, MapOf, Ref, Text
from manager.api.offered import demand_offered
from manager.api.response import Bool, Int, Many, Response, Shown, Str, SuccessResponse, When
from manager.api.rows import bare_tags_of, by_id, owners_of
from manager.models import Network, Tag, Vpc, VpcOffering, WorkflowRow, Zone
from manager.models.states import VPC_MOVES
from manager.placement import limits
from manager.placement.address import NoAddress, take_public_address
from manager.workflows import vpc as workflows
from manager.workflows.router_spec import resolvers_of

QUOTA = 535
LONGEST_PREFIX, SHORTEST_PREFIX = 29, 8


class VpcResponse(Response):
    object_key = "vpc"
    shows = Vpc
    has_jobs = True
    is_owned = True
    id = Str("the VPC's id")
    name = Str("its name")
    displaytext = Str("what it is")
    state = Str("Enabled, or Inactive while it is deleted")
    created = When("when it was made")
    zoneid = Str("the id of its zone")
    zonename = Str("the name of its zone")
    cidr = Str("the range that its tiers are in")
    networkdomain = Str("the DNS suffix of its virtual machines")
    publicmtu = Int("the MTU of its router's public interface")
    dns1 = Str("the name server that its router asks")
    dns2 = Str("the second such name server")
    vpcofferingid = Str("the id of its offering")
    vpcofferingname = Str("the name of its offering")
    service = Many("the services and who gives them", ServiceResponse)
    network = Many("its tiers", NetworkResponse)
    restartrequired = Bool("always false: what changes is applied at once")
    distributedvpcrouter = Bool("always false: a VPC has one router")
    regionlevelvpc = Bool("always false: a VPC is in one zone")
    redundantvpcrouter = Bool("whether it has two routers, on different hosts, of which one forwards")
    fordisplay = Bool("whether users see it", root_only=True)
    tags = Many("its tags", TagResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[Vpc]) -> list[Shown]:
        owners, tags = owners_of(call, rows, path=True), bare_tags_of(call, rows)
        zones = by_id(call, Zone, (row.zone_id for row in rows))
        offerings = by_id(call, VpcOffering, (row.offering_id for row in rows))
        tiers = _tiers_of(call, rows)
        return [
            {
                **_describe(row, zones[row.zone_id], offerings[row.offering_id]),
                **owners[row.account_id],
                "tags": tags[row.id],
                "network": tiers[row.id],
            }
            for row in rows
        ]


def _tiers_of(call: Call, rows: Sequence[Vpc]) -> dict[str, list[Shown]]:
    """By VPC id: its tiers, as they are shown by themselves."""
    query = select(Network).where(Network.vpc_id.in_([row.id for row in rows]), Network.removed.is_(None))
    tiers = call.session.scalars(query.order_by(Network.created, Network.id)).all()
    found: dict[str, list[Shown]] = {row.id: [] for row in rows}
    for tier, shown in zip(tiers, NetworkResponse.render(call, tiers), strict=True):
        found[str(tier.vpc_id)].append(shown)
    return found


def _describe(row: Vpc, zone: Zone, offering: VpcOffering) -> Shown:
    return {
        "id": row.id,
        "name": row.name,
        "displaytext": row.display_text,
        "state": row.state,
        "created": row.created,
        "zoneid": zone.id,
        "zonename": zone.name,
        "cidr": row.cidr,
        "networkdomain": row.network_domain,
        "publicmtu": row.public_mtu,
        **dict(zip(RESOLVERS, resolvers_of(row, zone), strict=False)),
        "vpcofferingid": offering.id,
        "vpcofferingname": offering.name,
        "service": shown_services(offering.services, chosen_values(offering)),
        "fordisplay": row.display,
        "redundantvpcrouter": row.redundant,
        **dict.fromkeys(("restartrequired", "distributedvpcrouter", "regionlevelvpc"), False),
    }


class CreateVpc(OwnedRequest):
    name = Text("its name", required=True)
    displaytext = Text("what it is; the name when absent")
    zoneid = Ref(Zone, "its zone", required=True)
    vpcofferingid = Ref(VpcOffering, "its offering, which must be enabled", required=True)
    cidr = Text("the range that its tiers are in, such as 10.0.0.0/16; it cannot be absent")
    networkdomain = Text("the DNS suffix of its virtual machines")
    start = Flag("start its router now; else with the first virtual machine", default=True)
    publicmtu = Integer("the MTU of its router's public interface; the zone's largest when absent")
    dns1 = Text("the name server that its router asks; the zone's when absent")
    dns2 = Text("the second such name server")
    sourcenatipaddress = Text("the free public address that its virtual machines leave with; any when absent")
    fordisplay = Flag("whether users see it", default=True, roles=ROOT)


@command("createVPC", CreateVpc, VpcResponse, is_async=True, creates=True, roles=EVERYONE, event="VPC.CREATE")
def create_vpc(call: Call, given: Given) -> WorkflowRow:
    """Make a VPC; createNetwork with its vpcid gives it tiers."""
    zone, offering = given.zoneid, given.vpcofferingid
    if not given.cidr:
        raise missing(call.command, "cidr")
    if zone.allocation_state != "Enabled" and not call.is_root_admin:
        raise Denied(f"The zone {zone.name} is disabled.")
    if offering.state != "Enabled":
        raise Invalid(f"The VPC offering {offering.name} is {offering.state}; VPCs need an enabled one.")
    if zone.is_flat:
        raise Invalid(f"The zone {zone.name} is Basic; VPCs are possible in Advanced zones alone.")
    demand_offered(call, offering, call.owner, zone)
    values = {
        "cidr": _range(given.cidr),
        "network_domain": network_domain(given.networkdomain) or default_domain(call, zone),
        **_public_mtu(call, given, zone),
        **_resolvers(given),
    }
    try:
        limits.claim(call.session, call.owner, vpcs=1)
    except limits.LimitReached as error:
        raise ApiError(QUOTA, str(error)) from error
    made: Vpc = call.add(
        Vpc(
            name=given.name,
            display_text=given.displaytext or given.name,
            account_id=call.owner.id,
            zone_id=zone.id,
            offering_id=offering.id,
            redundant=offering.redundant_router,
            display=given.fordisplay,
            **values,
        )
    )
    _take_source_nat(call, made, given.sourcenatipaddress)
    return workflows.create_vpc.start(call.session, made, call=call) if given.start else call.job_done(made)


def _range(text: str) -> str:
    """:raises Invalid: it is no network, not a private one, or too large or small for tiers"""
    network = IPv4Network(ipv4.cidr("cidr", text))
    if not SHORTEST_PREFIX <= network.prefixlen <= LONGEST_PREFIX:
        raise Invalid(f"The range {network} has the prefix /{network.prefixlen}; that of a VPC must lie within "
                      f"/{SHORTEST_PREFIX} and /{LONGEST_PREFIX}.")  # fmt: skip
    if not any(network.subnet_of(private) for private in PRIVATE):
        raise Invalid(f"The range {network} is not a private one; it must lie in {', '.join(map(str, PRIVATE))}.")
    return str(network)


def _public_mtu(call: Call, given: Given, zone: Zone) -> dict[str, int]:
    """As `mtus` of networks; the largest that the zone admits where none is given."""
    return {"public_mtu": usual_mtus(call, zone)["public_mtu"], **mtus(call, given, zone, only=("publicmtu",))}


def _resolvers(given: Given) -> dict[str, str | None]:
    found = {name: ipv4.optional_address(name, getattr(given, name)) for name in RESOLVERS}
    if found["dns2"] and not found["dns1"]:
        raise Invalid("A VPC with a dns2 needs a dns1.")
    return found


def _take_source_nat(call: Call, vpc: Vpc, text: str | None) -> None:
    wanted = ipv4.optional_address("sourcenatipaddress", text)
    if wanted is None:
        return
    try:
        take_public_address(call.session, vpc, source_nat=True, wanted=wanted)
    except NoAddress as error:
        raise ApiError(PARAMETER, str(error)) from error


class ListVpcs(IconListRequest, AccountListRequest):
    id = Ref(Vpc, "only this VPC")
    name = Text("only VPCs of this name")
    displaytext = Text("only VPCs of this display text")
    zoneid = Ref(Zone, "only VPCs of this zone")
    cidr = Text("only VPCs of this range")
    vpcofferingid = Ref(VpcOffering, "only VPCs of this offering")
    supportedservices = ListOf(Text("a service"), "only VPCs with all these services")
    state = Choice("only VPCs in this state", sorted(VPC_MOVES.states))
    restartrequired = Flag("true for VPCs that wait for a restart, of which there are none")
    fordisplay = Flag("only those that users see, or only others", roles=ROOT)
    tags = MapOf("only VPCs with all these tags")


@command("listVPCs", ListVpcs, VpcResponse, roles=EVERYONE)
def list_vpcs(call: Call, given: Given) -> Page:
    """List VPCs, with their tiers."""
    if given.restartrequired:
        return Page([], 0)
    query = select(Vpc).where(access.visible(call, Vpc))
    for column, value in ((Vpc.id, given.id), (Vpc.name, given.name), (Vpc.display_text, given.displaytext),
                          (Vpc.zone_id, given.zoneid), (Vpc.cidr, given.cidr), (Vpc.state, given.state),
                          (Vpc.offering_id, given.vpcofferingid), (Vpc.display, given.fordisplay)):  # fmt: skip
        if value is not None:
            query = query.where(column == getattr(value, "id", value))
    if not call.is_root_admin:
        query = query.where(Vpc.display.is_(True))
    if given.supportedservices is not None:
        query = query.where(Vpc.offering_id.in_(offerings_with(call, VpcOffering, given.supportedservices)))
    for key, value in (given.tags or {}).items():
        query = query.where(Vpc.id.in_(select(Tag.resource_id).where(Tag.key == key, Tag.value == value)))
    return call.paged(with_keyword(query, given.keyword, Vpc.name).order_by(Vpc.created, Vpc.id))


class UpdateVpc(Request):
    id = Ref(Vpc, "the VPC", required=True)
    name = Text("its new name")
    displaytext = Text("what it is")
    publicmtu = Integer("the MTU of its router's public interface")
    fordisplay = Flag("whether users see it", roles=ROOT)


@command("updateVPC", UpdateVpc, VpcResponse, is_async=True, roles=EVERYONE, event="VPC.UPDATE")
def update_vpc(call: Call, given: Given) -> WorkflowRow:
    """Change what a VPC is called, or the MTU of its router's public interface."""
    vpc: Vpc = given.id
    vpc.name = given.name or vpc.name
    vpc.display_text = given.displaytext or vpc.display_text
    vpc.display = vpc.display if given.fordisplay is None else given.fordisplay
    if given.publicmtu is None:
        return call.job_done(vpc)
    values = _public_mtu(call, given, call.session.get_one(Zone, vpc.zone_id))
    return workflows.change_vpc.start(call.session, vpc, call=call, values=values)


class RestartVpc(Request):
    id = Ref(Vpc, "the VPC", required=True)
    cleanup = Flag("take the router down and make it anew", default=False)
    makeredundant = Flag("give it a second router on another host, if it has one alone", default=False)


@command("restartVPC", RestartVpc, SuccessResponse, is_async=True, roles=EVERYONE, event="VPC.RESTART")
def restart_vpc(call: Call, id: Vpc, cleanup: bool, makeredundant: bool) -> WorkflowRow:
    """Apply all of a VPC again to its router and to the hosts of its tiers. Of two routers one forwards meanwhile."""
    VPC_MOVES.demand(id, "delete")
    return workflows.restart_vpc.start(call.session, id, call=call, cleanup=cleanup, make_redundant=makeredundant)


class DeleteVpc(Request):
    id = Ref(Vpc, "the VPC", required=True)


@command("deleteVPC", DeleteVpc, SuccessResponse, is_async=True, roles=EVERYONE, event="VPC.DELETE")
def delete_vpc(call: Call, id: Vpc) -> WorkflowRow:
    """Remove a VPC without tiers, with its router and its public addresses."""
    query = select(func.count(Network.id)).where(Network.vpc_id == id.id, Network.removed.is_(None))
    count = call.session.scalar(query) or 0
    if count:
        raise Invalid(f"The VPC {id.name} still has {count} tiers; delete those first.")
    return workflows.delete_vpc.start(call.session, id, call=call)
