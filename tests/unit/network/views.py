"""Networks that the tests of this folder use."""

from __future__ import annotations

from network.flow_tables.classes import class_names
from network.flow_tables.layout import ways_of
from network.flows import LocalNic, LocalNumbers
from network.types import NetworkView, NicView, Peer

MACS = {name: f"02:00:00:00:00:{number:02x}" for number, name in enumerate(("1", "2", "3", "router"), 1)}


def nic(tenant: str, name: str, host: str, role: str = "guest") -> NicView:
    """Tenants have the same addresses and MACs on purpose."""
    last = 1 if role == "router" else 10 + int(name)
    return NicView(f"nic-{tenant}{name}", MACS[name], f"10.1.1.{last}", host, role)


def network(tenant: str, key: int, nics: list[NicView], **options) -> NetworkView:
    hosts = sorted({nic.host_id for nic in nics})
    peers = tuple(Peer(host, f"192.0.2.{host[-1]}") for host in hosts)
    return NetworkView(f"net-{tenant}", key, 1, "10.1.1.0/24", "10.1.1.1", 1458, tuple(nics), peers, **options)


def numbers(host: str, views: list[NetworkView]) -> LocalNumbers:
    """Numbers as a host would give them, by order of appearance."""
    nics = [nic for view in views for nic in view.nics if nic.host_id == host]
    peers = {way for view in views for way in ways_of(host, view)}
    return LocalNumbers(
        {nic.id: LocalNic(10001 + position, 1 + position) for position, nic in enumerate(nics)},
        {peer: 1001 + position for position, peer in enumerate(sorted(peers))},
        {view.id: 1 + position for position, view in enumerate(views)},
        {name: 1 + position for position, name in enumerate(name for view in views for name in class_names(view))},
    )
