"""VLAN IP ranges: public addresses of a zone, which routers take one by one, and guests' addresses in flat zones."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, select

from manager.api.call import Call
from manager.api.command import Given, ListRequest, Page, Request, command
from manager.api.commands.guest_range import add_guest_range, change_guest_range, network_for
from manager.api.commands.ipv4 import Span, span
from manager.api.commands.place import demand_within, hold, narrowed, places_of, with_keyword
from manager.api.commands.range_dedication import KeptFor, keep_range, keepers_of, kept_for, release_range
from manager.api.errors import Invalid
from manager.api.fields import Flag, Ref, Text
from manager.api.response import Bool, Response, Shown, Str, SuccessResponse
from manager.db import write
from manager.models import (
    Dedication,
    Domain,
    Network,
    PhysicalNetwork,
    Pod,
    PortableAddress,
    PortableRange,
    PublicAddress,
    TrafficType,
    VlanIpRange,
    Zone,
    new_id,
)
from manager.placement.tunnel_key import holder_of_vlan

VLANS = range(1, 4095)
BATCH = 1000


class VlanIpRangeResponse(Response):
    object_key = "vlaniprange"
    shows = VlanIpRange
    id = Str("the range's id")
    zoneid = Str("the id of its zone")
    physicalnetworkid = Str("the id of its physical network")
    vlan = Str("vlan:// and its VLAN, or vlan://untagged")
    gateway = Str("the gateway of its subnet")
    netmask = Str("the netmask of its subnet")
    cidr = Str("its subnet")
    startip = Str("the first address")
    endip = Str("the last address")
    forvirtualnetwork = Bool("whether its addresses are public; else they are those of guests in a Basic zone")
    podid = Str("the id of the pod whose guests' addresses they are")
    podname = Str("that pod's name")
    networkid = Str("the id of the network of those guests")
    forsystemvms = Bool("whether it is for system virtual machines: false")
    account = Str("the account that it is kept for")
    projectid = Str("the id of the project that it is kept for")
    project = Str("the project that it is kept for")
    domainid = Str("the id of the domain that it, or whose account or project, it is kept for")
    domain = Str("that domain")
    domainpath = Str("the path of that domain")

    @classmethod
    def render(cls, call: Call, rows: Sequence[VlanIpRange]) -> list[Shown]:
        keepers = keepers_of(call, rows)
        pods = places_of(call, rows, Pod)
        return [
            {
                "id": row.id,
                "zoneid": row.zone_id,
                "physicalnetworkid": row.physical_network_id,
                "vlan": f"vlan://{row.vlan}",
                "gateway": row.gateway,
                "netmask": row.netmask,
                "cidr": str(IPv4Network(f"{row.gateway}/{row.netmask}", strict=False)),
                "startip": row.start_ip,
                "endip": row.end_ip,
                "forvirtualnetwork": row.network_id is None,
                "podid": row.pod_id,
                "podname": pods.get(row.pod_id),
                "networkid": row.network_id,
                "forsystemvms": False,
                **keepers[row.id],
            }
            for row in rows
        ]


class CreateVlanIpRange(KeptFor):
    zoneid = Ref(Zone, "the zone; that of the physical network when absent")
    physicalnetworkid = Ref(PhysicalNetwork, "the physical network; the zone's one with public traffic when absent")
    forvirtualnetwork = Flag("whether the addresses are public; false for those of guests in a Basic zone",
                             default=True)  # fmt: skip
    podid = Ref(Pod, "the pod of guests' addresses; needed for those")
    networkid = Ref(Network, "the network of those guests; the one of the zone when absent")
    vlan = Text("the VLAN of the addresses, or untagged; when absent that of the guests, or untagged")
    gateway = Text("the gateway of the subnet; needed")
    netmask = Text("the netmask of the subnet; needed")
    startip = Text("the first address; needed")
    endip = Text("the last one; startip when absent")


class ListVlanIpRanges(ListRequest, KeptFor):
    id = Ref(VlanIpRange, "only this range")
    zoneid = Ref(Zone, "only ranges of this zone")
    physicalnetworkid = Ref(PhysicalNetwork, "only ranges of this physical network")
    vlan = Text("only ranges of this VLAN")
    podid = Ref(Pod, "only ranges of guests' addresses of this pod")
    networkid = Ref(Network, "only ranges of guests' addresses of this network")
    forvirtualnetwork = Flag("only ranges of public addresses, or only those of guests' addresses")


class UpdateVlanIpRange(Request):
    id = Ref(VlanIpRange, "the range", required=True)
    startip = Text("another first address")
    endip = Text("another last address")


class DeleteVlanIpRange(Request):
    id = Ref(VlanIpRange, "the range, none of whose addresses may be in use", required=True)


@command("listVlanIpRanges", ListVlanIpRanges, VlanIpRangeResponse)
def list_vlan_ip_ranges(call: Call, **filters: Any) -> Page:
    """List ranges of public addresses, and of guests' addresses in Basic zones."""
    filters["vlan"] = (filters["vlan"] or "").removeprefix("vlan://")
    columns = {
        "id": VlanIpRange.id,
        "zoneid": VlanIpRange.zone_id,
        "physicalnetworkid": VlanIpRange.physical_network_id,
        "vlan": VlanIpRange.vlan,
        "podid": VlanIpRange.pod_id,
        "networkid": VlanIpRange.network_id,
    }
    own = (VlanIpRange.removed.is_(None), VlanIpRange.portable_range_id.is_(None))
    query = narrowed(select(VlanIpRange).where(*own), filters, columns)
    query = with_keyword(query, filters["keyword"], VlanIpRange.start_ip)
    query = query.where(*kept_for(call, filters))
    if filters["forvirtualnetwork"] is not None:
        is_public = VlanIpRange.network_id.is_(None)
        query = query.where(is_public if filters["forvirtualnetwork"] else ~is_public)
    return call.paged(query.order_by(VlanIpRange.created, VlanIpRange.id))


