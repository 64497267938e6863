"""What a router must publish and hold back, from the rows of its network's public addresses and rules."""

from __future__ import annotations

from collections.abc import Sequence
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
from manager.workflows.vpn_wanted import vpn_of
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
    rules = _rules(session, [network.id], at)
    return {
        "addresses": _further(held),
        "openings": tuple(Opening(at[r.address_id], _traffic(r)) for r in rules if isinstance(r, FirewallRule)),
        **_leading(session, rules, at, guests),
        "egress": tuple(_traffic(r) for r in rules if isinstance(r, EgressRule)),
        "vpn": vpn_of(session, network),
    }


def published_by_vpc(
    session: Session, vpc_id: str, tiers: Sequence[str], guests: set[tuple[str | None, str]]
) -> dict[str, Any]:
    """As `published`, of a VPC with these tiers: what a rule leads in is open, and held to the ACL list of its tier."""
    query = select(PublicAddress).where(
        PublicAddress.vpc_id == vpc_id, PublicAddress.network_id.is_not(None), PublicAddress.releasing.is_(False)
    )
    held = session.scalars(query.execution_options(populate_existing=True)).all()
    at: dict[str | None, str] = {row.id: row.address for row in held}
    found = _leading(session, _rules(session, tiers, at), at, guests)
    openings = [Opening(one.address, Traffic("all")) for one in found["static_nats"]]
    openings += [
        Opening(one.address, Traffic(one.protocol, one.first_port, one.last_port, sources=one.sources))
        for one in found["forwardings"]
    ]
    openings += [
        Opening(one.address, Traffic("tcp", one.port, one.port, sources=one.sources))
        for one in found["balancers"]
        if one.address in at.values()
    ]
    return {"addresses": _further(held), "openings": tuple(openings), **found}


def _further(held: Sequence[PublicAddress]) -> tuple[str, ...]:
    return tuple(sorted(row.address for row in held if not row.source_nat))


def _leading(
    session: Session, rules: Sequence[NetworkRule], at: dict[str | None, str], guests: set[tuple[str | None, str]]
) -> dict[str, tuple[Any, ...]]:
    leading = [rule for rule in rules if (rule.vm_id, rule.guest_address) in guests]
    return {
        "forwardings": tuple(_forwarding(r, at[r.address_id]) for r in leading if isinstance(r, PortForwardingRule)),
        "static_nats": tuple(
            StaticNat(at[r.address_id], str(r.guest_address)) for r in leading if isinstance(r, StaticNatRule)
        ),
        "balancers": balancers(session, rules, leading, at),
    }


def _rules(session: Session, networks: Sequence[str], at: dict[str | None, str]) -> list[NetworkRule]:
    """The wanted rules of the networks as a whole and of their addresses, but for one that is being taken back."""
    query = (
        select(NetworkRule)
        .where(NetworkRule.network_id.in_(networks), NetworkRule.removed.is_(None), NetworkRule.state.in_(WANTED))
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
