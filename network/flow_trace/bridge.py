"""One host's integration bridge: its flow lines as tables, and the way of a packet through them.

Each table is searched as Open vSwitch does it: by one look-up for each combination of fields and masks that its flows
have, not for each flow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from network.flow_trace.connections import Connections
from network.flow_trace.words import TAGGED, Action, Match, UnknownFlowError, actions_of, matches_of, number, split
from network.flows import FlowSet

DEEPEST = 64
HEAD = frozenset({"cookie", "table", "priority"})
UNTOUCHED = frozenset({"drop", "meter", "set", "move", "commit", "push_vlan", "pop_vlan"})
"""Actions after which a packet that has no other is gone."""

Packet = dict[str, int]


class Row(NamedTuple):
    """A flow. `matches` are sorted, so that two lines that mean the same give equal rows but for `line`."""

    table: int
    priority: int
    matches: tuple[Match, ...]
    actions: tuple[Action, ...]
    cookie: int
    line: str

    def same(self, other: Row) -> bool:
        return self[:4] == other[:4]

    @property
    def place(self) -> tuple[int, int, tuple[Match, ...]]:
        return self[:3]


def row_of(line: str) -> Row:
    """A line as `desired` writes it or as ovs-ofctl dump-flows --no-stats shows it.

    :raises UnknownFlowError: it says what no flow of Pileus does; names the line
    """
    plain = re.sub(r"\s*,?\s*actions=", ",actions=", line.strip(), count=1).replace(", ", ",")
    head, has_actions, actions = plain.partition(",actions=")
    words = split(head)
    known = {name: text for name, _, text in (word.partition("=") for word in words) if name in HEAD}
    try:
        matches = [one for word in words if word.partition("=")[0] not in HEAD for one in matches_of(word)]
        if not has_actions or len({one.field for one in matches}) != len(matches):
            raise UnknownFlowError("It has no actions, or a field twice.")
        return Row(
            int(known.get("table", "0")), int(known.get("priority", "32768")), tuple(sorted(matches)),
            actions_of(actions), number(known.get("cookie", "0")), plain,
        )  # fmt: skip
    except (UnknownFlowError, ValueError) as error:
        raise UnknownFlowError(f"{error} It is in the flow {line.strip()}.") from error


def group_of(line: str) -> tuple[int, tuple[tuple[Action, ...], ...]]:
    """Number and buckets of a group of the type that copies to all its buckets.

    :raises UnknownFlowError: it is of another type
    """
    head, *buckets = line.strip().split(",bucket=")
    found = re.fullmatch(r"group_id=(\d+),type=all", head)
    if found is None:
        raise UnknownFlowError(f"The group {line.strip()} is of an unknown kind.")
    texts = [re.sub(r"^bucket_id:\d+,", "", bucket).removeprefix("actions=") for bucket in buckets]
    return int(found[1]), tuple(actions_of(text) for text in texts)


class Signature(NamedTuple):
    """Flows of one table that look at the same bits of the same fields, by their values."""

    highest: int
    looks: tuple[tuple[str, int], ...]
    rows: dict[tuple[int, ...], Row]


class Table:
    def __init__(self, rows: list[Row]) -> None:
        found: dict[tuple[tuple[str, int], ...], dict[tuple[int, ...], Row]] = {}
        for row in sorted(rows, key=lambda row: row.priority):
            looks = tuple((one.field, one.mask) for one in row.matches)
            found.setdefault(looks, {})[tuple(one.value for one in row.matches)] = row
        signatures = [Signature(max(row.priority for row in by.values()), looks, by) for looks, by in found.items()]
        self.signatures = sorted(signatures, key=lambda signature: -signature.highest)

    def find(self, packet: Packet) -> Row | None:
        """The flow of the highest priority that fits.

        :raises UnknownFlowError: two that fit have the same priority and do different things
        """
        best: Row | None = None
        for highest, looks, rows in self.signatures:
            if best is not None and highest < best.priority:
                break
            try:
                row = rows.get(tuple([packet[name] & mask for name, mask in looks]))
            except KeyError:  # the packet has no such field
                continue
            if row is None or (best is not None and row.priority < best.priority):
                continue
            if best is not None and row.priority == best.priority and row.actions != best.actions:
                raise UnknownFlowError(f"Two flows of one priority fit a packet: {best.line} and {row.line}.")
            best = row
        return best


@dataclass
class Walk:
    """What became of a packet on one bridge.

    `rows` are the flows that it met, in order. `outputs` are its copies with the ports that they leave by, `drops` the
    rows after which a copy was gone.
    """

    rows: list[Row] = field(default_factory=list)
    outputs: list[tuple[int, Packet]] = field(default_factory=list)
    drops: list[Row] = field(default_factory=list)


NOTHING = Row(-1, -1, (), (Action("drop"),), 0, "no flow of this table fits")


class Bridge:
    """A bridge that holds `flows`; what it remembers of connections is the caller's.

    :raises UnknownFlowError: a line says what no flow of Pileus does
    """

    def __init__(self, flows: FlowSet) -> None:
        tables: dict[int, list[Row]] = {}
        for line in flows.flows:
            row = row_of(line)
            tables.setdefault(row.table, []).append(row)
        self.rows = {row.place: row for rows in tables.values() for row in rows}
        self.tables = {table: Table(rows) for table, rows in tables.items()}
        self.groups = dict(group_of(line) for line in flows.groups)

    def run(self, packet: Packet, connections: Connections) -> Walk:
        """The packet's way from table 0; it must have `in_port` and, from a tunnel, `tun_id`."""
        walk = Walk()
        fresh = {"metadata": 0, "tun_id": 0, "ct_state": 0, "ct_mark": 0, "vlan_tci": 0}
        fresh |= {f"reg{register}": 0 for register in range(8)}
        _Visit(self, connections, walk).table(0, fresh | packet, 0)
        return walk


