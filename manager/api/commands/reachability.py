"""Why one can, or cannot, reach another."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from sqlalchemy import ColumnElement, and_, select

from manager import access
from manager.api.call import Call
from manager.api.command import EVERYONE, Given, Request, command
from manager.api.commands import ipv4
from manager.api.commands.rule import LARGEST_BYTE, LARGEST_PORT, protocol_of
from manager.api.errors import Invalid
from manager.api.fields import Integer, Ref, Text
from manager.api.response import Bool, Int, Many, Response, Shown, Str
from manager.models import Network, Nic, NicAddress, Vm, WorkflowRow
from manager.workflows.reachability import DEVICE, SENDER, Question, explain, public_networks, with_tiers
from network.reachability.values import ECHO_REQUEST, ICMP, TCP, UDP, number_of

OPERATORS = frozenset({"Host", "DomainRouter", "HardwareDevice"})
"""Kinds of things that are shown to root administrators alone."""

UNPLUGGED = "no NIC with an address; in networks of layer 2 alone none has one"

_FOREIGN = {
    allowed: {"kind": "", "object_id": "", "rule_kind": None, "rule_id": None, "what": "its own rules", "reason":
              f"The rules of the other end, which are not yours, {'allow' if allowed else 'deny'} it."}
    for allowed in (True, False)
}  # fmt: skip


class ReachabilityStepResponse(Response):
    where = Str("guest, network, router or outside")
    what = Str("what decides there, such as firewall, static NAT, egress rules, network ACL, tunnel")
    verdict = Str("allow or deny; nothing follows what denies")
    objecttype = Str("the kind of thing that it belongs to")
    objectid = Str("the id of that thing")
    ruletype = Str("the kind of the rule that decided, if one did")
    ruleid = Str("the id of that rule")
    reason = Str("why, as a sentence")


class ReachabilityHostResponse(Response):
    role = Str("sender or receiver: whose host it is; device: what a hardware device holds of the network")
    networkid = Str("the network that the packet is in there")
    agrees = Bool("whether the host does what it should")
    delivers = Bool("whether the host's flows pass the packet on")
    reason = Str("what is wrong, as a sentence")
    hostname = Str("the host's name", root_only=True)
    hostid = Str("the host's id", root_only=True)
    deviceid = Str("the id of the hardware device", root_only=True)
    difference = Str("the first difference between what is installed and what is wanted", root_only=True)
    flows = Many("the installed flows that the packet meets", root_only=True)


class ReachabilityResponse(Response):
    """The answer lies in the memory of the job that found it."""

    object_key = "reachability"
    shows = WorkflowRow
    reachable = Bool("whether the rules allow it")
    reason = Str("the reason of the first step that denies")
    agrees = Bool("whether all hosts on the way do what they should; absent when none was asked")
    steps = Many("what decides, in the order of the way", ReachabilityStepResponse)
    stops = Many("the hosts on the way: what their installed flows do with the packet", ReachabilityHostResponse)
    stopcount = Int("how many hosts are on the way")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Any]) -> list[Shown]:
        return [_describe(call, row.memory) for row in rows]


class ExplainReachability(Request):
    virtualmachineid = Ref(Vm, "the VM that sends; without it the packet comes from outside")
    sourceipaddress = Text("the address that it comes from: of the VM, that of its NIC when absent; from outside, any")
    tovirtualmachineid = Ref(Vm, "the VM that shall be reached")
    toipaddress = Text("the address that shall be reached, where no VM is given")
    protocol = Text("tcp, udp, icmp or a protocol number", required=True)
    port = Integer("the destination port, of tcp and udp; that of the VM where one shall be reached", least=1,
                   most=LARGEST_PORT)  # fmt: skip
    icmptype = Integer("the type, of icmp; 8, a ping, when absent", most=LARGEST_BYTE)
    icmpcode = Integer("the code, of icmp; 0 when absent", most=LARGEST_BYTE)


@command("explainReachability", ExplainReachability, ReachabilityResponse, is_async=True, roles=EVERYONE)
def explain_reachability(call: Call, given: Given) -> WorkflowRow:
    """Tell whether a new connection is let through, what decides on its way, and whether hosts do as they should."""
    protocol = _traffic(given)
    sender = _nic(call, given.virtualmachineid, given) if given.virtualmachineid else None
    receiver = _receiver(call, given, sender)
    source = _source(call, given, sender)
    target = str(receiver.address) if receiver else str(_target(given.toipaddress))
    networks = [nic.network_id for nic in (sender, receiver) if nic is not None]
    networks += _reached(call, public_networks(call.session, target)) if receiver is None else []
    if not networks:
        raise Invalid(f"The address {target} is of no network that you may look into.")
    kind = ECHO_REQUEST if given.icmptype is None else given.icmptype
    question = Question(
        source, target, protocol, given.port or 0, kind, given.icmpcode or 0, tuple(with_tiers(call.session, networks)),
        sender.id if sender else "", receiver.id if receiver else "",
    )  # fmt: skip
    return explain(call.session, question, call=call)


def _traffic(given: Given) -> int:
    """The protocol's number. :raises Invalid: the parameters do not fit together."""
    name = protocol_of(given.protocol)
    if name == "all":
        raise Invalid("A packet is of one protocol: tcp, udp, icmp or a protocol number.")
    protocol = number_of(name)
    if (given.port is not None) != (protocol in (TCP, UDP)):
        raise Invalid("A port is needed for tcp and udp, and is for these alone.")
    if protocol != ICMP and (given.icmptype is not None or given.icmpcode is not None):
        raise Invalid(f"ICMP types and codes are for the protocol icmp, not for {name}.")
    return protocol


