"""Which rows the rules are that decide on a packet's way: what routers and switches are told has no identifiers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from manager.models import Network, NetworkRule, PublicAddress
from manager.workflows.published import WANTED
from network.balancing import Balancer
from network.reachability.values import Step
from network.types import Forwarding, Opening, PolicyRule, StaticNat, Traffic

PURPOSES = {Opening: "Firewall", Traffic: "Egress", Forwarding: "PortForwarding", StaticNat: "StaticNat"}
STORED = ("where", "what", "allowed", "reason", "kind", "object_id", "nic_id")
KINDS = {
    "Firewall": "FirewallRule", "Egress": "EgressFirewallRule", "PortForwarding": "PortForwardingRule",
    "StaticNat": "StaticNat",
}  # fmt: skip
POLICY_KINDS = {"SecurityGroup": "SecurityGroupRule", "NetworkACLList": "NetworkACL"}


def named_rules(session: Session, steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The steps as plain values, with the ids of public addresses and of the rules that decided."""
    network_ids = {step.network_id for step in steps if step.network_id}
    vpcs = select(Network.vpc_id).where(Network.id.in_(network_ids), Network.vpc_id.is_not(None))
    held = select(PublicAddress).where(PublicAddress.network_id.in_(network_ids) | PublicAddress.vpc_id.in_(vpcs))
    addresses = {row.address: row.id for row in session.scalars(held)}
    rules = select(NetworkRule).where(NetworkRule.network_id.in_(network_ids), NetworkRule.removed.is_(None))
    rows = list(session.scalars(rules.where(NetworkRule.state.in_(WANTED)).order_by(NetworkRule.id)))
    return [_plain(step, addresses, rows) for step in steps]


def _plain(step: Step, addresses: dict[str, str], rows: Sequence[NetworkRule]) -> dict[str, Any]:
    plain = {name: getattr(step, name) for name in STORED}
    if step.kind == "PublicIpAddress":
        plain["object_id"] = addresses.get(step.object_id, "")
    rule = step.rule
    if isinstance(rule, PolicyRule):
        return plain | {"rule_kind": POLICY_KINDS.get(step.kind, ""), "rule_id": rule.id}
    if isinstance(rule, Balancer):
        return plain | {"rule_kind": "LoadBalancerRule", "rule_id": rule.id}
    row = next((row for row in rows if row.network_id == step.network_id and _says(row, rule, addresses)), None)
    return plain | ({"rule_kind": KINDS[row.purpose], "rule_id": row.id} if row is not None else {})


def _says(row: NetworkRule, rule: Any, addresses: dict[str, str]) -> bool:
    """Whether the row is what `rule` was made of."""
    if rule is None or row.purpose != PURPOSES.get(type(rule)):
        return False
    if not isinstance(rule, Traffic) and addresses.get(rule.address) != row.address_id:
        return False
    if isinstance(rule, StaticNat):
        return row.guest_address == rule.guest
    ports = (row.first_port, row.last_port)
    if isinstance(rule, Forwarding):
        mine = (row.protocol, *ports, row.guest_address, row.guest_port, tuple(row.sources))
        theirs = (rule.protocol, rule.first_port, rule.last_port, rule.guest, rule.guest_port, rule.sources)
        return mine == theirs
    traffic = rule.traffic if isinstance(rule, Opening) else rule
    own = Traffic(row.protocol, *ports, row.icmp_type, row.icmp_code, tuple(row.sources), tuple(row.destinations))
    return bool(own == traffic)
