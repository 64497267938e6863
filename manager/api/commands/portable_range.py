"""Portable public addresses: ranges of a region, of which any network of any of its zones may have some."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, insert, select

from manager.api.call import Call
from manager.api.command import Given, ListRequest, Page, Request, command
from manager.api.commands.ipv4 import Span, span
from manager.api.commands.place import with_keyword
from manager.api.commands.vlan import free_block, numbered_macs, vlan_of
from manager.api.errors import Invalid
from manager.api.fields import Ref, Text
from manager.api.response import Int, Many, Response, Shown, Str, SuccessResponse, When
from manager.db import write
from manager.models import PortableAddress, PortableRange, PublicAddress, Region, VlanIpRange, WorkflowRow, new_id


class PortableAddressResponse(Response):
    ipaddress = Str("the IPv4 address")
    regionid = Int("the number of its region")
    state = Str("Free, or Allocated to a network")
    allocated = When("when its network got it")
    zoneid = Str("the id of the zone that has it")
    networkid = Str("the id of the network that has it")
    accountid = Str("the id of the account that has it")


class PortableRangeResponse(Response):
    object_key = "portableiprange"
    shows = PortableRange
    id = Str("the range's id")
    regionid = Int("the number of its region")
    gateway = Str("the gateway of its subnet")
    netmask = Str("the netmask of its subnet")
    vlan = Str("the VLAN of its addresses, or untagged")
    startip = Str("its first address")
    endip = Str("its last address")
    portableipaddress = Many("its addresses", PortableAddressResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[PortableRange]) -> list[Shown]:
        addresses = _addresses_of(call, rows)
        return [
            {
                "id": row.id,
                "regionid": row.region_id,
                "gateway": row.gateway,
                "netmask": row.netmask,
                "vlan": row.vlan,
                "startip": row.start_ip,
                "endip": row.end_ip,
                "portableipaddress": addresses[row.id],
            }
            for row in rows
        ]


def _addresses_of(call: Call, rows: Sequence[PortableRange]) -> dict[str, list[Shown]]:
    """By range id: its addresses, with what they are now. One statement."""
    regions = {row.id: row.region_id for row in rows}
    query = (
        select(PortableAddress, PublicAddress)
        .outerjoin(PublicAddress, PublicAddress.id == PortableAddress.id)
        .where(PortableAddress.range_id.in_(regions))
        .order_by(PortableAddress.range_id, PortableAddress.mac)
    )
    found: dict[str, list[Shown]] = {key: [] for key in regions}
    for portable, public in call.session.execute(query):
        use = {
            "allocated": public.allocated,
            "zoneid": public.zone_id,
            "networkid": public.network_id,
            "accountid": public.account_id,
        } if public is not None else {}  # fmt: skip
        state = "Free" if portable.taken is None else "Allocated"
        shown = {"ipaddress": portable.address, "regionid": regions[portable.range_id], "state": state, **use}
        found[portable.range_id].append(shown)
    return found


class CreatePortableRange(Request):
    regionid = Ref(Region, "the region", required=True, kind="integer")
    gateway = Text("the gateway of the subnet", required=True)
    netmask = Text("the netmask of the subnet", required=True)
    startip = Text("the first address", required=True)
    endip = Text("the last address", required=True)
    vlan = Text("the VLAN of the addresses, or untagged, which it is when absent")


@command("createPortableIpRange", CreatePortableRange, PortableRangeResponse, is_async=True, creates=True,
         event="PORTABLE.IP.RANGE.CREATE")  # fmt: skip
def create_portable_ip_range(call: Call, given: Given) -> WorkflowRow:
    """Give a region public addresses that move between its zones."""
    call.session.refresh(given.regionid, with_for_update=True)
    addresses = span(given.gateway, given.netmask, given.startip, given.endip)
    _refuse_overlap(call, addresses)
    made: PortableRange = call.add(
        PortableRange(
            region_id=given.regionid.id,
            vlan=vlan_of(given.vlan),
            gateway=str(addresses.gateway),
            netmask=str(addresses.subnet.netmask),
            start_ip=str(addresses.first),
            end_ip=str(addresses.last),
        )
    )
    macs = numbered_macs(free_block(call))
    rows = [
        {"id": new_id(), "range_id": made.id, "address": address, "mac": mac}
        for address, mac in zip(addresses.addresses(), macs, strict=False)
    ]
    call.session.execute(insert(PortableAddress), rows)
    call.subject = made
    return call.job_done(made)


def _refuse_overlap(call: Call, addresses: Span) -> None:
    """:raises Invalid: a zone, or another portable range, has some of the addresses"""
    zones = select(VlanIpRange.start_ip, VlanIpRange.end_ip).where(VlanIpRange.removed.is_(None))
    regions = select(PortableRange.start_ip, PortableRange.end_ip).where(PortableRange.removed.is_(None))
    for first, last in call.session.execute(zones.union_all(regions)):
        if addresses.overlaps(first, last):
            raise Invalid(f"The range {addresses} overlaps the range {first}-{last} of public addresses.")


class DeletePortableRange(Request):
    id = Ref(PortableRange, "the range, none of whose addresses may be in use", required=True)


@command("deletePortableIpRange", DeletePortableRange, SuccessResponse, is_async=True,
         event="PORTABLE.IP.RANGE.DELETE")  # fmt: skip
def delete_portable_ip_range(call: Call, id: PortableRange) -> WorkflowRow:
    """Take a range of portable addresses away."""
    mine = PortableAddress.range_id == id.id
    write(call.session, delete(PortableAddress).where(mine, PortableAddress.taken.is_(None)))
    left = call.session.scalars(select(PortableAddress.address).where(mine).order_by(PortableAddress.address)).all()
    if left:
        raise Invalid(f"{len(left)} addresses of the range {id.start_ip}-{id.end_ip} are in use, such as {left[0]}.")
    id.remove()
    return call.job_done(id)


class ListPortableRanges(ListRequest):
    id = Ref(PortableRange, "only this range")
    regionid = Ref(Region, "only ranges of this region", kind="integer")


@command("listPortableIpRanges", ListPortableRanges, PortableRangeResponse)
def list_portable_ip_ranges(call: Call, id: PortableRange | None, regionid: Region | None, keyword: str | None) -> Page:
    """List ranges of portable addresses, with the addresses."""
    query = select(PortableRange).where(PortableRange.removed.is_(None))
    if id is not None:
        query = query.where(PortableRange.id == id.id)
    if regionid is not None:
        query = query.where(PortableRange.region_id == regionid.id)
    query = with_keyword(query, keyword, PortableRange.start_ip)
    return call.paged(query.order_by(PortableRange.created, PortableRange.id))
