"""Which policies a host takes up. An odd rule is refused with the view that brings it, before anything is changed: the
host keeps the view that it had, its other networks do not notice, and the job that added the rule fails and ends it.
"""

from __future__ import annotations

from collections.abc import Iterator

from network.errors import InvalidViewError
from network.traffic import check_traffic
from network.types import NetworkView, Policy, PolicyRule

MOST_ORDERED = 20_000
"""Items of a list, each of which has a priority of its own."""


def check_policies(view: NetworkView) -> None:
    """:raises InvalidViewError: names the network, the rule or the group, and what is wrong with it"""
    try:
        _check_groups(view)
        _check_rules(view)
    except ValueError as error:
        raise InvalidViewError(f"Network {view.id} has a wrong policy: {error}.") from error


def _check_groups(view: NetworkView) -> None:
    if view.acl is not None and (view.has_groups or view.groups):
        raise ValueError("a network ACL list beside security groups")
    if view.groups and not view.has_groups:
        raise ValueError("security groups without the service")
    known = {group.id for group in view.groups}
    if len(known) != len(view.groups):
        raise ValueError("the same security group twice")
    if view.has_groups:
        for nic in view.nics:
            missing = set(nic.groups) - known
            if missing:
                raise ValueError(f"NIC {nic.id} in the unknown security group {min(missing)}")


def _check_rules(view: NetworkView) -> None:
    if view.acl is not None and len(view.acl.rules) > MOST_ORDERED:
        raise ValueError(f"{len(view.acl.rules)} items in ACL list {view.acl.id}, which may have {MOST_ORDERED}")
    for policy, rule in _rules(view):
        try:
            _check_rule(rule, ordered=policy is view.acl)
        except ValueError as error:
            raise ValueError(f"{error} in rule {rule.id} of policy {policy.id}") from error


def _rules(view: NetworkView) -> Iterator[tuple[Policy, PolicyRule]]:
    policies = view.groups if view.acl is None else (view.acl,)
    return ((policy, rule) for policy in policies for rule in policy.rules)


def _check_rule(rule: PolicyRule, *, ordered: bool) -> None:
    traffic = rule.traffic
    if rule.direction not in ("ingress", "egress"):
        raise ValueError(f"the direction {rule.direction!r}")
    if ordered and rule.group:
        raise ValueError(f"the security group {rule.group}")
    if not ordered and not rule.allow:
        raise ValueError("a denial, which security groups have not,")
    check_traffic(traffic)
    idle, used = traffic.destinations, traffic.sources
    if rule.direction == "egress":
        idle, used = used, idle
    if idle or (used and rule.group):
        raise ValueError(f"the networks {', '.join(idle or used)}, which mean nothing,")
    if traffic.last_port is not None and traffic.first_port is None:
        raise ValueError(f"the last port {traffic.last_port} without a first one")
    if traffic.icmp_code is not None and traffic.icmp_type is None:
        raise ValueError(f"the ICMP code {traffic.icmp_code} without a type")
