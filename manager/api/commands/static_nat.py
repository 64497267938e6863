"""Static NAT: a public address that stands for a virtual machine, and the ports that are open on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from manager.api.call import Call
from manager.api.command import EVERYONE, AccountListRequest, Given, Page, Request, command
from manager.api.commands.port_forwarding import guest_of, open_firewall, shown_vm
from manager.api.commands.rule import (
    LARGEST_PORT,
    MOST_NETWORKS,
    TAKING_PORTS,
    begin,
    listed,
    network_for,
    network_of,
    networks_of,
    ports_of,
    protocol_of,
    refuse_conflict,
    remove,
    shown_state,
)
from manager.api.commands.vpn_place import refuse_vpn
from manager.api.errors import ApiError, Invalid
from manager.api.fields import Flag, Integer, ListOf, Ref, Text
from manager.api.response import Int, Response, Shown, Str, SuccessResponse
from manager.api.rows import by_id
from manager.models import (
    IpForwardingRule,
    Network,
    NetworkRule,
    PublicAddress,
    StaticNatRule,
    Vm,
    WorkflowRow,
)
from manager.workflows.rule_rows import living
from manager.workflows.rules import add_rules, enable_nat, start_for

SERVICE = "StaticNat"
PROTOCOLS = ("tcp", "udp")
CONFLICT = 537


class EnableStaticNat(Request):
    ipaddressid = Ref(PublicAddress, "the public address", required=True)
    virtualmachineid = Ref(Vm, "the virtual machine that it shall stand for", required=True)
    vmguestip = Text("the VM's address; that of its NIC when absent")
    networkid = Ref(Network, "the network, which must be that of the public address, or a tier of its VPC")


@command("enableStaticNat", EnableStaticNat, SuccessResponse, roles=EVERYONE, event="STATICNAT.ENABLE", rehearses=True)
def enable_static_nat(call: Call, given: Given) -> bool:
    """Let a public address stand for a virtual machine, both ways. What may come in, firewall rules say."""
    address: PublicAddress = given.ipaddressid
    network = network_for(call, address, given.networkid)
    call.subject = address
    vm: Vm = given.virtualmachineid
    guest = guest_of(call, network, vm, given.vmguestip)
    revision = begin(call, network, SERVICE, address)
    if address.source_nat:
        raise Invalid(f"The public address {address.address} is that of source NAT; static NAT needs another one.")
    refuse_vpn(call, address)
    if _is_so_already(call, address, vm, guest):
        return True
    nat = StaticNatRule(
        account_id=network.account_id,
        network_id=network.id,
        address_id=address.id,
        vm_id=vm.id,
        guest_address=guest,
        live=f"static-nat/{address.id}",
        guest_claim=f"{network.id}/{guest}",
    )
    call.add(nat, taken=f"The address {guest} of {vm.name} has a public address by static NAT already.")
    start_for(call.session, enable_nat, [nat], revision)
    return True


def _is_so_already(call: Call, address: PublicAddress, vm: Vm, guest: str) -> bool:
    """Whether that static NAT is there.

    :raises ApiError: another one is, or port forwarding
    """
    uses = living(
        call.session,
        NetworkRule.address_id == address.id,
        NetworkRule.purpose.in_(("StaticNat", *TAKING_PORTS)),
    )
    for rule in uses:
        if isinstance(rule, StaticNatRule) and rule.state != "Revoke" and (rule.vm_id, rule.guest_address) == (
            vm.id, guest,
        ):  # fmt: skip
            return True
        kind = TAKING_PORTS.get(rule.purpose, "static NAT")
        raise ApiError(CONFLICT, f"The public address {address.address} is in use by {kind} rule {rule.id}.")
    return False


class OneStaticNat(Request):
    ipaddressid = Ref(PublicAddress, "the public address", required=True)


@command(
    "disableStaticNat",
    OneStaticNat,
    SuccessResponse,
    is_async=True,
    roles=EVERYONE,
    event="STATICNAT.DISABLE",
    rehearses=True,
)
def disable_static_nat(call: Call, ipaddressid: PublicAddress) -> WorkflowRow:
    """Take static NAT off a public address, with all rules that the address has."""
    call.subject = ipaddressid
    return remove(call, _nat_of(call, ipaddressid), NetworkRule.address_id == ipaddressid.id)


def _nat_of(call: Call, address: PublicAddress) -> StaticNatRule:
    """:raises Invalid: the address has no static NAT"""
    found = call.session.scalar(
        select(StaticNatRule).where(StaticNatRule.address_id == address.id, StaticNatRule.removed.is_(None))
    )
    if found is None:
        raise Invalid(f"The public address {address.address} has no static NAT; enableStaticNat gives it one.")
    return found


class IpForwardingResponse(Response):
    object_key = "ipforwardingrule"
    shows = IpForwardingRule
    has_jobs = True
    id = Str("the rule's id")
    protocol = Str("tcp or udp")
    startport = Int("the first port")
    endport = Int("the last port")
    ipaddressid = Str("the id of the public address")
    ipaddress = Str("the public address")
    virtualmachineid = Str("the id of the virtual machine")
    virtualmachinename = Str("its name")
    virtualmachinedisplayname = Str("its name shown to people")
    state = Str("Add until its network's router has it, then Active; Deleting while it is taken away")

    @classmethod
    def render(cls, call: Call, rows: Sequence[IpForwardingRule]) -> list[Shown]:
        addresses = by_id(call, PublicAddress, (row.address_id for row in rows))
        vms = by_id(call, Vm, (row.vm_id for row in rows))
        return [
            {
                "id": row.id,
                "protocol": row.protocol,
                "startport": row.first_port,
                "endport": row.last_port,
                "ipaddressid": row.address_id,
                "ipaddress": addresses[row.address_id].address if row.address_id else None,
                "state": shown_state(row),
                **shown_vm(vms[row.vm_id]),
            }
            for row in rows
        ]


class CreateIpForwardingRule(Request):
    ipaddressid = Ref(PublicAddress, "the public address, which has static NAT", required=True)
    protocol = Text("tcp or udp", required=True)
    startport = Integer("the first port", least=1, most=LARGEST_PORT, required=True)
    endport = Integer("the last port; the first when absent", least=1, most=LARGEST_PORT)
    cidrlist = ListOf(Text("a network"), "the networks that the firewall is opened for", most=MOST_NETWORKS)
    openfirewall = Flag("open the firewall for the ports as well", default=True)


@command("createIpForwardingRule", CreateIpForwardingRule, IpForwardingResponse, is_async=True, creates=True,
         roles=EVERYONE, event="NET.RULEADD", rehearses=True)  # fmt: skip
def create_ip_forwarding_rule(call: Call, given: Given) -> WorkflowRow:
    """Open ports of a public address that has static NAT."""
    address: PublicAddress = given.ipaddressid
    network = network_of(call, address)
    first, last = ports_of(given.startport, given.endport)
    revision = begin(call, network, SERVICE, address)
    nat = _nat_of(call, address)
    if nat.state == "Revoke":
        raise Invalid(f"The static NAT of the public address {address.address} is being taken away.")
    rule = IpForwardingRule(
        account_id=network.account_id,
        network_id=network.id,
        address_id=address.id,
        vm_id=nat.vm_id,
        guest_address=nat.guest_address,
        protocol=protocol_of(given.protocol, PROTOCOLS),
        first_port=first,
        last_port=last,
    )
    refuse_conflict(call, rule)
    sources = networks_of("cidrlist", given.cidrlist)
    rules = [call.add(rule), *(open_firewall(call, rule, sources) if given.openfirewall else ())]
    return start_for(call.session, add_rules, rules, revision, call=call)


class OneIpForwardingRule(Request):
    id = Ref(IpForwardingRule, "the rule", required=True)


@command("deleteIpForwardingRule", OneIpForwardingRule, SuccessResponse, is_async=True, roles=EVERYONE,
         event="NET.RULEDELETE", rehearses=True)  # fmt: skip
def delete_ip_forwarding_rule(call: Call, id: IpForwardingRule) -> WorkflowRow:
    """Close ports of a public address of static NAT, with the firewall rule that was made with them."""
    return remove(call, id)


class ListIpForwardingRules(AccountListRequest):
    id = Ref(IpForwardingRule, "only this rule")
    ipaddressid = Ref(PublicAddress, "only rules of this public address")
    virtualmachineid = Ref(Vm, "only rules of this virtual machine")


@command("listIpForwardingRules", ListIpForwardingRules, IpForwardingResponse, roles=EVERYONE)
def list_ip_forwarding_rules(call: Call, **filters: Any) -> Page:
    """List the open ports of public addresses of static NAT."""
    rule = IpForwardingRule
    columns = {"id": rule.id, "ipaddressid": rule.address_id, "virtualmachineid": rule.vm_id}
    return listed(call, rule, filters, columns)
