"""VPN customer gateways: the other ends of tunnels, and what was agreed with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from sqlalchemy import select

from manager import access, configuration
from manager.api.call import Call
from manager.api.command import EVERYONE, AccountListRequest, Given, OwnedRequest, Page, Request, command
from manager.api.commands import ipv4
from manager.api.commands.place import narrowed, with_keyword
from manager.api.commands.vpn_place import refuse_people_in
from manager.api.errors import Invalid
from manager.api.fields import Choice, Flag, ListOf, Long, Ref, Text
from manager.api.response import Bool, Int, Response, Shown, Str, SuccessResponse
from manager.api.rows import owners_of
from manager.models import Account, Vpc, VpnConnection, VpnCustomerGateway, WorkflowRow
from manager.workflows.vpn_site import change_customer_gateway
from network.vpn import UnknownPolicy, proposals

SUBNETS_LIMIT = "site2site.vpn.customergateway.subnets.limit"
VERSIONS = ("ike", "ikev1", "ikev2")
SHORTEST, LONGEST = 300, 86400
POLICY = 'cipher-hash;group, several with commas, such as "aes256-sha256;modp2048"'
CHANGING = (
    "name", "live", "gateway", "networks", "secret", "ike_policy", "esp_policy", "ike_lifetime", "esp_lifetime", "dpd",
    "force_encapsulation", "split", "version",
)  # fmt: skip


class VpnCustomerGatewayResponse(Response):
    object_key = "vpncustomergateway"
    shows = VpnCustomerGateway
    has_jobs = True
    is_owned = True
    id = Str("the customer gateway's id")
    name = Str("its name")
    gateway = Str("its public address")
    ipaddress = Str("the same")
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

    @classmethod
    def render(cls, call: Call, rows: Sequence[VpnCustomerGateway]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        return [
            {"id": row.id, "name": row.name, "ipaddress": row.gateway, **agreed(row), **owners[row.account_id]}
            for row in rows
        ]


def agreed(row: VpnCustomerGateway) -> Shown:
    """What a customer gateway and a connection to it show alike."""
    return {
        "gateway": row.gateway,
        "cidrlist": ",".join(row.networks),
        "ipsecpsk": row.secret,
        "ikepolicy": row.ike_policy,
        "esppolicy": row.esp_policy,
        "ikelifetime": row.ike_lifetime,
        "esplifetime": row.esp_lifetime,
        "dpd": row.dpd,
        "forceencap": row.force_encapsulation,
        "splitconnections": row.split,
        "ikeversion": row.version,
    }


class Agreement(Request):
    name = Text("its name, new in the account; VPN- and its address when absent")
    gateway = Text("its public IPv4 address", required=True)
    cidrlist = ListOf(Text("a network"), "the networks behind it", required=True)
    ipsecpsk = Text("the secret that both ends know", required=True)
    ikepolicy = Text(f"the algorithms of the key exchange: {POLICY}", required=True)
    esppolicy = Text(f"the algorithms of what is sent: {POLICY}; the group may be absent", required=True)
    ikelifetime = Long("seconds until the key exchange is done anew", least=SHORTEST, most=LONGEST, default=LONGEST)
    esplifetime = Long("seconds until the keys of what is sent are changed", least=SHORTEST, most=LONGEST, default=3600)
    dpd = Flag("notice a dead peer without traffic", default=False)
    forceencap = Flag("let what is sent always travel in UDP", default=False)
    splitconnections = Flag("give each pair of networks keys of its own, as ikev1 always does", default=False)
    ikeversion = Choice("the key exchange: ike stands for both versions, and begins ikev2", VERSIONS, default="ike")


class CreateVpnCustomerGateway(Agreement, OwnedRequest):
    pass


@command("createVpnCustomerGateway", CreateVpnCustomerGateway, VpnCustomerGatewayResponse, is_async=True,
         creates=True, roles=EVERYONE, event="VPN.S2S.CUSTOMER.GATEWAY.CREATE")  # fmt: skip
def create_vpn_customer_gateway(call: Call, given: Given) -> WorkflowRow:
    """Describe the other end of tunnels, to which VPN gateways can then be connected."""
    row = VpnCustomerGateway(account_id=call.owner.id)
    _fill(call, row, call.owner, given)
    call.add(row, taken=f"The account {call.owner.name} has a VPN customer gateway {row.name} already.")
    return call.job_done(row)


def _fill(call: Call, row: VpnCustomerGateway, owner: Account, given: Given) -> None:
    """:raises Invalid: the values are not possible, or do not fit together"""
    gateway = ipv4.address("gateway", given.gateway)
    row.gateway = str(gateway)
    row.networks = _networks(call, owner, gateway, given.cidrlist)
    try:
        proposals(given.ikepolicy, with_group=True)
        proposals(given.esppolicy)
    except UnknownPolicy as error:
        raise Invalid(f"The policy {error}") from error
    row.name = given.name or row.name or f"VPN-{row.gateway}"
    row.live = f"{owner.id}/{row.name.lower()}"
    row.secret, row.ike_policy, row.esp_policy = given.ipsecpsk, given.ikepolicy, given.esppolicy
    row.ike_lifetime, row.esp_lifetime = given.ikelifetime, given.esplifetime
    row.dpd, row.force_encapsulation, row.split = given.dpd, given.forceencap, given.splitconnections
    row.version = given.ikeversion


def _networks(call: Call, owner: Account, gateway: IPv4Address, texts: list[str]) -> list[str]:
    """:raises Invalid: too many, one is none, or they overlap one another or hold the gateway itself"""
    limit = configuration.value(call.session, SUBNETS_LIMIT, owner)
    networks = [IPv4Network(ipv4.cidr("cidrlist", text.strip())) for text in texts]
    if len(networks) > limit:
        raise Invalid(f"The cidrlist has {len(networks)} networks; {SUBNETS_LIMIT} admits {limit}.")
    for number, one in enumerate(networks):
        if gateway in one:
            raise Invalid(f"The cidrlist holds {one}, in which the gateway {gateway} itself is.")
        other = next((other for other in networks[:number] if other.overlaps(one)), None)
        if other is not None:
            raise Invalid(f"The cidrlist holds {other} and {one}, which overlap.")
    return [str(one) for one in networks]


class UpdateVpnCustomerGateway(Agreement):
    id = Ref(VpnCustomerGateway, "the customer gateway", required=True)


@command("updateVpnCustomerGateway", UpdateVpnCustomerGateway, VpnCustomerGatewayResponse, is_async=True,
         roles=EVERYONE, event="VPN.S2S.CUSTOMER.GATEWAY.UPDATE")  # fmt: skip
def update_vpn_customer_gateway(call: Call, given: Given) -> WorkflowRow:
    """Describe the other end of tunnels anew; connections to it are set up anew."""
    row: VpnCustomerGateway = given.id
    call.session.refresh(row, with_for_update=True)
    before = {name: getattr(row, name) for name in CHANGING}
    _fill(call, row, call.session.get_one(Account, row.account_id), given)
    connections = connections_of(call, VpnConnection.customer_gateway_id == row.id)
    for connection in connections:
        vpc = call.session.get_one(Vpc, connection.vpc_id)
        refuse_overlap(vpc, row, others_of(call, connection.gateway_id, but=row.id))
        refuse_people_in(call, vpc.id, map(IPv4Network, row.networks))
    call.flush(taken=f"There is a VPN customer gateway {row.name} already.")
    vpcs = sorted({connection.vpc_id for connection in connections})
    job = change_customer_gateway.start(call.session, row, call=call, vpcs=vpcs)
    job.memory = {**(job.memory or {}), "before": before}  # sealed, unlike the arguments: the secret is in it
    return job


def connections_of(call: Call, *which: Any) -> Sequence[VpnConnection]:
    return call.session.scalars(select(VpnConnection).where(VpnConnection.removed.is_(None), *which)).all()


def others_of(call: Call, gateway_id: str, *, but: str) -> Sequence[VpnCustomerGateway]:
    """The customer gateways that the VPN gateway is connected to."""
    query = (
        select(VpnCustomerGateway)
        .join(VpnConnection, VpnConnection.customer_gateway_id == VpnCustomerGateway.id)
        .where(VpnConnection.gateway_id == gateway_id, VpnConnection.removed.is_(None), VpnCustomerGateway.id != but)
    )
    return call.session.scalars(query).all()


def refuse_overlap(vpc: Vpc, row: VpnCustomerGateway, others: Iterable[VpnCustomerGateway]) -> None:
    """:raises Invalid: an address of the customer gateway's networks would be in two places"""
    known = [(f"the VPC {vpc.name}", vpc.cidr)]
    known += [(f"the VPN customer gateway {other.name}", text) for other in others for text in other.networks]
    for text in row.networks:
        for name, inside in known:
            if IPv4Network(text).overlaps(IPv4Network(inside)):
                raise Invalid(f"The network {text} of VPN customer gateway {row.name} overlaps {inside} of {name}.")


