"""Physical networks: the networks of a zone's data centre, with the keys of tenant networks on them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select

from manager.api.call import Call
from manager.api.command import Given, ListRequest, Page, Request, command
from manager.api.commands.place import (
    ALLOCATION_STATES,
    hold,
    named,
    narrowed,
    places_of,
    refuse_while,
    with_keyword,
)
from manager.api.commands.service_provider import add_provider, remove_providers
from manager.api.errors import Invalid
from manager.api.fields import Choice, ListOf, Ref, Text
from manager.api.response import Response, Shown, Str, SuccessResponse
from manager.db import write
from manager.models import (
    HardwareDevice,
    KeyRange,
    Network,
    PhysicalNetwork,
    TrafficType,
    VlanIpRange,
    WorkflowRow,
    Zone,
)
from network import catalog
from network.overlays import OVERLAYS, Overlay, overlay_named


class PhysicalNetworkResponse(Response):
    object_key = "physicalnetwork"
    shows = PhysicalNetwork
    id = Str("the physical network's id")
    name = Str("its name")
    zoneid = Str("the id of its zone")
    zonename = Str("the name of its zone")
    state = Str("Enabled or Disabled")
    isolationmethods = Str("how tenant networks on it are kept apart: GRE, VXLAN or VLAN")
    broadcastdomainrange = Str("how far a broadcast reaches: ZONE or POD")
    vlan = Str("the keys of tenant networks on it, as first-last")
    tags = Str("its tags, separated by commas")

    @classmethod
    def render(cls, call: Call, rows: Sequence[PhysicalNetwork]) -> list[Shown]:
        zones = places_of(call, rows, Zone)
        return [
            {
                "id": row.id,
                "name": row.name,
                "zoneid": row.zone_id,
                "zonename": zones[row.zone_id],
                "state": row.state,
                "isolationmethods": row.isolation_methods,
                "broadcastdomainrange": row.broadcast_domain_range,
                "vlan": row.vlan or None,
                "tags": row.tags or None,
            }
            for row in rows
        ]


class CreatePhysicalNetwork(Request):
    zoneid = Ref(Zone, "the zone", required=True)
    name = Text("its name, new in the zone", required=True)
    isolationmethods = ListOf(Text("a method"), "how tenant networks are kept apart: GRE, the default, VXLAN or VLAN")
    vlan = Text(
        "the keys of tenant networks on it, as first-last; all that GRE (32 bits), VXLAN (24) or VLAN (1-4094) has "
        "when absent"
    )
    broadcastdomainrange = Choice("how far a broadcast reaches: ZONE, which it is when absent, or POD", ["ZONE", "POD"])
    tags = ListOf(Text("a tag"), "its tags")


class ListPhysicalNetworks(ListRequest):
    id = Ref(PhysicalNetwork, "only this physical network")
    zoneid = Ref(Zone, "only physical networks of this zone")
    name = Text("only physical networks of this name")


class UpdatePhysicalNetwork(Request):
    id = Ref(PhysicalNetwork, "the physical network", required=True)
    state = Choice("Enabled or Disabled", ALLOCATION_STATES)
    vlan = Text("the keys of further tenant networks on it, as first-last")
    tags = ListOf(Text("a tag"), "its tags, instead of those it has")


class DeletePhysicalNetwork(Request):
    id = Ref(PhysicalNetwork, "the physical network, which nothing may be on", required=True)


@command("listPhysicalNetworks", ListPhysicalNetworks, PhysicalNetworkResponse)
def list_physical_networks(call: Call, **filters: Any) -> Page:
    """List physical networks."""
    columns = {"id": PhysicalNetwork.id, "zoneid": PhysicalNetwork.zone_id, "name": PhysicalNetwork.name}
    query = narrowed(select(PhysicalNetwork).where(PhysicalNetwork.removed.is_(None)), filters, columns)
    query = with_keyword(query, filters["keyword"], PhysicalNetwork.name)
    return call.paged(query.order_by(PhysicalNetwork.name, PhysicalNetwork.id))


@command(
    "createPhysicalNetwork",
    CreatePhysicalNetwork,
    PhysicalNetworkResponse,
    is_async=True,
    creates=True,
    event="PHYSICAL.NETWORK.CREATE",
)
def create_physical_network(call: Call, given: Given) -> WorkflowRow:
    """Make a physical network in a zone. It carries nothing until it is enabled."""
    zone: Zone = given.zoneid
    hold(call, zone)
    if zone.is_flat:
        _demand_flat(call, zone, given)
    overlay = _overlay(given.isolationmethods or ["VLAN"] * zone.is_flat)
    first, last = keys_of(given.vlan, overlay)
    name = named("physical network", given.name)
    network = PhysicalNetwork(
        zone_id=zone.id,
        name=name,
        isolation_methods=overlay.name,
        broadcast_domain_range=given.broadcastdomainrange or "ZONE",
        tags=_tags(given.tags or []),
        vlan=given.vlan or "",
        key_start=first,
        key_end=last,
        live=f"{zone.id}/{name.lower()}",
    )
    call.subject = call.add(network, taken=f"The zone {zone.name} has a physical network named {name} already.")
    for provider in catalog.PROVIDERS:
        if provider not in catalog.OF_DEVICES:
            add_provider(call, network, provider)
    return call.job_done(network)


def _demand_flat(call: Call, zone: Zone, given: Given) -> None:
    """:raises Invalid: the zone has a physical network already, or there is no use for a parameter"""
    others = select(PhysicalNetwork.name).where(PhysicalNetwork.zone_id == zone.id, PhysicalNetwork.removed.is_(None))
    other = call.session.scalar(others.limit(1))
    if other is not None:
        raise Invalid(f"The zone {zone.name} is Basic; it has one physical network, which is {other}.")
    if given.vlan:
        raise Invalid(f"The zone {zone.name} is Basic; its one network has its vlan by createNetwork.")
    strange = [method for method in given.isolationmethods or [] if method.upper() != "VLAN"]
    if strange:
        raise Invalid(f"The zone {zone.name} is Basic, without an overlay; {strange[0]} is not possible, VLAN alone.")


def _overlay(methods: list[str]) -> Overlay:
    """What is wanted to carry tenant networks.

    :raises Invalid: an isolation method is not possible, or there are two
    """
    known = ", ".join(overlay.name for overlay in OVERLAYS.values())
    found = []
    for method in methods:
        name = overlay_named(method)
        if name is None:
            raise Invalid(f"The isolation method {method} is not possible; tenant networks are kept apart by {known}.")
        found.append(OVERLAYS[name])
    if len(set(found)) > 1:
        raise Invalid(f"A physical network has one isolation method of {known}; make another one for the other.")
    return found[0] if found else next(iter(OVERLAYS.values()))


def overlay_of(physical: PhysicalNetwork) -> Overlay:
    """What carries the tenant networks of the physical network."""
    return OVERLAYS[str(overlay_named(physical.isolation_methods))]


def keys_of(text: str | None, overlay: Overlay) -> tuple[int, int]:
    """The first and the last key of a range such as 1000-1999.

    :raises Invalid: it is none, or the overlay does not count that far
    """
    if not text:
        return 1, overlay.largest_key
    match = re.fullmatch(r"([0-9]{1,10})(?:-([0-9]{1,10}))?", text)
    if match is None:
        raise Invalid(f"The vlan {text} is not one range of {overlay.name} keys such as 1000-1999.")
    first = int(match[1])
    last = int(match[2] or first)
    if not 1 <= first <= last <= overlay.largest_key:
        raise Invalid(
            f"The vlan {text} is not a range of {overlay.name} keys: from 1 to {overlay.largest_key}, "
            "the lower one first."
        )
    return first, last


def _tags(tags: list[str]) -> str:
    text = ",".join(dict.fromkeys(tags))
    if len(text) > Text.length:
        raise Invalid(f"The tags have {len(text)} characters together; at most {Text.length} are possible.")
    return text


@command(
    "updatePhysicalNetwork",
    UpdatePhysicalNetwork,
    PhysicalNetworkResponse,
    is_async=True,
    event="PHYSICAL.NETWORK.UPDATE",
)
def update_physical_network(
    call: Call, id: PhysicalNetwork, state: str | None, vlan: str | None, tags: list[str] | None
) -> WorkflowRow:
    """Change a physical network. Tenant networks that are there keep their keys."""
    if state is not None:
        id.state = state
    if vlan is not None:
        id.key_start, id.key_end = keys_of(vlan, overlay_of(id))
        id.vlan = vlan
    if tags is not None:
        id.tags = _tags(tags)
    return call.job_done(id)


@command(
    "deletePhysicalNetwork", DeletePhysicalNetwork, SuccessResponse, is_async=True, event="PHYSICAL.NETWORK.DELETE"
)
def delete_physical_network(call: Call, id: PhysicalNetwork) -> WorkflowRow:
    """Remove a physical network that nothing is on, with its traffic types."""
    hold(call, id)
    contents = (
        ("networks", Network, Network.physical_network_id == id.id),
        ("public address ranges", VlanIpRange, VlanIpRange.physical_network_id == id.id),
        ("hardware devices", HardwareDevice, HardwareDevice.physical_network_id == id.id),
    )
    refuse_while(call, f"The physical network {id.name}", contents)
    own = select(TrafficType).where(TrafficType.physical_network_id == id.id, TrafficType.removed.is_(None))
    for kind in call.session.scalars(own):
        kind.remove()
    remove_providers(call, id)
    write(call.session, delete(KeyRange).where(KeyRange.physical_network_id == id.id))
    id.remove()
    return call.job_done(id)
