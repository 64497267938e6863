"""Static routes: networks outside a VPC that its router reaches by a next hop."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, ip_network
from typing import Any

from sqlalchemy import Select, select

from manager import access, configuration
from manager.api.call import Call
from manager.api.command import EVERYONE, AccountListRequest, Page, Request, command
from manager.api.commands import ipv4
from manager.api.commands.place import hold, narrowed, with_keyword
from manager.api.commands.rule import CONFLICT, shown_state
from manager.api.commands.tag import TagResponse
from manager.api.commands.vpn_place import refuse_people_in
from manager.api.errors import ApiError, Invalid, missing
from manager.api.fields import Choice, MapOf, Ref, Text
from manager.api.response import Many, Response, Shown, Str, SuccessResponse
from manager.api.rows import bare_tags_of, by_id, owners_of
from manager.models import Network, PrivateGateway, StaticRoute, Tag, Vpc, WorkflowRow, Zone
from manager.models.states import STATIC_ROUTE_MOVES
from manager.workflows.rule_rows import next_revision
from manager.workflows.static_route import add_route, remove_route, tier_with
from manager.workflows.vpc_ways import network_of

DENIED = "denied.routes"
LINK_LOCAL = IPv4Network("169.254.0.0/16")


class StaticRouteResponse(Response):
    object_key = "staticroute"
    shows = StaticRoute
    has_jobs = True
    is_owned = True
    id = Str("the route's id")
    vpcid = Str("the id of its VPC")
    vpcgatewayid = Str("the id of the private gateway that it goes by, if by one")
    vpcgatewayip = Str("the VPC's address at that gateway")
    nexthop = Str("the address that it goes by")
    cidr = Str("the network that it leads to")
    state = Str("Add until the VPC's router has it, then Active; Deleting while it is taken away")
    tags = Many("its tags", TagResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[StaticRoute]) -> list[Shown]:
        owners, tags = owners_of(call, rows, path=True), bare_tags_of(call, rows)
        gateways = by_id(call, PrivateGateway, (row.gateway_id for row in rows))
        return [
            {
                "id": row.id,
                "vpcid": row.vpc_id,
                "vpcgatewayid": row.gateway_id,
                "vpcgatewayip": gateways[row.gateway_id].address if row.gateway_id else None,
                "nexthop": row.next_hop,
                "cidr": row.cidr,
                "state": shown_state(row),
                "tags": tags[row.id],
                **owners[row.account_id],
            }
            for row in rows
        ]


class CreateStaticRoute(Request):
    cidr = Text("the network that it leads to, outside the VPC's range", required=True)
    gatewayid = Ref(PrivateGateway, "the private gateway that it goes by; else give vpcid and nexthop")
    vpcid = Ref(Vpc, "the VPC")
    nexthop = Text("the address that it goes by: in a tier of the VPC, or in the network of a private gateway of it")


@command("createStaticRoute", CreateStaticRoute, StaticRouteResponse, is_async=True, creates=True, roles=EVERYONE,
         event="STATIC.ROUTE.CREATE", rehearses=True)  # fmt: skip
def create_static_route(
    call: Call, cidr: str, gatewayid: PrivateGateway | None, vpcid: Vpc | None, nexthop: str | None
) -> WorkflowRow:
    """Lead a network outside a VPC by a next hop. A guest that is one may then send in the name of that network."""
    vpc = _vpc_of(call, gatewayid, vpcid, nexthop)
    hop = gatewayid.gateway if gatewayid is not None else str(ipv4.address("nexthop", nexthop))
    tier = tier_with(call.session, vpc.id, hop)
    if tier is not None:
        next_revision(call.session, tier.id)  # tiers are locked before their VPC
    hold(call, vpc)
    _check_next_hop(call, vpc, tier, gatewayid, hop)
    network = ipv4.cidr("cidr", cidr)
    _check_network(call, vpc, IPv4Network(network))
    vpc.rules_wanted += 1
    route = StaticRoute(
        account_id=vpc.account_id,
        vpc_id=vpc.id,
        gateway_id=gatewayid.id if gatewayid is not None else None,
        cidr=network,
        next_hop=hop,
        live=f"{vpc.id}/{network}",
    )
    call.add(route, taken=f"The VPC {vpc.name} has a static route to {network} already.")
    return add_route.start(call.session, route, call=call)


def _vpc_of(call: Call, gateway: PrivateGateway | None, vpc: Vpc | None, hop: str | None) -> Vpc:
    """:raises ApiError: neither a gateway is given nor a VPC with a next hop, or they contradict one another"""
    if gateway is None:
        if vpc is None or not hop:
            raise missing(call.command, "vpcid" if vpc is None else "nexthop")
        return vpc
    if hop:
        raise Invalid("A static route goes by one thing: either by the private gateway gatewayid, or by a nexthop.")
    if vpc is not None and vpc.id != gateway.vpc_id:
        raise Invalid(f"The private gateway {gateway.id} is not one of the VPC {vpc.name}.")
    return call.session.get_one(Vpc, gateway.vpc_id)


def _check_next_hop(call: Call, vpc: Vpc, tier: Network | None, gateway: PrivateGateway | None, hop: str) -> None:
    """With the VPC held, so that none of its gateways goes.

    :raises Invalid: the VPC goes, its router has the address itself, or no leg in the network of it
    """
    if vpc.state != "Enabled":
        raise Invalid(f"The VPC {vpc.name} is being deleted.")
    if gateway is not None:
        call.session.refresh(gateway)
        if gateway.removed is not None or gateway.state != "Ready":
            raise Invalid(f"The private gateway {gateway.id} is {gateway.state}; static routes need a Ready one.")
        return
    if tier is not None:
        network, own = IPv4Network(tier.cidr), tier.gateway
    else:
        network, own = _private_network(call, vpc, hop)
    if hop in (own, str(network.network_address), str(network.broadcast_address)):
        raise Invalid(f"The next hop {hop} is no address of another in {network}.")


def _private_network(call: Call, vpc: Vpc, hop: str) -> tuple[IPv4Network, str]:
    """The network of the VPC's private gateway that the address is in, and the VPC's own address there.

    :raises Invalid: there is none
    """
    for one in call.session.scalars(_gateways_of(vpc)):
        if IPv4Address(hop) in network_of(one):
            return network_of(one), one.address
    raise Invalid(f"The next hop {hop} is in no tier of the VPC {vpc.name}, and in no network of its private gateways.")


def _gateways_of(vpc: Vpc) -> Select[PrivateGateway]:
    return select(PrivateGateway).where(PrivateGateway.vpc_id == vpc.id, PrivateGateway.removed.is_(None))


def _check_network(call: Call, vpc: Vpc, network: IPv4Network) -> None:
    """With the VPC held, so that no other route comes meanwhile.

    :raises ApiError: a part of the network is elsewhere, or denied
    """
    for inside, name in ((IPv4Network(vpc.cidr), f"the range of VPC {vpc.name}"), (LINK_LOCAL, "link-local addresses")):
        if network.overlaps(inside):
            raise Invalid(f"The network {network} overlaps {inside}, {name}; a static route must lead elsewhere.")
    denied = configuration.value(call.session, DENIED, call.session.get_one(Zone, vpc.zone_id))
    for text in filter(None, (one.strip() for one in denied.split(","))):
        if network.overlaps(ip_network(text)):
            raise Invalid(f"The network {network} overlaps {text}, which {DENIED} denies to static routes.")
    for gateway in call.session.scalars(_gateways_of(vpc)):
        inside = network_of(gateway)
        if network.overlaps(inside):
            raise Invalid(f"The network {network} overlaps {inside}, that of private gateway {gateway.id}.")
    refuse_people_in(call, vpc.id, (network,))
    query = select(StaticRoute).where(StaticRoute.vpc_id == vpc.id, StaticRoute.removed.is_(None))
    for other in call.session.scalars(query):
        if network.overlaps(IPv4Network(other.cidr)):
            raise ApiError(CONFLICT, f"The network {network} overlaps {other.cidr}, which static route {other.id} "
                                     "leads to.")  # fmt: skip


class DeleteStaticRoute(Request):
    id = Ref(StaticRoute, "the route", required=True)


@command("deleteStaticRoute", DeleteStaticRoute, SuccessResponse, is_async=True, roles=EVERYONE,
         event="STATIC.ROUTE.DELETE", rehearses=True)  # fmt: skip
def delete_static_route(call: Call, id: StaticRoute) -> WorkflowRow:
    """Take a static route away."""
    STATIC_ROUTE_MOVES.move(id, "revoke")
    return remove_route.start(call.session, id, call=call)


class ListStaticRoutes(AccountListRequest):
    id = Ref(StaticRoute, "only this route")
    vpcid = Ref(Vpc, "only routes of this VPC")
    gatewayid = Ref(PrivateGateway, "only routes by this private gateway")
    state = Choice("only routes in this state", ("Add", "Active", "Deleting"))
    tags = MapOf("only routes with all these tags")


@command("listStaticRoutes", ListStaticRoutes, StaticRouteResponse, roles=EVERYONE)
def list_static_routes(call: Call, **filters: Any) -> Page:
    """List static routes of VPCs."""
    route = StaticRoute
    if filters["state"] == "Deleting":
        filters["state"] = "Revoke"
    columns = {"id": route.id, "vpcid": route.vpc_id, "gatewayid": route.gateway_id, "state": route.state}
    query = narrowed(select(route).where(access.visible(call, route)), filters, columns)
    for key, value in (filters["tags"] or {}).items():
        query = query.where(route.id.in_(select(Tag.resource_id).where(Tag.key == key, Tag.value == value)))
    return call.paged(with_keyword(query, filters["keyword"], route.cidr).order_by(route.created, route.id))
