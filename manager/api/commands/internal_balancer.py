"""Load balancers inside VPCs: a port of an address in a tier whose connections are spread over virtual machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import or_, select

from manager.api.call import Call
from manager.api.command import EVERYONE, ROOT, Given, Page, Request, command
from manager.api.commands.load_balancer import ALGORITHMS, LONGEST_DESCRIPTION, SERVICE
from manager.api.commands.rule import LARGEST_PORT, RuleListRequest, begin, listed, shown_state
from manager.api.commands.tag import TagResponse
from manager.api.errors import ApiError, Invalid
from manager.api.fields import Choice, Flag, Integer, Ref, Text
from manager.api.response import Bool, Int, Many, Response, Shown, Str, SuccessResponse
from manager.api.rows import bare_tags_of, by_id, owners_of
from manager.models import (
    BalancedMember,
    BalancerAppliance,
    InternalBalancerElement,
    LoadBalancerRule,
    Network,
    NetworkOffering,
    Nic,
    NicAddress,
    ServiceProvider,
    Vm,
    WorkflowRow,
)
from manager.placement.address import NoAddress, free_address
from manager.workflows.internal_balancer import add_balancer, remove_balancer
from manager.workflows.numbers import next_number
from manager.workflows.rule_rows import living, move_all, next_revision
from network import catalog

INTERNAL = "Internal"
DNS = 53


class BalancedPortsResponse(Response):
    object_key = "loadbalancerrule"
    sourceport = Int("the port of the address")
    instanceport = Int("the port of the virtual machines")
    state = Str("Add until the VPC's router has it, then Active; Deleting while it is taken away")


class BalancedInstanceResponse(Response):
    object_key = "loadbalancerinstance"
    id = Str("the virtual machine's id")
    name = Str("its name")
    state = Str("its state")
    ipaddress = Str("its address that connections are led to")


class InternalBalancerResponse(Response):
    object_key = "loadbalancer"
    shows = LoadBalancerRule
    has_jobs = True
    is_owned = True
    id = Str("the load balancer's id")
    name = Str("its name")
    description = Str("what it is for")
    algorithm = Str("how connections are spread: roundrobin, leastconn or source")
    networkid = Str("the id of the tier of the virtual machines")
    sourceipaddress = Str("the address that it is at")
    sourceipaddressnetworkid = Str("the id of the tier that the address is in, which is the same")
    loadbalancerrule = Many("its ports", BalancedPortsResponse)
    loadbalancerinstance = Many("the virtual machines assigned to it", BalancedInstanceResponse)
    fordisplay = Bool("whether users see it", root_only=True)
    tags = Many("its tags", TagResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[LoadBalancerRule]) -> list[Shown]:
        owners, tags = owners_of(call, rows, path=True), bare_tags_of(call, rows)
        members = _members_of(call, [row.id for row in rows])
        return [
            {
                "id": row.id,
                "name": row.name,
                "description": row.description,
                "algorithm": row.algorithm,
                "networkid": row.network_id,
                "sourceipaddress": row.inner_address,
                "sourceipaddressnetworkid": row.network_id,
                "loadbalancerrule": [
                    {"sourceport": row.first_port, "instanceport": row.guest_port, "state": shown_state(row)}
                ],
                "loadbalancerinstance": members[row.id],
                "fordisplay": row.display,
                "tags": tags[row.id],
                **owners[row.account_id],
            }
            for row in rows
        ]


def _members_of(call: Call, rule_ids: list[str]) -> dict[str, list[Shown]]:
    """By the rule's id: the virtual machines assigned to it, as they are shown."""
    found: dict[str, list[Shown]] = {key: [] for key in rule_ids}
    mine = BalancedMember.related_id.in_(rule_ids), BalancedMember.removed.is_(None)
    members = call.session.scalars(select(BalancedMember).where(*mine).order_by(BalancedMember.id)).all()
    vms = by_id(call, Vm, (member.vm_id for member in members))
    for one in members:
        vm = vms[one.vm_id]
        shown = {"id": vm.id, "name": vm.name, "state": vm.state, "ipaddress": one.guest_address}
        found[str(one.related_id)].append(shown)
    return found


class CreateLoadBalancer(Request):
    name = Text("its name", required=True)
    description = Text("what it is for", max_length=LONGEST_DESCRIPTION)
    scheme = Choice("Internal: public ones are made by createLoadBalancerRule", [INTERNAL], required=True)
    algorithm = Choice("how connections are spread", ALGORITHMS, required=True)
    networkid = Ref(Network, "the tier of the virtual machines", required=True)
    sourceipaddressnetworkid = Ref(Network, "the tier that the address is in, which must be the same", required=True)
    sourceipaddress = Text("the address that it is at; any free one when absent")
    sourceport = Integer("the port of the address", least=1, most=LARGEST_PORT, required=True)
    instanceport = Integer("the port of the virtual machines", least=1, most=LARGEST_PORT, required=True)
    fordisplay = Flag("whether users see it", default=True, roles=ROOT)


@command("createLoadBalancer", CreateLoadBalancer, InternalBalancerResponse, is_async=True, creates=True,
         roles=EVERYONE, event="LB.CREATE", rehearses=True)  # fmt: skip
