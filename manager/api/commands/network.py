"""Tenant networks: layer 2 segments over GRE or VXLAN, or in VLANs, each with its own range of addresses."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

from sqlalchemy import ColumnElement, false, func, select

from manager import configuration
from manager.api.call import Call
from manager.api.command import (
    EVERYONE,
    ROOT,
    AccountListRequest,
    CountedListRequest,
    Given,
    IconListRequest,
    OwnedRequest,
    Page,
    Request,
    command,
)
from manager.api.commands import ipv4
from manager.api.commands.network_kinds import addressing, audience, check_open, check_prefix, check_private, wanted_key
from manager.api.commands.network_offering_traits import by_devices, offerings_with, services_needed
from manager.api.commands.network_response import USABLE, NetworkResponse
from manager.api.commands.network_scope import FILTERS, listed, of_key, of_kinds
from manager.api.commands.network_traits import (
    guests_range,
    mtus,
    next_source_nat,
    reserve,
    resolvers,
    take_source_nat,
    usual_mtus,
)
from manager.api.commands.place import network_domain, with_keyword
from manager.api.commands.vpc_tier import acl_of, demand_fit, is_for_vpc, owner_of, refuse_shared, tier_range
from manager.api.errors import PARAMETER, ApiError, Invalid
from manager.api.fields import Choice, Flag, Integer, ListOf, MapOf, Ref, Text
from manager.api.offered import demand_offered
from manager.api.response import SuccessResponse
from manager.models import (
    Account,
    Network,
    NetworkAclList,
    NetworkOffering,
    Nic,
    PhysicalNetwork,
    Tag,
    TrafficType,
    Vpc,
    WorkflowRow,
    Zone,
    new_id,
)
from manager.models.network import ISOLATED
from manager.models.states import NETWORK_MOVES
from manager.placement import limits
from manager.placement.address import NoAddress
from manager.placement.host import tags_in
from manager.placement.tunnel_key import take_key
from manager.workflows.network import implementation_of
from manager.workflows.network_change import change_network as change
from manager.workflows.tier import deletion_of, restart_of
from network.overlays import OVERLAYS, overlay_named

QUOTA, CAPACITY = 535, 533


class CreateNetwork(OwnedRequest):
    name = Text("its name", required=True)
    displaytext = Text("what it is; the name when absent")
    zoneid = Ref(Zone, "its zone", required=True)
    networkofferingid = Ref(NetworkOffering, "its offering, which must be enabled", required=True)
    vpcid = Ref(Vpc, "the VPC that it is a tier of")
    aclid = Ref(NetworkAclList, "the ACL list that holds the tier; the one that denies all when absent")
    gateway = Text("the gateway's address; the first of the zone's guest range when absent")
    netmask = Text("the netmask, which comes with the gateway")
    networkdomain = Text("the DNS suffix of its virtual machines")
    startip = Text("the first address that virtual machines are given; without it they may have all")
    endip = Text("the last such address; startip when absent")
    physicalnetworkid = Ref(PhysicalNetwork, "the physical network that carries it; the zone's first when absent")
    dns1 = Text("the name server that its router asks; the zone's when absent")
    dns2 = Text("the second such name server")
    privatemtu = Integer("the MTU of its virtual machines; the zone's largest when absent")
    publicmtu = Integer("the MTU of its router's public interface; the zone's largest when absent")
    sourcenatipaddress = Text("the free public address that its virtual machines leave with; any when absent")
    externalid = Text("what another system calls it")
    displaynetwork = Flag("whether users see it", default=True, roles=ROOT)
    hideipaddressusage = Flag("whether its public addresses are in no usage record", default=False, roles=ROOT)
    acltype = Choice("Account: for its owner; Domain: for all accounts of a domain, which Shared networks of "
                     "administrators are when absent", ["Account", "Domain"])  # fmt: skip
    subdomainaccess = Flag("whether a network for a domain is for the domains below it too; it is when absent")
    routerip = Text("the address of the router of a Shared network whose gateway is not that router")
    vlan = Text("the tunnel key or VLAN, of offerings with specifyvlan; any of the zone's when absent", roles=ROOT)


@command("createNetwork", CreateNetwork, NetworkResponse, creates=True, roles=EVERYONE,
         event="NETWORK.CREATE", rehearses=True)  # fmt: skip
def create_network(call: Call, given: Given) -> Network:
    """Make a tenant network. Hosts learn of it when the first virtual machine starts in it."""
    zone: Zone = given.zoneid
    offering: NetworkOffering = given.networkofferingid
    check_open(call, zone, offering)
    vpc: Vpc | None = given.vpcid
    owner, audience_columns = audience(call, given, offering, owner_of(call, vpc))
    demand_offered(call, offering, owner, zone)
    demand_fit(call, given)
    domain = vpc.network_domain if vpc else network_domain(given.networkdomain) or default_domain(call, zone)
    physical = _physical_network(call, zone, given.physicalnetworkid, offering)
    overlay = str(overlay_named(physical.isolation_methods))
    key = wanted_key(call, zone, given.vlan, offering, OVERLAYS[overlay])
    traits: dict[str, Any] = {
        **audience_columns,
        **_addresses(call, given, offering, zone),
        **_traits(call, given, overlay),
    }
    try:
        limits.claim(call.session, owner, networks=1)
    except limits.LimitReached as error:
        raise ApiError(QUOTA, str(error)) from error
    network_id = new_id()
    made: Network = call.add(
        Network(
            id=network_id,
            name=given.name,
            display_text=given.displaytext or given.name,
            account_id=owner.id,
            zone_id=zone.id,
            offering_id=offering.id,
            vpc_id=vpc.id if vpc is not None else None,
            acl_id=acl_of(call, vpc, given.aclid),
            physical_network_id=physical.id,
            key=_key(call, physical, network_id, owner, key),
            network_domain=domain,
            **traits,
        ),
        taken=f"The zone {zone.name} is Basic and has its one network already.",
    )
    take_source_nat(call, made, offering, given.sourcenatipaddress)
    if offering.persistent:
        implementation_of(made).start(call.session, made)
    return made


def _traits(call: Call, given: Given, overlay: str) -> dict[str, Any]:
    """The columns that all kinds of networks have alike."""
    zone: Zone = given.zoneid
    return {
        **resolvers(given, given.networkofferingid),
        "overlay": overlay,
        **usual_mtus(call, zone, overlay),
        **mtus(call, given, zone, overlay),
        "external_id": given.externalid or None,
        "display": given.displaynetwork,
        "hide_address_usage": given.hideipaddressusage,
    }


def _addresses(call: Call, given: Given, offering: NetworkOffering, zone: Zone) -> dict[str, Any]:
    """The columns of the network's range and of what guests may have of it."""
    if offering.guest_ip_type != ISOLATED:
        return addressing(call, given, offering)
    if given.routerip:
        raise Invalid("The routerip is for Shared networks; the router of others has the gateway's address.")
    if given.vpcid is not None:
        gateway, subnet = tier_range(call, given.vpcid, given.gateway, given.netmask)
    else:
        gateway, subnet = _range(given.gateway, given.netmask, zone)
    range_ = {"cidr": str(subnet), "gateway": gateway, "netmask": str(subnet.netmask)}
    return {**range_, **guests_range(gateway, subnet, given.startip, given.endip)}


