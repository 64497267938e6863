"""VPN gateways: the public address of a VPC that its tunnels to other sites begin at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from manager import access
from manager.api.call import Call
from manager.api.command import EVERYONE, ROOT, AccountListRequest, Given, Page, Request, command
from manager.api.commands.place import narrowed
from manager.api.commands.vpn_customer_gateway import connections_of
from manager.api.commands.vpn_place import hold_vpc
from manager.api.errors import Invalid
from manager.api.fields import Flag, Ref
from manager.api.response import Bool, Response, Shown, Str, SuccessResponse
from manager.api.rows import by_id, owners_of
from manager.models import PublicAddress, Vpc, VpnConnection, VpnGateway, WorkflowRow


class VpnGatewayResponse(Response):
    object_key = "vpngateway"
    shows = VpnGateway
    has_jobs = True
    is_owned = True
    id = Str("the gateway's id")
    publicip = Str("the public address that tunnels begin at")
    vpcid = Str("the id of its VPC")
    vpcname = Str("the name of its VPC")
    fordisplay = Bool("whether users see it", root_only=True)

    @classmethod
    def render(cls, call: Call, rows: Sequence[VpnGateway]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        addresses = by_id(call, PublicAddress, (row.address_id for row in rows))
        vpcs = by_id(call, Vpc, (row.vpc_id for row in rows))
        return [
            {
                "id": row.id,
                "publicip": addresses[row.address_id].address,
                "vpcid": row.vpc_id,
                "vpcname": vpcs[row.vpc_id].name,
                "fordisplay": row.display,
                **owners[row.account_id],
            }
            for row in rows
        ]


class CreateVpnGateway(Request):
    vpcid = Ref(Vpc, "the VPC, which has none yet", required=True)
    ipaddressid = Ref(PublicAddress, "the source NAT address of the VPC, which it is when absent as well")
    fordisplay = Flag("whether users see it", default=True, roles=ROOT)


@command("createVpnGateway", CreateVpnGateway, VpnGatewayResponse, is_async=True, creates=True, roles=EVERYONE,
         event="VPN.S2S.VPN.GATEWAY.CREATE")  # fmt: skip
def create_vpn_gateway(call: Call, given: Given) -> WorkflowRow:
    """Give a VPC the end of tunnels to other sites. It costs nothing until the first connection."""
    vpc: Vpc = given.vpcid
    hold_vpc(call, vpc)
    address = call.session.scalar(select(PublicAddress).filter_by(vpc_id=vpc.id, source_nat=True))
    if address is None:
        raise Invalid(f"The VPC {vpc.name} has no source NAT address, which its tunnels would begin at.")
    if given.ipaddressid is not None and given.ipaddressid.id != address.id:
        raise Invalid(f"The public address {given.ipaddressid.address} is not {address.address}, that of source NAT "
                      f"of VPC {vpc.name}; tunnels can begin at no other.")  # fmt: skip
    gateway = VpnGateway(
        account_id=vpc.account_id, vpc_id=vpc.id, address_id=address.id, display=given.fordisplay, live=vpc.id
    )
    call.add(gateway, taken=f"The VPC {vpc.name} has a VPN gateway already.")
    return call.job_done(gateway)


class OneVpnGateway(Request):
    id = Ref(VpnGateway, "the gateway", required=True)


@command("deleteVpnGateway", OneVpnGateway, SuccessResponse, is_async=True, roles=EVERYONE,
         event="VPN.S2S.VPN.GATEWAY.DELETE")  # fmt: skip
def delete_vpn_gateway(call: Call, id: VpnGateway) -> WorkflowRow:
    """Take the end of tunnels from a VPC, of which there are none any more."""
    call.session.refresh(id, with_for_update=True)
    if connections_of(call, VpnConnection.gateway_id == id.id):
        raise Invalid(f"The VPN gateway {id.id} has connections; delete those first.")
    id.remove()
    return call.job_done(id)


class UpdateVpnGateway(OneVpnGateway):
    fordisplay = Flag("whether users see it", roles=ROOT)


@command("updateVpnGateway", UpdateVpnGateway, VpnGatewayResponse, is_async=True, roles=EVERYONE,
         event="VPN.S2S.VPN.GATEWAY.UPDATE")  # fmt: skip
def update_vpn_gateway(call: Call, id: VpnGateway, fordisplay: bool | None) -> WorkflowRow:
    """Show a VPN gateway to users, or hide it."""
    id.display = id.display if fordisplay is None else fordisplay
    return call.job_done(id)


class VpnListRequest(AccountListRequest):
    vpcid = Ref(Vpc, "only those of this VPC")
    fordisplay = Flag("only those that users see, or only others", roles=ROOT)


class ListVpnGateways(VpnListRequest):
    id = Ref(VpnGateway, "only this one")


@command("listVpnGateways", ListVpnGateways, VpnGatewayResponse, roles=EVERYONE)
def list_vpn_gateways(call: Call, **filters: Any) -> Page:
    """List VPN gateways."""
    return listed(call, VpnGateway, filters)


def listed(call: Call, model: Any, filters: dict[str, Any]) -> Page:
    """The page of a VpnListRequest with an id."""
    query = narrowed(select(model).where(access.visible(call, model)), filters, {"id": model.id, "vpcid": model.vpc_id})
    if filters["fordisplay"] is not None or not call.is_root_admin:
        query = query.where(model.display.is_(filters["fordisplay"] is not False))
    return call.paged(query.order_by(model.created, model.id))
