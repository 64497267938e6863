"""The complete flow tables of a host as a pure function of the networks it holds, and the way from one set to another.

Nothing is learned, flooded or sent to a controller: what no flow allows is dropped by the last row of its table.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError

from network.errors import InvalidViewError
from network.flow_tables.answer import arp_flows, dhcp_flows
from network.flow_tables.forward import forward_flows, group_lines, output_flow
from network.flow_tables.guard import guard_flows, tunnel_flows
from network.flow_tables.layout import (
    CANARY,
    CANARY_KIND,
    COOKIE_ID_DIGITS,
    STAGES,
    Flow,
    LocalNic,
    LocalNumbers,
    Place,
)
from network.flow_tables.meters import meter_lines
from network.flow_tables.pair import pair_flows
from network.flow_tables.policy import network_flows, policy_flows
from network.flow_tables.trunk import trunk_flows
from network.overlays import OVERLAYS, VLAN
from network.policy_check import check_policies
from network.types import NetworkView

__all__ = [
    "Bundles", "FlowSet", "LocalNic", "LocalNumbers", "check_view", "desired", "diff", "here", "meter_id", "replace"
]  # fmt: skip

MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
MULTICAST_BIT = 1


@dataclass(frozen=True, slots=True)
class FlowSet:
    """Flow, group and meter lines in the syntax of ovs-ofctl for OpenFlow 1.5, in a fixed order."""

    flows: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    meters: tuple[str, ...] = ()

    @property
    def canary(self) -> str:
        """The flow that tells by its cookie which set a switch holds; one that restarted has none."""
        return self.flows[-1]


@dataclass(frozen=True, slots=True)
class Bundles:
    """Lines for `ovs-ofctl bundle`, each part one atomic change, `stale` only after `change` has succeeded.

    A group that a flow of the switch still uses must not be deleted in a bundle that may be refused: Open vSwitch 3.1
    aborts then.
    """

    change: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()


def here(host_id: str, views: Iterable[NetworkView]) -> list[NetworkView]:
    """The views that have a NIC on the host, in a fixed order."""
    held = (view for view in views if any(nic.host_id == host_id for nic in (*view.nics, *view.pair)))
    return sorted(held, key=lambda view: view.key)


def desired(host_id: str, views: Iterable[NetworkView], local: LocalNumbers) -> FlowSet:
    """All flows and groups of the integration bridge of `host_id`.

    :raises InvalidViewError: a view contradicts itself or another one
    """
    held = here(host_id, views)
    _check_keys(held)
    places = [Place(host_id, view, local) for view in held]
    flows = sorted(_flows(places), key=lambda flow: (flow.table, -flow.priority, flow.match))
    groups = tuple(sorted((line for place in places for line in group_lines(place)), key=_group_id))
    meters = tuple(sorted((line for place in places for line in meter_lines(place)), key=meter_id))
    lines = [flow.line() for flow in flows]
    digest = hashlib.sha256("\n".join([*lines, *groups, *meters]).encode()).hexdigest()
    cookie = CANARY_KIND << 56 | int(digest[:COOKIE_ID_DIGITS], 16)
    return FlowSet((*lines, Flow(CANARY, 1, "", "drop", cookie).line()), groups, meters)


def _flows(places: list[Place]) -> Iterator[Flow]:
    for table in STAGES:
        yield Flow(table, 0, "", "drop")
    yield output_flow()
    peers = {port: host_id for place in places for host_id, port in place.tunnels.items()}
    yield from tunnel_flows(peers)
    yield from policy_flows(places)
    for place in places:
        check_view(place.view)
        yield from guard_flows(place)
        yield from arp_flows(place)
        yield from dhcp_flows(place)
        yield from network_flows(place)
        yield from forward_flows(place)
        yield from pair_flows(place)
        yield from trunk_flows(place)


def check_view(view: NetworkView) -> None:
    """Refuse a view whose values are not what they must be, or that gives a MAC or IP address twice.

    :raises InvalidViewError: names the network and the value
    """
    _check_key(view)
    try:
        if not view.bare and IPv4Address(view.gateway) not in IPv4Network(view.cidr):
            raise InvalidViewError(f"Gateway {view.gateway} of network {view.id} is not inside {view.cidr}.")
        for peer in view.peers:
            _address(peer.underlay_address)
        for address in (*_addresses(view), *(nic.address for nic in view.pair)):
            _address(address)
        _check_behind(view)
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise InvalidViewError(f"Network {view.id} has a wrong address: {error}.") from error
    for nic in (*view.nics, *view.pair):
        if not MAC.fullmatch(nic.mac) or int(nic.mac[:2], 16) & MULTICAST_BIT:
            raise InvalidViewError(f"NIC {nic.id} of network {view.id} has the wrong MAC address {nic.mac!r}.")
    every = {
        "id": [nic.id for nic in view.nics],
        "mac": [nic.mac for nic in (*view.nics, *view.pair)],
        "address": _addresses(view),
    }
    for field, values in every.items():
        if len(set(values)) != len(values):
            raise InvalidViewError(f"Two NICs of network {view.id} have the same {field}.")
    check_policies(view)


def _check_key(view: NetworkView) -> None:
    most = OVERLAYS[view.overlay].largest_key
    if view.overlay == VLAN and not view.trunk:
        raise InvalidViewError(f"Network {view.id} is a VLAN, and no bridge is said to lead to it.")
    if not (1 <= view.key <= most or (view.is_flat and view.key == 0)):
        raise InvalidViewError(f"Network {view.id} has the {view.overlay} key {view.key}, which is not in 1 to {most}.")


def _check_behind(view: NetworkView) -> None:
    if any(IPv4Network(one).overlaps(IPv4Network(view.cidr)) for nic in view.nics for one in nic.behind):
        raise InvalidViewError(f"A NIC of network {view.id} leads to a part of {view.cidr} itself.")


@lru_cache(maxsize=65536)
def _address(text: str) -> IPv4Address:
    """`text` as an address; views come again and again with the same ones.

    :raises AddressValueError: it is none
    """
    return IPv4Address(text)


def _addresses(view: NetworkView) -> list[str]:
    if view.bare:
        return []
    return [address for nic in view.nics for address in (nic.address, *nic.further)]


def _check_keys(views: list[NetworkView]) -> None:
    keys = [(view.trunk, view.key) for view in views]
    for values, name in ((keys, "key"), ([view.id for view in views], "id")):
        if len(set(values)) != len(values):
            raise InvalidViewError(f"Two networks have the same {name}: {sorted(values, key=str)}.")
    nics = [nic.id for view in views for nic in view.nics]
    if len(set(nics)) != len(nics):
        raise InvalidViewError("A NIC is in two networks.")


def diff(old: FlowSet, new: FlowSet) -> Bundles:
    """What turns a switch that holds `old` into one that holds `new`; groups first, then what is made, then broken."""
    had, wanted = {_key(line): line for line in old.flows}, {_key(line): line for line in new.flows}
    known = set(old.groups)
    groups = [f"group add_or_mod {line}" for line in new.groups if line not in known]
    added = [f"flow add {line}" for key, line in wanted.items() if had.get(key) != line]
    deleted = [f"flow delete_strict {key}" for key in had if key not in wanted]
    kept = {_group_id(line) for line in new.groups}
    stale = [number for number in map(_group_id, old.groups) if number not in kept]
    return Bundles((*groups, *added, *deleted), tuple(f"group delete group_id={number}" for number in stale))


def replace(new: FlowSet, groups_there: Iterable[int]) -> Bundles:
    """What makes any switch hold exactly `new`, whatever flows it holds; `groups_there` are its group numbers."""
    groups = [f"group add_or_mod {line}" for line in new.groups]
    kept = {_group_id(line) for line in new.groups}
    stale = tuple(f"group delete group_id={number}" for number in sorted(set(groups_there) - kept))
    return Bundles((*groups, "flow delete", *(f"flow add {line}" for line in new.flows)), stale)


def _key(line: str) -> str:
    """Table, priority and match of a flow line: what tells one flow from another."""
    return line.partition(",actions=")[0].partition(",")[2]


def meter_id(line: str) -> int:
    return int(line.partition(",")[0].removeprefix("meter="))


def _group_id(line: str) -> int:
    return int(line.partition(",")[0].removeprefix("group_id="))