def _nic(call: Call, vm: Vm, given: Given) -> Nic:
    """The NIC that the VM sends by: the one in the network of whom it shall reach, else its default one.

    :raises Invalid: it has none
    """
    query = select(Nic, Network.cidr).join(Network, Network.id == Nic.network_id).where(_explained(vm))
    plugs = call.session.execute(query.order_by(Nic.is_default.desc(), Nic.device, Nic.id)).all()
    if not plugs:
        raise Invalid(f"The virtual machine {vm.name} has {UNPLUGGED}.")
    if given.tovirtualmachineid is not None:
        theirs = list(call.session.scalars(select(Nic.network_id).filter_by(vm_id=given.tovirtualmachineid.id)))
        near = [nic for nic, _ in plugs if nic.network_id in theirs]
        reached = with_tiers(call.session, theirs)
        shared: list[Nic] = near or [nic for nic, _ in plugs if nic.network_id in reached]
    else:
        target = _target(given.toipaddress)
        shared = [nic for nic, cidr in plugs if target in IPv4Network(cidr)]
    return shared[0] if shared else plugs[0][0]


def _explained(vm: Vm) -> ColumnElement[bool]:
    """The VM's NICs that have addresses; nothing is known of those that guests give themselves."""
    return and_(Nic.vm_id == vm.id, Nic.address.is_not(None))


def _receiver(call: Call, given: Given, sender: Nic | None) -> Nic | None:
    """The NIC of the VM that shall be reached, if one is named.

    :raises Invalid: neither or both of VM and address are given, it has no NIC, or none in the sender's network
    """
    vm: Vm | None = given.tovirtualmachineid
    if (vm is None) == (given.toipaddress is None):
        raise Invalid("Either tovirtualmachineid or toipaddress must be given: who shall be reached.")
    if vm is None:
        return None
    query = select(Nic).where(_explained(vm))
    nics = call.session.scalars(query.order_by(Nic.is_default.desc(), Nic.device, Nic.id)).all()
    if sender is not None:
        near = [nic for nic in nics if nic.network_id == sender.network_id]
        reached = with_tiers(call.session, [sender.network_id])
        nics = near or [nic for nic in nics if nic.network_id in reached]
    if not nics:
        common = "no network or VPC in common with the one that sends; name a public address of it"
        place = common if sender else UNPLUGGED
        raise Invalid(f"The virtual machine {vm.name} has {place}.")
    return nics[0]


