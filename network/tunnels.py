"""Tunnels of a host to its peers as ports of Open vSwitch, and what the host does for them beside the switch."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from network import links
from network.flow_tables.layout import tunnel_id
from network.names import tunnel_name
from network.types import NetworkView

HOST_ID = "pileus-host"
DISCARD_PORT = 9


@dataclass(frozen=True, slots=True)
class Tunnel:
    kind: str
    name: str
    ofport: int
    remote_address: str
    local_address: str


def wanted_by(views: Sequence[NetworkView], numbers: Mapping[str, int], local: str) -> dict[str, Tunnel]:
    """The tunnels that the networks need, by their identifiers, which have the port numbers `numbers`."""
    ends = {
        tunnel_id(peer.host_id, view.overlay): (view.overlay, peer.underlay_address)
        for view in views
        for peer in view.peers
    }
    return {
        one: Tunnel(ends[one][0], tunnel_name(one), port, ends[one][1], local)
        for one, port in numbers.items()
        if one in ends
    }


def among(interfaces: Iterable[Mapping[str, Any]]) -> dict[str, Tunnel]:
    """Those tunnels that Pileus made, of rows of the table Interface."""
    found = {}
    for row in interfaces:
        host, options = row["external_ids"].get(HOST_ID), row["options"]
        if host:
            ends = options.get("remote_ip", ""), options.get("local_ip", "")
            found[host] = Tunnel(row["type"], row["name"], row["ofport"] or 0, *ends)
    return found


def in_the_way(there: Mapping[str, Tunnel], fresh: Mapping[str, Tunnel], wanted: Mapping[str, Tunnel]) -> list[str]:
    """Names of ports that have the identifier, number or address of one of the `fresh` tunnels."""
    names = [there[host].name for host in fresh if host in there]
    numbers, addresses = {t.ofport for t in fresh.values()}, {t.remote_address for t in fresh.values()}
    return names + [
        t.name
        for host, t in there.items()
        if host not in wanted and (t.ofport in numbers or t.remote_address in addresses)
    ]


def to_add(bridge: str, host: str, tunnel: Tunnel) -> list[str]:
    """The command of ovs-vsctl."""
    ends = [f"options:remote_ip={tunnel.remote_address}", f"options:local_ip={tunnel.local_address}"]
    interface = ["set", "interface", tunnel.name, f"type={tunnel.kind}", "options:key=flow", *ends]
    return [
        *("--may-exist", "add-port", bridge, tunnel.name, "--"),
        *(*interface, f"ofport_request={tunnel.ofport}", f"external_ids:{HOST_ID}={host}"),
    ]


def joined(commands: list[list[str]]) -> list[str]:
    """Several commands of ovs-vsctl as one transaction."""
    return [word for command in commands for word in ("--", *command)]


def greet(addresses: Iterable[str], device: str) -> None:
    """Make the host ask for its peers' MAC addresses beyond `device`.

    The userspace datapath learns them from the answers; else it asks by itself when the first guest's packet needs
    a tunnel, and loses that packet: a DHCP client then waits seconds before it tries again.
    """
    links.forget_neighbours(device)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as greeter:
        for address in addresses:
            with suppress(OSError):
                greeter.sendto(b"", socket.MSG_DONTWAIT, (address, DISCARD_PORT))