@command(
    "createVlanIpRange",
    CreateVlanIpRange,
    VlanIpRangeResponse,
    creates=True,
    event="VLAN.IP.RANGE.CREATE",
    object_key="vlan",
)
def create_vlan_ip_range(call: Call, given: Given) -> VlanIpRange:
    """Give a zone public addresses, or a Basic zone those of its guests: those from startip to endip."""
    if not given.forvirtualnetwork:
        guests = network_for(call, given)
        addresses = span(given.gateway, given.netmask, given.startip, given.endip or given.startip)
        _refuse_overlap(call, guests.zone_id, addresses)
        return add_guest_range(call, given, guests, addresses)
    if given.podid is not None or given.networkid is not None:
        raise Invalid("Pods and networks have guests' addresses, for which forvirtualnetwork must be false.")
    network = _physical_network(call, given.zoneid, given.physicalnetworkid)
    zone = call.session.get_one(Zone, network.zone_id)
    if zone.is_flat:
        raise Invalid(f"The zone {zone.name} is Basic and has no public addresses; forvirtualnetwork must be false.")
    hold(call, zone)
    hold(call, network)
    addresses = span(given.gateway, given.netmask, given.startip, given.endip or given.startip)
    _refuse_overlap(call, network.zone_id, addresses)
    vlan = vlan_of(given.vlan)
    if vlan.isdecimal() and holder_of_vlan(call.session, network, int(vlan)) is not None:
        raise Invalid(f"The VLAN {vlan} of physical network {network.name} is that of a tenant network.")
    made = VlanIpRange(
        zone_id=network.zone_id,
        physical_network_id=network.id,
        vlan=vlan,
        gateway=str(addresses.gateway),
        netmask=str(addresses.subnet.netmask),
        start_ip=str(addresses.first),
        end_ip=str(addresses.last),
    )
    call.add(made)
    _add_addresses(call, made, addresses.addresses())
    if given.domainid is not None or given.account or given.projectid is not None:
        keep_range(call, made, given)
    return made