def _source(call: Call, given: Given, sender: Nic | None) -> str:
    """:raises Invalid: the outside has no address, or the address given is none of the VM's"""
    if sender is None:
        return str(ipv4.address("sourceipaddress", given.sourceipaddress))
    if given.sourceipaddress is None:
        return str(sender.address)
    wanted = str(ipv4.address("sourceipaddress", given.sourceipaddress))
    further = select(NicAddress.id).where(NicAddress.nic_id == sender.id, NicAddress.address == wanted)
    if wanted != sender.address and call.session.scalar(further) is None:
        raise Invalid(f"The address {wanted} is not one of the virtual machine's, as {sender.address} is.")
    return wanted


def _target(text: str | None) -> IPv4Address:
    """:raises Invalid: it is no address that one host can have"""
    found = ipv4.address("toipaddress", text)
    if found.is_multicast or found.is_unspecified or found.is_loopback or found.is_reserved:
        raise Invalid(f"The toipaddress {found} is not an address that one host can have.")
    return found


def _reached(call: Call, network_ids: list[str]) -> list[str]:
    """Of these networks, those that the caller may look into."""
    query = select(Network.id).where(Network.id.in_(network_ids), Network.removed.is_(None))
    return list(call.session.scalars(query.where(access.reach(call, Network, access.USE)).order_by(Network.id)))


def _describe(call: Call, memory: dict[str, Any]) -> Shown:
    steps, stops = _seen(call, memory.get("steps", [])), [_stop(stop) for stop in memory.get("stops", [])]
    known = [stop["agrees"] for stop in stops if "agrees" in stop]
    return {
        "reachable": memory.get("reachable"),
        "reason": next((step["reason"] for step in steps if not step["allowed"]), None),
        "agrees": all(known) if known else None,
        "steps": [_step(call, step) for step in steps],
        "stops": stops,
        "stopcount": len(stops),
    }


def _seen(call: Call, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps without what the rules of others' NICs say: in a shared network both ends may be of two accounts."""
    if call.is_root_admin:
        return steps
    query = select(Nic.id).where(Nic.id.in_({step["nic_id"] for step in steps}), access.reach(call, Nic, access.READ))
    own = {"", *call.session.scalars(query)}
    return [step if step["nic_id"] in own else step | _FOREIGN[step["allowed"]] for step in steps]


def _step(call: Call, step: dict[str, Any]) -> Shown:
    is_shown = call.is_root_admin or step["kind"] not in OPERATORS
    return {
        "where": step["where"],
        "what": step["what"],
        "verdict": "allow" if step["allowed"] else "deny",
        "objecttype": (step["kind"] or None) if is_shown else None,
        "objectid": (step["object_id"] or None) if is_shown else None,
        "ruletype": step.get("rule_kind"),
        "ruleid": step.get("rule_id"),
        "reason": step["reason"],
    }


def _stop(stop: dict[str, Any]) -> Shown:
    shown: Shown = {
        "role": stop["role"], "networkid": stop["network_id"], "hostname": stop["host"], "hostid": stop["host_id"],
    }  # fmt: skip
    if stop["role"] == DEVICE:
        return _device(stop, shown | {"deviceid": stop["device_id"]})
    whose = "sender's" if stop["role"] == SENDER else "receiver's"
    if not stop["asked"]:
        return shown | {"reason": f"The {whose} host is not up, so it was not asked."}
    if "silent" in stop:
        return shown | {"reason": f"The {whose} host gave no answer.", "difference": stop["silent"]}
    if "delivers" not in stop:
        return shown
    agrees = not stop["difference"] and stop["delivers"] == stop["should"]
    shown |= {"agrees": agrees, "delivers": stop["delivers"], "flows": stop["flows"]}
    if not agrees:
        shown["reason"] = f"The {whose} host does not have the flows that it should; its operator can mend that."
        shown["difference"] = stop["difference"] or None
    return shown


def _device(stop: dict[str, Any], shown: Shown) -> Shown:
    if not stop["asked"]:
        return shown | {"reason": "The host that leads to the device is not up, so the device was not asked."}
    if stop.get("silent"):
        return shown | {"reason": "What the device holds could not be read.", "difference": stop["silent"]}
    if "difference" not in stop:
        return shown
    if not stop["difference"]:
        return shown | {"agrees": True}
    reason = "The device, or its cable, is not as it should be; its operator can mend that."
    return shown | {"agrees": False, "reason": reason, "difference": stop["difference"]}
