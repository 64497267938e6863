"""What a router must balance, from the rows of its network's rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from manager.models import (
    BalancedMember,
    BalancerAppliance,
    HealthPolicy,
    LoadBalancerRule,
    NetworkRule,
    SslCert,
    StickinessPolicy,
)
from network.balancing import Balancer, Certificate, HealthCheck, Member, Stickiness


def balancers(
    session: Session, rules: Iterable[NetworkRule], leading: Iterable[NetworkRule], at: Mapping[str | None, str]
) -> tuple[Balancer, ...]:
    """The load balancer rules among `rules`, with those members that are `leading` somewhere and their policies.

    `at` are the public addresses by id. Certificates cost a statement, where there are any, and so do balancers inside.
    """
    parts: dict[str | None, list[NetworkRule]] = defaultdict(list)
    found: list[LoadBalancerRule] = []
    for rule in rules:
        if isinstance(rule, LoadBalancerRule):
            found.append(rule)
        elif isinstance(rule, (StickinessPolicy, HealthPolicy)):
            parts[rule.related_id].append(rule)
    for rule in leading:
        if isinstance(rule, BalancedMember):
            parts[rule.related_id].append(rule)
    found = _switched_on(session, found)
    shown = _certificates(session, {rule.certificate_id for rule in found} - {None})
    return tuple(
        _balancer(rule, rule.inner_address or at[rule.address_id], parts[rule.id], shown.get(rule.certificate_id))
        for rule in found
    )


def _switched_on(session: Session, rules: list[LoadBalancerRule]) -> list[LoadBalancerRule]:
    """Without those inside whose appliance is stopped."""
    inner = {rule.network_id for rule in rules if rule.inner_address}
    if not inner:
        return rules
    query = select(BalancerAppliance.network_id, BalancerAppliance.address).where(
        BalancerAppliance.network_id.in_(inner),
        BalancerAppliance.removed.is_(None),
        BalancerAppliance.state.in_(("Stopping", "Stopped")),
    )
    off = {(row.network_id, row.address) for row in session.execute(query)}
    return [rule for rule in rules if (rule.network_id, rule.inner_address) not in off]


def _certificates(session: Session, ids: set[str | None]) -> dict[str | None, Certificate]:
    if not ids:
        return {}
    rows = session.scalars(select(SslCert).where(SslCert.id.in_(ids)))
    return {row.id: Certificate(row.id, row.certificate, row.private_key, row.chain or "") for row in rows}


def _balancer(
    rule: LoadBalancerRule, address: str, parts: Sequence[NetworkRule], certificate: Certificate | None
) -> Balancer:
    sticky = next((part for part in parts if isinstance(part, StickinessPolicy)), None)
    health = next((part for part in parts if isinstance(part, HealthPolicy)), None)
    return Balancer(
        id=rule.id,
        address=address,
        port=int(rule.first_port or 0),
        member_port=int(rule.guest_port or 0),
        algorithm=cast("Any", rule.algorithm),
        protocol=cast("Any", rule.balanced_protocol),
        members=tuple(Member(p.id, str(p.guest_address)) for p in parts if isinstance(p, BalancedMember)),
        sources=tuple(rule.sources),
        stickiness=None if sticky is None else Stickiness(**sticky.means),
        check=HealthCheck() if health is None else HealthCheck(**(health.options or {})),
        certificate=certificate,
    )
