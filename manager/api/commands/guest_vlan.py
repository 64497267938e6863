"""Tunnel keys of tenant networks: which are taken, and ranges of them that are kept for networks of one account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, exists, select

from manager.api.call import Call
from manager.api.command import Given, ListRequest, OwnedRequest, Page, Request, command
from manager.api.commands.network_response import NetworkResponse
from manager.api.commands.physical_network import keys_of, overlay_of
from manager.api.commands.place import with_keyword
from manager.api.errors import Invalid
from manager.api.fields import Ref, Text
from manager.api.response import Bool, Long, Many, Response, Shown, Str, SuccessResponse, When
from manager.api.rows import by_id, owners_of
from manager.db import write
from manager.models import KeyRange, Network, PhysicalNetwork, WorkflowRow, Zone
from manager.placement.tunnel_key import lock_ranges
from network.overlays import OVERLAYS

WIDEST = max(OVERLAYS.values(), key=lambda overlay: overlay.largest_key)


class GuestVlanRangeResponse(Response):
    object_key = "dedicatedguestvlanrange"
    shows = KeyRange
    id = Str("the range's id")
    guestvlanrange = Str("the tunnel keys, as first-last")
    physicalnetworkid = Str("the id of the physical network")
    zoneid = Str("the id of its zone")
    account = Str("the account that it is kept for")
    projectid = Str("the id of the project that it is kept for, in place of the account")
    project = Str("that project's name")
    domainid = Str("the id of the account's domain")
    domain = Str("that domain")
    domainpath = Str("the path of that domain")

    @classmethod
    def render(cls, call: Call, rows: Sequence[KeyRange]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        physical = by_id(call, PhysicalNetwork, (row.physical_network_id for row in rows))
        return [
            {
                "id": row.id,
                "guestvlanrange": f"{row.first}-{row.last}",
                "physicalnetworkid": row.physical_network_id,
                "zoneid": physical[row.physical_network_id].zone_id,
                **owners[row.account_id],
            }
            for row in rows
        ]


class DedicateGuestVlanRange(OwnedRequest):
    vlanrange = Text("the tunnel keys, as first-last", required=True)
    physicalnetworkid = Ref(PhysicalNetwork, "the physical network", required=True)


@command("dedicateGuestVlanRange", DedicateGuestVlanRange, GuestVlanRangeResponse, event="GUESTVLANRANGE.DEDICATE",
         shape="object")  # fmt: skip
def dedicate_guest_vlan_range(call: Call, vlanrange: str, physicalnetworkid: PhysicalNetwork) -> KeyRange:
    """Keep tunnel keys for networks of one account, or project; these have them first, and others none of them."""
    physical = physicalnetworkid
    if call.named_owner is None or not (call.given.get("account") or call.given.get("projectid")):
        raise Invalid("It is not said for whom the keys shall be kept: account with domainid, or projectid.")
    first, last = keys_of(vlanrange, overlay_of(physical))
    if first < physical.key_start or last > physical.key_end:
        raise Invalid(f"The vlanrange {vlanrange} does not lie within {physical.key_start}-{physical.key_end}, the "
                      f"keys of the physical network {physical.name}.")  # fmt: skip
    for one in lock_ranges(call.session, physical, for_change=True):
        if one.first <= last and first <= one.last:
            raise Invalid(f"The vlanrange {vlanrange} overlaps {one.first}-{one.last}, which is kept already.")
    others = select(Network.name).where(
        Network.physical_network_id == physical.id,
        Network.key.between(first, last),
        Network.account_id != call.owner.id,
        Network.removed.is_(None),
    )
    other = call.session.scalar(others.order_by(Network.key).limit(1))
    if other is not None:
        raise Invalid(f"The vlanrange {vlanrange} holds the key of the network {other} of another account.")
    made: KeyRange = call.add(
        KeyRange(physical_network_id=physical.id, account_id=call.owner.id, first=first, last=last)
    )
    return made


class ReleaseGuestVlanRange(Request):
    id = Ref(KeyRange, "the range", required=True)


@command("releaseDedicatedGuestVlanRange", ReleaseGuestVlanRange, SuccessResponse, is_async=True,
         event="GUESTVLANRANGE.RELEASE")  # fmt: skip
def release_dedicated_guest_vlan_range(call: Call, id: KeyRange) -> WorkflowRow:
    """Open tunnel keys to the networks of everybody; networks keep those that they have."""
    write(call.session, delete(KeyRange).where(KeyRange.id == id.id))
    call.session.expunge(id)
    return call.job_done(id)


class ListGuestVlanRanges(ListRequest):
    id = Ref(KeyRange, "only this range")
    physicalnetworkid = Ref(PhysicalNetwork, "only ranges of this physical network")
    zoneid = Ref(Zone, "only ranges of this zone")
    guestvlanrange = Text("only the range of these tunnel keys, as first-last")


@command("listDedicatedGuestVlanRanges", ListGuestVlanRanges, GuestVlanRangeResponse)
def list_dedicated_guest_vlan_ranges(call: Call, given: Given) -> Page:
    """List ranges of tunnel keys that are kept."""
    query = select(KeyRange).join(PhysicalNetwork, PhysicalNetwork.id == KeyRange.physical_network_id)
    for column, wanted in ((KeyRange.id, given.id), (PhysicalNetwork.id, given.physicalnetworkid),
                           (PhysicalNetwork.zone_id, given.zoneid)):  # fmt: skip
        if wanted is not None:
            query = query.where(column == wanted.id)
    if given.guestvlanrange:
        first, last = keys_of(given.guestvlanrange, WIDEST)
        query = query.where(KeyRange.first == first, KeyRange.last == last)
    query = with_keyword(query, given.keyword, PhysicalNetwork.name)
    return call.paged(query.order_by(KeyRange.physical_network_id, KeyRange.first))


class GuestVlanResponse(Response):
    object_key = "guestvlan"
    id = Long("the tunnel key")
    vlan = Str("the tunnel key")
    allocationstate = Str("always Allocated: only keys that networks have are shown")
    taken = When("when its network was made")
    isdedicated = Bool("whether it is of a range that is kept for an account")
    physicalnetworkid = Str("the id of the physical network")
    physicalnetworkname = Str("the physical network's name")
    zoneid = Str("the id of the zone")
    zonename = Str("the zone's name")
    account = Str("the account that owns the network")
    projectid = Str("the id of the project that owns it, in place of the account")
    project = Str("that project's name")
    domainid = Str("the id of the owner's domain")
    domain = Str("that domain")
    domainpath = Str("the path of that domain")
    network = Many("the network that has it", NetworkResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[Network]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        zones = by_id(call, Zone, (row.zone_id for row in rows))
        physical = by_id(call, PhysicalNetwork, (row.physical_network_id for row in rows))
        kept = exists().where(KeyRange.physical_network_id == Network.physical_network_id,
                              Network.key.between(KeyRange.first, KeyRange.last))  # fmt: skip
        within = set(call.session.scalars(select(Network.id).where(Network.id.in_([row.id for row in rows]), kept)))
        return [
            {
                "id": row.key,
                "vlan": str(row.key or "untagged"),
                "allocationstate": "Allocated",
                "taken": row.created,
                "isdedicated": row.id in within,
                "physicalnetworkid": row.physical_network_id,
                "physicalnetworkname": physical[row.physical_network_id].name,
                "zoneid": row.zone_id,
                "zonename": zones[row.zone_id].name,
                "network": [network],
                **owners[row.account_id],
            }
            for row, network in zip(rows, NetworkResponse.render(call, rows), strict=True)
        ]


class ListGuestVlans(ListRequest):
    zoneid = Ref(Zone, "only keys of this zone")
    physicalnetworkid = Ref(PhysicalNetwork, "only keys of this physical network")
    vnet = Text("only this key")


@command("listGuestVlans", ListGuestVlans, GuestVlanResponse)
def list_guest_vlans(call: Call, keyword: str | None, **filters: Any) -> Page:
    """List the tunnel keys that networks have."""
    query = select(Network).where(Network.removed.is_(None))
    for column, wanted in ((Network.zone_id, filters["zoneid"]),
                           (Network.physical_network_id, filters["physicalnetworkid"])):  # fmt: skip
        if wanted is not None:
            query = query.where(column == wanted.id)
    if filters["vnet"]:
        first, _ = keys_of(filters["vnet"], WIDEST)
        query = query.where(Network.key == first)
    return call.paged(with_keyword(query, keyword, Network.name).order_by(Network.key, Network.id))
