"""A frame through the flows that a switch holds, beside the flows that it should hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from network.flow_tables.layout import TAGGED, TRUNK, trunk_id, tunnel_id
from network.flow_trace.bridge import Row, Walk
from network.flow_trace.fabric import Site, packet_of
from network.flow_trace.owners import Owner, owners
from network.flow_trace.words import UnknownFlowError
from network.flows import FlowSet, LocalNumbers
from network.probe import FlowStep, Frame, TraceFacts
from network.types import NetworkView

LONGEST = 1000
"""Characters of a flow line that are told; one with many addresses may be longer."""


def compare(
    wanted: FlowSet, found: FlowSet, numbers: LocalNumbers, view: NetworkView, frame: Frame, nic_id: str
) -> TraceFacts:
    """What becomes of a frame that `nic_id` sends: with the flows of a switch as they are `found`, and as `wanted`.

    It enters by the NIC's port, or by the tunnel of the host that has the NIC; as the first of its connection.
    `generation` is left to who knows it.
    """
    sender = next((nic for nic in (*view.nics, *view.pair) if nic.id == nic_id), None)
    should = Site.of(wanted, numbers)
    packet = packet_of(frame)
    port = should.port_of(nic_id)
    if view.trunk:
        if port is None and (sender is not None or view.is_flat):
            port = should.port_to(trunk_id(view.trunk))
            packet["vlan_tci"] = TAGGED | view.key if view.key else 0
    elif sender is not None and (tunnel := should.port_to(tunnel_id(sender.host_id, view.overlay))) is not None:
        # A NIC may be on this host and on the one that the frame comes from, as that of redundant routers is.
        port = tunnel
        packet["tun_id"] = view.key
    if port is None:
        return TraceFacts(0, difference=f"This host has neither a port nor a tunnel for the NIC {nic_id}.")
    right = should.enter(packet, port)
    receivers = [nic.host_id for nic in view.nics if nic.mac == frame.target_mac]
    known = TraceFacts(0, wanted_nic_ids=_nics(should, right), wanted_host_ids=_hosts(should, right, receivers))
    try:
        there = Site.of(found, numbers)
        walk = there.enter(packet, port)
    except UnknownFlowError as error:
        return replace(known, difference=str(error)[:LONGEST])
    return replace(
        known,
        steps=_steps(walk, owners([view])),
        nic_ids=_nics(there, walk),
        host_ids=_hosts(there, walk, receivers),
        difference=_difference(should, there, right.rows, walk.rows),
    )


def _steps(walk: Walk, known: Mapping[int, Owner]) -> tuple[FlowStep, ...]:
    return tuple(FlowStep(row.table, row.line[:LONGEST], *known.get(row.cookie, ("", ""))) for row in walk.rows)


def _nics(site: Site, walk: Walk) -> tuple[str, ...]:
    return tuple(sorted({site.nics[port] for port, _ in walk.outputs if port in site.nics}))


def _hosts(site: Site, walk: Walk, receivers: Sequence[str]) -> tuple[str, ...]:
    """The hosts that a copy goes to: by a trunk those that have the frame's receiver, or else what is outside, for
    which the trunk's id stands.
    """
    ways = {site.tunnels[port] for port, _ in walk.outputs if port in site.tunnels}
    trunks = {way for way in ways if way.startswith(TRUNK)}
    found = {way.partition("/")[0] for way in ways - trunks}
    return tuple(sorted(found.union((receivers or trunks) if trunks else ())))


def _difference(should: Site, there: Site, right: Sequence[Row], rows: Sequence[Row]) -> str:
    """The first flow on the two ways that is not the same; "" when there is none."""
    for wanted, found in zip(right, rows, strict=False):
        if wanted.same(found):
            continue
        if wanted.place not in there.bridge.rows:
            return (
                f"Table {wanted.table} lacks the flow {wanted.line[:LONGEST]}; the packet met {found.line[:LONGEST]}."
            )
        if found.place not in should.bridge.rows:
            return f"Table {found.table} has a flow that nobody wants: {found.line[:LONGEST]}."
        return f"In table {found.table}, {found.line[:LONGEST]} stands instead of {wanted.line[:LONGEST]}."
    return ""
