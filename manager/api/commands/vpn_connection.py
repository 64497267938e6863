"""VPN connections: tunnels from VPN gateways to customer gateways."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Any

from manager import configuration
from manager.api.call import Call
from manager.api.command import EVERYONE, ROOT, Given, Page, Request, command
from manager.api.commands.place import hold
from manager.api.commands.vpn_customer_gateway import agreed, connections_of, others_of, refuse_overlap
from manager.api.commands.vpn_gateway import VpnListRequest, listed
from manager.api.commands.vpn_place import refuse_people_in
from manager.api.errors import ApiError, Invalid
from manager.api.fields import Flag, Ref
from manager.api.response import Bool, Int, Response, Shown, Str, SuccessResponse, When
from manager.api.rows import by_id, owners_of
from manager.models import Account, PublicAddress, Vpc, VpnConnection, VpnCustomerGateway, VpnGateway, WorkflowRow
from manager.models.states import VPN_CONNECTION_MOVES
from manager.workflows.vpn_site import add_connection, remove_connection, reset_connection

LIMIT = "site2site.vpn.vpngateway.connection.limit"
LIMIT_REACHED = 535


class VpnConnectionResponse(Response):
    object_key = "vpnconnection"
    shows = VpnConnection
    has_jobs = True
    is_owned = True
    id = Str("the connection's id")
    s2svpngatewayid = Str("the id of the VPN gateway that it begins at")
    publicip = Str("the public address of that gateway")
    s2scustomergatewayid = Str("the id of the customer gateway that it goes to")
    gateway = Str("the public address of the customer gateway")
    cidrlist = Str("the networks behind it, with commas")
    ipsecpsk = Str("the secret that both ends know")
    ikepolicy = Str("the algorithms of the key exchange")
    esppolicy = Str("the algorithms of what is sent")
    ikelifetime = Int("seconds until the key exchange is done anew")
    esplifetime = Int("seconds until the keys of what is sent are changed")
    dpd = Bool("whether a dead peer is noticed without traffic")
    forceencap = Bool("whether what is sent always travels in UDP")
    splitconnections = Bool("whether each pair of networks has keys of its own")
    ikeversion = Str("ike, ikev1 or ikev2")
    state = Str(
        "Pending until the VPC's router knows it; then Connecting, Connected or Disconnected, as the router's host has "
        "told last, which is seconds ago; Removed while it is taken away"
    )
    passive = Bool("whether it waits for the other side to begin")
    created = When("when it was made")
    fordisplay = Bool("whether users see it", root_only=True)

    @classmethod
    def render(cls, call: Call, rows: Sequence[VpnConnection]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        gateways = by_id(call, VpnGateway, (row.gateway_id for row in rows))
        others = by_id(call, VpnCustomerGateway, (row.customer_gateway_id for row in rows))
        addresses = by_id(call, PublicAddress, (gateway.address_id for gateway in gateways.values()))
        return [
            {
                "id": row.id,
                "s2svpngatewayid": row.gateway_id,
                "publicip": addresses[gateways[row.gateway_id].address_id].address,
                "s2scustomergatewayid": row.customer_gateway_id,
                **agreed(others[row.customer_gateway_id]),
                "state": row.state,
                "passive": row.passive,
                "created": row.created,
                "fordisplay": row.display,
                **owners[row.account_id],
            }
            for row in rows
        ]


class CreateVpnConnection(Request):
    s2svpngatewayid = Ref(VpnGateway, "the VPN gateway that it begins at", required=True)
    s2scustomergatewayid = Ref(VpnCustomerGateway, "the customer gateway that it goes to", required=True)
    passive = Flag("wait for the other side to begin", default=False)
    fordisplay = Flag("whether users see it", default=True, roles=ROOT)


@command("createVpnConnection", CreateVpnConnection, VpnConnectionResponse, is_async=True, creates=True,
         roles=EVERYONE, event="VPN.S2S.CONNECTION.CREATE")  # fmt: skip
def create_vpn_connection(call: Call, given: Given) -> WorkflowRow:
    """Join the guests of a VPC with the networks behind a customer gateway by an encrypted tunnel."""
    gateway, other = given.s2svpngatewayid, given.s2scustomergatewayid
    for row in (other, gateway):  # neither goes away, or changes, before this connection stands
        call.session.refresh(row, with_for_update=True)
        if row.removed is not None:
            raise Invalid(f"The gateway {row.id} is being deleted.")
    if gateway.account_id != other.account_id:
        raise Invalid(f"The VPN customer gateway {other.name} belongs to another account than the VPN gateway.")
    vpc = call.session.get_one(Vpc, gateway.vpc_id)
    hold(call, vpc)
    refuse_overlap(vpc, other, others_of(call, gateway.id, but=other.id))
    refuse_people_in(call, vpc.id, map(IPv4Network, other.networks))
    owner = call.session.get_one(Account, gateway.account_id)
    limit = configuration.value(call.session, LIMIT, owner)
    if len(connections_of(call, VpnConnection.gateway_id == gateway.id)) >= limit:
        raise ApiError(LIMIT_REACHED, f"The VPN gateway of VPC {vpc.name} has {limit} connections, as many as {LIMIT} "
                                      "admits.")  # fmt: skip
    connection = VpnConnection(
        account_id=gateway.account_id,
        vpc_id=gateway.vpc_id,
        gateway_id=gateway.id,
        customer_gateway_id=other.id,
        passive=given.passive,
        display=given.fordisplay,
        live=f"{gateway.id}/{other.id}",
    )
    call.add(connection, taken=f"The VPC {vpc.name} is connected to VPN customer gateway {other.name} already.")
    return add_connection.start(call.session, connection, call=call, vpcs=[connection.vpc_id])


class OneVpnConnection(Request):
    id = Ref(VpnConnection, "the connection", required=True)


@command("deleteVpnConnection", OneVpnConnection, SuccessResponse, is_async=True, roles=EVERYONE,
         event="VPN.S2S.CONNECTION.DELETE")  # fmt: skip
def delete_vpn_connection(call: Call, id: VpnConnection) -> WorkflowRow:
    """Take a tunnel away."""
    VPN_CONNECTION_MOVES.move(id, "withdraw")
    return remove_connection.start(call.session, id, call=call, vpcs=[id.vpc_id])


@command("resetVpnConnection", OneVpnConnection, VpnConnectionResponse, is_async=True, roles=EVERYONE,
         event="VPN.S2S.CONNECTION.RESET")  # fmt: skip
def reset_vpn_connection(call: Call, id: VpnConnection) -> WorkflowRow:
    """Set a tunnel up anew."""
    if id.state == "Removed":
        raise Invalid(f"The VPN connection {id.id} is being deleted.")
    id.round += 1
    return reset_connection.start(call.session, id, call=call, vpcs=[id.vpc_id])


class UpdateVpnConnection(OneVpnConnection):
    fordisplay = Flag("whether users see it", roles=ROOT)


@command("updateVpnConnection", UpdateVpnConnection, VpnConnectionResponse, is_async=True, roles=EVERYONE,
         event="VPN.S2S.CONNECTION.UPDATE")  # fmt: skip
def update_vpn_connection(call: Call, id: VpnConnection, fordisplay: bool | None) -> WorkflowRow:
    """Show a VPN connection to users, or hide it."""
    id.display = id.display if fordisplay is None else fordisplay
    return call.job_done(id)


class ListVpnConnections(VpnListRequest):
    id = Ref(VpnConnection, "only this one")


@command("listVpnConnections", ListVpnConnections, VpnConnectionResponse, roles=EVERYONE)
def list_vpn_connections(call: Call, **filters: Any) -> Page:
    """List VPN connections."""
    return listed(call, VpnConnection, filters)