def _range(gateway: str | None, netmask: str | None, zone: Zone) -> tuple[str, IPv4Network]:
    """The gateway and the subnet that it is in.

    :raises Invalid: they are no addresses, do not fit together, or tenants cannot have that range
    """
    if not gateway and not netmask:
        subnet = IPv4Network(zone.guest_cidr)
        return str(subnet.network_address + 1), subnet
    if not gateway or not netmask:
        raise Invalid("The gateway and the netmask of a network come together, or neither does.")
    router = ipv4.address("gateway", gateway)
    subnet = ipv4.subnet(router, netmask)
    check_prefix(subnet)
    check_private(subnet)
    return str(router), subnet


def default_domain(call: Call, zone: Zone) -> str:
    """The suffix of the account, its domain or the zone; else the cloud's, with a label of the account before it."""
    owner = call.owner
    domain = (
        call.domain if owner.domain_id == call.domain.id else call.session.get_one(type(call.domain), owner.domain_id)
    )
    chosen = owner.network_domain or domain.network_domain or zone.network_domain
    return chosen or f"a{owner.number}.{configuration.value(call.session, 'guest.domain.suffix', zone)}"


def _physical_network(
    call: Call, zone: Zone, wanted: PhysicalNetwork | None, offering: NetworkOffering
) -> PhysicalNetwork:
    tags = tags_in(offering.tags)
    guest = select(TrafficType.physical_network_id).where(
        TrafficType.traffic_type == "Guest", TrafficType.removed.is_(None)
    )
    query = select(PhysicalNetwork).where(
        PhysicalNetwork.zone_id == zone.id,
        PhysicalNetwork.removed.is_(None),
        PhysicalNetwork.state == "Enabled",
        PhysicalNetwork.id.in_(guest),
    )
    if wanted is not None:
        query = query.where(PhysicalNetwork.id == wanted.id)
    for physical in call.session.scalars(query.order_by(PhysicalNetwork.name, PhysicalNetwork.id)):
        if overlay_named(physical.isolation_methods) and tags <= tags_in(physical.tags):
            return physical
    tagged = f" and has the tags {', '.join(sorted(tags))} of the offering {offering.name}" if tags else ""
    known = ", ".join(overlay.name for overlay in OVERLAYS.values())
    which = f"The physical network {wanted.name} is none" if wanted else "There is none"
    raise Invalid(f"{which} in zone {zone.name} that is enabled, carries guest traffic, isolates by {known}{tagged}.")