def _physical_network(call: Call, zone: Zone | None, network: PhysicalNetwork | None) -> PhysicalNetwork:
    """:raises Invalid: neither zone nor network is given, they do not fit, or the zone's choice is not clear"""
    if network is not None:
        if zone is not None:
            demand_within("physical network", network, "zone", zone)
        return network
    if zone is None:
        raise Invalid("The range needs its place: zoneid or physicalnetworkid is missing.")
    query = (
        select(PhysicalNetwork)
        .join(TrafficType, TrafficType.physical_network_id == PhysicalNetwork.id)
        .where(PhysicalNetwork.zone_id == zone.id, PhysicalNetwork.removed.is_(None))
        .where(TrafficType.traffic_type == "Public", TrafficType.removed.is_(None))
    )
    found = call.session.scalars(query).all()
    if len(found) != 1:
        raise Invalid(
            f"The zone {zone.name} has {len(found)} physical networks with public traffic, so physicalnetworkid must "
            "name one."
        )
    return found[0]


def vlan_of(text: str | None) -> str:
    """:raises Invalid: neither untagged nor the number of a VLAN (IEEE 802.1Q: 1 to 4094)"""
    plain = (text or "untagged").removeprefix("vlan://")
    if plain.lower() == "untagged":
        return "untagged"
    if not re.fullmatch("[0-9]{1,4}", plain) or int(plain) not in VLANS:
        raise Invalid(f"The vlan {text} is neither untagged nor a number from {VLANS[0]} to {VLANS[-1]}.")
    return plain


def _refuse_overlap(call: Call, zone_id: str, addresses: Span, *, but: VlanIpRange | None = None) -> None:
    """:raises Invalid: another range of the zone has some of the addresses, or one of them is its gateway"""
    query = select(VlanIpRange).where(VlanIpRange.zone_id == zone_id, VlanIpRange.removed.is_(None))
    for one in call.session.scalars(query):
        if one is but:
            continue
        if addresses.overlaps(one.start_ip, one.end_ip):
            raise Invalid(f"The range {addresses} overlaps the range {one.start_ip}-{one.end_ip} of the zone.")
        if addresses.overlaps(one.gateway, one.gateway):
            raise Invalid(f"The range {addresses} holds {one.gateway}, the gateway of another range of the zone.")
    for portable in call.session.scalars(select(PortableRange).where(PortableRange.removed.is_(None))):
        if addresses.overlaps(portable.start_ip, portable.end_ip):
            raise Invalid(f"The range {addresses} overlaps {portable.start_ip}-{portable.end_ip}, which is portable.")


def _demand_own(span_: VlanIpRange) -> None:
    """:raises Invalid: the range stands for a portable one"""
    if span_.portable_range_id is not None:
        raise Invalid(f"The addresses {span_.start_ip}-{span_.end_ip} are portable and not the zone's own.")


def _add_addresses(call: Call, owner: VlanIpRange, addresses: Sequence[str]) -> None:
    """A row for each address. Their MACs are a block of their own: 06, three bytes by chance, a counter of two."""
    macs = numbered_macs(free_block(call))
    dedication_id = call.session.scalar(select(Dedication.id).filter_by(resource_id=owner.id))
    rows = [
        {"id": new_id(), "zone_id": owner.zone_id, "range_id": owner.id, "address": address,
         "mac": mac, "source_nat": False, "dedication_id": dedication_id}
        for address, mac in zip(addresses, macs, strict=False)
    ]  # fmt: skip
    if rows:
        call.session.execute(insert(PublicAddress), rows)


def free_block(call: Call) -> str:
    """The first four bytes of MACs of public addresses, which none has by now."""
    while True:
        block = "06:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))
        queries = [select(model.id).where(model.mac.startswith(block)) for model in (PublicAddress, PortableAddress)]
        if not any(call.session.scalar(query.limit(1)) for query in queries):
            return block


