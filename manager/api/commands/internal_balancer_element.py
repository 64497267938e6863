"""The elements of providers that balance inside VPCs, as scripts that set up a zone use them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from manager.api.call import Call
from manager.api.command import ListRequest, Page, Request, command
from manager.api.commands.place import hold
from manager.api.commands.service_provider import elements, shown_elements
from manager.api.errors import Invalid
from manager.api.fields import Flag, Ref
from manager.api.response import Bool, Response, Shown, Str
from manager.models import InternalBalancerElement, ServiceProvider, WorkflowRow
from network import catalog


class InternalElementResponse(Response):
    object_key = "internalloadbalancerelement"
    shows = InternalBalancerElement
    id = Str("the element's id")
    nspid = Str("the id of its provider")
    enabled = Bool("whether new load balancers are made")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[InternalBalancerElement]) -> list[Shown]:
        return shown_elements(rows)


class CreateInternalElement(Request):
    nspid = Ref(ServiceProvider, "the provider, which is InternalLbVm", required=True)


@command("createInternalLoadBalancerElement", CreateInternalElement, InternalElementResponse, is_async=True,
         creates=True, event="NETWORK.ELEMENT.CREATE")  # fmt: skip
def create_internal_load_balancer_element(call: Call, nspid: ServiceProvider) -> WorkflowRow:
    """Give a provider its element. One that has its element, as a new provider has, keeps it, so that scripts which set
    up a zone need not look first.
    """
    hold(call, nspid)
    if nspid.name != catalog.INTERNAL_BALANCER:
        raise Invalid(f"The provider {nspid.name} has no such element; that of {catalog.INTERNAL_BALANCER} has one.")
    own = call.session.scalar(select(InternalBalancerElement).filter_by(provider_id=nspid.id, removed=None))
    return call.job_done(own or call.add(InternalBalancerElement(provider_id=nspid.id, live=nspid.id)))


class ConfigureInternalElement(Request):
    id = Ref(InternalBalancerElement, "the element", required=True)
    enabled = Flag("whether new load balancers are made", required=True)


@command("configureInternalLoadBalancerElement", ConfigureInternalElement, InternalElementResponse, is_async=True,
         event="NETWORK.ELEMENT.CONFIGURE")  # fmt: skip
def configure_internal_load_balancer_element(call: Call, id: InternalBalancerElement, enabled: bool) -> WorkflowRow:
    """Let new load balancers inside VPCs be made, or not; those that are there go on."""
    id.enabled = enabled
    return call.job_done(id)


class ListInternalElements(ListRequest):
    id = Ref(InternalBalancerElement, "only this element")
    nspid = Ref(ServiceProvider, "only that of this provider")
    enabled = Flag("only those that new load balancers are made by, or only others")


@command("listInternalLoadBalancerElements", ListInternalElements, InternalElementResponse)
def list_internal_load_balancer_elements(call: Call, keyword: str | None, **filters: Any) -> Page:
    """List the elements of providers that balance inside VPCs."""
    return elements(call, InternalBalancerElement, keyword, filters)
