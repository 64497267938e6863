"""Firewall rules: what may reach a public address from outside, and what guests may send to the outside."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Any, ClassVar

from manager.api.call import Call
from manager.api.command import EVERYONE, ROOT, Given, Page, Request, command
from manager.api.commands.rule import (
    MOST_NETWORKS,
    RuleListRequest,
    TrafficRequest,
    addresses_of,
    begin,
    listed,
    network_of,
    networks_of,
    refuse_conflict,
    remove,
    shown_networks,
    shown_state,
    traffic_of,
)
from manager.api.commands.tag import TagResponse
from manager.api.errors import Invalid
from manager.api.fields import Flag, ListOf, Ref, Text
from manager.api.response import Bool, Int, Many, Response, Shown, Str, SuccessResponse
from manager.api.rows import bare_tags_of
from manager.models import EgressRule, FirewallRule, Network, NetworkRule, PublicAddress, WorkflowRow
from manager.workflows.rules import add_rules, start_for

SERVICE = "Firewall"


class FirewallResponse(Response):
    object_key = "firewallrule"
    shows: ClassVar[type[Any] | None] = FirewallRule
    has_jobs = True
    id = Str("the rule's id")
    protocol = Str("tcp, udp, icmp, all, or a protocol number")
    startport = Int("the first port; absent for all")
    endport = Int("the last port")
    icmptype = Int("the type of icmp; -1 for all")
    icmpcode = Int("the code of icmp; -1 for all")
    cidrlist = Str("the networks that it comes from, with commas")
    destcidrlist = Str("the networks that it goes to, with commas")
    traffictype = Str("Ingress or Egress")
    ipaddressid = Str("the id of the public address")
    ipaddress = Str("the public address")
    networkid = Str("the id of its network")
    state = Str("Add until its network's router has it, then Active; Deleting while it is taken away")
    fordisplay = Bool("whether users see it")
    tags = Many("its tags", TagResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[NetworkRule]) -> list[Shown]:
        addresses, tags = addresses_of(call, rows), bare_tags_of(call, rows)
        return [{**_describe(row), **addresses[row.address_id], "tags": tags[row.id]} for row in rows]


class EgressResponse(FirewallResponse):
    shows = EgressRule


def _describe(row: NetworkRule) -> Shown:
    is_icmp, outward = row.protocol == "icmp", isinstance(row, EgressRule)
    return {
        "id": row.id,
        "protocol": row.protocol,
        "startport": row.first_port,
        "endport": row.last_port,
        "icmptype": (-1 if row.icmp_type is None else row.icmp_type) if is_icmp else None,
        "icmpcode": (-1 if row.icmp_code is None else row.icmp_code) if is_icmp else None,
        "cidrlist": shown_networks(row.sources),
        "destcidrlist": shown_networks(row.destinations) if outward else None,
        "traffictype": "Egress" if outward else "Ingress",
        "networkid": row.network_id,
        "state": shown_state(row),
        "fordisplay": row.display,
    }


class CreateFirewallRule(TrafficRequest):
    ipaddressid = Ref(PublicAddress, "the public address", required=True)


@command("createFirewallRule", CreateFirewallRule, FirewallResponse, is_async=True, creates=True, roles=EVERYONE,
         event="FIREWALL.OPEN", rehearses=True)  # fmt: skip
def create_firewall_rule(call: Call, given: Given) -> WorkflowRow:
    """Let traffic from outside reach a public address; without a rule nothing does."""
    address: PublicAddress = given.ipaddressid
    network = network_of(call, address)
    traffic = traffic_of(given)
    revision = begin(call, network, SERVICE, address)
    rule = FirewallRule(account_id=network.account_id, network_id=network.id, address_id=address.id, **traffic)
    refuse_conflict(call, rule, by_networks=True)
    return start_for(call.session, add_rules, [call.add(rule)], revision, call=call)


class OneFirewallRule(Request):
    id = Ref(FirewallRule, "the rule", required=True)


@command(
    "deleteFirewallRule",
    OneFirewallRule,
    SuccessResponse,
    is_async=True,
    roles=EVERYONE,
    event="FIREWALL.CLOSE",
    rehearses=True,
)
def delete_firewall_rule(call: Call, id: FirewallRule) -> WorkflowRow:
    """Take a firewall rule away; connections that no other rule allows end."""
    return remove(call, id)


class UpdateFirewallRule(OneFirewallRule):
    fordisplay = Flag("whether users see it", roles=ROOT)


@command("updateFirewallRule", UpdateFirewallRule, FirewallResponse, is_async=True, roles=EVERYONE,
         event="FIREWALL.UPDATE")  # fmt: skip
def update_firewall_rule(call: Call, id: FirewallRule, fordisplay: bool | None) -> WorkflowRow:
    """Show a firewall rule to users, or hide it."""
    id.display = id.display if fordisplay is None else fordisplay
    return call.job_done(id)


class ListFirewallRules(RuleListRequest):
    id = Ref(FirewallRule, "only this rule")
    ipaddressid = Ref(PublicAddress, "only rules of this public address")
    networkid = Ref(Network, "only rules of this network")


@command("listFirewallRules", ListFirewallRules, FirewallResponse, roles=EVERYONE)
def list_firewall_rules(call: Call, **filters: Any) -> Page:
    """List the rules for traffic from outside."""
    columns = {"id": FirewallRule.id, "ipaddressid": FirewallRule.address_id, "networkid": FirewallRule.network_id}
    return listed(call, FirewallRule, filters, columns)


class CreateEgressFirewallRule(TrafficRequest):
    networkid = Ref(Network, "the network", required=True, right="manage")
    destcidrlist = ListOf(Text("a network"), "the networks that it goes to; all when absent", most=MOST_NETWORKS)


@command("createEgressFirewallRule", CreateEgressFirewallRule, EgressResponse, is_async=True, creates=True,
         roles=EVERYONE, event="FIREWALL.EGRESS.OPEN", rehearses=True)  # fmt: skip
def create_egress_firewall_rule(call: Call, given: Given) -> WorkflowRow:
    """Except traffic of a network from what its offering says of traffic to the outside: deny it, or allow it."""
    network: Network = given.networkid
    traffic = traffic_of(given)
    for one in traffic["sources"]:
        if not IPv4Network(one).subnet_of(IPv4Network(network.cidr)):
            raise Invalid(f"The cidrlist holds {one}, which is not in {network.cidr}, the range of {network.name}.")
    revision = begin(call, network, SERVICE)
    rule = EgressRule(
        account_id=network.account_id,
        network_id=network.id,
        destinations=networks_of("destcidrlist", given.destcidrlist),
        **traffic,
    )
    refuse_conflict(call, rule, by_networks=True)
    return start_for(call.session, add_rules, [call.add(rule)], revision, call=call)


class OneEgressRule(Request):
    id = Ref(EgressRule, "the rule", required=True)


@command("deleteEgressFirewallRule", OneEgressRule, SuccessResponse, is_async=True, roles=EVERYONE,
         event="FIREWALL.EGRESS.CLOSE", rehearses=True)  # fmt: skip
def delete_egress_firewall_rule(call: Call, id: EgressRule) -> WorkflowRow:
    """Take an exception for traffic to the outside away."""
    return remove(call, id)


class UpdateEgressRule(OneEgressRule):
    fordisplay = Flag("whether users see it", roles=ROOT)


@command("updateEgressFirewallRule", UpdateEgressRule, EgressResponse, is_async=True, roles=EVERYONE,
         event="FIREWALL.EGRESS.UPDATE")  # fmt: skip
def update_egress_firewall_rule(call: Call, id: EgressRule, fordisplay: bool | None) -> WorkflowRow:
    """Show a rule for traffic to the outside to users, or hide it."""
    id.display = id.display if fordisplay is None else fordisplay
    return call.job_done(id)


class ListEgressRules(RuleListRequest):
    id = Ref(EgressRule, "only this rule")
    networkid = Ref(Network, "only rules of this network")


@command("listEgressFirewallRules", ListEgressRules, EgressResponse, roles=EVERYONE)
def list_egress_firewall_rules(call: Call, **filters: Any) -> Page:
    """List the rules for traffic to the outside."""
    return listed(call, EgressRule, filters, {"id": EgressRule.id, "networkid": EgressRule.network_id})