def _key(call: Call, physical: PhysicalNetwork, network_id: str, owner: Account, wanted: int | None) -> int:
    try:
        return take_key(call.session, physical, network_id, owner.id, wanted)
    except NoAddress as error:
        raise ApiError(CAPACITY if wanted is None else PARAMETER, str(error)) from error


class ListNetworks(IconListRequest, CountedListRequest, AccountListRequest):
    id = Ref(Network, "only this network")
    name = Text("only networks of this name")
    zoneid = Ref(Zone, "only networks of this zone")
    type = Text("only networks of this kind: Isolated, Shared or L2")
    traffictype = Text("only networks for this traffic: all are for Guest")
    acltype = Text("only networks for their Account, or only those for a Domain")
    networkofferingid = Ref(NetworkOffering, "only networks of this offering")
    physicalnetworkid = Ref(PhysicalNetwork, "only networks on this physical network")
    supportedservices = ListOf(Text("a service"), "only networks with all these services")
    canusefordeploy = Flag("only those that virtual machines can be deployed into, or only others")
    issystem = Flag("true for networks of the cloud's own, of which there are none")
    vpcid = Ref(Vpc, "only tiers of this VPC")
    forvpc = Flag("only tiers of VPCs, or only others")
    networkfilter = Choice(
        "Account: own ones; Domain: those for a domain; Shared: those that others permitted", FILTERS
    )
    vlan = Text("only the networks with this tunnel key or VLAN", roles=ROOT)
    displaynetwork = Flag("only those that users see, or only others", roles=ROOT)
    specifyipranges = Flag("only networks whose offering has ranges of addresses named, or only others")
    restartrequired = Flag("true for networks that wait for a restart, of which there are none")
    tags = MapOf("only networks with all these tags")