def create_load_balancer(call: Call, given: Given) -> WorkflowRow:
    """Spread the connections to a port of an address in a tier over its virtual machines, which are assigned to it
    then. Guests of other tiers reach it as the network ACL of the tier says.
    """
    network: Network = given.networkid
    if given.sourceipaddressnetworkid.id != network.id:
        raise Invalid(f"The address is to be in the tier {network.name}, whose virtual machines it leads to.")
    _demand_provider(call, network)
    begin(call, network, SERVICE)
    if given.sourceport == DNS:
        raise Invalid(f"The port {DNS} of the router's addresses is that of its name server.")
    address = _take_address(call, network, given.sourceipaddress)
    rule = LoadBalancerRule(
        account_id=network.account_id,
        network_id=network.id,
        name=given.name,
        description=given.description,
        protocol="tcp",
        first_port=given.sourceport,
        last_port=given.sourceport,
        guest_address=address,
        guest_port=given.instanceport,
        guest_claim=f"{network.id}/{address}/balancer/{given.sourceport}",
        options={"algorithm": given.algorithm, "protocol": "tcp"},
        display=given.fordisplay,
    )
    call.add(rule, taken=f"The port {given.sourceport} of {address} is that of another load balancer.")
    return add_balancer.start(call.session, rule, call=call)


def _demand_provider(call: Call, network: Network) -> None:
    """:raises Invalid: nobody balances inside the network, or no new balancers are made"""
    services = call.session.get_one(NetworkOffering, network.offering_id).services
    if services.get(SERVICE) != catalog.INTERNAL_BALANCER:
        raise Invalid(f"The network {network.name} has no internal load balancing: the provider of {SERVICE} must be "
                      f"{catalog.INTERNAL_BALANCER}, and is {services.get(SERVICE, 'none')}.")  # fmt: skip
    element, provider = InternalBalancerElement, ServiceProvider
    query = (
        select(provider.id)
        .outerjoin(element, (element.provider_id == provider.id) & element.removed.is_(None))
        .where(provider.physical_network_id == network.physical_network_id, provider.removed.is_(None))
        .where(provider.name == catalog.INTERNAL_BALANCER)
        .where(or_(provider.state != "Enabled", element.enabled.is_(False)))
    )
    if call.session.scalar(query) is not None:
        raise Invalid(f"The provider {catalog.INTERNAL_BALANCER} of the physical network of {network.name}, or the "
                      "element of that, is disabled.")  # fmt: skip


def _take_address(call: Call, network: Network, wanted: str | None) -> str:
    """The address, from now on the router's own in the tier, which is locked; another balancer may be at it already.

    :raises ApiError: the router has no leg in the tier yet, or the address is not free
    """
    leg = call.session.scalar(select(Nic.id).where(Nic.network_id == network.id, Nic.router_id.is_not(None)))
    if leg is None:
        raise Invalid(f"The tier {network.name} is {network.state}; start a virtual machine in it first.")
    if wanted:
        held = NicAddress.network_id == network.id, NicAddress.address == wanted, NicAddress.nic_id == leg
        if call.session.scalar(select(NicAddress.id).where(*held, NicAddress.removing.is_(False))) is not None:
            return wanted
    try:
        address = free_address(call.session, network, wanted or None)
    except NoAddress as error:
        raise ApiError(error.code, str(error)) from error
    call.add(NicAddress(nic_id=leg, network_id=network.id, address=address), taken=f"The address {address} is taken.")
    call.add(
        BalancerAppliance(
            name=f"b-{next_number(call.session, 'router')}-VM",
            account_id=network.account_id,
            zone_id=network.zone_id,
            network_id=network.id,
            address=address,
            live=f"{network.id}/{address}",
        ),
        taken=f"The address {address} is taken.",
    )  # fmt: skip
    return address


class DeleteLoadBalancer(Request):
    id = Ref(LoadBalancerRule, "the load balancer", required=True)


@command("deleteLoadBalancer", DeleteLoadBalancer, SuccessResponse, is_async=True, roles=EVERYONE,
         event="LB.DELETE", rehearses=True)  # fmt: skip
def delete_load_balancer(call: Call, id: LoadBalancerRule) -> WorkflowRow:
    """Take a load balancer inside a VPC away; its address is free when no other is at it."""
    if id.inner_address is None:
        raise Invalid(f"The load balancer {id.name} is at a public address; deleteLoadBalancerRule removes it.")
    next_revision(call.session, id.network_id)
    parts = living(call.session, LoadBalancerRule.related_id == id.id)
    move_all([id, *parts], "revoke")
    return remove_balancer.start(call.session, id, call=call)


class UpdateLoadBalancer(Request):
    id = Ref(LoadBalancerRule, "the load balancer", required=True)
    fordisplay = Flag("whether users see it", roles=ROOT)


@command("updateLoadBalancer", UpdateLoadBalancer, InternalBalancerResponse, is_async=True, roles=EVERYONE,
         event="LB.UPDATE")  # fmt: skip
def update_load_balancer(call: Call, id: LoadBalancerRule, fordisplay: bool | None) -> WorkflowRow:
    """Show a load balancer inside a VPC to users, or hide it."""
    if id.inner_address is None:
        raise Invalid(f"The load balancer {id.name} is at a public address; updateLoadBalancerRule changes it.")
    id.display = id.display if fordisplay is None else fordisplay
    return call.job_done(id)


class ListLoadBalancers(RuleListRequest):
    id = Ref(LoadBalancerRule, "only this one")
    name = Text("only those of this name")
    networkid = Ref(Network, "only those of this tier")
    sourceipaddress = Text("only those at this address")
    sourceipaddressnetworkid = Ref(Network, "only those with an address in this tier")
    scheme = Choice("Internal, which all are", [INTERNAL])


@command("listLoadBalancers", ListLoadBalancers, InternalBalancerResponse, roles=EVERYONE)
def list_load_balancers(call: Call, **filters: Any) -> Page:
    """List load balancers inside VPCs."""
    rule = LoadBalancerRule
    columns = {"id": rule.id, "name": rule.name, "networkid": rule.network_id,
               "sourceipaddress": rule.guest_address, "sourceipaddressnetworkid": rule.network_id}  # fmt: skip
    return listed(call, rule, filters, columns, rule.guest_address.is_not(None), named=rule.name)
