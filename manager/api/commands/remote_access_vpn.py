"""Remote access VPNs: people reach the guests of a network or VPC by IKEv2 through one of its public addresses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from sqlalchemy import select

from manager import access, configuration
from manager.api.call import Call
from manager.api.command import EVERYONE, ROOT, AccountListRequest, Given, Page, Request, command
from manager.api.commands.place import narrowed
from manager.api.commands.rule import begin, network_of
from manager.api.commands.vpn_place import Named, hold_vpc, known_to, refuse_udp_rules
from manager.api.errors import Invalid
from manager.api.fields import Flag, Ref, Text
from manager.api.response import Bool, Response, Shown, Str, SuccessResponse
from manager.api.rows import by_id, owners_of
from manager.models import Account, Network, PublicAddress, RemoteAccessVpn, Vpc, WorkflowRow
from manager.models.states import VPN_MOVES
from manager.vpn_certificate import prove
from manager.workflows.rule_rows import next_revision
from manager.workflows.vpn import start_vpn, stop_vpn

SERVICE = "Vpn"
RANGE = "remote.access.vpn.client.iprange"
LARGEST_RANGE = 2**12
PRIVATE = tuple(IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))


class RemoteAccessVpnResponse(Response):
    object_key = "remoteaccessvpn"
    shows = RemoteAccessVpn
    has_jobs = True
    is_owned = True
    id = Str("the VPN's id")
    publicipid = Str("the id of the public address that people come to")
    publicip = Str("that public address")
    iprange = Str("the addresses that people are given, from-to")
    certificate = Str("the authority, in PEM, that a client must trust: the router proves itself by its signature")
    state = Str("Added until its router has it, then Running; Removed while it is taken away")
    fordisplay = Bool("whether users see it", root_only=True)

    @classmethod
    def render(cls, call: Call, rows: Sequence[RemoteAccessVpn]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        addresses = by_id(call, PublicAddress, (row.address_id for row in rows))
        return [
            {
                "id": row.id,
                "publicipid": row.address_id,
                "publicip": addresses[row.address_id].address,
                "iprange": f"{row.first_address}-{row.last_address}",
                "certificate": row.authority,
                "state": row.state,
                "fordisplay": row.display,
                **owners[row.account_id],
            }
            for row in rows
        ]


class CreateRemoteAccessVpn(Request):
    publicipid = Ref(PublicAddress, "the public address that people come to", required=True)
    iprange = Text("the VPN's addresses, from-to: the router's, and then those that people are given")
    openfirewall = Flag("let people come from everywhere, else from where firewall rules let UDP 500 and 4500 in",
                        default=True)  # fmt: skip
    fordisplay = Flag("whether users see it", default=True, roles=ROOT)


@command("createRemoteAccessVpn", CreateRemoteAccessVpn, RemoteAccessVpnResponse, is_async=True, creates=True,
         roles=EVERYONE, event="VPN.REMOTE.ACCESS.CREATE")  # fmt: skip
def create_remote_access_vpn(call: Call, given: Given) -> WorkflowRow:
    """Let the VPN users of an account reach the guests of a network or of all tiers of a VPC, by IKEv2 with name and
    password. Into a tier they come as its network ACL says.
    """
    address: PublicAddress = given.publicipid
    if address.vpc_id is not None:
        return _create_for_vpc(call, given, address, call.session.get_one(Vpc, address.vpc_id))
    network = network_of(call, address)
    owner = _hold_owner(call, network)
    taken = (IPv4Network(network.cidr), f"the addresses of network {network.name}")
    span = _range(given.iprange or configuration.value(call.session, RANGE, owner), (taken,))
    revision = begin(call, network, SERVICE, address)
    refuse_udp_rules(call, address)
    vpn = _made(call, given, network, span, network_id=network.id)
    return start_vpn.start(call.session, vpn, call=call, network_id=network.id, revision=revision)


def _create_for_vpc(call: Call, given: Given, address: PublicAddress, vpc: Vpc) -> WorkflowRow:
    if not address.source_nat:
        raise Invalid(f"The public address {address.address} is not the source NAT of VPC {vpc.name}; people come to a "
                      "VPC by that one.")  # fmt: skip
    if not given.openfirewall:
        raise Invalid("openfirewall cannot be false in a VPC: it has no firewall rules, which would let people in.")
    owner = _hold_owner(call, vpc)
    hold_vpc(call, vpc)
    span = _range(given.iprange or configuration.value(call.session, RANGE, owner), known_to(call, vpc))
    vpn = _made(call, given, vpc, span, vpc_id=vpc.id)
    return start_vpn.start(call.session, vpn, call=call, vpcs=[vpc.id])


def _hold_owner(call: Call, place: Network | Vpc) -> Account:
    """A VPN and its users are made one after the other, so that the later one knows of the earlier."""
    owner = call.session.get_one(Account, place.account_id)
    call.session.refresh(owner, with_for_update=True)
    return owner


def _made(call: Call, given: Given, place: Network | Vpc, span: tuple[str, str], **served: str) -> RemoteAccessVpn:
    address: PublicAddress = given.publicipid
    proof = prove(address.address, f"VPN of {place.name[:48]}")
    vpn = RemoteAccessVpn(
        account_id=place.account_id,
        address_id=address.id,
        first_address=span[0],
        last_address=span[1],
        open_firewall=given.openfirewall,
        certificate=proof.certificate,
        authority=proof.authority,
        private_key=proof.private_key,
        display=given.fordisplay,
        live=place.id,
        **served,
    )
    kind = "VPC" if isinstance(place, Vpc) else "network"
    made: RemoteAccessVpn = call.add(vpn, taken=f"The {kind} {place.name} has a remote access VPN already.")
    return made


def _range(text: str, taken: Iterable[Named]) -> tuple[str, str]:
    """First and last address of those that people are given: all of the range but the first.

    :raises Invalid: it is no such range, or not apart from networks that are taken
    """
    first, _, last = text.partition("-")
    try:
        begins, ends = IPv4Address(first.strip()), IPv4Address(last.strip())
    except ValueError as error:
        raise Invalid(f"The iprange {text} is not two IPv4 addresses, such as 10.1.2.1-10.1.2.8.") from error
    size = int(ends) - int(begins)
    if not 1 <= size <= LARGEST_RANGE:
        raise Invalid(f"The iprange {text} must hold 2 to {LARGEST_RANGE + 1} addresses: the router's and the users'.")
    if not any(begins in network and ends in network for network in PRIVATE):
        raise Invalid(f"The iprange {text} is not one of private addresses (RFC 1918).")
    for inside, name in taken:
        if begins <= inside.broadcast_address and inside.network_address <= ends:
            raise Invalid(f"The iprange {text} overlaps {inside}, {name}.")
    return str(begins + 1), str(ends)


class DeleteRemoteAccessVpn(Request):
    publicipid = Ref(PublicAddress, "the public address that people come to", required=True)


@command("deleteRemoteAccessVpn", DeleteRemoteAccessVpn, SuccessResponse, is_async=True, roles=EVERYONE,
         event="VPN.REMOTE.ACCESS.DESTROY")  # fmt: skip
def delete_remote_access_vpn(call: Call, publicipid: PublicAddress) -> WorkflowRow:
    """Take a remote access VPN away; who is connected by it is cut off."""
    where: dict[str, Any] = {"vpcs": [publicipid.vpc_id]}
    if publicipid.vpc_id is None:
        network = network_of(call, publicipid)
        where = {"network_id": network.id, "revision": next_revision(call.session, network.id)}
    found = select(RemoteAccessVpn).where(
        RemoteAccessVpn.address_id == publicipid.id, RemoteAccessVpn.removed.is_(None)
    )
    vpn = call.session.scalar(found)
    if vpn is None:
        raise Invalid(f"The public address {publicipid.address} has no remote access VPN.")
    call.subject = vpn
    VPN_MOVES.move(vpn, "withdraw")
    return stop_vpn.start(call.session, vpn, call=call, **where)


class UpdateRemoteAccessVpn(Request):
    id = Ref(RemoteAccessVpn, "the VPN", required=True)
    fordisplay = Flag("whether users see it", roles=ROOT)


@command("updateRemoteAccessVpn", UpdateRemoteAccessVpn, RemoteAccessVpnResponse, is_async=True, roles=EVERYONE,
         event="VPN.REMOTE.ACCESS.UPDATE")  # fmt: skip
def update_remote_access_vpn(call: Call, id: RemoteAccessVpn, fordisplay: bool | None) -> WorkflowRow:
    """Show a remote access VPN to users, or hide it."""
    id.display = id.display if fordisplay is None else fordisplay
    return call.job_done(id)


class ListRemoteAccessVpns(AccountListRequest):
    id = Ref(RemoteAccessVpn, "only this VPN")
    publicipid = Ref(PublicAddress, "only that of this public address")
    networkid = Ref(Network, "only that of this network")
    fordisplay = Flag("only those that users see, or only others", roles=ROOT)


@command("listRemoteAccessVpns", ListRemoteAccessVpns, RemoteAccessVpnResponse, roles=EVERYONE)
def list_remote_access_vpns(call: Call, **filters: Any) -> Page:
    """List remote access VPNs."""
    vpn = RemoteAccessVpn
    columns = {"id": vpn.id, "publicipid": vpn.address_id, "networkid": vpn.network_id}
    query = narrowed(select(vpn).where(access.visible(call, vpn)), filters, columns)
    if filters["fordisplay"] is not None or not call.is_root_admin:
        query = query.where(vpn.display.is_(filters["fordisplay"] is not False))
    return call.paged(query.order_by(vpn.created, vpn.id))
