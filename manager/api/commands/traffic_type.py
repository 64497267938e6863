"""Traffic types: which kinds of traffic a physical network carries, and on which bridge of its hosts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from manager.api.call import Call
from manager.api.command import ListRequest, Page, Request, command
from manager.api.commands.place import hold, refuse_while, with_keyword
from manager.api.errors import Invalid
from manager.api.fields import Choice, Ref, Text
from manager.api.response import Response, Shown, Str, SuccessResponse
from manager.models import Network, PhysicalNetwork, TrafficType, VlanIpRange, WorkflowRow, Zone
from manager.placement.tunnel_key import is_vlan
from manager.workflows.router_spec import TRUNK_BRIDGE

KINDS = ("Guest", "Public", "Management", "Storage")
LABEL = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,14}")
"""Linux names network devices with at most 15 characters."""


class TrafficTypeResponse(Response):
    object_key = "traffictype"
    shows = TrafficType
    id = Str("the traffic type's id")
    physicalnetworkid = Str("the id of its physical network")
    traffictype = Str("Guest, Public, Management or Storage")
    kvmnetworklabel = Str("the bridge of the hosts that carries it")

    @classmethod
    def render(cls, call: Call, rows: Sequence[TrafficType]) -> list[Shown]:  # noqa: ARG003 - it shows itself alone
        return [
            {
                "id": row.id,
                "physicalnetworkid": row.physical_network_id,
                "traffictype": row.traffic_type,
                "kvmnetworklabel": row.kvm_label or None,
            }
            for row in rows
        ]


class AddTrafficType(Request):
    physicalnetworkid = Ref(PhysicalNetwork, "the physical network", required=True)
    traffictype = Choice("the kind of traffic", KINDS, required=True)
    kvmnetworklabel = Text("the bridge of the hosts that carries it; of guests in VLANs br-phy when absent")


class ListTrafficTypes(ListRequest):
    physicalnetworkid = Ref(PhysicalNetwork, "the physical network", required=True)


class UpdateTrafficType(Request):
    id = Ref(TrafficType, "the traffic type", required=True)
    kvmnetworklabel = Text("another bridge of the hosts that carries it")


class DeleteTrafficType(Request):
    id = Ref(TrafficType, "the traffic type", required=True)


@command("listTrafficTypes", ListTrafficTypes, TrafficTypeResponse)
def list_traffic_types(call: Call, physicalnetworkid: PhysicalNetwork, **filters: Any) -> Page:
    """List the traffic types of a physical network."""
    query = select(TrafficType).where(
        TrafficType.physical_network_id == physicalnetworkid.id, TrafficType.removed.is_(None)
    )
    query = with_keyword(query, filters["keyword"], TrafficType.traffic_type)
    return call.paged(query.order_by(TrafficType.traffic_type, TrafficType.id))


@command(
    "addTrafficType", AddTrafficType, TrafficTypeResponse, is_async=True, creates=True, event="TRAFFIC.TYPE.CREATE"
)
def add_traffic_type(
    call: Call, physicalnetworkid: PhysicalNetwork, traffictype: str, kvmnetworklabel: str | None
) -> WorkflowRow:
    """Have a physical network carry a kind of traffic."""
    network = physicalnetworkid
    hold(call, network)
    _demand_apart(call, network, traffictype, kvmnetworklabel)
    kind = TrafficType(
        physical_network_id=network.id,
        traffic_type=traffictype,
        kvm_label=_label(kvmnetworklabel),
        live=f"{network.id}/{traffictype}",
    )
    taken = f"The physical network {network.name} has the traffic type {traffictype} already."
    call.subject = call.add(kind, taken=taken)
    return call.job_done(kind)


def _demand_apart(call: Call, network: PhysicalNetwork, kind: str, label: str | None) -> None:
    """:raises Invalid: another physical network of the zone has its guests' VLANs on that bridge: they would be one"""
    if kind != "Guest" or not is_vlan(network):
        return
    hold(call, call.session.get_one(Zone, network.zone_id))
    others = (
        select(PhysicalNetwork, TrafficType.kvm_label)
        .join(TrafficType, TrafficType.physical_network_id == PhysicalNetwork.id)
        .where(PhysicalNetwork.zone_id == network.zone_id, PhysicalNetwork.id != network.id)
        .where(PhysicalNetwork.removed.is_(None), TrafficType.removed.is_(None), TrafficType.traffic_type == "Guest")
    )
    wanted = label or TRUNK_BRIDGE
    for other, theirs in call.session.execute(others):
        if is_vlan(other) and (theirs or TRUNK_BRIDGE) == wanted:
            raise Invalid(f"The VLANs of the physical network {other.name} are on the bridge {wanted} of the hosts "
                          "already; kvmnetworklabel must name another one.")  # fmt: skip


def _label(text: str | None) -> str:
    if text and not LABEL.fullmatch(text):
        raise Invalid(f"The kvmnetworklabel {text} is not the name of a bridge, of at most 15 characters.")
    return text or ""


@command("updateTrafficType", UpdateTrafficType, TrafficTypeResponse, is_async=True, event="TRAFFIC.TYPE.UPDATE")
def update_traffic_type(call: Call, id: TrafficType, kvmnetworklabel: str | None) -> WorkflowRow:
    """Change the bridge of a traffic type; routers that are there take it with their next change."""
    if kvmnetworklabel is not None:
        _demand_apart(
            call, call.session.get_one(PhysicalNetwork, id.physical_network_id), id.traffic_type, kvmnetworklabel
        )
        id.kvm_label = _label(kvmnetworklabel)
    return call.job_done(id)


@command("deleteTrafficType", DeleteTrafficType, SuccessResponse, is_async=True, event="TRAFFIC.TYPE.DELETE")
def delete_traffic_type(call: Call, id: TrafficType) -> WorkflowRow:
    """Take a kind of traffic off a physical network that carries none of it."""
    contents = {
        "Guest": ("networks", Network, Network.physical_network_id == id.physical_network_id),
        "Public": ("public address ranges", VlanIpRange, VlanIpRange.physical_network_id == id.physical_network_id),
    }
    if id.traffic_type in contents:
        refuse_while(call, f"The traffic type {id.traffic_type}", [contents[id.traffic_type]])
    id.remove()
    return call.job_done(id)
