"""Zones: data centres, each with its own hosts, storage and networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from manager import access, configuration
from manager.api.call import Call
from manager.api.command import EVERYONE, Given, IconListRequest, Page, Request, command
from manager.api.commands.capacity import CapacityResponse, capacities_of
from manager.api.commands.dedication import keep
from manager.api.commands.ipv4 import address, cidr, optional_address
from manager.api.commands.network_traits import MTU_OF_USERS, MTUS
from manager.api.commands.place import (
    ALLOCATION_STATES,
    hold,
    named,
    narrowed,
    network_domain,
    refuse_while,
    rename,
    with_keyword,
)
from manager.api.commands.tag import TagResponse
from manager.api.errors import Invalid
from manager.api.fields import Choice, Flag, ListOf, MapOf, Ref, Text
from manager.api.response import Bool, Int, Many, Response, Shown, Str, SuccessResponse
from manager.api.rows import tags_of
from manager.models import (
    Dedication,
    Domain,
    Host,
    ImageStore,
    Network,
    PhysicalNetwork,
    Pod,
    StoragePool,
    Tag,
    TrafficType,
    VlanIpRange,
    Vm,
    Volume,
    Zone,
)
from manager.models.topology import BASIC

DEFAULT_GUEST_CIDR = "10.1.1.0/24"
SETTABLE = {
    "dns1": "dns1",
    "dns2": "dns2",
    "internaldns1": "internal_dns1",
    "internaldns2": "internal_dns2",
}


class ZoneResponse(Response):
    object_key = "zone"
    shows = Zone
    id = Str("the zone's id")
    name = Str("its name")
    description = Str("what it is")
    networktype = Str("always Advanced")
    type = Str("always Core")
    allocationstate = Str("whether new things are placed in it: Enabled or Disabled")
    securitygroupsenabled = Bool("whether all networks that are made in it have security groups")
    localstorageenabled = Bool("whether volumes may be on a host's own disks")
    domain = Str("the DNS suffix of its networks")
    dhcpprovider = Str("who serves DHCP: VirtualRouter")
    dns1 = Str("the first name server of its guests", root_only=True)
    dns2 = Str("the second one", root_only=True)
    internaldns1 = Str("the first name server of its own parts", root_only=True)
    internaldns2 = Str("the second one", root_only=True)
    guestcidraddress = Str("the addresses of a guest network that names none", root_only=True)
    domainid = Str("the id of the domain that it is kept for", root_only=True)
    domainname = Str("the domain that it is kept for", root_only=True)
    allowuserspecifyvrmtu = Bool("whether users may choose the MTUs of their networks")
    routerprivateinterfacemaxmtu = Int("the largest MTU of virtual machines")
    routerpublicinterfacemaxmtu = Int("the largest MTU of the public interfaces of routers")
    capacity = Many("its capacities, where showcapacities asks for them", CapacityResponse, root_only=True)
    tags = Many("its tags", TagResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[Zone]) -> list[Shown]:
        tags = tags_of(call, rows)
        amounts = capacities_of(call, rows) if call.parameters.get("showcapacities") else {}
        keepers = _keepers_of(call, rows)
        return [
            {
                **_shown(row),
                **_mtus_of(call, row),
                **keepers.get(row.id, {}),
                "tags": tags[row.id],
                "capacity": amounts.get(row.id),
            }
            for row in rows
        ]


def _keepers_of(call: Call, rows: Sequence[Zone]) -> dict[str, Shown]:
    """By zone id: the domain that all of it is kept for; for root administrators alone."""
    if not call.is_root_admin:
        return {}
    query = select(Dedication.resource_id, Domain.id, Domain.name).join(Domain, Domain.id == Dedication.domain_id)
    query = query.where(Dedication.resource_id.in_([row.id for row in rows]), Dedication.account_id.is_(None))
    return {zone_id: {"domainid": key, "domainname": name} for zone_id, key, name in call.session.execute(query)}


def _mtus_of(call: Call, zone: Zone) -> Shown:
    names = {
        "allowuserspecifyvrmtu": MTU_OF_USERS,
        "routerprivateinterfacemaxmtu": MTUS["privatemtu"][1],
        "routerpublicinterfacemaxmtu": MTUS["publicmtu"][1],
    }
    return {field: configuration.value(call.session, setting, zone) for field, setting in names.items()}


def _shown(zone: Zone) -> Shown:
    return {
        "id": zone.id,
        "name": zone.name,
        "description": zone.description or None,
        "networktype": zone.network_type,
        "type": "Core",
        "allocationstate": zone.allocation_state,
        "securitygroupsenabled": zone.security_groups,
        "localstorageenabled": zone.local_storage,
        "domain": zone.network_domain,
        "dhcpprovider": "VirtualRouter",
        "dns1": zone.dns1,
        "dns2": zone.dns2,
        "internaldns1": zone.internal_dns1,
        "internaldns2": zone.internal_dns2,
        "guestcidraddress": None if zone.is_flat else zone.guest_cidr,
    }


class CreateZone(Request):
    name = Text("its name, new in the cloud", required=True)
    networktype = Choice(
        "Advanced, or Basic: one flat network for all guests, with security groups", ["Advanced", BASIC], required=True
    )
    dns1 = Text("the first name server of its guests", required=True)
    dns2 = Text("the second one")
    internaldns1 = Text("the first name server of its own parts", required=True)
    internaldns2 = Text("the second one")
    guestcidraddress = Text(f"the addresses of guest networks that name none; {DEFAULT_GUEST_CIDR} when absent")
    domain = Text("the DNS suffix of its networks")
    domainid = Ref(Domain, "the domain that it is kept for, with all below it")
    allocationstate = Choice("Enabled or Disabled, which it is at first when absent", ALLOCATION_STATES)
    localstorageenabled = Flag("whether volumes may be on a host's own disks", default=False)
    securitygroupenabled = Flag(
        "whether all networks that are made in it must have security groups, as in Basic zones; false when absent",
        default=False,
    )


class ListZones(IconListRequest):
    id = Ref(Zone, "only this zone")
    ids = ListOf(Ref(Zone, "a zone"), "only these zones")
    name = Text("only the zone of this name")
    networktype = Text("only zones of this kind of network")
    domainid = Ref(Domain, "only zones that are kept for this domain")
    available = Flag("false: only zones where the caller has virtual machines", default=True)
    showcapacities = Flag("show the capacities too", default=False)
    tags = MapOf("only zones with all of these tags")


class UpdateZone(Request):
    id = Ref(Zone, "the zone", required=True)
    name = Text("another name")
    dns1 = Text("another first name server of its guests")
    dns2 = Text("another second one; none where it is empty")
    internaldns1 = Text("another first name server of its own parts")
    internaldns2 = Text("another second one; none where it is empty")
    guestcidraddress = Text("other addresses of guest networks that name none")
    domain = Text("another DNS suffix of its networks; none where it is empty")
    allocationstate = Choice("whether new things are placed in it: Enabled or Disabled", ALLOCATION_STATES)
    localstorageenabled = Flag("whether volumes may be on a host's own disks")


class DeleteZone(Request):
    id = Ref(Zone, "the zone, which must be empty", required=True)


@command("listZones", ListZones, ZoneResponse, roles=EVERYONE)
def list_zones(call: Call, **filters: Any) -> Page:
    """List zones."""
    call.parameters["showcapacities"] = filters["showcapacities"] and call.is_root_admin
    columns = {"id": Zone.id, "name": Zone.name, "networktype": Zone.network_type}
    query = narrowed(select(Zone).where(access.visible(call, Zone)), filters, columns)
    if filters["domainid"] is not None:
        kept = select(Dedication.resource_id).where(Dedication.domain_id == filters["domainid"].id)
        query = query.where(Zone.id.in_(kept.where(Dedication.account_id.is_(None))))
    if filters["ids"]:
        query = query.where(Zone.id.in_([zone.id for zone in filters["ids"]]))
    if not filters["available"]:
        query = query.where(Zone.id.in_(select(Vm.zone_id).where(access.visible(call, Vm))))
    for key, value in (filters["tags"] or {}).items():
        query = query.where(Zone.id.in_(select(Tag.resource_id).where(Tag.key == key, Tag.value == value)))
    return call.paged(with_keyword(query, filters["keyword"], Zone.name).order_by(Zone.name, Zone.id))


@command("createZone", CreateZone, ZoneResponse, creates=True, event="ZONE.CREATE")
def create_zone(call: Call, given: Given) -> Zone:
    """Make a zone. It takes nothing in until it is enabled."""
    name = named("zone", given.name)
    if given.networktype == BASIC and given.guestcidraddress:
        raise Invalid("The parameter guestcidraddress is not for Basic zones: their guests have addresses of the "
                      "physical network.")  # fmt: skip
    zone = Zone(
        name=name,
        network_type=given.networktype,
        allocation_state=given.allocationstate or "Disabled",
        dns1=str(address("dns1", given.dns1)),
        dns2=optional_address("dns2", given.dns2),
        internal_dns1=str(address("internaldns1", given.internaldns1)),
        internal_dns2=optional_address("internaldns2", given.internaldns2),
        guest_cidr=cidr("guestcidraddress", given.guestcidraddress or DEFAULT_GUEST_CIDR),
        network_domain=network_domain(given.domain),
        local_storage=given.localstorageenabled,
        security_groups=given.securitygroupenabled or given.networktype == BASIC,
        live=name.lower(),
    )
    made: Zone = call.add(zone, taken=f"A zone named {name} exists already.")
    if given.domainid is not None:
        keep(call, made, given.domainid, None)
    return made


@command("updateZone", UpdateZone, ZoneResponse, event="ZONE.EDIT")
def update_zone(call: Call, given: Given) -> Zone:
    """Change a zone."""
    zone: Zone = given.id
    if given.name is not None:
        rename(call, zone, given.name)
    for parameter, column in SETTABLE.items():
        text = given.values[parameter]
        if text is not None:
            read = optional_address if parameter.endswith("2") else address
            found = read(parameter, text)
            setattr(zone, column, None if found is None else str(found))
    if given.guestcidraddress is not None:
        if zone.is_flat:
            raise Invalid(f"The zone {zone.name} is Basic; guestcidraddress is not for it.")
        zone.guest_cidr = cidr("guestcidraddress", given.guestcidraddress)
    if given.domain is not None:
        zone.network_domain = network_domain(given.domain)
    if given.localstorageenabled is not None:
        zone.local_storage = given.localstorageenabled
    if given.allocationstate is not None:
        _allocate(call, zone, given.allocationstate)
    return zone


def _allocate(call: Call, zone: Zone, state: str) -> None:
    """:raises Invalid: the zone would be enabled without a network for its guests"""
    if state == "Enabled" and zone.allocation_state != "Enabled":
        guests = (
            select(TrafficType.id)
            .join(PhysicalNetwork, PhysicalNetwork.id == TrafficType.physical_network_id)
            .where(PhysicalNetwork.zone_id == zone.id, PhysicalNetwork.removed.is_(None))
            .where(TrafficType.traffic_type == "Guest", TrafficType.removed.is_(None))
        )
        if call.session.scalar(guests.limit(1)) is None:
            raise Invalid(
                f"The zone {zone.name} cannot be enabled: none of its physical networks has the traffic type Guest."
            )
    zone.allocation_state = state


@command("deleteZone", DeleteZone, SuccessResponse, event="ZONE.DELETE")
def delete_zone(call: Call, id: Zone) -> bool:
    """Remove a zone that has nothing in it."""
    hold(call, id)
    contents = (
        ("pods", Pod), ("hosts", Host), ("virtual machines", Vm), ("volumes", Volume), ("networks", Network),
        ("public address ranges", VlanIpRange), ("physical networks", PhysicalNetwork),
        ("storage pools", StoragePool), ("image stores", ImageStore),
    )  # fmt: skip
    refuse_while(call, f"The zone {id.name}", [(name, model, model.zone_id == id.id) for name, model in contents])
    id.remove()
    return True
