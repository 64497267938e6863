"""Public addresses: which there are, and which networks have them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, false, or_, select

from manager import access
from manager.api.call import Call
from manager.api.command import EVERYONE, AccountListRequest, Given, Page, command
from manager.api.commands.place import with_keyword
from manager.api.commands.tag import TagResponse
from manager.api.fields import Choice, Flag, MapOf, Ref, Text
from manager.api.response import Bool, Many, Response, Shown, Str
from manager.api.rows import by_id, owners_of, tags_of
from manager.models import Network, PhysicalNetwork, PublicAddress, Tag, VlanIpRange, Zone

STATES = ("Free", "Allocated")


class PublicAddressResponse(Response):
    object_key = "publicipaddress"
    shows = PublicAddress
    id = Str("the address's id")
    ipaddress = Str("the IPv4 address")
    state = Str("Allocated or Free")
    issourcenat = Bool("whether guests of its network leave with it as source")
    isstaticnat = Bool("always false")
    isportable = Bool("always false")
    issystem = Bool("always false")
    forvirtualnetwork = Bool("always true")
    associatednetworkid = Str("the id of the network that has it")
    associatednetworkname = Str("the name of the network that has it")
    physicalnetworkid = Str("the id of the physical network that carries it", root_only=True)
    vlanid = Str("the id of its range", root_only=True)
    vlanname = Str("the VLAN of its range", root_only=True)
    zoneid = Str("the id of its zone")
    zonename = Str("the name of its zone")
    account = Str("the account that owns it")
    projectid = Str("the id of the project that owns it, in place of the account")
    project = Str("the project that owns it")
    domainid = Str("the id of the owner's domain")
    domain = Str("the owner's domain")
    domainpath = Str("the path of the owner's domain")
    tags = Many("its tags", TagResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[PublicAddress]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        tags = tags_of(call, rows)
        networks = by_id(call, Network, (row.network_id for row in rows))
        zones = by_id(call, Zone, (row.zone_id for row in rows))
        ranges = by_id(call, VlanIpRange, (row.range_id for row in rows))
        return [
            {
                "id": row.id,
                "ipaddress": row.address,
                "state": "Free" if row.network_id is None else "Allocated",
                "issourcenat": row.source_nat,
                **dict.fromkeys(("isstaticnat", "isportable", "issystem"), False),
                "forvirtualnetwork": True,
                "associatednetworkid": row.network_id,
                "associatednetworkname": networks[row.network_id].name if row.network_id else None,
                "physicalnetworkid": ranges[row.range_id].physical_network_id,
                "vlanid": row.range_id,
                "vlanname": ranges[row.range_id].vlan,
                "zoneid": row.zone_id,
                "zonename": zones[row.zone_id].name,
                "tags": tags[row.id],
                **owners[row.account_id],
            }
            for row in rows
        ]


class ListPublicAddresses(AccountListRequest):
    id = Ref(PublicAddress, "only this address")
    ipaddress = Text("only this IPv4 address")
    associatednetworkid = Ref(Network, "only addresses of this network")
    zoneid = Ref(Zone, "only addresses of this zone")
    vlanid = Ref(VlanIpRange, "only addresses of this range")
    physicalnetworkid = Ref(PhysicalNetwork, "only addresses on this physical network")
    allocatedonly = Flag("only addresses that a network has; else root administrators see free ones too", default=True)
    state = Choice("only addresses in this state", STATES)
    issourcenat = Flag("only those of source NAT, or only others")
    isstaticnat = Flag("true for addresses of static NAT, of which there are none")
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
    if given.id is None and given.allocatedonly and given.state != "Free":
        return mine & PublicAddress.network_id.is_not(None)
    return or_(mine, PublicAddress.network_id.is_(None)) if call.is_root_admin else mine


def _conditions(given: Given) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    for column, value in ((PublicAddress.id, given.id), (PublicAddress.address, given.ipaddress),
                          (PublicAddress.network_id, given.associatednetworkid), (PublicAddress.zone_id, given.zoneid),
                          (PublicAddress.range_id, given.vlanid),
                          (PublicAddress.source_nat, given.issourcenat)):  # fmt: skip
        if value is not None:
            found.append(column == getattr(value, "id", value))
    if given.physicalnetworkid is not None:
        ranges = select(VlanIpRange.id).where(VlanIpRange.physical_network_id == given.physicalnetworkid.id)
        found.append(PublicAddress.range_id.in_(ranges))
    if given.state is not None:
        free = PublicAddress.network_id.is_(None)
        found.append(free if given.state == "Free" else ~free)
    if given.isstaticnat:
        found.append(false())
    return found
