"""Virtual routers: what serves tenant networks, as administrators see it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from sqlalchemy import or_, select

from manager import access
from manager.api.call import Call
from manager.api.command import ADMINS, AccountListRequest, Page, Request, command
from manager.api.commands.network_offering import demand_for_routers
from manager.api.commands.nic import NicResponse, for_routers
from manager.api.commands.place import narrowed, with_keyword
from manager.api.commands.router_health import HealthCheckResponse, checks_of
from manager.api.errors import Invalid
from manager.api.fields import Choice, Flag, Ref, Text
from manager.api.response import Bool, Many, Response, Shown, Str, When
from manager.api.rows import by_id, owners_of
from manager.models import (
    Cluster,
    DeviceNetwork,
    Host,
    Network,
    NetworkOffering,
    Pod,
    PublicAddress,
    Router,
    RouterHealthCheck,
    ServiceOffering,
    VlanIpRange,
    Vpc,
    WorkflowRow,
    Zone,
)
from manager.models.hardware import SRX
from manager.models.states import ROUTER_MOVES
from manager.workflows.engine import Workflow
from manager.workflows.router import destroy_router_alone, restart_of_router, start_router_again, stop_router_alone
from manager.workflows.vpc_router import start_vpc_router, stop_vpc_router


class RouterResponse(Response):
    object_key = "router"
    shows = Router
    has_jobs = True
    id = Str("the router's id")
    name = Str("its name")
    state = Str("Running, Stopped, or on the way there")
    created = When("when it was made")
    role = Str("always VIRTUAL_ROUTER")
    requiresupgrade = Bool("always false")
    isredundantrouter = Bool("whether it is one of two, on different hosts, of which one forwards")
    redundantstate = Str("PRIMARY or BACKUP as its host last told, FAULT, or UNKNOWN; always that of a router alone")
    zoneid = Str("the id of its zone")
    zonename = Str("the name of its zone")
    podid = Str("the id of its host's pod", root_only=True)
    podname = Str("the name of its host's pod", root_only=True)
    hostid = Str("the id of the host that runs it", root_only=True)
    hostname = Str("the name of the host that runs it", root_only=True)
    hypervisor = Str("the kind of the host", root_only=True)
    dns1 = Str("the name server that it asks")
    dns2 = Str("the second such name server")
    networkdomain = Str("the DNS suffix of its network")
    gateway = Str("the gateway of the public network")
    guestnetworkid = Str("the id of the network that it serves")
    guestnetworkname = Str("the name of the network that it serves")
    vpcid = Str("the id of the VPC that it serves")
    vpcname = Str("the name of the VPC that it serves")
    guestipaddress = Str("its address in that network")
    guestmacaddress = Str("its MAC address in that network")
    guestnetmask = Str("that network's netmask")
    publicip = Str("its public address")
    publicmacaddress = Str("its MAC address on the public network")
    publicnetmask = Str("the netmask of the public network")
    account = Str("the account that owns the network")
    projectid = Str("the id of the project that owns it, in place of the account")
    project = Str("the project that owns it")
    domainid = Str("the id of the owner's domain")
    domain = Str("the owner's domain")
    domainpath = Str("the path of the owner's domain")
    serviceofferingid = Str("the id of its service offering")
    serviceofferingname = Str("the name of its service offering")
    nic = Many("its NICs", NicResponse)
    healthchecksfailed = Bool("whether something failed when it was last looked at")
    healthcheckresults = Many("with fetchhealthcheckresults: what was found then", HealthCheckResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[Router]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        networks = by_id(call, Network, (row.network_id for row in rows))
        zones = by_id(call, Zone, (row.zone_id for row in rows))
        hosts = by_id(call, Host, (row.host_id for row in rows))
        pods = by_id(call, Pod, (host.pod_id for host in hosts.values()))
        offerings = by_id(call, ServiceOffering, (row.service_offering_id for row in rows))
        vpcs = by_id(call, Vpc, (row.vpc_id for row in rows))
        public = _public_sides(call, [*networks, *vpcs])
        guest = for_routers(call, [row.id for row in rows])
        checks = checks_of(call, [row.id for row in rows])
        return [
            {
                **_describe(row, zones[row.zone_id]),
                **_of_served(row, networks, vpcs),
                **_of_host(hosts.get(row.host_id), pods),
                **_of_offering(offerings.get(row.service_offering_id)),
                **_addresses(guest[row.id], public.get(str(row.vpc_id or row.network_id))),
                **owners[row.account_id],
                "isredundantrouter": vpcs[row.vpc_id].redundant
                if row.vpc_id is not None
                else not all(nic["isdefault"] for nic in guest[row.id]),
                "healthchecksfailed": not all(check["success"] for check in checks[row.id]),
                "healthcheckresults": checks[row.id] if call.parameters.get("fetchhealthcheckresults") else None,
            }
            for row in rows
        ]


def _describe(row: Router, zone: Zone) -> Shown:
    return {
        "id": row.id,
        "name": row.name,
        "state": row.state,
        "created": row.created,
        "role": "VIRTUAL_ROUTER",
        "requiresupgrade": False,
        "redundantstate": row.redundant_state,
        "zoneid": zone.id,
        "zonename": zone.name,
        "dns1": zone.dns1,
        "dns2": zone.dns2,
    }


def _of_served(row: Router, networks: dict[str, Network], vpcs: dict[str, Vpc]) -> Shown:
    """The VPC that it serves, or the one network."""
    if row.vpc_id is not None:
        vpc = vpcs[row.vpc_id]
        return {"vpcid": vpc.id, "vpcname": vpc.name, "networkdomain": vpc.network_domain}
    network = networks[str(row.network_id)]
    return {
        "networkdomain": network.network_domain,
        "guestnetworkid": network.id,
        "guestnetworkname": network.name,
        "guestnetmask": network.netmask,
    }


def _of_host(host: Host | None, pods: dict[Any, Pod]) -> Shown:
    if host is None:
        return {}
    return {
        "hostid": host.id,
        "hostname": host.name,
        "hypervisor": host.hypervisor,
        "podid": host.pod_id,
        "podname": pods[host.pod_id].name,
    }


def _of_offering(offering: ServiceOffering | None) -> Shown:
    return {} if offering is None else {"serviceofferingid": offering.id, "serviceofferingname": offering.name}


def _public_sides(call: Call, ids: list[str]) -> dict[str, tuple[PublicAddress, VlanIpRange]]:
    """By the id of the network or VPC: the public address that is its source NAT, and the range of that.

    Networks whose public addresses are on a hardware device have a router without that side.
    """
    firewalled = (DeviceNetwork.network_id == PublicAddress.network_id) & (DeviceNetwork.kind == SRX)
    query = (
        select(PublicAddress, VlanIpRange)
        .join(VlanIpRange, VlanIpRange.id == PublicAddress.range_id)
        .where(or_(PublicAddress.network_id.in_(ids), PublicAddress.vpc_id.in_(ids)), PublicAddress.source_nat)
        .where(~select(DeviceNetwork.network_id).where(firewalled).exists())
    )
    return {str(address.vpc_id or address.network_id): (address, span) for address, span in call.session.execute(query)}


def _addresses(guest: list[Shown], public: tuple[PublicAddress, VlanIpRange] | None) -> Shown:
    """What is shown of a router's two sides; it has no guest side while it is taken away."""
    found: Shown = {"nic": list(guest)}
    if guest:
        found |= {"guestipaddress": guest[0]["ipaddress"], "guestmacaddress": guest[0]["macaddress"]}
    if public is not None:
        nic = _public_nic(*public)
        found |= {"publicip": nic["ipaddress"], "publicmacaddress": nic["macaddress"],
                  "publicnetmask": nic["netmask"], "gateway": nic["gateway"]}  # fmt: skip
        found["nic"] = [*({**one, "isdefault": False} for one in guest), nic]
    return found


