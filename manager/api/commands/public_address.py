"""Public addresses: which there are, which networks have them, how networks get and give them back."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, false, or_, select

from manager import access
from manager.api.call import Call
from manager.api.command import (
    EVERYONE,
    ROOT,
    AccountListRequest,
    CountedListRequest,
    Given,
    OwnedRequest,
    Page,
    Request,
    command,
)
from manager.api.commands import ipv4
from manager.api.commands.place import hold, with_keyword
from manager.api.commands.rule import network_of
from manager.api.commands.tag import TagResponse
from manager.api.commands.vpn_place import refuse_vpn
from manager.api.errors import CAPACITY, PARAMETER, ApiError, Invalid, missing, unknown
from manager.api.fields import Choice, Flag, MapOf, Ref, Text
from manager.api.response import Bool, Many, Response, Shown, Str, SuccessResponse, When
from manager.api.rows import bare_tags_of, by_id, owners_of
from manager.models import (
    Network,
    NetworkOffering,
    NetworkRule,
    PhysicalNetwork,
    PortableAddress,
    PortableRange,
    PublicAddress,
    Region,
    Tag,
    VlanIpRange,
    Vm,
    Vpc,
    WorkflowRow,
    Zone,
)
from manager.placement.address import NoAddress, source_nat_of, source_nat_of_vpc, take_public_address
from manager.placement.portable import free_addresses, take_portable_address
from manager.workflows.rule_rows import living, move_all, next_revision
from manager.workflows.rules import associate_address, release_address

STATES = ("Free", "Allocated", "Releasing")


class PublicAddressResponse(Response):
    object_key = "publicipaddress"
    shows = PublicAddress
    has_jobs = True
    is_owned = True
    id = Str("the address's id")
    ipaddress = Str("the IPv4 address")
    allocated = When("when its network got it")
    state = Str("Allocated, Releasing while it is given back, or Free")
    issourcenat = Bool("whether guests of its network leave with it as source")
    isstaticnat = Bool("whether it stands for a virtual machine, both ways")
    isportable = Bool("whether any zone of the region may have it")
    issystem = Bool("always false")
    forprovider = Bool("always false")
    forsystemvms = Bool("always false: routers have addresses of the same ranges")
    forvirtualnetwork = Bool("always true")
    fordisplay = Bool("whether users see it")
    hasrules = Bool("whether it has rules")
    virtualmachineid = Str("the id of the virtual machine that it stands for")
    virtualmachinename = Str("that one's name")
    virtualmachinedisplayname = Str("that one's name shown to people")
    virtualmachinetype = Str("User where it stands for a virtual machine")
    vmipaddress = Str("the address of the virtual machine that it stands for")
    associatednetworkid = Str("the id of the network that has it")
    associatednetworkname = Str("the name of the network that has it")
    vpcid = Str("the id of the VPC that has it")
    vpcname = Str("the name of the VPC that has it")
    physicalnetworkid = Str("the id of the physical network that carries it", root_only=True)
    vlanid = Str("the id of its range", root_only=True)
    vlanname = Str("the VLAN of its range", root_only=True)
    zoneid = Str("the id of its zone")
    zonename = Str("the name of its zone")
    tags = Many("its tags", TagResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[PublicAddress]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        tags = bare_tags_of(call, rows)
        networks = by_id(call, Network, (row.network_id for row in rows))
        zones = by_id(call, Zone, (row.zone_id for row in rows))
        ranges = by_id(call, VlanIpRange, (row.range_id for row in rows))
        vpcs = by_id(call, Vpc, (row.vpc_id for row in rows))
        uses = _uses_of(call, rows)
        return [
            {
                **_describe(row, zones[row.zone_id], ranges[row.range_id]),
                "associatednetworkname": networks[row.network_id].name if row.network_id else None,
                "vpcname": vpcs[row.vpc_id].name if row.vpc_id else None,
                **uses[row.id],
                "tags": tags[row.id],
                **owners[row.account_id],
            }
            for row in rows
        ]


def _describe(row: PublicAddress, zone: Zone, span: VlanIpRange) -> Shown:
    return {
        "id": row.id,
        "ipaddress": row.address,
        "allocated": row.allocated,
        "state": "Free" if row.account_id is None else "Releasing" if row.releasing else "Allocated",
        "issourcenat": row.source_nat,
        **dict.fromkeys(("issystem", "forprovider", "forsystemvms"), False),
        "isportable": row.portable,
        "forvirtualnetwork": True,
        "fordisplay": row.display,
        "associatednetworkid": row.network_id,
        "vpcid": row.vpc_id,
        "physicalnetworkid": span.physical_network_id,
        "vlanid": row.range_id,
        "vlanname": span.vlan,
        "zoneid": row.zone_id,
        "zonename": zone.name,
    }


def _uses_of(call: Call, rows: Sequence[PublicAddress]) -> dict[str, Shown]:
    """By address id: what its rules make of it. One statement."""
    query = (
        select(NetworkRule.address_id, NetworkRule.purpose, NetworkRule.guest_address, Vm.id, Vm.name, Vm.display_name)
        .outerjoin(Vm, Vm.id == NetworkRule.vm_id)
        .where(NetworkRule.address_id.in_([row.id for row in rows]), NetworkRule.removed.is_(None))
    )
    found: dict[str, Shown] = {row.id: {"isstaticnat": False, "hasrules": False} for row in rows}
    for rule in call.session.execute(query):
        found[rule.address_id]["hasrules"] = True
        if rule.purpose == "StaticNat":
            found[rule.address_id] |= {
                "isstaticnat": True,
                "virtualmachineid": rule.id,
                "virtualmachinename": rule.name,
                "virtualmachinedisplayname": rule.display_name,
                "virtualmachinetype": "User",
                "vmipaddress": rule.guest_address,
            }
    return found


class ListPublicAddresses(CountedListRequest, AccountListRequest):
    id = Ref(PublicAddress, "only this address")
    ipaddress = Text("only this IPv4 address")
    associatednetworkid = Ref(Network, "only addresses of this network")
    vpcid = Ref(Vpc, "only addresses of this VPC")
    zoneid = Ref(Zone, "only addresses of this zone")
    vlanid = Ref(VlanIpRange, "only addresses of this range")
    physicalnetworkid = Ref(PhysicalNetwork, "only addresses on this physical network")
    allocatedonly = Flag("only addresses that a network has; else root administrators see free ones too", default=True)
    state = Choice("only addresses in this state", STATES)
    issourcenat = Flag("only those of source NAT, or only others")
    isstaticnat = Flag("only those of static NAT, or only others")
    forprovider = Flag("true for addresses of external providers, of which there are none")
    forsystemvms = Flag("true for addresses of system virtual machines alone, of which there are none")
    forloadbalancing = Flag("true for addresses of load balancers, of which there are none")
    forvirtualnetwork = Flag("false for addresses of shared networks, of which there are none", default=True)
    fordisplay = Flag("only those that users see, or only others", roles=ROOT)
    tags = MapOf("only addresses with all these tags")


@command("listPublicIpAddresses", ListPublicAddresses, PublicAddressResponse, roles=EVERYONE)
def list_public_ip_addresses(call: Call, given: Given) -> Page:
    """List public addresses."""
    query = select(PublicAddress).where(_scope(call, given), *_conditions(given))
    for key, value in (given.tags or {}).items():
        query = query.where(PublicAddress.id.in_(select(Tag.resource_id).where(Tag.key == key, Tag.value == value)))
    query = with_keyword(query, given.keyword, PublicAddress.address)
    return call.paged(query.order_by(PublicAddress.zone_id, PublicAddress.range_id, PublicAddress.id))


def _scope(call: Call, given: Given) -> ColumnElement[bool]:
    mine = access.visible(call, PublicAddress)
    if not call.is_root_admin:
        mine = mine & PublicAddress.display.is_(True)
    if given.id is None and given.allocatedonly and given.state != "Free":
        return mine & PublicAddress.account_id.is_not(None)
    return or_(mine, PublicAddress.account_id.is_(None)) if call.is_root_admin else mine


def _conditions(given: Given) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    for column, value in ((PublicAddress.id, given.id), (PublicAddress.address, given.ipaddress),
                          (PublicAddress.network_id, given.associatednetworkid), (PublicAddress.zone_id, given.zoneid),
                          (PublicAddress.range_id, given.vlanid), (PublicAddress.vpc_id, given.vpcid),
                          (PublicAddress.source_nat, given.issourcenat)):  # fmt: skip
        if value is not None:
            found.append(column == getattr(value, "id", value))
    if given.physicalnetworkid is not None:
        ranges = select(VlanIpRange.id).where(VlanIpRange.physical_network_id == given.physicalnetworkid.id)
        found.append(PublicAddress.range_id.in_(ranges))
    if given.state is not None:
        found.append(_in_state(given.state))
    if given.isstaticnat is not None:
        nats = select(NetworkRule.address_id).where(NetworkRule.purpose == "StaticNat", NetworkRule.removed.is_(None))
        is_nat = PublicAddress.id.in_(nats)
        found.append(is_nat if given.isstaticnat else ~is_nat)
    if given.fordisplay is not None:
        found.append(PublicAddress.display.is_(given.fordisplay))
    if given.forloadbalancing or given.forprovider or given.forsystemvms or not given.forvirtualnetwork:
        found.append(false())
    return found


def _in_state(state: str) -> ColumnElement[bool]:
    free = PublicAddress.account_id.is_(None)
    return free if state == "Free" else ~free & PublicAddress.releasing.is_(state == "Releasing")


class AssociateAddress(OwnedRequest):
    networkid = Ref(
        Network, "the network that shall have it; the account's only one in the zone when absent", right="manage"
    )
    vpcid = Ref(Vpc, "the VPC that shall have it, for any of its tiers")
    zoneid = Ref(Zone, "the zone, when no network is given")
    ipaddress = Text("the address; any free one when absent")
    isportable = Flag("whether it shall be one that any zone of the region may have", default=False)
    regionid = Ref(Region, "the region of a portable address; any when absent", kind="integer")
    fordisplay = Flag("whether users see it", default=True, roles=ROOT)


@command("associateIpAddress", AssociateAddress, PublicAddressResponse, is_async=True, creates=True, roles=EVERYONE,
         event="NET.IPASSIGN", object_key="ipaddress", rehearses=True)  # fmt: skip
def associate_ip_address(call: Call, given: Given) -> WorkflowRow:
    """Give a network a public address: as its source NAT where it has none yet."""
    if given.regionid is not None and not given.isportable:
        raise Invalid("The regionid is for portable addresses: isportable must be true.")
    if given.vpcid is not None or (given.networkid is not None and given.networkid.vpc_id is not None):
        return _give_to_vpc(call, given)
    network = given.networkid or _only_network(call, given.zoneid)
    services = call.session.get_one(NetworkOffering, network.offering_id).services
    if "SourceNat" not in services:
        raise Invalid(f"The network {network.name} has no service SourceNat, so it can have no public addresses.")
    wanted = ipv4.optional_address("ipaddress", given.ipaddress) or ""
    revision = next_revision(call.session, network.id)
    try:
        address = _taken(call, network, wanted, given)
    except NoAddress as error:
        raise ApiError(PARAMETER if wanted else CAPACITY, str(error)) from error
    address.display = given.fordisplay
    return associate_address.start(call.session, address, call=call, network_id=network.id, revision=revision, rules=[])


def _give_to_vpc(call: Call, given: Given) -> WorkflowRow:
    """The address is the VPC's at once; its router has it with the first rule that leads from it.

    :raises ApiError: none is free, or the wanted one is not
    """
    vpc = given.vpcid or call.session.get_one(Vpc, given.networkid.vpc_id)
    if given.networkid is not None and given.networkid.vpc_id != vpc.id:
        raise Invalid(f"The network {given.networkid.name} is not a tier of VPC {vpc.name}.")
    hold(call, vpc)
    wanted = ipv4.optional_address("ipaddress", given.ipaddress) or ""
    if source_nat_of_vpc(call.session, vpc.id) is None:
        raise Invalid(f"The VPC {vpc.name} has no router yet; restartVPC gives it one, with its source NAT address.")
    try:
        address = _taken(call, vpc, wanted, given)
    except NoAddress as error:
        raise ApiError(PARAMETER if wanted else CAPACITY, str(error)) from error
    address.display = given.fordisplay
    return call.job_done(address)


def _taken(call: Call, network: Network | Vpc, wanted: str, given: Given) -> PublicAddress:
    """:raises NoAddress: none is free, or the wanted one is not"""
    if not given.isportable:
        is_first = isinstance(network, Network) and source_nat_of(call.session, network.id) is None
        return take_public_address(call.session, network, source_nat=is_first, wanted=wanted)
    which = [PortableAddress.address == wanted] if wanted else []
    if given.regionid is not None:
        here = select(PortableRange.id).where(PortableRange.region_id == given.regionid.id)
        which.append(PortableAddress.range_id.in_(here))
    return take_portable_address(call.session, network, *which)


def _only_network(call: Call, zone: Zone | None) -> Network:
    """:raises Invalid: there is no zone, or not just one network that could have an address"""
    if zone is None:
        raise Invalid("A public address is for a network; give networkid, or zoneid where the account has only one.")
    query = select(Network).where(
        Network.account_id == call.owner.id, Network.zone_id == zone.id, Network.removed.is_(None),
        Network.vpc_id.is_(None),
    )  # fmt: skip
    found = call.session.scalars(query.order_by(Network.created, Network.id).limit(2)).all()
    if len(found) != 1:
        many = "several networks" if found else "no network"
        raise Invalid(f"The account {call.owner.name} has {many} in zone {zone.name}; give networkid.")
    return found[0]


class DisassociateAddress(Request):
    id = Ref(PublicAddress, "the address")
    ipaddress = Text("the address itself, where no id is given")


@command("disassociateIpAddress", DisassociateAddress, SuccessResponse, is_async=True, roles=EVERYONE,
         event="NET.IPRELEASE", rehearses=True)  # fmt: skip
def disassociate_ip_address(call: Call, id: PublicAddress | None, ipaddress: str | None) -> WorkflowRow:
    """Take a public address from its network, with all its rules, and give it back to the zone."""
    address = id or _own_address(call, ipaddress)
    call.subject = address
    if address.vpc_id is not None and _free_unused(call, address):
        return call.job_done(address)
    network = network_of(call, address)
    revision = next_revision(call.session, network.id)
    call.session.refresh(address)
    if address.source_nat:
        raise Invalid(f"The public address {address.address} is the source NAT of network {network.name}; it goes "
                      "with the network.")  # fmt: skip
    refuse_vpn(call, address)
    address.releasing = True
    rules = living(call.session, NetworkRule.address_id == address.id)
    move_all(rules, "revoke")
    return release_address.start(
        call.session,
        address,
        call=call,
        network_id=network.id,
        revision=revision,
        rules=[rule.id for rule in rules],
    )


def _free_unused(call: Call, address: PublicAddress) -> bool:
    """Whether the VPC's address is free now: no tier had it, so no router knows it.

    :raises Invalid: it is the VPC's source NAT
    """
    call.session.refresh(address, with_for_update=True)
    if address.source_nat:
        raise Invalid(f"The public address {address.address} is the source NAT of its VPC; it goes with the VPC.")
    if address.network_id is not None:
        return False
    free_addresses(call.session, PublicAddress.id == address.id)
    return True


def _own_address(call: Call, text: str | None) -> PublicAddress:
    """:raises ApiError: neither an id nor an address of the caller's is given"""
    if not text:
        raise missing(call.command, "id")
    query = select(PublicAddress).where(
        PublicAddress.address == text,
        PublicAddress.account_id.is_not(None),
        access.reach(call, PublicAddress, access.MANAGE),
    )
    found = call.session.scalars(query.order_by(PublicAddress.id).limit(2)).all()
    if len(found) != 1:
        raise unknown(call.command, "ipaddress", text)
    return found[0]


class UpdateAddress(Request):
    id = Ref(PublicAddress, "the address", required=True)
    fordisplay = Flag("whether users see it", roles=ROOT)


@command("updateIpAddress", UpdateAddress, PublicAddressResponse, is_async=True, roles=EVERYONE,
         event="NET.IPUPDATE", object_key="ipaddress")  # fmt: skip
def update_ip_address(call: Call, id: PublicAddress, fordisplay: bool | None) -> WorkflowRow:
    """Show a public address to users, or hide it."""
    if id.account_id is None:
        raise Invalid(f"The public address {id.address} belongs to no network; associate it first.")
    id.display = id.display if fordisplay is None else fordisplay
    return call.job_done(id)