@command("listNetworks", ListNetworks, NetworkResponse, roles=EVERYONE)
def list_networks(call: Call, given: Given) -> Page:
    """List networks."""
    query = select(Network).where(listed(call, given.networkfilter), *_conditions(call, given))
    if not call.is_root_admin:
        query = query.where(Network.display.is_(True))
    query = with_keyword(query, given.keyword, Network.name)
    for key, value in (given.tags or {}).items():
        query = query.where(Network.id.in_(select(Tag.resource_id).where(Tag.key == key, Tag.value == value)))
    return call.paged(query.order_by(Network.created, Network.id))


def _conditions(call: Call, given: Given) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    for column, value in ((Network.id, given.id), (Network.zone_id, given.zoneid), (Network.name, given.name),
                          (Network.offering_id, given.networkofferingid),
                          (Network.physical_network_id, given.physicalnetworkid),
                          (Network.vpc_id, given.vpcid)):  # fmt: skip
        if value is not None:
            found.append(column == getattr(value, "id", value))
    if given.vlan is not None:
        found.append(of_key(given.vlan))
    if given.forvpc is not None:
        found.append(Network.vpc_id.is_not(None) if given.forvpc else Network.vpc_id.is_(None))
    if given.displaynetwork is not None:
        found.append(Network.display.is_(given.displaynetwork))
    if given.canusefordeploy is not None:
        found.append(Network.state.in_(USABLE) if given.canusefordeploy else Network.state.not_in(USABLE))
    if given.supportedservices is not None:
        found.append(Network.offering_id.in_(offerings_with(call, NetworkOffering, given.supportedservices)))
    found += of_kinds(given)
    is_strange = given.traffictype and given.traffictype.lower() != "guest"
    if is_strange or given.issystem or given.restartrequired:
        found.append(false())
    return found


class UpdateNetwork(Request):
    id = Ref(Network, "the network", required=True)
    name = Text("its new name")
    displaytext = Text("what it is")
    networkdomain = Text("the DNS suffix of its virtual machines, which they learn when they ask anew")
    networkofferingid = Ref(NetworkOffering, "another offering, with the services that the network uses")
    guestvmcidr = Text("the part of its range that virtual machines are given addresses of; all of it ends that")
    dns1 = Text("the name server that its router asks; an empty one for the zone's")
    dns2 = Text("the second such name server; an empty one for the zone's")
    privatemtu = Integer("the MTU of its virtual machines, which they learn when they ask anew")
    publicmtu = Integer("the MTU of its router's public interface")
    sourcenatipaddress = Text("the public address of the network that its virtual machines leave with from now on")
    displaynetwork = Flag("whether users see it", roles=ROOT)
    hideipaddressusage = Flag("whether its public addresses are in no usage record", roles=ROOT)


@command("updateNetwork", UpdateNetwork, NetworkResponse, is_async=True, roles=EVERYONE,
         event="NETWORK.UPDATE", rehearses=True)  # fmt: skip
def update_network(call: Call, given: Given) -> WorkflowRow:
    """Change what a network is called, what it tells its virtual machines, or its offering."""
    network: Network = given.id
    if network.vpc_id is not None:
        refuse_shared(call.session.get_one(Vpc, network.vpc_id), given)
    network.name = given.name or network.name
    network.display_text = given.displaytext or network.display_text
    network.display = network.display if given.displaynetwork is None else given.displaynetwork
    if given.hideipaddressusage is not None:
        network.hide_address_usage = given.hideipaddressusage
    reserve(call, network, given.guestvmcidr)
    values = _wanted(call, network, given)
    source_nat = next_source_nat(call, network, given.sourcenatipaddress)
    if not values and source_nat is None:
        return call.job_done(network)
    return change.start(call.session, network, call=call, values=values, source_nat=source_nat)


