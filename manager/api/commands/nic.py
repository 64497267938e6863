"""NICs of virtual machines, alone and as part of other responses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import inspect, select

from manager.api.call import Call
from manager.api.command import EVERYONE, ListRequest, Page, command
from manager.api.fields import Ref
from manager.api.response import Bool, Int, Many, Response, Shown, Str
from manager.api.rows import by_id
from manager.models import Network, Nic, NicAddress, Vm
from network import overlays


class SecondaryAddressResponse(Response):
    """A further address inside the answer about its NIC."""

    id = Str("the further address's id")
    ipaddress = Str("the IPv4 address")


class NicResponse(Response):
    object_key = "nic"
    shows = Nic
    id = Str("the NIC's id")
    deviceid = Str("its place among the NICs of the virtual machine, from 0")
    networkid = Str("the id of its network")
    networkname = Str("the name of its network")
    netmask = Str("the network's netmask")
    gateway = Str("the network's gateway")
    ipaddress = Str("its IPv4 address")
    macaddress = Str("its MAC address")
    mtu = Int("the network's MTU")
    traffictype = Str("always Guest")
    type = Str("the kind of network: Isolated")
    isdefault = Bool("whether the default route is by this NIC")
    broadcasturi = Str("the tunnel of the network: gre:// or vxlan://, and its key", root_only=True)
    isolationuri = Str("the same as broadcasturi", root_only=True)
    secondaryip = Many("its further addresses", SecondaryAddressResponse)
    virtualmachineid = Str("the id of its virtual machine")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Any]) -> list[Shown]:
        """`rows` are Nic entities, or rows of their columns."""
        networks = by_id(call, Network, (row.network_id for row in rows))
        further = _further(call, rows) if any(network.rules_wanted for network in networks.values()) else {}
        return [{**_describe(row, networks[row.network_id]), "secondaryip": further.get(row.id, [])} for row in rows]


def _further(call: Call, rows: Sequence[Any]) -> dict[str, list[Shown]]:
    """By NIC id. Networks that never had a rule have no further addresses either."""
    query = select(NicAddress).where(NicAddress.nic_id.in_([row.id for row in rows])).order_by(NicAddress.address)
    found: dict[str, list[Shown]] = {}
    for one in call.session.scalars(query):
        found.setdefault(one.nic_id, []).append({"id": one.id, "ipaddress": one.address})
    return found


def _describe(nic: Any, network: Network) -> Shown:
    uri = overlays.uri(network.overlay, network.key)
    return {
        "id": nic.id,
        "deviceid": str(nic.device),
        "networkid": network.id,
        "networkname": network.name,
        "netmask": network.netmask or None,
        "gateway": network.gateway or None,
        "ipaddress": nic.address,
        "macaddress": nic.mac,
        "mtu": network.mtu,
        "traffictype": "Guest",
        "type": network.guest_type,
        "isdefault": nic.is_default,
        "broadcasturi": uri,
        "isolationuri": uri,
        "virtualmachineid": nic.vm_id,
    }


def for_vms(call: Call, vm_ids: Iterable[str]) -> dict[str, list[Shown]]:
    """By VM id: its NICs as `NicResponse` renders them, the default one first. Three statements at most."""
    return _shown_by(call, Nic.vm_id, vm_ids)


def for_routers(call: Call, router_ids: Iterable[str]) -> dict[str, list[Shown]]:
    """As `for_vms`, for routers."""
    return _shown_by(call, Nic.router_id, router_ids)


def _shown_by(call: Call, column: Any, owner_ids: Iterable[str]) -> dict[str, list[Shown]]:
    found: dict[str, list[Shown]] = {owner_id: [] for owner_id in owner_ids}
    if not found:
        return found
    query = select(*inspect(Nic).columns).where(column.in_(found))
    nics: Sequence[Any] = call.session.execute(query.order_by(Nic.is_default.desc(), Nic.device, Nic.id)).all()
    for nic, shown in zip(nics, NicResponse.render(call, nics), strict=True):
        found[nic.vm_id or nic.router_id].append(shown)
    return found


class ListNics(ListRequest):
    virtualmachineid = Ref(Vm, "the virtual machine whose NICs are listed", required=True)
    nicid = Ref(Nic, "only this NIC")
    networkid = Ref(Network, "only NICs in this network")


@command("listNics", ListNics, NicResponse, roles=EVERYONE)
def list_nics(call: Call, virtualmachineid: Vm, **filters: Any) -> Page:
    """List the NICs of a virtual machine."""
    query = select(Nic).where(Nic.vm_id == virtualmachineid.id)
    if filters["nicid"] is not None:
        query = query.where(Nic.id == filters["nicid"].id)
    if filters["networkid"] is not None:
        query = query.where(Nic.network_id == filters["networkid"].id)
    if filters["keyword"]:
        query = query.where(Nic.address.contains(filters["keyword"], autoescape=True))
    return call.paged(query.order_by(Nic.device, Nic.id))
