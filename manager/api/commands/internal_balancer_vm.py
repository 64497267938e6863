"""The appliances of load balancers inside VPCs, as administrators see them: one for each address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, select

from manager import access
from manager.api.call import Call
from manager.api.command import AccountListRequest, Page, Request, command
from manager.api.commands.nic import NicResponse
from manager.api.commands.place import narrowed, with_keyword
from manager.api.fields import Choice, Flag, Ref, Text
from manager.api.response import Bool, Many, Response, Shown, Str, When
from manager.api.rows import by_id, owners_of
from manager.models import (
    BalancerAppliance,
    Host,
    Network,
    Nic,
    NicAddress,
    Pod,
    Router,
    Vpc,
    WorkflowRow,
    Zone,
)
from manager.models.states import ROUTER_MOVES
from manager.workflows.balancer_appliance import start_appliance, stop_appliance


class Place(NamedTuple):
    """Where the router of a VPC is, which carries its appliances."""

    host: Host | None
    pod: Pod | None


class BalancerApplianceResponse(Response):
    object_key = "internalloadbalancervm"
    shows = BalancerAppliance
    has_jobs = True
    id = Str("the appliance's id")
    name = Str("its name")
    state = Str("Running, Stopped, or on the way there")
    created = When("when it was made")
    role = Str("always INTERNAL_LB_VM")
    requiresupgrade = Bool("always false")
    isredundantrouter = Bool("always false")
    zoneid = Str("the id of its zone")
    zonename = Str("the name of its zone")
    podid = Str("the id of its host's pod", root_only=True)
    podname = Str("the name of its host's pod", root_only=True)
    hostid = Str("the id of the host that runs the VPC's router, which carries it", root_only=True)
    hostname = Str("the name of that host", root_only=True)
    hypervisor = Str("the kind of that host", root_only=True)
    vpcid = Str("the id of its VPC")
    vpcname = Str("the name of its VPC")
    networkdomain = Str("the DNS suffix of its tier")
    guestnetworkid = Str("the id of its tier")
    guestnetworkname = Str("the name of its tier")
    guestipaddress = Str("the address that it balances at")
    guestmacaddress = Str("the MAC address there, which is the router's")
    guestnetmask = Str("the netmask of the tier")
    account = Str("the account that owns the tier")
    projectid = Str("the id of the project that owns it, in place of the account")
    project = Str("the project that owns it")
    domainid = Str("the id of the owner's domain")
    domain = Str("the owner's domain")
    domainpath = Str("the path of the owner's domain")
    nic = Many("its NIC", NicResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[BalancerAppliance]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        networks = by_id(call, Network, (row.network_id for row in rows))
        vpcs = by_id(call, Vpc, (network.vpc_id for network in networks.values()))
        zones = by_id(call, Zone, (row.zone_id for row in rows))
        places = _places_of(call, list(vpcs))
        macs = _macs_of(call, list(networks))
        return [
            {
                **_described(row, zones[row.zone_id]),
                **_of_tier(row, networks[row.network_id], macs),
                "vpcid": networks[row.network_id].vpc_id,
                "vpcname": vpcs[networks[row.network_id].vpc_id].name,
                **_of_place(places.get(networks[row.network_id].vpc_id)),
                **owners[row.account_id],
            }
            for row in rows
        ]


def _described(row: BalancerAppliance, zone: Zone) -> Shown:
    return {
        "id": row.id,
        "name": row.name,
        "state": row.state,
        "created": row.created,
        "role": "INTERNAL_LB_VM",
        "requiresupgrade": False,
        "isredundantrouter": False,
        "zoneid": zone.id,
        "zonename": zone.name,
    }


def _of_tier(row: BalancerAppliance, network: Network, macs: dict[tuple[str, str], tuple[str, str]]) -> Shown:
    key, mac = macs.get((network.id, row.address), (None, None))
    nic = {
        "id": key, "networkid": network.id, "networkname": network.name, "ipaddress": row.address,
        "macaddress": mac, "netmask": network.netmask, "gateway": network.gateway, "traffictype": "Guest",
        "isdefault": True,
    }  # fmt: skip
    return {
        "networkdomain": network.network_domain,
        "guestnetworkid": network.id,
        "guestnetworkname": network.name,
        "guestipaddress": row.address,
        "guestmacaddress": mac,
        "guestnetmask": network.netmask,
        "nic": [nic] if key is not None else [],
    }


def _of_place(place: Place | None) -> Shown:
    if place is None or place.host is None or place.pod is None:
        return {}
    return {
        "hostid": place.host.id,
        "hostname": place.host.name,
        "hypervisor": place.host.hypervisor,
        "podid": place.pod.id,
        "podname": place.pod.name,
    }


def _places_of(call: Call, vpc_ids: list[str]) -> dict[Any, Place]:
    """By VPC id."""
    query = (
        select(Router.vpc_id, Host, Pod)
        .join(Host, Host.id == Router.host_id)
        .join(Pod, Pod.id == Host.pod_id)
        .where(Router.vpc_id.in_(vpc_ids), Router.removed.is_(None), Router.standby.is_(False))
    )
    return {vpc_id: Place(host, pod) for vpc_id, host, pod in call.session.execute(query)}


def _macs_of(call: Call, network_ids: list[str]) -> dict[tuple[str, str], tuple[str, str]]:
    """By network and address: the id of the router's further address, and the router's MAC address there."""
    query = (
        select(NicAddress.network_id, NicAddress.address, NicAddress.id, Nic.mac)
        .join(Nic, Nic.id == NicAddress.nic_id)
        .where(NicAddress.network_id.in_(network_ids), Nic.router_id.is_not(None))
    )
    return {(row.network_id, row.address): (row.id, row.mac) for row in call.session.execute(query)}


class ListAppliances(AccountListRequest):
    id = Ref(BalancerAppliance, "only this one")
    name = Text("only that of this name")
    networkid = Ref(Network, "only those of this tier")
    vpcid = Ref(Vpc, "only those of this VPC")
    forvpc = Flag("only those of VPCs, which all are, or only others")
    zoneid = Ref(Zone, "only those in this zone")
    podid = Ref(Pod, "only those on hosts of this pod")
    hostid = Ref(Host, "only those on this host")
    state = Choice("only those in this state", sorted(ROUTER_MOVES.states))


@command("listInternalLoadBalancerVMs", ListAppliances, BalancerApplianceResponse)
def list_internal_load_balancer_vms(call: Call, keyword: str | None, **filters: Any) -> Page:
    """List the appliances of load balancers inside VPCs: one for each address."""
    one = BalancerAppliance
    if filters["forvpc"] is False:
        return Page([], 0)
    columns = {"id": one.id, "name": one.name, "networkid": one.network_id, "zoneid": one.zone_id, "state": one.state}
    query = narrowed(select(one).where(access.visible(call, one)), filters, columns)
    if filters["vpcid"] is not None:
        query = query.where(one.network_id.in_(select(Network.id).where(Network.vpc_id == filters["vpcid"].id)))
    for name, column in (("hostid", Host.id), ("podid", Host.pod_id)):
        if filters[name] is not None:
            query = query.where(one.network_id.in_(_tiers_of_routers().where(column == filters[name].id)))
    return call.paged(with_keyword(query, keyword, one.name).order_by(one.created, one.id))


def _tiers_of_routers() -> Select[Any]:
    """The ids of tiers whose VPC's router is on a host."""
    on_host = (Router.vpc_id == Network.vpc_id) & Router.removed.is_(None) & Router.standby.is_(False)
    return select(Network.id).join(Router, on_host).join(Host, Host.id == Router.host_id)


class OneAppliance(Request):
    id = Ref(BalancerAppliance, "the appliance", required=True)


@command("startInternalLoadBalancerVM", OneAppliance, BalancerApplianceResponse, is_async=True,
         event="INTERNALLBVM.START")  # fmt: skip
def start_internal_load_balancer_vm(call: Call, id: BalancerAppliance) -> WorkflowRow:
    """Start a Stopped appliance: its load balancers take connections again."""
    ROUTER_MOVES.demand(id, "start")
    return start_appliance.start(call.session, id, call=call)


@command("stopInternalLoadBalancerVM", OneAppliance, BalancerApplianceResponse, is_async=True,
         event="INTERNALLBVM.STOP")  # fmt: skip
def stop_internal_load_balancer_vm(call: Call, id: BalancerAppliance) -> WorkflowRow:
    """Stop a Running appliance: nothing answers at its address until it is started. Its load balancers stay as they
    are, and may be changed meanwhile.
    """
    ROUTER_MOVES.demand(id, "stop")
    return stop_appliance.start(call.session, id, call=call)
