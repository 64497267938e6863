"""What rules of all kinds share: how traffic is given and shown, where a rule may stand, what stands in its way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, select

from manager import access
from manager.api.call import Call
from manager.api.command import ROOT, AccountListRequest, Given, Page, Request
from manager.api.commands import ipv4
from manager.api.commands.place import narrowed
from manager.api.errors import ApiError, Invalid
from manager.api.fields import Flag, Integer, ListOf, MapOf, Text
from manager.api.response import Shown
from manager.api.rows import by_id
from manager.models import (
    Network,
    NetworkAclItem,
    NetworkOffering,
    NetworkRule,
    PublicAddress,
    StaticRoute,
    Tag,
    WorkflowRow,
)
from manager.workflows.rule_rows import living, move_all, next_revision
from manager.workflows.rules import remove_rules, start_for

EVERYWHERE = "0.0.0.0/0"
LARGEST_PORT, LARGEST_BYTE = 65535, 255
ANY = -1
BY_NUMBER = {"1": "icmp", "6": "tcp", "17": "udp"}
NAMED = ("tcp", "udp", "icmp", "all")
CONFLICT = 537
MOST_NETWORKS = 256
TAKING_PORTS = {"PortForwarding": "port forwarding", "LoadBalancing": "load balancing"}
"""Kinds of rules that share the ports of a public address: one of them has a port."""
Rule = TypeVar("Rule", bound=NetworkRule)


class TrafficRequest(Request):
    """Traffic as rules are given it; `traffic_of` reads it."""

    protocol = Text("tcp, udp, icmp, all, or a protocol number", required=True)
    startport = Integer("the first port, of tcp and udp; all when absent", least=1, most=LARGEST_PORT)
    endport = Integer("the last port; the first when absent", least=1, most=LARGEST_PORT)
    cidrlist = ListOf(Text("a network"), "the networks that it comes from; all when absent", most=MOST_NETWORKS)
    icmptype = Integer("the type, of icmp; -1 or absent for all", least=ANY, most=LARGEST_BYTE)
    icmpcode = Integer("the code, of icmp; -1 or absent for all", least=ANY, most=LARGEST_BYTE)
    fordisplay = Flag("whether users see it", default=True, roles=ROOT)


class RuleListRequest(AccountListRequest):
    fordisplay = Flag("only those that users see, or only others", roles=ROOT)
    tags = MapOf("only those with all these tags")


def protocol_of(text: str, known: Sequence[str] = ()) -> str:
    """The protocol as rules keep it; with `known`, one of these.

    :raises Invalid: there is none of that name
    """
    name = BY_NUMBER.get(text, text.lower())
    if known and name not in known:
        raise Invalid(f"The protocol {text} is not possible here; it must be {' or '.join(known)}.")
    if name not in NAMED and not (name.isdecimal() and name.isascii() and 0 <= int(name) <= LARGEST_BYTE):
        raise Invalid(f"The protocol {text} is none of {', '.join(NAMED)}, or a number from 0 to {LARGEST_BYTE}.")
    return name


def networks_of(name: str, texts: list[str] | None) -> list[str]:
    """The networks of a parameter, none for all.

    :raises Invalid: one of them is not an IPv4 network
    """
    found = list(dict.fromkeys(ipv4.cidr(name, text) for text in texts or ()))
    return [] if EVERYWHERE in found else found


def ports_of(first: int | None, last: int | None) -> tuple[int | None, int | None]:
    """:raises Invalid: the range begins after its end, or has no beginning"""
    if first is None and last is not None:
        raise Invalid(f"The last port {last} comes with a first one.")
    if first is not None and last is not None and first > last:
        raise Invalid(f"The port range {first}-{last} begins after its end.")
    return first, first if last is None else last


def traffic_of(given: Given) -> dict[str, Any]:
    """Columns of a rule from a TrafficRequest.

    :raises Invalid: they do not fit together
    """
    protocol = protocol_of(given.protocol)
    if protocol != "icmp" and (given.icmptype is not None or given.icmpcode is not None):
        raise Invalid(f"ICMP types and codes are for the protocol icmp, not for {protocol}.")
    if protocol not in ("tcp", "udp") and (given.startport is not None or given.endport is not None):
        raise Invalid(f"Ports are for the protocols tcp and udp, not for {protocol}.")
    kind, code = (None if value in (None, ANY) else value for value in (given.icmptype, given.icmpcode))
    if kind is None and code is not None:
        raise Invalid(f"The ICMP code {code} needs an icmptype, which says what it means.")
    first, last = ports_of(given.startport, given.endport)
    return {
        "protocol": protocol,
        "first_port": first,
        "last_port": last,
        "icmp_type": kind,
        "icmp_code": code,
        "sources": networks_of("cidrlist", given.cidrlist),
        "display": given.fordisplay,
    }


def begin(call: Call, network: Network, service: str, address: PublicAddress | None = None) -> int:
    """Lock the network for a change of its rules; the number of the change.

    :raises Invalid: it lacks the service, or the address is not its own any more
    """
    offering = call.session.get_one(NetworkOffering, network.offering_id)
    if service not in offering.services:
        raise Invalid(f"The network {network.name} has no service {service}; its offering {offering.name} lacks it.")
    revision = next_revision(call.session, network.id)
    if address is not None:
        call.session.refresh(address, with_for_update=address.vpc_id is not None)
        if address.vpc_id is not None:
            _lead_to(call, address, network)
        if address.network_id != network.id or address.releasing:
            raise Invalid(f"The public address {address.address} is being released.")
    return revision


def network_for(call: Call, address: PublicAddress, wanted: Network | None) -> Network:
    """Where a new rule of the address leads: a tier of its VPC, which must be named once, else the network that has it.

    :raises Invalid: that is another one than `wanted`, or not known
    """
    if address.vpc_id is None:
        network = network_of(call, address)
        if wanted is not None and wanted.id != network.id:
            raise Invalid(f"The public address {address.address} belongs to network {network.name}.")
        return network
    if address.source_nat:
        raise Invalid(f"The public address {address.address} is the source NAT of its VPC; rules need another one.")
    if wanted is None and address.network_id is None:
        raise Invalid(f"The public address {address.address} belongs to a VPC; give networkid, the tier to lead to.")
    network = wanted or call.session.get_one(Network, address.network_id)
    if network.vpc_id != address.vpc_id:
        raise Invalid(f"The network {network.name} is not a tier of the VPC that has {address.address}.")
    return network


def _lead_to(call: Call, address: PublicAddress, network: Network) -> None:
    """The address, which is held, leads to that tier.

    :raises Invalid: it leads to another one by rules
    """
    if address.network_id != network.id and living(call.session, NetworkRule.address_id == address.id):
        other = call.session.get_one(Network, address.network_id)
        raise Invalid(f"The public address {address.address} has rules that lead to the tier {other.name}.")
    address.network_id = network.id


def network_of(call: Call, address: PublicAddress) -> Network:
    """:raises Invalid: no network has the address"""
    if address.network_id is None:
        raise Invalid(f"The public address {address.address} belongs to no network; associate it first.")
    return call.session.get_one(Network, address.network_id)


def refuse_conflict(call: Call, new: NetworkRule, *, by_networks: bool = False) -> None:
    """With the network locked: what of the same kind and place, or of TAKING_PORTS, stands in the way of `new`.

    :raises ApiError: a rule has some of its ports; with `by_networks`, for some of its networks
    """
    whole = NetworkRule.network_id == new.network_id
    place = NetworkRule.address_id == new.address_id if new.address_id else whole
    purpose = str(type(new).__mapper_args__["polymorphic_identity"])
    purposes = (*TAKING_PORTS,) if purpose in TAKING_PORTS else (purpose,)
    for one in living(call.session, NetworkRule.purpose.in_(purposes), place):
        if one.id != new.id and _overlap(one, new) and not (by_networks and _apart(one, new)):
            text = f"The range specified, {_span(new)}, conflicts with rule {one.id} which has {_span(one)}."
            raise ApiError(CONFLICT, text)


def _overlap(one: NetworkRule, other: NetworkRule) -> bool:
    if one.protocol != other.protocol:
        return False
    if one.protocol == "icmp":
        return (one.icmp_type, one.icmp_code) == (other.icmp_type, other.icmp_code)
    if one.first_port is None or other.first_port is None:
        return one.first_port == other.first_port
    return one.first_port <= int(other.last_port or 0) and other.first_port <= int(one.last_port or 0)


def _apart(one: NetworkRule, other: NetworkRule) -> bool:
    """Whether no network stands in both rules."""
    for mine, theirs in ((one.sources, other.sources), (one.destinations, other.destinations)):
        if not set(mine or [EVERYWHERE]) & set(theirs or [EVERYWHERE]):
            return True
    return False


def _span(rule: NetworkRule) -> str:
    if rule.protocol == "icmp":
        return f"icmp {'any' if rule.icmp_type is None else rule.icmp_type}"
    return f"{rule.protocol} {'any' if rule.first_port is None else f'{rule.first_port}-{rule.last_port}'}"


def remove(call: Call, rule: NetworkRule, *more: ColumnElement[bool]) -> WorkflowRow:
    """Start the job that removes the rule, with those that were made with it and those of `more`."""
    revision = next_revision(call.session, rule.network_id)
    which = NetworkRule.related_id == rule.id
    for one in more:
        which = which | one
    others = [other for other in living(call.session, which) if other.id != rule.id]
    move_all([rule, *others], "revoke")
    return start_for(call.session, remove_rules, [rule, *others], revision, call=call)


def listed(
    call: Call, model: type[Any], given: dict[str, Any], columns: dict[str, Any], *which: ColumnElement[bool],
    named: Any = None,
) -> Page:  # fmt: skip
    """The page of rules of a kind; `columns` are those that the list's own filters are held against.

    Keywords are looked for in `named`, or in the protocol.
    """
    query = narrowed(select(model).where(access.visible(call, model), *which), given, columns)
    if given.get("fordisplay") is not None:
        query = query.where(model.display.is_(given["fordisplay"]))
    elif not call.is_root_admin:
        query = query.where(model.display.is_(True))
    for key, value in (given.get("tags") or {}).items():
        query = query.where(model.id.in_(select(Tag.resource_id).where(Tag.key == key, Tag.value == value)))
    if given.get("keyword"):
        column = model.protocol if named is None else named
        query = query.where(column.contains(given["keyword"], autoescape=True))
    return call.paged(query.order_by(model.created, model.id))


def shown_state(rule: NetworkRule | NetworkAclItem | StaticRoute) -> str:
    return "Deleting" if rule.state == "Revoke" else rule.state


def shown_networks(networks: Iterable[str]) -> str:
    return ",".join(networks) or EVERYWHERE


def addresses_of(call: Call, rules: Iterable[NetworkRule]) -> dict[Any, Shown]:
    """By id: ipaddressid and ipaddress of the public addresses of the rules."""
    found = by_id(call, PublicAddress, (rule.address_id for rule in rules))
    return {key: {"ipaddressid": key, "ipaddress": row.address} for key, row in found.items()} | {None: {}}
