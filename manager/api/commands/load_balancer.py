"""Load balancer rules: a port of a public address whose connections are spread over virtual machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import select

from manager.api.call import Call
from manager.api.command import EVERYONE, ROOT, Given, Page, Request, command
from manager.api.commands.balancer_limits import refuse_protocol
from manager.api.commands.port_forwarding import open_firewall, refuse_other_uses
from manager.api.commands.rule import (
    LARGEST_PORT,
    MOST_NETWORKS,
    RuleListRequest,
    begin,
    listed,
    network_for,
    networks_of,
    refuse_conflict,
    remove,
    shown_networks,
    shown_state,
)
from manager.api.commands.tag import TagResponse
from manager.api.errors import Invalid, missing
from manager.api.fields import Choice, Flag, Integer, ListOf, Ref, Text
from manager.api.response import Bool, Many, Response, Shown, Str, SuccessResponse
from manager.api.rows import bare_tags_of, by_id, owners_of
from manager.models import (
    BalancedMember,
    LoadBalancerRule,
    Network,
    NetworkOffering,
    NetworkRule,
    PublicAddress,
    StickinessPolicy,
    Vm,
    WorkflowRow,
    Zone,
)
from manager.workflows.rules import add_rules, change_rule, start_for
from network import catalog

SERVICE = "Lb"
ALGORITHMS = ("roundrobin", "leastconn", "source")
PROTOCOLS = ("tcp", "tcp-proxy", "ssl")
LONGEST_DESCRIPTION = 4096
Policy = TypeVar("Policy", bound=NetworkRule)
TLS = "ssl"


class LoadBalancerResponse(Response):
    object_key = "loadbalancer"
    shows = LoadBalancerRule
    has_jobs = True
    is_owned = True
    id = Str("the rule's id")
    name = Str("its name")
    description = Str("what it is for")
    publicipid = Str("the id of the public address")
    publicip = Str("the public address")
    publicport = Str("the port of the public address")
    privateport = Str("the port of the virtual machines")
    algorithm = Str("how connections are spread: roundrobin, leastconn or source")
    protocol = Str("tcp; tcp-proxy where virtual machines are told who connects; ssl where the balancer speaks TLS")
    networkid = Str("the id of the network")
    cidrlist = Str("the networks that it is for, with commas")
    state = Str("Add until its network's router has it, then Active; Deleting while it is taken away")
    zoneid = Str("the id of its zone")
    zonename = Str("its zone")
    fordisplay = Bool("whether users see it")
    tags = Many("its tags", TagResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[LoadBalancerRule]) -> list[Shown]:
        addresses = by_id(call, PublicAddress, (row.address_id for row in rows))
        networks = by_id(call, Network, (row.network_id for row in rows))
        zones = by_id(call, Zone, (network.zone_id for network in networks.values()))
        owners, tags = owners_of(call, rows, path=True), bare_tags_of(call, rows)
        return [
            {
                **_describe(row, addresses.get(row.address_id)),
                **owners[row.account_id],
                "zoneid": networks[row.network_id].zone_id,
                "zonename": zones[networks[row.network_id].zone_id].name,
                "tags": tags[row.id],
            }
            for row in rows
        ]


def _describe(row: LoadBalancerRule, address: PublicAddress | None) -> Shown:
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "publicipid": row.address_id,
        "publicip": address.address if address is not None else None,
        "publicport": str(row.first_port),
        "privateport": str(row.guest_port),
        "algorithm": row.algorithm,
        "protocol": row.balanced_protocol,
        "networkid": row.network_id,
        "cidrlist": shown_networks(row.sources),
        "state": shown_state(row),
        "fordisplay": row.display,
    }


class CreateLoadBalancerRule(Request):
    name = Text("its name", required=True)
    description = Text("what it is for", max_length=LONGEST_DESCRIPTION)
    algorithm = Choice("how connections are spread", ALGORITHMS, required=True)
    publicipid = Ref(PublicAddress, "the public address")
    publicport = Integer("the port of the public address", least=1, most=LARGEST_PORT, required=True)
    privateport = Integer("the port of the virtual machines", least=1, most=LARGEST_PORT, required=True)
    protocol = Text("tcp, tcp-proxy or ssl; tcp when absent")
    networkid = Ref(Network, "the network, which must be that of the public address, or a tier of its VPC")
    cidrlist = ListOf(Text("a network"), "the networks that it is for; all when absent", most=MOST_NETWORKS)
    openfirewall = Flag("open the firewall for the port as well, to all; in VPCs it is open", default=True)
    fordisplay = Flag("whether users see it", default=True, roles=ROOT)


@command("createLoadBalancerRule", CreateLoadBalancerRule, LoadBalancerResponse, is_async=True, creates=True,
         roles=EVERYONE, event="LB.CREATE", rehearses=True)  # fmt: skip
def create_load_balancer_rule(call: Call, given: Given) -> WorkflowRow:
    """Spread the connections to a port of a public address over virtual machines, which are assigned to it then."""
    address: PublicAddress | None = given.publicipid
    if address is None:
        raise missing(call.command, "publicipid")
    network = network_for(call, address, given.networkid)
    if call.session.get_one(NetworkOffering, network.offering_id).services.get(SERVICE) == catalog.INTERNAL_BALANCER:
        raise Invalid(f"The network {network.name} has load balancing inside its VPC alone, by createLoadBalancer.")
    rule = LoadBalancerRule(
        account_id=network.account_id,
        network_id=network.id,
        address_id=address.id,
        name=given.name,
        description=given.description,
        protocol="tcp",
        first_port=given.publicport,
        last_port=given.publicport,
        guest_port=given.privateport,
        sources=networks_of("cidrlist", given.cidrlist),
        options={"algorithm": given.algorithm, "protocol": _protocol(given.protocol or "tcp")},
        display=given.fordisplay,
    )
    revision = begin(call, network, SERVICE, address)
    refuse_protocol(call, network, rule.balanced_protocol)
    refuse_other_uses(call, network, address, "LoadBalancing")
    refuse_conflict(call, rule)
    is_open = given.openfirewall and network.vpc_id is None
    # The rule itself holds the sources; an opening for them only would outlive a change of them.
    rules = [call.add(rule), *(open_firewall(call, rule, []) if is_open else ())]
    return start_for(call.session, add_rules, rules, revision, call=call)


def _protocol(text: str) -> str:
    """:raises Invalid: routers do not balance it"""
    name = text.lower()
    if name == "udp":
        raise Invalid("The router's load balancer takes connections of TCP; UDP can be led by port forwarding.")
    if name not in PROTOCOLS:
        raise Invalid(f"The protocol {text} is none of {', '.join(PROTOCOLS)}.")
    return name


class OneLoadBalancerRule(Request):
    id = Ref(LoadBalancerRule, "the rule", required=True)


class UpdateLoadBalancerRule(OneLoadBalancerRule):
    name = Text("its new name")
    description = Text("what it is for", max_length=LONGEST_DESCRIPTION)
    algorithm = Choice("how connections are spread", ALGORITHMS)
    protocol = Text("tcp, tcp-proxy or ssl")
    cidrlist = ListOf(Text("a network"), "the networks that it is for", most=MOST_NETWORKS)
    fordisplay = Flag("whether users see it", roles=ROOT)


CHANGING = ("name", "description", "options", "sources", "display", "certificate_id")


def begin_change(call: Call, rule: LoadBalancerRule) -> int:
    """Lock the rule's network and read the rule anew; the number of the change.

    :raises Invalid: the rule is being removed
    """
    revision = begin(call, call.session.get_one(Network, rule.network_id), SERVICE)
    call.session.refresh(rule)
    if rule.removed is not None or rule.state == "Revoke":
        raise Invalid(f"The load balancer rule {rule.id} is being removed.")
    return revision


def start_change(call: Call, rule: LoadBalancerRule, revision: int, before: dict[str, Any]) -> WorkflowRow:
    return start_for(call.session, change_rule, [rule], revision, call=call, before=before)


def values_of(rule: LoadBalancerRule) -> dict[str, Any]:
    """What a change that fails is taken back to."""
    return {name: getattr(rule, name) for name in CHANGING}


@command("updateLoadBalancerRule", UpdateLoadBalancerRule, LoadBalancerResponse, is_async=True, roles=EVERYONE,
         event="LB.UPDATE", rehearses=True)  # fmt: skip
def update_load_balancer_rule(call: Call, given: Given) -> WorkflowRow:
    """Change how a load balancer rule is called, spreads connections, and for whom it is."""
    rule: LoadBalancerRule = given.id
    revision = begin_change(call, rule)
    before = values_of(rule)
    rule.name = given.name or rule.name
    if given.description is not None:
        rule.description = given.description
    protocol = _protocol(given.protocol) if given.protocol else rule.balanced_protocol
    _check_protocol(call, rule, protocol)
    rule.options = {"algorithm": given.algorithm or rule.algorithm, "protocol": protocol}
    if given.cidrlist is not None:
        rule.sources = networks_of("cidrlist", given.cidrlist)
    if given.fordisplay is not None:
        rule.display = given.fordisplay
    return start_change(call, rule, revision, before)


def _check_protocol(call: Call, rule: LoadBalancerRule, protocol: str) -> None:
    """:raises Invalid: the rule has a certificate, which is for ssl, or a cookie, which tcp-proxy may not carry, or the
    network's load balancer does not speak it
    """
    refuse_protocol(call, call.session.get_one(Network, rule.network_id), protocol)
    if protocol != TLS and rule.certificate_id is not None:
        raise Invalid(f"The rule {rule.name} has a certificate, which is for {TLS}; remove it from the rule first.")
    for policy in policies_of(call, StickinessPolicy, [rule.id]):
        check_sticky(policy.method, protocol)


def policies_of(call: Call, kind: type[Policy], rule_ids: Sequence[str]) -> Sequence[Policy]:
    """The living policies of a kind that rules have, the oldest first."""
    mine = select(kind).where(kind.related_id.in_(rule_ids), kind.removed.is_(None))
    return call.session.scalars(mine.order_by(kind.created, kind.id)).all()


def check_sticky(method: str, protocol: str) -> None:
    """:raises Invalid: cookies are asked for where what is said is not understood as HTTP"""
    if protocol == "tcp-proxy" and method != "SourceBased":
        raise Invalid(f"The method {method} needs HTTP; a rule of the protocol tcp-proxy can have SourceBased.")


@command("deleteLoadBalancerRule", OneLoadBalancerRule, SuccessResponse, is_async=True, roles=EVERYONE,
         event="LB.DELETE", rehearses=True)  # fmt: skip
def delete_load_balancer_rule(call: Call, id: LoadBalancerRule) -> WorkflowRow:
    """Take a load balancer rule away, with its policies and the firewall rule that was made with it."""
    if id.inner_address is not None:
        raise Invalid(f"The load balancer {id.name} is one inside a VPC; deleteLoadBalancer removes it.")
    return remove(call, id)


class ListLoadBalancerRules(RuleListRequest):
    id = Ref(LoadBalancerRule, "only this rule")
    name = Text("only rules of this name")
    publicipid = Ref(PublicAddress, "only rules of this public address")
    networkid = Ref(Network, "only rules of this network")
    virtualmachineid = Ref(Vm, "only rules that this virtual machine is assigned to")
    zoneid = Ref(Zone, "only rules in this zone")


@command("listLoadBalancerRules", ListLoadBalancerRules, LoadBalancerResponse, roles=EVERYONE,
         object_key="loadbalancerrule")  # fmt: skip
def list_load_balancer_rules(call: Call, **filters: Any) -> Page:
    """List load balancer rules."""
    rule = LoadBalancerRule
    columns = {"id": rule.id, "name": rule.name, "publicipid": rule.address_id, "networkid": rule.network_id}
    which = [rule.guest_address.is_(None)]
    if filters["virtualmachineid"] is not None:
        mine = BalancedMember.vm_id == filters["virtualmachineid"].id, BalancedMember.removed.is_(None)
        which.append(rule.id.in_(select(BalancedMember.related_id).where(*mine)))
    if filters["zoneid"] is not None:
        which.append(rule.network_id.in_(select(Network.id).where(Network.zone_id == filters["zoneid"].id)))
    return listed(call, rule, filters, columns, *which, named=rule.name)
