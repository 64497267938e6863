"""Virtual machines of load balancer rules: assigning, removing, listing."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from manager import access
from manager.api.call import Call
from manager.api.command import EVERYONE, ListRequest, Page, Request, command
from manager.api.commands.load_balancer import begin_change
from manager.api.commands.port_forwarding import ENDING, guest_of
from manager.api.commands.vm_response import VmResponse
from manager.api.errors import Invalid
from manager.api.fields import Flag, ListOf, MapList, Ref
from manager.api.response import SuccessResponse
from manager.models import BalancedMember, LoadBalancerRule, Network, Nic, Vm, WorkflowRow
from manager.workflows.rule_rows import move_all, next_revision
from manager.workflows.rules import add_rules, remove_rules, start_for

MOST_MEMBERS = 250
Pairs = list[tuple[Vm, str | None]]


class ChangeMembers(Request):
    id = Ref(LoadBalancerRule, "the rule", right="manage", required=True)
    virtualmachineids = ListOf(Ref(Vm, "a virtual machine"), "the virtual machines, by the addresses of their NICs")
    vmidipmap = MapList("virtual machines by other addresses: vmidipmap[0].vmid=..&vmidipmap[0].vmip=..")


@command("assignToLoadBalancerRule", ChangeMembers, SuccessResponse, is_async=True, roles=EVERYONE,
         event="LB.ASSIGN.TO.RULE", rehearses=True)  # fmt: skip
def assign_to_load_balancer_rule(
    call: Call, id: LoadBalancerRule, virtualmachineids: list[Vm] | None, vmidipmap: list[dict[str, str]] | None
) -> WorkflowRow:
    """Have a load balancer rule lead to virtual machines as well. One that is stopped gets nothing until it answers."""
    rule, network = id, call.session.get_one(Network, id.network_id)
    pairs = _pairs(call, virtualmachineids, vmidipmap)
    revision = begin_change(call, rule)
    held = len(_members(call, rule))
    if held + len(pairs) > MOST_MEMBERS:
        raise Invalid(f"The rule {rule.name} would have {held + len(pairs)} addresses; it can have {MOST_MEMBERS}.")
    members = [_assign(call, rule, vm, guest_of(call, network, vm, address)) for vm, address in pairs]
    call.subject = rule
    return start_for(call.session, add_rules, members, revision, call=call)


def _pairs(call: Call, vms: list[Vm] | None, given: list[dict[str, str]] | None) -> Pairs:
    """Each virtual machine with the address that is named for it.

    :raises Invalid: there is none, or an entry of the map is not complete
    """
    entries = given or []
    for entry in entries:
        if set(entry) - {"vmid", "vmip"} or not entry.get("vmid"):
            raise Invalid("Each entry of vmidipmap has vmid, and vmip if an address is meant; nothing else.")
    mapped = access.entities(call, Vm, "vmidipmap", [entry["vmid"] for entry in entries], access.USE)
    plain: Pairs = [(vm, None) for vm in vms or ()]
    found = plain + [(vm, entry.get("vmip") or None) for vm, entry in zip(mapped, entries, strict=True)]
    if not found:
        raise Invalid("No virtual machine is named; give virtualmachineids or vmidipmap.")
    return found


def _members(call: Call, rule: LoadBalancerRule) -> Sequence[BalancedMember]:
    mine = BalancedMember.related_id == rule.id, BalancedMember.removed.is_(None)
    return call.session.scalars(select(BalancedMember).where(*mine).order_by(BalancedMember.id)).all()


def _assign(call: Call, rule: LoadBalancerRule, vm: Vm, address: str) -> BalancedMember:
    member = BalancedMember(
        account_id=rule.account_id,
        network_id=rule.network_id,
        address_id=rule.address_id,
        related_id=rule.id,
        vm_id=vm.id,
        guest_address=address,
        guest_port=rule.guest_port,
        guest_claim=f"{rule.id}/{address}",
    )
    taken = f"The address {address} of {vm.name} is assigned to the load balancer rule {rule.name} already."
    added: BalancedMember = call.add(member, taken=taken)
    return added


@command("removeFromLoadBalancerRule", ChangeMembers, SuccessResponse, is_async=True, roles=EVERYONE,
         event="LB.REMOVE.FROM.RULE", rehearses=True)  # fmt: skip
def remove_from_load_balancer_rule(
    call: Call, id: LoadBalancerRule, virtualmachineids: list[Vm] | None, vmidipmap: list[dict[str, str]] | None
) -> WorkflowRow:
    """Lead no new connections of a load balancer rule to virtual machines; without an address, to none of theirs."""
    rule = id
    pairs = _pairs(call, virtualmachineids, vmidipmap)
    revision = next_revision(call.session, rule.network_id)
    leaving: dict[str, BalancedMember] = {}
    members = _members(call, rule)
    for vm, address in pairs:
        mine = [one for one in members if one.vm_id == vm.id and address in (None, one.guest_address)]
        if not mine:
            what = f"The address {address} of {vm.name}" if address else f"The virtual machine {vm.name}"
            raise Invalid(f"{what} is not assigned to the load balancer rule {rule.name}.")
        leaving |= {one.id: one for one in mine}
    move_all(leaving.values(), "revoke")
    call.subject = rule
    return start_for(call.session, remove_rules, list(leaving.values()), revision, call=call)


class ListMembers(ListRequest):
    id = Ref(LoadBalancerRule, "the rule", required=True)
    applied = Flag("false: those virtual machines of its network that are not assigned to it", default=True)
    lbvmips = Flag("each virtual machine with those of its addresses that are assigned", default=False)


@command("listLoadBalancerRuleInstances", ListMembers, VmResponse, roles=EVERYONE,
         object_key="loadbalancerruleinstance")  # fmt: skip
def list_load_balancer_rule_instances(
    call: Call, id: LoadBalancerRule, applied: bool, lbvmips: bool, keyword: str | None
) -> Page | dict[str, object]:
    """List the virtual machines that a load balancer rule leads to."""
    mine = select(BalancedMember.vm_id).where(BalancedMember.related_id == id.id, BalancedMember.removed.is_(None))
    query = select(Vm).where(Vm.removed.is_(None))
    if applied:
        query = query.where(Vm.id.in_(mine))
    else:
        there = select(Nic.vm_id).where(Nic.network_id == id.network_id, Nic.vm_id.is_not(None))
        query = query.where(Vm.id.in_(there), Vm.id.not_in(mine), Vm.state.not_in(ENDING))
    if keyword:
        query = query.where(Vm.name.contains(keyword, autoescape=True))
    page = call.paged(query.order_by(Vm.created, Vm.id))
    return _with_addresses(call, id, page) if lbvmips and applied else page


def _with_addresses(call: Call, rule: LoadBalancerRule, page: Page) -> dict[str, object]:
    addresses: dict[str | None, list[str]] = {}
    for member in _members(call, rule):
        addresses.setdefault(member.vm_id, []).append(str(member.guest_address))
    shown = VmResponse.shown(call, page.rows)
    entries = [
        {"loadbalancerruleinstance": one, "lbvmipaddresses": sorted(addresses.get(row.id, []))}
        for row, one in zip(page.rows, shown, strict=True)
    ]
    return {"count": page.count, "lbrulevmidip": entries} if entries else {}