@dataclass(frozen=True)
class _Visit:
    bridge: Bridge
    connections: Connections
    walk: Walk

    def table(self, table: int, packet: Packet, depth: int) -> None:
        if depth > DEEPEST:
            raise UnknownFlowError(f"A packet goes around through table {table} without end.")
        held = self.bridge.tables.get(table)
        row = (held and held.find(packet)) or NOTHING._replace(table=table)
        self.walk.rows.append(row)
        self.apply(row.actions, packet, row, depth)

    def apply(self, actions: tuple[Action, ...], packet: Packet, row: Row, depth: int) -> None:
        if all(action.verb in UNTOUCHED for action in actions):
            self.walk.drops.append(row)
        for action in actions:
            match action.verb:
                case "set" | "move" | "push_vlan" | "pop_vlan":
                    _change(action, packet)
                case "goto" | "resubmit":
                    self.table(action.number, packet, depth + 1)
                case "track":
                    state, mark = self.connections.look(action.source.of(packet), packet)
                    self.table(action.number, {**packet, "ct_state": state, "ct_mark": mark}, depth + 1)
                case "commit":
                    self._commit(action, packet)
                case "group":
                    for bucket in self._buckets(action.number):
                        self.apply(bucket, dict(packet), row, depth + 1)
                case "output" | "in_port":
                    self._output(action, packet)

    def _buckets(self, number: int) -> tuple[tuple[Action, ...], ...]:
        if number not in self.bridge.groups:
            raise UnknownFlowError(f"A flow names the group {number}, which is not there.")
        return self.bridge.groups[number]

    def _commit(self, action: Action, packet: Packet) -> None:
        connection = self.connections.commit(action.source.of(packet), packet)
        for inner in action.inner:
            if connection is not None and inner.field == "ct_mark":
                connection.mark = connection.mark & ~inner.mask | inner.number & inner.mask

    def _output(self, action: Action, packet: Packet) -> None:
        """A switch never sends a packet back by its port, unless it is told so by that word."""
        if action.verb == "in_port":
            self.walk.outputs.append((packet["in_port"], dict(packet)))
            return
        port = action.source.of(packet) if action.source.field else action.number
        if port != packet["in_port"]:
            self.walk.outputs.append((port, dict(packet)))


def _change(action: Action, packet: Packet) -> None:
    if action.verb in ("push_vlan", "pop_vlan"):
        packet["vlan_tci"] = TAGGED if action.verb == "push_vlan" else 0
    elif action.verb == "move":
        packet[action.field] = action.source.of(packet)
    else:
        kept = packet.get(action.field, 0) & ~action.mask
        packet[action.field] = kept | action.number & action.mask
