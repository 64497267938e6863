"""Network offerings: which services a tenant network has, and who gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, select

from manager.api.call import Call
from manager.api.command import EVERYONE, Given, ListRequest, Page, Request, command
from manager.api.commands.network_offering_traits import (
    NOTHING_CHOSEN,
    check_capabilities,
    chosen_values,
    kind_columns,
    services_needed,
    tags_text,
)
from manager.api.errors import Invalid, missing
from manager.api.fields import Choice, Flag, Integer, ListOf, MapList, MapOf, Ref, Text
from manager.api.offered import ALL_ZONES, PUBLIC, RefsOr, default_router_offering, listed, restrict, shown_limits
from manager.api.response import Bool, Int, Many, Map, Response, Shown, Str, SuccessResponse, When
from manager.models import Domain, Network, NetworkOffering, ServiceOffering, Zone
from manager.models.catalog import DEFAULT_ROUTER_OFFERING, DOMAIN_ROUTER
from manager.models.network import ISOLATED, L2, SHARED
from network import catalog

STATES = ("Enabled", "Disabled")
AVAILABILITIES = ("Optional", "Required")


class ProviderResponse(Response):
    object_key = "networkserviceprovider"
    name = Str("the provider's name")
    state = Str("always Enabled")
    servicelist = Many("the services that it gives")


class CapabilityResponse(Response):
    name = Str("the capability's name")
    value = Str("its value")
    canchooseservicecapability = Bool("whether an offering may have another value")


class ServiceResponse(Response):
    object_key = "networkservice"
    name = Str("the service's name")
    provider = Many("who gives it", ProviderResponse)
    capability = Many("what it can do", CapabilityResponse)

    @classmethod
    def render(cls, _call: Call, rows: Sequence[Shown]) -> list[Shown]:
        return list(rows)


def shown_services(services: Mapping[str, str], chosen: Mapping[str, str] | None = None) -> list[Shown]:
    """The services of an offering (service: provider) as responses show them; `chosen` are values of capabilities."""
    return [_service(service, [provider], chosen or NOTHING_CHOSEN) for service, provider in sorted(services.items())]


def _service(service: str, providers: Sequence[str], chosen: Mapping[str, str] | None = None) -> Shown:
    known = [catalog.PROVIDERS[name] for name in providers if name in catalog.PROVIDERS]
    capabilities = {k: v for provider in reversed(known) for k, v in provider.services.get(service, {}).items()}
    return {
        "name": service,
        "provider": [{"name": name} for name in providers],
        "capability": [
            {"name": name, "value": (chosen or {}).get(name, value),
             "canchooseservicecapability": value == "true" and (service, name) in catalog.CHOICES}
            for name, value in capabilities.items()
        ],
    }  # fmt: skip


class NetworkOfferingResponse(Response):
    object_key = "networkoffering"
    shows = NetworkOffering
    id = Str("the offering's id")
    name = Str("its name")
    displaytext = Str("what it is")
    created = When("when it was made")
    traffictype = Str("always Guest")
    guestiptype = Str("Isolated, Shared, or L2: of layer 2 alone")
    availability = Str("Optional or Required")
    state = Str("Enabled or Disabled; disabled ones are not for new networks")
    isdefault = Bool("whether it comes with the cloud and stays")
    conservemode = Bool("whether one public address may serve several purposes")
    specifyvlan = Bool("whether root administrators choose the tunnel keys of its networks")
    specifyipranges = Bool("whether networks name the range of their virtual machines")
    ispersistent = Bool("whether its networks are implemented when they are made")
    forvpc = Bool("whether its networks are tiers of VPCs")
    egressdefaultpolicy = Bool("whether guests may reach what is outside unless a rule says otherwise")
    networkrate = Int("Mbit/s of a network")
    tags = Str("the tags that physical networks of its networks have, separated by commas")
    details = Map("details of it")
    supportspublicaccess = Bool("whether its networks have public addresses")
    supportsstrechedl2subnet = Bool("always false")
    supportsinternallb = Bool("whether its networks have load balancing inside their VPC")
    internetprotocol = Str("always IPv4")
    service = Many("the services and who gives them", ServiceResponse)
    serviceofferingid = Str("the service offering of virtual routers: its own, or the cloud's")
    domainid = Str("the ids of the domains that it is for; absent for all")
    domain = Str("the paths of those domains")
    zoneid = Str("the ids of the zones that it is for; absent for all")
    zone = Str("the names of those zones")

    @classmethod
    def render(cls, call: Call, rows: Sequence[NetworkOffering]) -> list[Shown]:
        limits = shown_limits(call, rows)
        return [{**_describe(row), **limits[row.id]} for row in rows]


def _describe(row: NetworkOffering) -> Shown:
    return {
        "id": row.id,
        "name": row.name,
        "displaytext": row.display_text,
        "created": row.created,
        "traffictype": row.traffic_type,
        "guestiptype": row.guest_ip_type,
        "availability": row.availability,
        "state": row.state,
        "isdefault": row.is_default,
        "conservemode": row.conserve_mode,
        "egressdefaultpolicy": row.egress_default,
        "networkrate": row.network_rate,
        "specifyvlan": row.specify_vlan,
        "specifyipranges": row.specify_ip_ranges,
        "ispersistent": row.persistent,
        "tags": row.tags or None,
        "details": row.details or None,
        "supportspublicaccess": "SourceNat" in row.services,
        "supportsstrechedl2subnet": False,
        "supportsinternallb": catalog.INTERNAL_BALANCER in row.services.values(),
        "internetprotocol": "IPv4",
        "service": shown_services(row.services, chosen_values(row)),
        "serviceofferingid": row.service_offering_id or DEFAULT_ROUTER_OFFERING,  # libcloud reads it of every offering
        "forvpc": catalog.VPC_VIRTUAL_ROUTER in row.services.values(),
    }


class CreateNetworkOffering(Request):
    name = Text("its name, new in the cloud", required=True)
    displaytext = Text("what it is; the name when absent")
    guestiptype = Choice("the kind of networks", [ISOLATED, SHARED, L2], required=True)
    traffictype = Choice("the kind of traffic", ["Guest"], required=True)
    supportedservices = ListOf(Text("a service"), "the services; those of serviceproviderlist when absent")
    serviceproviderlist = MapList("which provider gives which service: service and provider of each")
    availability = Choice("Required for the one that accounts need", AVAILABILITIES, default="Optional")
    egressdefaultpolicy = Flag("whether guests may reach what is outside", default=True)
    conservemode = Flag("whether one public address may serve several purposes", default=True)
    networkrate = Integer("Mbit/s of a network", least=1)
    serviceofferingid = Ref(ServiceOffering, "the service offering of its virtual routers; else that of the cloud")
    servicecapabilitylist = MapList("what services can do: service, capabilitytype and capabilityvalue of each")
    internetprotocol = Choice("only IPv4 is possible", ["IPv4"])
    tags = Text("tags, separated by commas, that the physical networks of its networks must have")
    details = MapOf("details of it")
    enable = Flag("whether networks may be made of it at once", default=False)
    specifyvlan = Flag("whether root administrators choose the tunnel keys of its networks", default=False)
    specifyipranges = Flag("whether networks name the range of their virtual machines, as all Shared ones do")
    ispersistent = Flag("whether its Isolated networks are implemented when they are made", default=False)
    forvpc = Flag("whether its networks are tiers of VPCs", default=False)
    domainid = ListOf(Ref(Domain, ""), "the domains, with those below them, that it is for; all when absent")
    zoneid = ListOf(Ref(Zone, ""), "the zones that it is for; all when absent")


@command(
    "createNetworkOffering",
    CreateNetworkOffering,
    NetworkOfferingResponse,
    creates=True,
    event="NETWORK.OFFERING.CREATE",
)
def create_network_offering(call: Call, given: Given) -> NetworkOffering:
    """Offer a kind of tenant network; it is Disabled unless `enable` says otherwise."""
    _check_availability(call, given.availability)
    services = services_of(given.supportedservices or [], given.serviceproviderlist or [], for_vpc=given.forvpc)
    check_capabilities(services, given.servicecapabilitylist or [])
    kind = kind_columns(given, services)
    offering = NetworkOffering(
        name=given.name,
        display_text=given.displaytext or given.name,
        **kind,
        traffic_type=given.traffictype,
        availability=given.availability,
        egress_default=given.egressdefaultpolicy,
        conserve_mode=given.conservemode,
        network_rate=given.networkrate,
        tags=tags_text(given.tags),
        details=given.details or {},
        services=services,
        service_offering_id=_router_offering(call, services, given.serviceofferingid),
        state="Enabled" if given.enable else "Disabled",
        live=given.name,
    )
    made: NetworkOffering = call.add(offering, taken=_taken(given.name))
    restrict(call, made, given.domainid, given.zoneid)
    return made


def _taken(name: str) -> str:
    return f"A network offering named {name} exists already."


def services_of(wanted: list[str], chosen: list[dict[str, str]], *, for_vpc: bool) -> dict[str, str]:
    """The provider of each service of an offering, those of VPCs or the others.

    :raises Invalid: the catalog of services and providers does not hold that combination
    """
    for entry in chosen:
        if not entry.get("service") or not entry.get("provider"):
            raise Invalid("Each entry of serviceproviderlist holds a service and a provider.")
    try:
        pairs = [(entry["service"], entry["provider"]) for entry in chosen]
        return catalog.check(wanted, pairs, for_vpc=for_vpc)
    except catalog.UnsuitableService as error:
        raise Invalid(str(error)) from error


def _router_offering(call: Call, services: dict[str, str], chosen: ServiceOffering | None) -> str | None:
    """The id of the service offering of virtual routers; None without such.

    :raises Invalid: one is chosen that is not for routers, or where there are none
    """
    if catalog.VIRTUAL_ROUTER not in services.values():
        if chosen is not None:
            raise Invalid("A network offering without a service by VirtualRouter has no serviceofferingid.")
        return None
    if chosen is None:
        return default_router_offering(call)
    demand_for_routers(chosen)
    return chosen.id


def demand_for_routers(offering: ServiceOffering) -> None:
    """:raises Invalid: the service offering is not for virtual routers, or Inactive"""
    if offering.system_vm_type != DOMAIN_ROUTER:
        raise Invalid(f"The service offering {offering.name} ({offering.id}) is not for virtual routers.")
    if offering.state != "Active":
        raise Invalid(f"The service offering {offering.name} ({offering.id}) is {offering.state}, not Active.")


def _check_availability(call: Call, availability: str, but: str = "") -> None:
    if availability != "Required":
        return
    query = select(NetworkOffering.name).where(NetworkOffering.availability == "Required")
    other = call.session.scalar(query.where(NetworkOffering.removed.is_(None), NetworkOffering.id != but))
    if other is not None:
        raise Invalid(f"One network offering can be Required, and {other} is.")


class ListNetworkOfferings(ListRequest):
    id = Ref(NetworkOffering, "only this offering")
    name = Text("only the offering of this name")
    displaytext = Text("only offerings of this display text")
    zoneid = Ref(Zone, "only offerings for this zone")
    domainid = Ref(Domain, "only offerings that this domain may use")
    state = Choice("only offerings of this state", STATES)
    availability = Choice("only offerings of this availability", AVAILABILITIES)
    guestiptype = Text("only offerings of this kind of network")
    traffictype = Text("only offerings of this kind of traffic")
    isdefault = Flag("only those that come with the cloud, or only others")
    supportedservices = ListOf(Text("a service"), "only offerings of all these services")
    sourcenatsupported = Flag("only offerings with source NAT, or only those without")
    networkid = Ref(Network, "only offerings that updateNetwork could give this network")
    tags = Text("only offerings of just these tags")
    istagged = Flag("only offerings with tags, or only those without")
    specifyvlan = Flag("only offerings whose networks' tunnel keys are chosen, or only others")
    specifyipranges = Flag("only offerings whose networks name their ranges of addresses, or only others")
    forvpc = Flag("only offerings of tiers of VPCs, or only others")


@command("listNetworkOfferings", ListNetworkOfferings, NetworkOfferingResponse, roles=EVERYONE)
def list_network_offerings(call: Call, given: Given) -> Page:
    """List network offerings."""
    scope = listed(call, NetworkOffering, given)
    query = select(NetworkOffering).where(NetworkOffering.removed.is_(None), *scope, *_conditions(given))
    query = query.order_by(NetworkOffering.sort_key, NetworkOffering.name, NetworkOffering.id)
    by_services = (given.supportedservices, given.sourcenatsupported, given.networkid, given.forvpc)
    if all(value is None for value in by_services):
        return call.paged(query)
    # no SQL reads JSON alike on all databases, and there are few offerings
    needed = services_needed(call, given.networkid) if given.networkid is not None else set()
    rows = [row for row in call.session.scalars(query) if _has_services(row, given) and needed <= set(row.services)]
    return call.window(rows)


def _conditions(given: Given) -> list[ColumnElement[bool]]:
    equal = {
        NetworkOffering.id: given.id.id if given.id is not None else None,
        NetworkOffering.name: given.name,
        NetworkOffering.display_text: given.displaytext,
        NetworkOffering.state: given.state,
        NetworkOffering.availability: given.availability,
        NetworkOffering.is_default: given.isdefault,
        NetworkOffering.specify_vlan: given.specifyvlan,
        NetworkOffering.specify_ip_ranges: given.specifyipranges,
    }
    found = [column == value for column, value in equal.items() if value is not None]
    if given.networkid is not None:
        found += [NetworkOffering.id != given.networkid.offering_id, NetworkOffering.state == "Enabled",
                  NetworkOffering.guest_ip_type == given.networkid.guest_type]  # fmt: skip
    if given.tags is not None:
        found.append(NetworkOffering.tags == tags_text(given.tags))
    if given.istagged is not None:
        found.append((NetworkOffering.tags != "") if given.istagged else (NetworkOffering.tags == ""))
    for column, text in ((NetworkOffering.guest_ip_type, given.guestiptype),
                         (NetworkOffering.traffic_type, given.traffictype)):  # fmt: skip
        if text:
            found.append(func.lower(column) == text.lower())
    if given.keyword:
        found.append(NetworkOffering.name.contains(given.keyword, autoescape=True))
    return found


def _has_services(offering: NetworkOffering, given: Given) -> bool:
    has = {name.lower() for name in offering.services}
    if given.sourcenatsupported is not None and given.sourcenatsupported != ("sourcenat" in has):
        return False
    for_vpc = catalog.VPC_VIRTUAL_ROUTER in offering.services.values()
    if given.forvpc is not None and given.forvpc != for_vpc:
        return False
    return {name.lower() for name in given.supportedservices or ()} <= has


class UpdateNetworkOffering(Request):
    id = Ref(NetworkOffering, "the offering")
    name = Text("its new name")
    displaytext = Text("what it is")
    state = Choice("Enabled or Disabled", STATES)
    availability = Choice("Optional or Required", AVAILABILITIES)
    sortkey = Integer("its place in lists, from the smallest", least=-(2**31))
    tags = Text("the tags that physical networks of new networks must have; empty for none")
    domainid = RefsOr(PUBLIC, Ref(Domain, ""), "the domains that it is for; public for all")
    zoneid = RefsOr(ALL_ZONES, Ref(Zone, ""), "the zones that it is for; all for all")


@command("updateNetworkOffering", UpdateNetworkOffering, NetworkOfferingResponse, event="NETWORK.OFFERING.EDIT")
def update_network_offering(call: Call, given: Given) -> NetworkOffering:
    """Change a network offering; networks that have it keep it."""
    offering: NetworkOffering | None = given.id
    if offering is None:
        raise missing(call.command, "id")
    if given.name:
        if offering.is_default and given.name != offering.name:
            raise Invalid(f"The network offering {offering.name} comes with the cloud and keeps its name.")
        offering.name = offering.live = given.name
    if given.displaytext:
        offering.display_text = given.displaytext
    if given.availability is not None:
        _check_availability(call, given.availability, offering.id)
        offering.availability = given.availability
    if given.state is not None:
        offering.state = given.state
    if given.tags is not None:
        offering.tags = tags_text(given.tags)
    if given.sortkey is not None:
        offering.sort_key = given.sortkey
    call.flush(taken=_taken(offering.name))
    restrict(call, offering, given.domainid, given.zoneid)
    return offering


class DeleteNetworkOffering(Request):
    id = Ref(NetworkOffering, "the offering", required=True)


@command("deleteNetworkOffering", DeleteNetworkOffering, SuccessResponse, event="NETWORK.OFFERING.DELETE")
def delete_network_offering(call: Call, id: NetworkOffering) -> bool:
    """Take away a network offering that no network has."""
    if id.is_default:
        raise Invalid(f"The network offering {id.name} comes with the cloud and cannot be deleted.")
    used = select(func.count(Network.id)).where(Network.offering_id == id.id, Network.removed.is_(None))
    count = call.session.scalar(used) or 0
    if count:
        raise Invalid(f"The network offering {id.name} is that of {count} networks and cannot be deleted.")
    id.remove()
    return True


class ListSupportedNetworkServices(ListRequest):
    service = Text("only this service")
    provider = Text("only services that this provider gives")


@command("listSupportedNetworkServices", ListSupportedNetworkServices, ServiceResponse, roles=EVERYONE)
def list_supported_network_services(call: Call, service: str | None, provider: str | None, keyword: str | None) -> Page:
    """List the services that networks can have, and who gives them."""

    def wanted(name: str, providers: list[str]) -> bool:
        return bool(
            providers
            and (service is None or name.lower() == service.lower())
            and (provider is None or provider.lower() in (one.lower() for one in providers))
            and (not keyword or keyword.lower() in name.lower())
        )

    rows: list[Any] = [(name, catalog.providers_of(name)) for name in catalog.SERVICES]
    return call.window([_service(name, providers) for name, providers in rows if wanted(name, providers)])
