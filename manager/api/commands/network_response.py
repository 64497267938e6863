"""How tenant networks are shown."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from manager.api.call import Call
from manager.api.commands.network_offering import ServiceResponse, shown_services
from manager.api.commands.network_offering_traits import chosen_values
from manager.api.commands.tag import TagResponse
from manager.api.response import Bool, Int, Long, Many, Response, Shown, Str, When
from manager.api.rows import bare_tags_of, by_id, owners_of
from manager.models import Domain, Network, NetworkAclList, NetworkOffering, NetworkTraffic, Vpc, Zone
from manager.placement.address import Span, guests_of, hosts_of
from manager.workflows.router_spec import resolvers_of
from network import overlays

USABLE = ("Allocated", "Implementing", "Implemented")
"""States in which virtual machines can be deployed into a network."""
NO_TRAFFIC: Shown = {"receivedbytes": 0, "sentbytes": 0}


class NetworkResponse(Response):
    object_key = "network"
    shows = Network
    has_jobs = True
    id = Str("the network's id")
    name = Str("its name")
    displaytext = Str("what it is")
    created = When("when it was made")
    state = Str("Allocated until the first virtual machine starts in it, then Implemented")
    type = Str("Isolated, Shared, or L2: of layer 2 alone")
    traffictype = Str("always Guest")
    acltype = Str("Account, or Domain: it is for all accounts of a domain")
    subdomainaccess = Bool("whether a network for a domain is for the domains below it too")
    cidr = Str("the range that its virtual machines are in")
    networkcidr = Str("its whole range, where virtual machines are given addresses of a part of it alone")
    reservediprange = Str("the addresses that no virtual machine is given")
    gateway = Str("its gateway, which its virtual router has")
    netmask = Str("its netmask")
    networkdomain = Str("the DNS suffix of its virtual machines")
    dns1 = Str("the name server that its router asks")
    dns2 = Str("the second such name server")
    privatemtu = Int("the MTU of its virtual machines")
    publicmtu = Int("the MTU of its router's public interface")
    externalid = Str("what another system calls it")
    receivedbytes = Long("what its virtual machines have received, in bytes")
    sentbytes = Long("what its virtual machines have sent, in bytes")
    zoneid = Str("the id of its zone")
    zonename = Str("the name of its zone")
    networkofferingid = Str("the id of its offering")
    networkofferingname = Str("the name of its offering")
    networkofferingdisplaytext = Str("what its offering is")
    networkofferingavailability = Str("Optional or Required")
    networkofferingconservemode = Bool("whether one public address may serve several purposes")
    egressdefaultpolicy = Bool("whether guests may reach what is outside unless a rule says otherwise")
    physicalnetworkid = Str("the id of the physical network that carries it", root_only=True)
    broadcastdomaintype = Str("Gre or Vxlan")
    broadcasturi = Str("its tunnel: gre:// or vxlan://, and its key", root_only=True)
    vlan = Str("its tunnel key", root_only=True)
    service = Many("its services and who gives them", ServiceResponse)
    canusefordeploy = Bool("whether virtual machines can be deployed into it")
    displaynetwork = Bool("whether users see it")
    ispersistent = Bool("whether it was implemented when it was made")
    issystem = Bool("always false")
    isdefault = Bool("always false")
    restartrequired = Bool("always false: what changes is applied at once")
    redundantrouter = Bool("whether it has two routers, on different hosts, of which one forwards")
    specifyvlan = Bool("whether its tunnel key could be chosen")
    specifyipranges = Bool("whether the range of its virtual machines had to be named")
    strechedl2subnet = Bool("always false")
    supportsvmautoscaling = Bool("always false")
    internetprotocol = Str("always IPv4")
    related = Str("its own id")
    vpcid = Str("the id of the VPC that it is a tier of")
    vpcname = Str("that one's name")
    aclid = Str("the id of the ACL list that holds its virtual machines")
    aclname = Str("that one's name")
    account = Str("the account that owns it; absent when it is for a domain")
    projectid = Str("the id of the project that owns it, in place of the account")
    project = Str("the project that owns it")
    domainid = Str("the id of the owner's domain, or of that which it is for")
    domain = Str("that domain")
    domainpath = Str("the path of that domain")
    tags = Many("its tags", TagResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[Network]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        domains = by_id(call, Domain, (row.domain_id for row in rows))
        tags = bare_tags_of(call, rows)
        zones = by_id(call, Zone, (row.zone_id for row in rows))
        offerings = by_id(call, NetworkOffering, (row.offering_id for row in rows))
        traffic = traffic_of(call, rows)
        vpcs = by_id(call, Vpc, (row.vpc_id for row in rows))
        acls = by_id(call, NetworkAclList, (row.acl_id for row in rows))
        return [
            {
                **_describe(row),
                "aclname": acls[row.acl_id].name if row.acl_id else None,
                "vpcname": vpcs[row.vpc_id].name if row.vpc_id else None,
                **_of_zone(row, zones[row.zone_id]),
                **traffic.get(row.id, NO_TRAFFIC),
                **_of_offering(offerings[row.offering_id]),
                **(owners[row.account_id] if row.domain_id is None else _of_domain(domains[row.domain_id])),
                "tags": tags[row.id],
            }
            for row in rows
        ]


_ALWAYS = {
    "traffictype": "Guest",
    "internetprotocol": "IPv4",
    **dict.fromkeys(
        ("issystem", "isdefault", "restartrequired", "strechedl2subnet", "supportsvmautoscaling"),
        False,
    ),
}  # fmt: skip


def _describe(row: Network) -> Shown:
    return {
        "id": row.id,
        "name": row.name,
        "displaytext": row.display_text,
        "created": row.created,
        "state": row.state,
        "type": row.guest_type,
        "acltype": "Account" if row.domain_id is None else "Domain",
        "subdomainaccess": None if row.domain_id is None else row.subdomain_access,
        "cidr": row.guest_cidr or row.cidr or None,
        "networkcidr": row.cidr if row.guest_cidr else None,
        "reservediprange": _reserved(row),
        "gateway": row.gateway or None,
        "netmask": row.netmask or None,
        "networkdomain": row.network_domain,
        "privatemtu": row.mtu,
        "publicmtu": row.public_mtu,
        "externalid": row.external_id,
        "displaynetwork": row.display,
        "physicalnetworkid": row.physical_network_id,
        "broadcastdomaintype": overlays.OVERLAYS[row.overlay].domain_type,
        "broadcasturi": overlays.uri(row.overlay, row.key),
        "vlan": str(row.key or "untagged"),
        "canusefordeploy": row.state in USABLE,
        "related": row.id,
        "vpcid": row.vpc_id,
        "aclid": row.acl_id,
        **_ALWAYS,
    }


def _reserved(row: Network) -> str | None:
    """'10.1.1.1-10.1.1.9, 10.1.1.21-10.1.1.254': the hosts below and above those that guests may have."""
    if row.first_address is None:
        return None
    hosts, guests = hosts_of(row.cidr), guests_of(row.cidr, row.first_address, row.last_address)
    apart = [Span(hosts.first, guests.first - 1), Span(guests.last + 1, hosts.last)]
    return ", ".join(f"{span.first}-{span.last}" for span in apart if span.first <= span.last)


def traffic_of(call: Call, rows: Sequence[Network]) -> dict[str, Shown]:
    """By network id: what its virtual machines received and sent, where they did. One statement."""
    query = select(NetworkTraffic).where(NetworkTraffic.network_id.in_([row.id for row in rows]))
    return {
        one.network_id: {"receivedbytes": one.received, "sentbytes": one.sent} for one in call.session.scalars(query)
    }


def _of_domain(domain: Domain) -> Shown:
    return {"domainid": domain.id, "domain": domain.name, "domainpath": domain.shown_path}


def _of_zone(row: Network, zone: Zone) -> Shown:
    asked = dict(zip(("dns1", "dns2"), resolvers_of(row, zone), strict=False))
    return {"zoneid": zone.id, "zonename": zone.name, **asked}


def _of_offering(offering: NetworkOffering) -> Shown:
    return {
        "networkofferingid": offering.id,
        "networkofferingname": offering.name,
        "networkofferingdisplaytext": offering.display_text,
        "networkofferingavailability": offering.availability,
        "networkofferingconservemode": offering.conserve_mode,
        "egressdefaultpolicy": offering.egress_default,
        "specifyvlan": offering.specify_vlan,
        "specifyipranges": offering.specify_ip_ranges,
        "ispersistent": offering.persistent,
        "redundantrouter": offering.redundant_router,
        "service": shown_services(offering.services, chosen_values(offering)),
    }