def _wanted(call: Call, network: Network, given: Given) -> dict[str, Any]:
    """The columns of the network that change, with their new values."""
    zone = call.session.get_one(Zone, network.zone_id)
    offering = given.networkofferingid or call.session.get_one(NetworkOffering, network.offering_id)
    values: dict[str, Any] = {**resolvers(given, offering, network), **mtus(call, given, zone, network.overlay)}
    domain = network_domain(given.networkdomain)
    if domain:
        values["network_domain"] = domain
    if offering.id != network.offering_id:
        demand_offered(call, offering, call.session.get_one(Account, network.account_id), zone)
        check_change(call, network, offering)
        values["offering_id"] = offering.id
    return {name: value for name, value in values.items() if value != getattr(network, name)}


def _routers(offering: NetworkOffering) -> str:
    return "two routers" if offering.redundant_router else "one router"


def check_change(call: Call, network: Network, offering: NetworkOffering) -> None:
    """:raises Invalid: the offering cannot be had, or lacks a service of the network that is not just unused rules'"""
    if offering.state != "Enabled":
        raise Invalid(f"The network offering {offering.name} is {offering.state}; networks need an enabled one.")
    if is_for_vpc(offering) != (network.vpc_id is not None):
        raise Invalid(f"The network offering {offering.name} is for networks of the other kind: tiers of VPCs, or not.")
    own = call.session.get_one(NetworkOffering, network.offering_id)
    if offering.redundant_router != own.redundant_router and network.state != "Allocated":
        raise Invalid(f"The network {network.name} is {network.state} with {_routers(own)}; the offering "
                      f"{offering.name}, with {_routers(offering)}, can be its while it is Allocated.")  # fmt: skip
    if offering.guest_ip_type != network.guest_type:
        raise Invalid(f"The network {network.name} is {network.guest_type}; networks of the offering {offering.name} "
                      f"are {offering.guest_ip_type}.")  # fmt: skip
    devices = [by_devices(one) for one in (call.session.get_one(NetworkOffering, network.offering_id), offering)]
    if devices[0] != devices[1] and network.state != "Allocated":
        raise Invalid(f"The network {network.name} is {network.state}: what devices give it stays on them, and the "
                      f"offering {offering.name} would move it.")  # fmt: skip
    lost = sorted(services_needed(call, network) - set(offering.services))
    if lost:
        raise Invalid(f"The network {network.name} uses {', '.join(lost)}, which the offering {offering.name} lacks.")


class RestartNetwork(Request):
    id = Ref(Network, "the network", required=True)
    cleanup = Flag("take the router down and make it anew", default=False)


@command("restartNetwork", RestartNetwork, SuccessResponse, is_async=True, roles=EVERYONE,
         event="NETWORK.RESTART", rehearses=True)  # fmt: skip
def restart_network(call: Call, id: Network, cleanup: bool) -> WorkflowRow:
    """Apply all of a network again to its hosts and its router."""
    if id.state != "Implemented":
        raise Invalid(f"The network {id.name} is {id.state}; only an implemented network can be restarted.")
    if cleanup and id.vpc_id is not None:
        raise Invalid(f"The network {id.name} is a tier; restartVPC with cleanup makes the router of its VPC anew.")
    return restart_of(id).start(call.session, id, call=call, cleanup=cleanup)


class DeleteNetwork(Request):
    id = Ref(Network, "the network", required=True)


@command("deleteNetwork", DeleteNetwork, SuccessResponse, is_async=True, roles=EVERYONE,
         event="NETWORK.DELETE", rehearses=True)  # fmt: skip
def delete_network(call: Call, id: Network) -> WorkflowRow:
    """Remove a network that no virtual machine is in, with its router."""
    query = select(func.count(Nic.id)).where(Nic.network_id == id.id, Nic.vm_id.is_not(None))
    count = call.session.scalar(query) or 0
    if count:
        raise Invalid(f"The network {id.name} still has {count} NICs of virtual machines; expunge those first.")
    if id.state not in NETWORK_MOVES.passing:  # else the job that is under way is told to be in the way
        NETWORK_MOVES.demand(id, "destroy")
    return deletion_of(id).start(call.session, id, call=call)