def _public_nic(address: PublicAddress, span: VlanIpRange) -> Shown:
    return {
        "id": address.id,
        "deviceid": "1",
        "traffictype": "Public",
        "ipaddress": address.address,
        "macaddress": address.mac,
        "netmask": str(ipaddress.IPv4Address(span.netmask)),
        "gateway": span.gateway,
        "isdefault": True,
    }


class ListRouters(AccountListRequest):
    id = Ref(Router, "only this router")
    name = Text("only the router of this name")
    networkid = Ref(Network, "only the router of this network, or of the VPC whose tier it is")
    vpcid = Ref(Vpc, "only the router of this VPC")
    forvpc = Flag("only routers of VPCs, or only others")
    zoneid = Ref(Zone, "only routers in this zone")
    podid = Ref(Pod, "only routers on hosts of this pod")
    clusterid = Ref(Cluster, "only routers on hosts of this cluster")
    hostid = Ref(Host, "only routers on this host")
    state = Choice("only routers in this state", sorted(ROUTER_MOVES.states))
    healthchecksfailed = Flag("only routers in which something failed when they were last looked at, or only others")
    fetchhealthcheckresults = Flag("show what was found then", default=False)


@command("listRouters", ListRouters, RouterResponse, roles=ADMINS)
def list_routers(call: Call, keyword: str | None, **filters: Any) -> Page:
    """List virtual routers."""
    call.parameters["fetchhealthcheckresults"] = filters["fetchhealthcheckresults"]
    query = select(Router).where(access.visible(call, Router))
    columns = {"id": Router.id, "name": Router.name, "zoneid": Router.zone_id, "vpcid": Router.vpc_id,
               "hostid": Router.host_id, "state": Router.state}  # fmt: skip
    query = narrowed(query, filters, columns)
    if (served := filters["networkid"]) is not None:
        of_vpc = served.vpc_id is not None
        query = query.where(Router.vpc_id == served.vpc_id if of_vpc else Router.network_id == served.id)
    if filters["forvpc"] is not None:
        query = query.where(Router.vpc_id.is_not(None) if filters["forvpc"] else Router.vpc_id.is_(None))
    for name, column in (("podid", Host.pod_id), ("clusterid", Host.cluster_id)):
        if filters[name] is not None:
            query = query.where(Router.host_id.in_(select(Host.id).where(column == filters[name].id)))
    if filters["healthchecksfailed"] is not None:
        failed = select(RouterHealthCheck.router_id).where(RouterHealthCheck.success.is_(False))
        query = query.where(Router.id.in_(failed) if filters["healthchecksfailed"] else Router.id.not_in(failed))
    return call.paged(with_keyword(query, keyword, Router.name).order_by(Router.number))


