"""Private gateways: legs of VPCs' routers in VLANs of physical networks."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any

from sqlalchemy import false, select

from manager import access
from manager.api.call import Call
from manager.api.command import EVERYONE, AccountListRequest, Given, Page, Request, command
from manager.api.commands import ipv4
from manager.api.commands.network_acl_list import demand_list
from manager.api.commands.place import hold, narrowed, with_keyword
from manager.api.commands.vlan import vlan_of
from manager.api.commands.vpn_place import known_to, refuse_people_in
from manager.api.errors import Invalid, missing
from manager.api.fields import Choice, Flag, Ref, Text
from manager.api.response import Bool, Response, Shown, Str, SuccessResponse
from manager.api.rows import by_id, owners_of
from manager.models import (
    NetworkAclList,
    PhysicalNetwork,
    PrivateGateway,
    StaticRoute,
    TrafficType,
    VlanIpRange,
    Vpc,
    WorkflowRow,
    Zone,
)
from manager.models.acl import DEFAULT_DENY
from manager.models.states import PRIVATE_GATEWAY_MOVES
from manager.placement.address import new_mac
from manager.placement.tunnel_key import holder_of_vlan
from manager.workflows.private_gateway import create_gateway, delete_gateway
from manager.workflows.vpc_ways import network_of

UNTAGGED = "untagged"


class PrivateGatewayResponse(Response):
    object_key = "privategateway"
    shows = PrivateGateway
    has_jobs = True
    is_owned = True
    id = Str("the gateway's id")
    gateway = Str("the address in the VLAN that leads further")
    netmask = Str("the netmask of the network in the VLAN")
    ipaddress = Str("the VPC's own address there")
    vlan = Str("the VLAN", root_only=True)
    physicalnetworkid = Str("the id of the physical network that has the VLAN", root_only=True)
    vpcid = Str("the id of its VPC")
    vpcname = Str("the name of its VPC")
    zoneid = Str("the id of its zone")
    zonename = Str("the name of its zone")
    state = Str("Creating until the VPC's router has it, then Ready; Deleting while it is taken away")
    sourcenatsupported = Bool("whether all that leaves by it bears the VPC's address there")
    aclid = Str("the id of the network ACL that says what passes")
    aclname = Str("the name of that")

    @classmethod
    def render(cls, call: Call, rows: Sequence[PrivateGateway]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        vpcs = by_id(call, Vpc, (row.vpc_id for row in rows))
        zones = by_id(call, Zone, (vpc.zone_id for vpc in vpcs.values()))
        lists = by_id(call, NetworkAclList, (row.acl_id for row in rows))
        return [
            {
                "id": row.id,
                "gateway": row.gateway,
                "netmask": row.netmask,
                "ipaddress": row.address,
                "vlan": str(row.vlan),
                "physicalnetworkid": row.physical_network_id,
                "vpcid": row.vpc_id,
                "vpcname": vpcs[row.vpc_id].name,
                "zoneid": vpcs[row.vpc_id].zone_id,
                "zonename": zones[vpcs[row.vpc_id].zone_id].name,
                "state": row.state,
                "sourcenatsupported": row.source_nat,
                "aclid": row.acl_id,
                "aclname": lists[row.acl_id].name,
                **owners[row.account_id],
            }
            for row in rows
        ]


class CreatePrivateGateway(Request):
    vpcid = Ref(Vpc, "the VPC", required=True)
    physicalnetworkid = Ref(PhysicalNetwork, "the physical network; that with guest traffic when there is just one")
    vlan = Text("the VLAN, a number; it cannot be absent")
    ipaddress = Text("the VPC's address in the VLAN", required=True)
    gateway = Text("the address in the VLAN that leads further", required=True)
    netmask = Text("the netmask of the network in the VLAN", required=True)
    sourcenatsupported = Flag("all that leaves by it bears the VPC's address there", default=False)
    aclid = Ref(NetworkAclList, "the network ACL that says what passes; one that denies all when absent")
    bypassvlanoverlapcheck = Flag("take the VLAN although public addresses are in it", default=False)


@command("createPrivateGateway", CreatePrivateGateway, PrivateGatewayResponse, is_async=True, creates=True,
         event="PRIVATE.GATEWAY.CREATE", rehearses=True)  # fmt: skip
def create_private_gateway(call: Call, given: Given) -> WorkflowRow:
    """Give the router of a VPC a leg in a VLAN. Static routes lead to what is behind its gateway."""
    vpc: Vpc = given.vpcid
    physical = _physical_network(call, vpc, given.physicalnetworkid)
    vlan = _vlan(call, given, physical)
    acl_id = demand_list(call, given.aclid, vpc.id) if given.aclid is not None else DEFAULT_DENY
    hold(call, vpc)
    if vpc.state != "Enabled":
        raise Invalid(f"The VPC {vpc.name} is being deleted.")
    gateway = ipv4.address("gateway", given.gateway)
    address = _own_address(call, vpc, given, gateway)
    vpc.rules_wanted += 1
    made = PrivateGateway(
        account_id=vpc.account_id,
        vpc_id=vpc.id,
        physical_network_id=physical.id,
        vlan=vlan,
        address=address,
        gateway=str(gateway),
        netmask=given.netmask,
        mac=new_mac(),
        source_nat=given.sourcenatsupported,
        acl_id=acl_id,
        live=f"{physical.id}/{vlan}/{address}",
    )
    call.add(made, taken=f"The address {address} in VLAN {vlan} is that of another private gateway.")
    return create_gateway.start(call.session, made, call=call)


def _physical_network(call: Call, vpc: Vpc, wanted: PhysicalNetwork | None) -> PhysicalNetwork:
    """:raises Invalid: the one wanted is of another zone, or none is wanted and there are none or several"""
    if wanted is not None:
        if wanted.zone_id != vpc.zone_id:
            raise Invalid(f"The physical network {wanted.name} is not in the zone of VPC {vpc.name}.")
        return wanted
    carrying = select(TrafficType.physical_network_id).where(
        TrafficType.traffic_type == "Guest", TrafficType.removed.is_(None)
    )
    query = select(PhysicalNetwork).where(
        PhysicalNetwork.zone_id == vpc.zone_id, PhysicalNetwork.removed.is_(None), PhysicalNetwork.id.in_(carrying)
    )
    found = call.session.scalars(query).all()
    if len(found) != 1:
        raise Invalid(f"The zone has {len(found)} physical networks with guest traffic; give physicalnetworkid.")
    return found[0]


def _vlan(call: Call, given: Given, physical: PhysicalNetwork) -> int:
    """:raises ApiError: there is none, or public addresses are in it"""
    if not given.vlan:
        raise missing(call.command, "vlan")
    vlan = vlan_of(given.vlan)
    if vlan == UNTAGGED:
        raise Invalid("A private gateway needs a VLAN: what is untagged on a physical network is the hosts' own.")
    query = select(VlanIpRange.id).where(
        VlanIpRange.physical_network_id == physical.id, VlanIpRange.vlan == vlan, VlanIpRange.removed.is_(None)
    )
    found = call.session.scalars(query.limit(1)).first()
    if found is not None and not given.bypassvlanoverlapcheck:
        raise Invalid(f"The VLAN {vlan} of physical network {physical.name} has the public addresses of range {found}; "
                      "bypassvlanoverlapcheck takes it nevertheless.")  # fmt: skip
    if holder_of_vlan(call.session, physical, int(vlan)) is not None:
        raise Invalid(f"The VLAN {vlan} of physical network {physical.name} is that of a tenant network.")
    return int(vlan)


def _own_address(call: Call, vpc: Vpc, given: Given, gateway: IPv4Address) -> str:
    """With the VPC held.

    :raises Invalid: the address and the gateway are not two hosts of one network, or others have that one
    """
    address, network = ipv4.address("ipaddress", given.ipaddress), ipv4.subnet(gateway, given.netmask)
    if address not in network or address in (gateway, network.network_address, network.broadcast_address):
        raise Invalid(f"The ipaddress {address} is no address in {network} beside the gateway {gateway}.")
    for other, name in known_to(call, vpc):
        if network.overlaps(other):
            raise Invalid(f"The network {network} of the private gateway overlaps {other}, {name}.")
    refuse_people_in(call, vpc.id, (network,))
    return str(address)


class DeletePrivateGateway(Request):
    id = Ref(PrivateGateway, "the gateway", required=True)


@command("deletePrivateGateway", DeletePrivateGateway, SuccessResponse, is_async=True,
         event="PRIVATE.GATEWAY.DELETE", rehearses=True)  # fmt: skip
def delete_private_gateway(call: Call, id: PrivateGateway) -> WorkflowRow:
    """Take the leg of a VPC's router from a VLAN; no static route goes by it any more."""
    hold(call, call.session.get_one(Vpc, id.vpc_id))
    call.session.refresh(id)
    routes = select(StaticRoute).where(StaticRoute.vpc_id == id.vpc_id, StaticRoute.removed.is_(None))
    for route in call.session.scalars(routes):
        if IPv4Address(route.next_hop) in network_of(id):
            raise Invalid(f"The private gateway {id.id} is in use by static route {route.id} to {route.cidr}.")
    PRIVATE_GATEWAY_MOVES.move(id, "delete")
    return delete_gateway.start(call.session, id, call=call)


class ListPrivateGateways(AccountListRequest):
    id = Ref(PrivateGateway, "only this gateway")
    ipaddress = Text("only gateways with this address of the VPC")
    vlan = Text("only gateways in this VLAN")
    vpcid = Ref(Vpc, "only gateways of this VPC")
    state = Choice("only gateways in this state", sorted(PRIVATE_GATEWAY_MOVES.states))


@command("listPrivateGateways", ListPrivateGateways, PrivateGatewayResponse, roles=EVERYONE)
def list_private_gateways(call: Call, **filters: Any) -> Page:
    """List private gateways of VPCs."""
    one = PrivateGateway
    columns = {"id": one.id, "ipaddress": one.address, "vpcid": one.vpc_id, "state": one.state}
    query = narrowed(select(one).where(access.visible(call, one)), filters, columns)
    if filters["vlan"]:
        vlan = vlan_of(filters["vlan"])
        query = query.where(one.vlan == int(vlan) if vlan != UNTAGGED else false())
    return call.paged(with_keyword(query, filters["keyword"], one.address).order_by(one.created, one.id))