class OneVpnCustomerGateway(Request):
    id = Ref(VpnCustomerGateway, "the customer gateway", required=True)


@command("deleteVpnCustomerGateway", OneVpnCustomerGateway, SuccessResponse, is_async=True, roles=EVERYONE,
         event="VPN.S2S.CUSTOMER.GATEWAY.DELETE")  # fmt: skip
def delete_vpn_customer_gateway(call: Call, id: VpnCustomerGateway) -> WorkflowRow:
    """Forget the other end of tunnels, of which there are none any more."""
    call.session.refresh(id, with_for_update=True)
    if connections_of(call, VpnConnection.customer_gateway_id == id.id):
        raise Invalid(f"The VPN customer gateway {id.name} has connections; delete those first.")
    id.remove()
    return call.job_done(id)


class ListVpnCustomerGateways(AccountListRequest):
    id = Ref(VpnCustomerGateway, "only this one")


@command("listVpnCustomerGateways", ListVpnCustomerGateways, VpnCustomerGatewayResponse, roles=EVERYONE)
def list_vpn_customer_gateways(call: Call, **filters: Any) -> Page:
    """List VPN customer gateways."""
    model = VpnCustomerGateway
    query = narrowed(select(model).where(access.visible(call, model)), filters, {"id": model.id})
    return call.paged(with_keyword(query, filters["keyword"], model.name).order_by(model.created, model.id))
