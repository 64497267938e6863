"""Who gives services to the tenant networks of a physical network, and the virtual routers of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select, update

from manager.api.call import Call
from manager.api.command import ListRequest, Page, Request, command
from manager.api.commands.place import hold, narrowed, refuse_while, with_keyword
from manager.api.errors import Invalid
from manager.api.fields import Choice, Flag, Ref, Text
from manager.api.response import Bool, Many, Response, Shown, Str, SuccessResponse
from manager.db import write
from manager.models import (
    HardwareDevice,
    InternalBalancerElement,
    Network,
    PhysicalNetwork,
    ServiceProvider,
    VirtualRouterElement,
    WorkflowRow,
    utcnow,
)
from network import catalog

STATES = ("Enabled", "Disabled")
Element = VirtualRouterElement | InternalBalancerElement


class ServiceProviderResponse(Response):
    object_key = "networkserviceprovider"
    shows = ServiceProvider
    id = Str("the provider's id")
    name = Str("its name")
    state = Str("Enabled, or Disabled: no new routers are made then")
    physicalnetworkid = Str("the id of its physical network")
    servicelist = Many("the services that it gives")
    canenableindividualservice = Bool("whether an offering may have some of its services only")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[ServiceProvider]) -> list[Shown]:
        return [
            {
                "id": row.id,
                "name": row.name,
                "state": row.state,
                "physicalnetworkid": row.physical_network_id,
                "servicelist": list(catalog.PROVIDERS[row.name].services) if row.name in catalog.PROVIDERS else [],
                "canenableindividualservice": True,
            }
            for row in rows
        ]


class RouterElementResponse(Response):
    object_key = "virtualrouterelement"
    shows = VirtualRouterElement
    id = Str("the element's id")
    nspid = Str("the id of its provider")
    enabled = Bool("whether new routers are made")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[VirtualRouterElement]) -> list[Shown]:
        return shown_elements(rows)


def shown_elements(rows: Sequence[Element]) -> list[Shown]:
    return [{"id": row.id, "nspid": row.provider_id, "enabled": row.enabled} for row in rows]


def elements(call: Call, kind: type[Element], keyword: str | None, filters: Mapping[str, Any]) -> Page:
    """The elements of a kind that fit the filters id, nspid and enabled."""
    columns = {"id": kind.id, "nspid": kind.provider_id, "enabled": kind.enabled}
    query = narrowed(select(kind).where(kind.removed.is_(None)), filters, columns)
    return call.paged(with_keyword(query, keyword, kind.id).order_by(kind.created, kind.id))


def add_provider(call: Call, physical: PhysicalNetwork, name: str) -> ServiceProvider:
    """The provider of that name, enabled, with its element.

    :raises Invalid: the physical network has it
    """
    taken = f"The physical network {physical.name} has the provider {name} already."
    provider: ServiceProvider = call.add(
        ServiceProvider(physical_network_id=physical.id, name=name, live=f"{physical.id}/{name.lower()}"), taken=taken
    )
    if name == catalog.VIRTUAL_ROUTER:
        call.add(VirtualRouterElement(provider_id=provider.id, live=provider.id))
    elif name == catalog.INTERNAL_BALANCER:
        call.add(InternalBalancerElement(provider_id=provider.id, live=provider.id))
    return provider


def remove_providers(call: Call, physical: PhysicalNetwork) -> None:
    query = select(ServiceProvider).where(ServiceProvider.physical_network_id == physical.id)
    for provider in call.session.scalars(query.where(ServiceProvider.removed.is_(None))):
        _remove(call, provider)


def _remove(call: Call, provider: ServiceProvider) -> None:
    for kind in (VirtualRouterElement, InternalBalancerElement):
        mine = update(kind).where(kind.provider_id == provider.id, kind.removed.is_(None))
        write(call.session, mine.values(removed=utcnow(), live=None))
    provider.remove()


class ListProviders(ListRequest):
    physicalnetworkid = Ref(PhysicalNetwork, "only those of this physical network")
    name = Text("only those of this name")
    state = Choice("only those in this state", STATES)


@command("listNetworkServiceProviders", ListProviders, ServiceProviderResponse)
def list_network_service_providers(call: Call, keyword: str | None, **filters: Any) -> Page:
    """List who gives services to tenant networks."""
    provider = ServiceProvider
    columns = {"physicalnetworkid": provider.physical_network_id, "name": provider.name, "state": provider.state}
    query = narrowed(select(provider).where(provider.removed.is_(None)), filters, columns)
    return call.paged(with_keyword(query, keyword, provider.name).order_by(provider.created, provider.id))


class AddProvider(Request):
    physicalnetworkid = Ref(PhysicalNetwork, "the physical network", required=True)
    name = Text("the provider's name, such as VirtualRouter", required=True)


@command("addNetworkServiceProvider", AddProvider, ServiceProviderResponse, is_async=True, creates=True,
         event="SERVICE.PROVIDER.CREATE")  # fmt: skip
def add_network_service_provider(call: Call, physicalnetworkid: PhysicalNetwork, name: str) -> WorkflowRow:
    """Give a physical network a provider that it lacks; it is enabled at once."""
    hold(call, physicalnetworkid)
    try:
        known = catalog.provider_named(name)
    except catalog.UnsuitableService as error:
        raise Invalid(str(error)) from error
    call.subject = add_provider(call, physicalnetworkid, known)
    return call.job_done(call.subject)


class UpdateProvider(Request):
    id = Ref(ServiceProvider, "the provider", required=True)
    state = Choice("Enabled, or Disabled: no new routers are made then", STATES)


@command("updateNetworkServiceProvider", UpdateProvider, ServiceProviderResponse, is_async=True,
         event="SERVICE.PROVIDER.UPDATE")  # fmt: skip
def update_network_service_provider(call: Call, id: ServiceProvider, state: str | None) -> WorkflowRow:
    """Enable or disable a provider; what it gives to networks already goes on."""
    id.state = state or id.state
    return call.job_done(id)


class DeleteProvider(Request):
    id = Ref(ServiceProvider, "the provider", required=True)


@command("deleteNetworkServiceProvider", DeleteProvider, SuccessResponse, is_async=True,
         event="SERVICE.PROVIDER.DELETE")  # fmt: skip
def delete_network_service_provider(call: Call, id: ServiceProvider) -> WorkflowRow:
    """Take a provider from a physical network that has no tenant network, or no device of it."""
    hold(call, id)
    kind = catalog.OF_DEVICES.get(id.name)
    here = id.physical_network_id
    mine = (HardwareDevice.kind == kind) & (HardwareDevice.physical_network_id == here)
    networks = ("networks on its physical network", Network, Network.physical_network_id == here)
    refuse_while(call, f"The provider {id.name}", [("devices", HardwareDevice, mine) if kind else networks])
    _remove(call, id)
    return call.job_done(id)


class ListRouterElements(ListRequest):
    id = Ref(VirtualRouterElement, "only this element")
    nspid = Ref(ServiceProvider, "only that of this provider")
    enabled = Flag("only those that new routers are made by, or only others")


@command("listVirtualRouterElements", ListRouterElements, RouterElementResponse)
def list_virtual_router_elements(call: Call, keyword: str | None, **filters: Any) -> Page:
    """List the elements of providers that give services by virtual routers."""
    return elements(call, VirtualRouterElement, keyword, filters)


class ConfigureRouterElement(Request):
    id = Ref(VirtualRouterElement, "the element", required=True)
    enabled = Flag("whether new routers are made", required=True)


@command("configureVirtualRouterElement", ConfigureRouterElement, RouterElementResponse, is_async=True,
         event="NETWORK.ELEMENT.CONFIGURE")  # fmt: skip
def configure_virtual_router_element(call: Call, id: VirtualRouterElement, enabled: bool) -> WorkflowRow:
    """Let new virtual routers be made, or not; those that are there go on."""
    id.enabled = enabled
    return call.job_done(id)