class ChangeServiceForRouter(Request):
    id = Ref(Router, "the router, which is Stopped", required=True)
    serviceofferingid = Ref(ServiceOffering, "its service offering from now on", required=True)


@command("changeServiceForRouter", ChangeServiceForRouter, RouterResponse, event="ROUTER.UPGRADE")
def change_service_for_router(call: Call, id: Router, serviceofferingid: ServiceOffering) -> Router:
    """Give a Stopped router another service offering, whose host tags say where it starts next."""
    demand_for_routers(serviceofferingid)
    held = select(Router).filter_by(id=id.id).with_for_update().execution_options(populate_existing=True)
    if call.session.scalars(held).one().state != "Stopped":
        raise Invalid(f"The router {id.name} is {id.state}; it must be Stopped to get another service offering.")
    id.service_offering_id = serviceofferingid.id
    call.flush()
    return id


class OneRouter(Request):
    id = Ref(Router, "the router", required=True)


@command("startRouter", OneRouter, RouterResponse, is_async=True, roles=ADMINS, event="ROUTER.START")
def start_router(call: Call, id: Router) -> WorkflowRow:
    """Start a Stopped router, on the host that has fewest routers."""
    return _alone(call, id, "start", start_router_again, start_vpc_router)


@command("stopRouter", OneRouter, RouterResponse, is_async=True, roles=ADMINS, event="ROUTER.STOP")
def stop_router(call: Call, id: Router) -> WorkflowRow:
    """Take a Running router off its host. Its network is without DHCP, DNS and a way out until it is started.

    Of two that serve one VPC the other goes on.
    """
    return _alone(call, id, "stop", stop_router_alone, stop_vpc_router)


def _alone(call: Call, router: Router, event: str, of_network: Workflow, of_vpc: Workflow) -> WorkflowRow:
    """The job that moves one router by itself: the workflow of whom it serves, which of a VPC is told which router."""
    if router.vpc_id is None:
        network = _implemented(call, router)
        ROUTER_MOVES.demand(router, event)
        return _about(router, of_network.start(call.session, network, call=call))
    ROUTER_MOVES.demand(router, event)
    vpc = call.session.get_one(Vpc, router.vpc_id)
    return _about(router, of_vpc.start(call.session, vpc, call=call, router_id=router.id))


@command("rebootRouter", OneRouter, RouterResponse, is_async=True, roles=ADMINS, event="ROUTER.REBOOT")
def reboot_router(call: Call, id: Router) -> WorkflowRow:
    """Take a router down and start it anew with the same addresses, on the host that has fewest routers by then."""
    if id.vpc_id is None:
        _implemented(call, id)
    restart, served = restart_of_router(call.session, id)
    return _about(id, restart.start(call.session, served, call=call, cleanup=True))


@command("destroyRouter", OneRouter, RouterResponse, is_async=True, roles=ADMINS, event="ROUTER.DESTROY")
def destroy_router(call: Call, id: Router) -> WorkflowRow:
    """Remove a router; restartNetwork gives the network another one, with the same addresses."""
    network = _implemented(call, id)
    return _about(id, destroy_router_alone.start(call.session, network, call=call))


def _implemented(call: Call, router: Router) -> Network:
    """The router's network.

    :raises Invalid: it is on its way to another state, or a VPC has the router
    """
    if router.vpc_id is not None:
        vpc = call.session.get_one(Vpc, router.vpc_id)
        raise Invalid(
            f"The router {router.name} is that of VPC {vpc.name}; restartVPC makes it anew, deleteVPC ends it."
        )
    network = call.session.get_one(Network, router.network_id)
    offering = call.session.get_one(NetworkOffering, network.offering_id)
    if offering.redundant_router and call.command != "rebootRouter":
        raise Invalid(
            f"The router {router.name} is one of the pair of network {network.name}, which is started and stopped with "
            "the network; restartNetwork with cleanup makes both anew, one after the other."
        )
    if network.state != "Implemented":
        raise Invalid(f"The network {network.name} of router {router.name} is {network.state}, not Implemented.")
    return network


def _about(router: Router, job: WorkflowRow) -> WorkflowRow:
    """The job of the network, whose result is the router."""
    job.memory = {**(job.memory or {}), "result_id": router.id}
    return job
