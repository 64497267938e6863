"""Port forwarding rules: ports of a public address that lead to ports of a virtual machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from manager.api.call import Call
from manager.api.command import EVERYONE, ROOT, Given, Page, Request, command
from manager.api.commands.balancer_limits import is_apart
from manager.api.commands.rule import (
    LARGEST_PORT,
    MOST_NETWORKS,
    TAKING_PORTS,
    RuleListRequest,
    addresses_of,
    begin,
    listed,
    network_for,
    networks_of,
    ports_of,
    protocol_of,
    refuse_conflict,
    remove,
    shown_networks,
    shown_state,
)
from manager.api.commands.tag import TagResponse
from manager.api.commands.vpn_place import refuse_vpn, takes_key_exchange
from manager.api.errors import ApiError, Invalid
from manager.api.fields import Flag, Integer, ListOf, Ref, Text
from manager.api.response import Bool, Many, Response, Shown, Str, SuccessResponse
from manager.api.rows import bare_tags_of, by_id
from manager.models import (
    FirewallRule,
    Network,
    NetworkOffering,
    NetworkRule,
    Nic,
    NicAddress,
    PortForwardingRule,
    PublicAddress,
    Vm,
    WorkflowRow,
)
from manager.workflows.rule_rows import living
from manager.workflows.rules import add_rules, change_rule, start_for

SERVICE = "PortForwarding"
PROTOCOLS = ("tcp", "udp")
CONFLICT = 537
MOST_SHIFTED = 1000
"""Ports whose number changes on the way are rules of their own in the router."""
ENDING = ("Destroyed", "Expunging", "Error")


class PortForwardingResponse(Response):
    object_key = "portforwardingrule"
    shows = PortForwardingRule
    has_jobs = True
    id = Str("the rule's id")
    protocol = Str("tcp or udp")
    publicport = Str("the first port of the public address")
    publicendport = Str("the last port of the public address")
    privateport = Str("the first port of the virtual machine")
    privateendport = Str("the last port of the virtual machine")
    virtualmachineid = Str("the id of the virtual machine")
    virtualmachinename = Str("its name")
    virtualmachinedisplayname = Str("its name shown to people")
    vmguestip = Str("its address that the ports lead to")
    cidrlist = Str("the networks that it is for, with commas")
    ipaddressid = Str("the id of the public address")
    ipaddress = Str("the public address")
    networkid = Str("the id of the network")
    state = Str("Add until its network's router has it, then Active; Deleting while it is taken away")
    fordisplay = Bool("whether users see it")
    tags = Many("its tags", TagResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[PortForwardingRule]) -> list[Shown]:
        addresses, tags = addresses_of(call, rows), bare_tags_of(call, rows)
        vms = by_id(call, Vm, (row.vm_id for row in rows))
        return [{**_describe(row, vms[row.vm_id]), **addresses[row.address_id], "tags": tags[row.id]} for row in rows]


def shown_vm(vm: Vm) -> Shown:
    return {
        "virtualmachineid": vm.id,
        "virtualmachinename": vm.name,
        "virtualmachinedisplayname": vm.display_name,
    }


def _describe(row: PortForwardingRule, vm: Vm) -> Shown:
    first, last, inner = int(row.first_port or 0), int(row.last_port or 0), int(row.guest_port or 0)
    return {
        "id": row.id,
        "protocol": row.protocol,
        "publicport": str(first),
        "publicendport": str(last),
        "privateport": str(inner),
        "privateendport": str(inner + last - first),
        "vmguestip": row.guest_address,
        "cidrlist": shown_networks(row.sources),
        "networkid": row.network_id,
        "state": shown_state(row),
        "fordisplay": row.display,
        **shown_vm(vm),
    }


def guest_of(call: Call, network: Network, vm: Vm, wanted: str | None) -> str:
    """The VM's address in the network, or `wanted`, when that is one of its addresses there.

    :raises Invalid: the VM is not in the network, is going away, or does not have that address
    """
    if vm.state in ENDING:
        raise Invalid(f"The virtual machine {vm.name} is {vm.state}; nothing can lead to it.")
    query = select(Nic.id, Nic.address).where(Nic.vm_id == vm.id, Nic.network_id == network.id)
    nic = call.session.execute(query).first()
    if nic is None:
        raise Invalid(f"The virtual machine {vm.name} has no NIC in network {network.name}.")
    if wanted is None or wanted == nic.address:
        return str(nic.address)
    further = select(NicAddress.address).where(NicAddress.nic_id == nic.id, NicAddress.address == wanted)
    if call.session.scalar(further) is None:
        raise Invalid(f"The address {wanted} is not one of {vm.name} in network {network.name}, as {nic.address} is.")
    return wanted


class CreatePortForwardingRule(Request):
    ipaddressid = Ref(PublicAddress, "the public address", required=True)
    protocol = Text("tcp or udp", required=True)
    publicport = Integer("the first port of the public address", least=1, most=LARGEST_PORT, required=True)
    publicendport = Integer("the last such port; the first when absent", least=1, most=LARGEST_PORT)
    privateport = Integer("the first port of the virtual machine", least=1, most=LARGEST_PORT, required=True)
    privateendport = Integer("the last such port; as many as of the address when absent", least=1, most=LARGEST_PORT)
    virtualmachineid = Ref(Vm, "the virtual machine", required=True)
    vmguestip = Text("its address that the ports lead to; that of its NIC when absent")
    networkid = Ref(Network, "the network, which must be that of the public address, or a tier of its VPC")
    cidrlist = ListOf(Text("a network"), "the networks that it is for; all when absent", most=MOST_NETWORKS)
    openfirewall = Flag("open the firewall for the ports as well; in VPCs ACL lists do that", default=True)
    fordisplay = Flag("whether users see it", default=True, roles=ROOT)


@command("createPortForwardingRule", CreatePortForwardingRule, PortForwardingResponse, is_async=True, creates=True,
         roles=EVERYONE, event="NET.RULEADD", rehearses=True)  # fmt: skip
def create_port_forwarding_rule(call: Call, given: Given) -> WorkflowRow:
    """Lead ports of a public address to as many ports of a virtual machine."""
    address: PublicAddress = given.ipaddressid
    network = network_for(call, address, given.networkid)
    first, last = ports_of(given.publicport, given.publicendport)
    rule = PortForwardingRule(
        account_id=network.account_id,
        network_id=network.id,
        address_id=address.id,
        vm_id=given.virtualmachineid.id,
        guest_address=guest_of(call, network, given.virtualmachineid, given.vmguestip),
        protocol=protocol_of(given.protocol, PROTOCOLS),
        first_port=first,
        last_port=last,
        guest_port=given.privateport,
        sources=networks_of("cidrlist", given.cidrlist),
        display=given.fordisplay,
    )
    _check_ports(rule, given.privateendport)
    revision = begin(call, network, SERVICE, address)
    refuse_other_uses(call, network, address)
    refuse_conflict(call, rule)
    if takes_key_exchange(rule):
        refuse_vpn(call, address)
    rules = [call.add(rule), *(open_firewall(call, rule) if given.openfirewall and not network.vpc_id else ())]
    return start_for(call.session, add_rules, rules, revision, call=call)


def _check_ports(rule: PortForwardingRule, inner_end: int | None) -> None:
    """:raises Invalid: there are not as many ports on both sides, or too many whose number would change"""
    first, last, inner = int(rule.first_port or 0), int(rule.last_port or 0), int(rule.guest_port or 0)
    end = inner + last - first
    if inner_end is not None and inner_end != end:
        raise Invalid(
            f"There are {last - first + 1} public ports and {inner_end - inner + 1} private ones; "
            "the source and destination port ranges should be of equal sizes."
        )
    if end > LARGEST_PORT:
        raise Invalid(f"The private ports {inner}-{end} reach beyond {LARGEST_PORT}.")
    if inner != first and last - first >= MOST_SHIFTED:
        raise Invalid(f"A range whose ports have other numbers inside has at most {MOST_SHIFTED} ports.")


def refuse_other_uses(call: Call, network: Network, address: PublicAddress, purpose: str = "PortForwarding") -> None:
    """:raises ApiError: static NAT has the address, or another use, where the offering wants one use for each"""
    uses = living(call.session, NetworkRule.address_id == address.id, NetworkRule.purpose != purpose)
    nats = [rule for rule in uses if rule.purpose == "StaticNat"]
    if nats:
        raise ApiError(CONFLICT, f"The public address {address.address} is in use by static NAT rule {nats[0].id}.")
    offering = call.session.get_one(NetworkOffering, network.offering_id)
    apart = is_apart(offering)
    if offering.conserve_mode and not apart:
        return
    others = [TAKING_PORTS[rule.purpose] for rule in uses if rule.purpose in TAKING_PORTS]
    is_source = address.source_nat and (not offering.conserve_mode or purpose == "LoadBalancing")
    other = "source NAT" if is_source else next(iter(others), None)
    if other is not None:
        why = "balances by a device of its own" if offering.conserve_mode else "has no conserve mode"
        raise Invalid(f"The public address {address.address} is that of {other}, and the offering {offering.name} "
                      f"{why}; {TAKING_PORTS[purpose]} needs an address of its own.")  # fmt: skip


def open_firewall(call: Call, rule: NetworkRule, sources: list[str] | None = None) -> list[NetworkRule]:
    """The new firewall rule for the ports of `rule`, which goes with it; none where there is one already."""
    same = living(
        call.session,
        NetworkRule.address_id == rule.address_id,
        NetworkRule.purpose == "Firewall",
        NetworkRule.state != "Revoke",
        NetworkRule.protocol == rule.protocol,
        NetworkRule.first_port == rule.first_port,
        NetworkRule.last_port == rule.last_port,
    )
    if same:
        return []
    opened = FirewallRule(
        account_id=rule.account_id,
        network_id=rule.network_id,
        address_id=rule.address_id,
        related_id=rule.id,
        protocol=rule.protocol,
        first_port=rule.first_port,
        last_port=rule.last_port,
        sources=sources if sources is not None else rule.sources,
        display=rule.display,
    )
    return [call.add(opened)]


class OnePortForwardingRule(Request):
    id = Ref(PortForwardingRule, "the rule", required=True)


@command("deletePortForwardingRule", OnePortForwardingRule, SuccessResponse, is_async=True, roles=EVERYONE,
         event="NET.RULEDELETE", rehearses=True)  # fmt: skip
def delete_port_forwarding_rule(call: Call, id: PortForwardingRule) -> WorkflowRow:
    """Take a port forwarding rule away, with the firewall rule that was made with it."""
    return remove(call, id)


class UpdatePortForwardingRule(OnePortForwardingRule):
    privateport = Integer("the first port of the virtual machine", least=1, most=LARGEST_PORT)
    privateendport = Integer("the last such port", least=1, most=LARGEST_PORT)
    virtualmachineid = Ref(Vm, "the virtual machine")
    vmguestip = Text("its address that the ports lead to")
    cidrlist = ListOf(Text("a network"), "the networks that it is for", most=MOST_NETWORKS)
    fordisplay = Flag("whether users see it", roles=ROOT)


CHANGING = ("vm_id", "guest_address", "guest_port", "sources", "display")


@command("updatePortForwardingRule", UpdatePortForwardingRule, PortForwardingResponse, is_async=True, roles=EVERYONE,
         event="NET.RULEMODIFY", rehearses=True)  # fmt: skip
def update_port_forwarding_rule(call: Call, given: Given) -> WorkflowRow:
    """Lead the public ports of a rule elsewhere."""
    rule: PortForwardingRule = given.id
    network = call.session.get_one(Network, rule.network_id)
    revision = begin(call, network, SERVICE)
    call.session.refresh(rule)
    if rule.removed is not None or rule.state == "Revoke":
        raise Invalid(f"The port forwarding rule {rule.id} is being removed.")
    before = {name: getattr(rule, name) for name in CHANGING}
    vm = given.virtualmachineid or call.session.get_one(Vm, rule.vm_id)
    if given.virtualmachineid is not None or given.vmguestip is not None:
        rule.guest_address, rule.vm_id = guest_of(call, network, vm, given.vmguestip), vm.id
    rule.guest_port = given.privateport or rule.guest_port
    _check_ports(rule, given.privateendport)
    if given.cidrlist is not None:
        rule.sources = networks_of("cidrlist", given.cidrlist)
    if given.fordisplay is not None:
        rule.display = given.fordisplay
    return start_for(call.session, change_rule, [rule], revision, call=call, before=before)


class ListPortForwardingRules(RuleListRequest):
    id = Ref(PortForwardingRule, "only this rule")
    ipaddressid = Ref(PublicAddress, "only rules of this public address")
    networkid = Ref(Network, "only rules of this network")


@command("listPortForwardingRules", ListPortForwardingRules, PortForwardingResponse, roles=EVERYONE)
def list_port_forwarding_rules(call: Call, **filters: Any) -> Page:
    """List port forwarding rules."""
    rule = PortForwardingRule
    columns = {"id": rule.id, "ipaddressid": rule.address_id, "networkid": rule.network_id}
    return listed(call, rule, filters, columns)
