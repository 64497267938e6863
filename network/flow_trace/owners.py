"""Whose a flow is: the objects behind the cookies, and the words for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from network.flow_tables.layout import (
    ARP_KIND,
    DHCP_KIND,
    HOST_KIND,
    NETWORK_KIND,
    NIC_KIND,
    cookie,
)
from network.types import NetworkView

NIC, NETWORK, HOST = "Nic", "Network", "Host"
Owner = tuple[str, str]
"""Kind and id."""


def owners(views: Iterable[NetworkView]) -> Mapping[int, Owner]:
    """The objects of the views by the cookies that flows of theirs have."""
    found: dict[int, Owner] = {}
    for view in views:
        for kind in (NETWORK_KIND, DHCP_KIND):
            found[cookie(kind, view.id)] = (NETWORK, view.id)
        for peer in view.peers:
            found[cookie(HOST_KIND, peer.host_id)] = (HOST, peer.host_id)
        for nic in view.nics:
            for kind in (NIC_KIND, ARP_KIND):
                found[cookie(kind, nic.id)] = (NIC, nic.id)
    return found
