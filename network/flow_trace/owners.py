"""Whose a flow is: the objects behind the cookies, and the words for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from network.flow_tables.layout import (
    ARP_KIND,
    DHCP_KIND,
    HOST_KIND,
    NETWORK_KIND,
    NIC_KIND,
    RULE_KIND,
    cookie,
)
from network.types import NetworkView

NIC, NETWORK, HOST = "Nic", "Network", "Host"
GROUP_RULE, LIST_ITEM = "SecurityGroupRule", "NetworkACL"
Owner = tuple[str, str]
"""Kind and id."""


def owners(views: Iterable[NetworkView]) -> Mapping[int, Owner]:
    """The objects of the views by the cookies that flows of theirs have."""
    found: dict[int, Owner] = {}
    for view in views:
        for number in (NETWORK_KIND, DHCP_KIND):
            found[cookie(number, view.id)] = (NETWORK, view.id)
        for peer in view.peers:
            found[cookie(HOST_KIND, peer.host_id)] = (HOST, peer.host_id)
        for nic in (*view.nics, *view.pair):
            for number in (NIC_KIND, ARP_KIND):
                found[cookie(number, nic.id)] = (NIC, nic.id)
        for kind, policies in ((GROUP_RULE, view.groups), (LIST_ITEM, (view.acl,) if view.acl else ())):
            for rule in (rule for policy in policies for rule in policy.rules):
                found[cookie(RULE_KIND, rule.id)] = (kind, rule.id)
    return found