def numbered_macs(block: str) -> Iterator[str]:
    return (f"{block}:{number >> 8:02x}:{number & 255:02x}" for number in range(2**16))


@command("updateVlanIpRange", UpdateVlanIpRange, VlanIpRangeResponse, event="VLAN.IP.RANGE.UPDATE", object_key="vlan")
def update_vlan_ip_range(call: Call, id: VlanIpRange, startip: str | None, endip: str | None) -> VlanIpRange:
    """Change the ends of a range. Addresses that are in use must stay in it."""
    _demand_own(id)
    hold(call, call.session.get_one(Zone, id.zone_id))
    hold(call, id)
    wanted = span(id.gateway, id.netmask, startip or id.start_ip, endip or id.end_ip)
    _refuse_overlap(call, id.zone_id, wanted, but=id)
    if id.network_id is not None:
        change_guest_range(call, id, wanted)
        return id
    addresses = set(wanted.addresses())
    known = set(call.session.scalars(select(PublicAddress.address).where(PublicAddress.range_id == id.id)))
    outside = sorted(known - addresses)
    for start in range(0, len(outside), BATCH):
        _remove_addresses(call, id, PublicAddress.address.in_(outside[start : start + BATCH]))
    _add_addresses(call, id, sorted(addresses - known))
    id.start_ip, id.end_ip = str(wanted.first), str(wanted.last)
    return id


def _remove_addresses(call: Call, owner: VlanIpRange, condition: ColumnElement[bool] | None = None) -> None:
    """Remove the range's addresses that meet `condition`, or all.

    :raises Invalid: a network has one of them
    """
    mine = [PublicAddress.range_id == owner.id]
    if condition is not None:
        mine.append(condition)
    write(call.session, delete(PublicAddress).where(*mine, PublicAddress.account_id.is_(None)))
    left = call.session.scalar(select(func.count()).select_from(PublicAddress).where(*mine)) or 0
    if left:
        one = call.session.scalar(select(PublicAddress.address).where(*mine).order_by(PublicAddress.address).limit(1))
        raise Invalid(f"{left} addresses of the range {owner.start_ip}-{owner.end_ip} are in use, such as {one}.")


@command("deleteVlanIpRange", DeleteVlanIpRange, SuccessResponse, event="VLAN.IP.RANGE.DELETE")
def delete_vlan_ip_range(call: Call, id: VlanIpRange) -> bool:
    """Take a range of public addresses, or of guests' addresses, away."""
    _demand_own(id)
    hold(call, id)
    if id.network_id is not None:
        change_guest_range(call, id, None)
        return True
    _remove_addresses(call, id)
    write(call.session, delete(Dedication).where(Dedication.resource_id == id.id))
    id.remove()
    return True


class DedicatePublicIpRange(KeptFor):
    id = Ref(VlanIpRange, "the range", required=True)
    domainid = Ref(Domain, "the domain that the range is kept for, with all below it", required=True)


@command(
    "dedicatePublicIpRange",
    DedicatePublicIpRange,
    VlanIpRangeResponse,
    event="VLAN.IP.RANGE.DEDICATE",
    object_key="vlan",
)
def dedicate_public_ip_range(call: Call, given: Given) -> VlanIpRange:
    """Keep a range of public addresses for a domain, an account or a project: networks of others get none of them."""
    span: VlanIpRange = given.id
    _demand_own(span)
    if span.network_id is not None:
        raise Invalid("Ranges of guests' addresses are for all who use the network; they cannot be dedicated.")
    hold(call, span)
    keep_range(call, span, given)
    return span


class ReleasePublicIpRange(Request):
    id = Ref(VlanIpRange, "the range", required=True)


@command("releasePublicIpRange", ReleasePublicIpRange, SuccessResponse, event="VLAN.IP.RANGE.RELEASE")
def release_public_ip_range(call: Call, id: VlanIpRange) -> bool:
    """Open a dedicated range of public addresses to everyone; who has addresses of it keeps them."""
    hold(call, id)
    release_range(call, id)
    return True
