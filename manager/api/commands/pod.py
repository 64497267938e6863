"""Pods: parts of a zone, with the addresses of its hosts' management."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from manager.api.call import Call
from manager.api.command import Given, ListRequest, Page, Request, command
from manager.api.commands.capacity import CapacityResponse, capacities_of
from manager.api.commands.ipv4 import Span, span
from manager.api.commands.place import (
    ALLOCATION_STATES,
    hold,
    named,
    narrowed,
    places_of,
    refuse_while,
    rename,
    with_keyword,
)
from manager.api.errors import Invalid
from manager.api.fields import Choice, Flag, Ref, Text
from manager.api.response import Many, Response, Shown, Str, SuccessResponse
from manager.models import Cluster, Host, Pod, StoragePool, Zone


class IpRangeResponse(Response):
    startip = Str("the first address")
    endip = Str("the last address")
    forsystemvms = Str("whether it is for system virtual machines: 0")


class PodResponse(Response):
    object_key = "pod"
    shows = Pod
    id = Str("the pod's id")
    name = Str("its name")
    zoneid = Str("the id of its zone")
    zonename = Str("the name of its zone")
    gateway = Str("the gateway of its subnet")
    netmask = Str("the netmask of its subnet")
    startip = Many("the first address of each of its ranges")
    endip = Many("the last address of each of its ranges")
    ipranges = Many("its ranges", IpRangeResponse)
    allocationstate = Str("whether new things are placed in it: Enabled or Disabled")
    capacity = Many("its capacities, where showcapacities asks for them", CapacityResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[Pod]) -> list[Shown]:
        zones = places_of(call, rows, Zone)
        amounts = capacities_of(call, rows) if call.parameters.get("showcapacities") else {}
        return [
            {
                "id": row.id,
                "name": row.name,
                "zoneid": row.zone_id,
                "zonename": zones[row.zone_id],
                "gateway": row.gateway,
                "netmask": row.netmask,
                "startip": [row.start_ip],
                "endip": [row.end_ip] if row.end_ip else [],
                "ipranges": [{"startip": row.start_ip, "endip": row.end_ip, "forsystemvms": "0"}],
                "allocationstate": row.allocation_state,
                "capacity": amounts.get(row.id),
            }
            for row in rows
        ]


class CreatePod(Request):
    name = Text("its name, new in the zone", required=True)
    zoneid = Ref(Zone, "the zone", required=True)
    gateway = Text("the gateway of its subnet; needed")
    netmask = Text("the netmask of its subnet; needed")
    startip = Text("the first address that is the pod's; needed")
    endip = Text("the last one; the last of the subnet when absent")
    allocationstate = Choice("Enabled, which it is when absent, or Disabled", ALLOCATION_STATES)


class ListPods(ListRequest):
    id = Ref(Pod, "only this pod")
    zoneid = Ref(Zone, "only pods of this zone")
    name = Text("only pods of this name")
    allocationstate = Text("only pods in this allocation state")
    showcapacities = Flag("show the capacities too", default=False)


class UpdatePod(Request):
    id = Ref(Pod, "the pod", required=True)
    name = Text("another name")
    gateway = Text("another gateway")
    netmask = Text("another netmask")
    startip = Text("another first address")
    endip = Text("another last address")
    allocationstate = Choice("whether new things are placed in it: Enabled or Disabled", ALLOCATION_STATES)


class DeletePod(Request):
    id = Ref(Pod, "the pod, which must be empty", required=True)


@command("listPods", ListPods, PodResponse)
def list_pods(call: Call, **filters: Any) -> Page:
    """List pods."""
    call.parameters["showcapacities"] = filters["showcapacities"]
    columns = {"id": Pod.id, "zoneid": Pod.zone_id, "name": Pod.name, "allocationstate": Pod.allocation_state}
    query = narrowed(select(Pod).where(Pod.removed.is_(None)), filters, columns)
    return call.paged(with_keyword(query, filters["keyword"], Pod.name).order_by(Pod.name, Pod.id))


@command("createPod", CreatePod, PodResponse, creates=True, event="POD.CREATE")
def create_pod(call: Call, given: Given) -> Pod:
    """Make a pod in a zone."""
    zone: Zone = given.zoneid
    hold(call, zone)
    addresses = span(given.gateway, given.netmask, given.startip, given.endip)
    _refuse_overlap(call, zone.id, addresses)
    name = named("pod", given.name)
    pod = Pod(
        zone_id=zone.id,
        name=name,
        allocation_state=given.allocationstate or "Enabled",
        live=f"{zone.id}/{name.lower()}",
        **_columns(addresses),
    )
    made: Pod = call.add(pod, taken=f"The zone {zone.name} has a pod named {name} already.")
    return made


def _columns(addresses: Span) -> dict[str, str]:
    return {
        "gateway": str(addresses.gateway),
        "netmask": str(addresses.subnet.netmask),
        "start_ip": str(addresses.first),
        "end_ip": str(addresses.last),
    }


def _refuse_overlap(call: Call, zone_id: str, addresses: Span, *, but: Pod | None = None) -> None:
    """:raises Invalid: another pod of the zone has some of the addresses"""
    query = select(Pod).where(Pod.zone_id == zone_id, Pod.removed.is_(None))
    for pod in call.session.scalars(query):
        if pod is not but and addresses.overlaps(pod.start_ip, pod.end_ip or pod.start_ip):
            raise Invalid(f"The range {addresses} overlaps that of the pod {pod.name}, {pod.start_ip}-{pod.end_ip}.")


@command("updatePod", UpdatePod, PodResponse, event="POD.EDIT")
def update_pod(call: Call, given: Given) -> Pod:
    """Change a pod."""
    pod: Pod = given.id
    if given.name is not None:
        rename(call, pod, given.name, f"{pod.zone_id}/")
    if any((given.gateway, given.netmask, given.startip, given.endip)):
        addresses = span(
            given.gateway or pod.gateway,
            given.netmask or pod.netmask,
            given.startip or pod.start_ip,
            given.endip or pod.end_ip,
        )
        _refuse_overlap(call, pod.zone_id, addresses, but=pod)
        for column, value in _columns(addresses).items():
            setattr(pod, column, value)
    if given.allocationstate is not None:
        pod.allocation_state = given.allocationstate
    return pod


@command("deletePod", DeletePod, SuccessResponse, event="POD.DELETE")
def delete_pod(call: Call, id: Pod) -> bool:
    """Remove a pod that has nothing in it."""
    hold(call, id)
    contents = (("clusters", Cluster), ("hosts", Host), ("storage pools", StoragePool))
    refuse_while(call, f"The pod {id.name}", [(name, model, model.pod_id == id.id) for name, model in contents])
    id.remove()
    return True
