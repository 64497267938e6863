"""Flows that a host would have, told without the host: its own numbers are not known, so others stand for them."""

from __future__ import annotations

from collections.abc import Sequence

from network.flow_tables.classes import class_names
from network.flow_tables.layout import VLAN_KEYS, ways_of
from network.flows import FlowSet, LocalNic, LocalNumbers, desired
from network.switch_record import NIC_PORTS, PEER_PORTS
from network.types import NetworkView


def stand_in(host_id: str, views: Sequence[NetworkView]) -> LocalNumbers:
    """Numbers for the NICs, tunnels, networks and classes of the views, alike in every call with the same views."""
    local = {nic.id for view in views for nic in (*view.nics, *view.pair) if nic.host_id == host_id}
    nics = {nic_id: LocalNic(NIC_PORTS + number, number) for number, nic_id in enumerate(sorted(local), 1)}
    ends = {way for view in views for way in ways_of(host_id, view)}
    tunnels = {end: PEER_PORTS + number for number, end in enumerate(sorted(ends), 1)}
    names = dict.fromkeys(name for view in views for name in class_names(view))
    classes = {name: number for number, name in enumerate(names, 1)}
    networks = {
        view.id: VLAN_KEYS + number if view.trunk else view.key
        for number, view in enumerate(sorted(views, key=lambda view: view.id))
    }
    return LocalNumbers(nics, tunnels, networks, classes)


def flow_changes(host_id: str, before: NetworkView, after: NetworkView) -> tuple[list[str], list[str]]:
    """The lines of flows, groups and meters that come to the host and that go, where one view replaces the other.

    The last flow tells which set a switch holds, and changes with every other; it is left out.
    """
    numbers = stand_in(host_id, [before, after])
    old, new = (_lines(desired(host_id, [view], numbers)) for view in (before, after))
    return [line for line in new if line not in old], [line for line in old if line not in new]


def _lines(flows: FlowSet) -> dict[str, None]:
    return dict.fromkeys((*flows.meters, *flows.groups, *flows.flows[:-1]))
