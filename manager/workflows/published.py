"""What a router must publish and hold back, from the rows of its network's public addresses and rules."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from manager.models import (
    EgressRule,
    FirewallRule,
    Network,
    NetworkRule,
    PortForwardingRule,
    PublicAddress,
    StaticNatRule,
)
from manager.workflows.balancers import balancers
from network.types import Forwarding, Opening, StaticNat, Traffic

WANTED = ("Add", "Active")


def published(session: Session, network: Network, guests: set[tuple[str | None, str]]) -> dict[str, Any]:
    """Fields of the RouterSpec. `guests` are the (VM, address) pairs of the network's NICs.

    A rule that leads to an address which its VM does not have any more leads nowhere. Networks that never had a rule
    or a further address cost no statement.
    """
    if not network.rules_wanted:
        return {}
    held = session.scalars(select(PublicAddress).filter_by(network_id=network.id, releasing=False)).all()
    at: dict[str | None, str] = {row.id: row.address for row in held}
    rules = _rules(session, network, at)
    leading = [rule for rule in rules if (rule.vm_id, rule.guest_address) in guests]
    return {
        "addresses": tuple(sorted(row.address for row in held if not row.source_nat)),
        "openings": tuple(Opening(at[r.address_id], _traffic(r)) for r in rules if isinstance(r, FirewallRule)),
        "forwardings": tuple(_forwarding(r, at[r.address_id]) for r in leading if isinstance(r, PortForwardingRule)),
        "static_nats": tuple(
            StaticNat(at[r.address_id], str(r.guest_address)) for r in leading if isinstance(r, StaticNatRule)
        ),
        "egress": tuple(_traffic(r) for r in rules if isinstance(r, EgressRule)),
        "balancers": balancers(session, rules, leading, at),
    }


def _rules(session: Session, network: Network, at: dict[str | None, str]) -> list[NetworkRule]:
    """The wanted rules of the network as a whole and of its addresses, but for one that is being taken back."""
    query = (
        select(NetworkRule)
        .where(NetworkRule.network_id == network.id, NetworkRule.removed.is_(None), NetworkRule.state.in_(WANTED))
        .order_by(NetworkRule.id)
        .execution_options(populate_existing=True)
    )
    return [rule for rule in session.scalars(query) if rule.address_id is None or rule.address_id in at]


def _traffic(rule: NetworkRule) -> Traffic:
    return Traffic(
        rule.protocol,
        rule.first_port,
        rule.last_port,
        rule.icmp_type,
        rule.icmp_code,
        tuple(rule.sources),
        tuple(rule.destinations),
    )


def _forwarding(rule: PortForwardingRule, address: str) -> Forwarding:
    return Forwarding(
        address,
        cast("Any", rule.protocol),
        int(rule.first_port or 0),
        int(rule.last_port or 0),
        str(rule.guest_address),
        int(rule.guest_port or 0),
        tuple(rule.sources),
    )
