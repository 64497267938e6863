"""What the flows of a host decide about one packet, read from their lines: a second opinion beside Open vSwitch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

KINDS = {"": None, "ip": None, "icmp": 1, "tcp": 6, "udp": 17}


@dataclass(frozen=True)
class Line:
    cookie: int
    table: int
    priority: int
    match: dict[str, str]
    kind: str
    actions: str


@dataclass
class Packet:
    """Values of the fields by their names in ovs-ofctl; `state` is new or established."""

    fields: dict[str, str | int]
    state: str = "new"
    registers: dict[str, int] = field(default_factory=dict)


def read(lines: Iterable[str]) -> dict[int, list[Line]]:
    """The flows by table, those of higher priority first."""
    tables: dict[int, list[Line]] = {}
    for text in lines:
        head, _, actions = text.partition(",actions=")
        words = re.split(r",(?![^()]*\))", head)
        values = dict(word.split("=", 1) for word in words if "=" in word)
        kind = next((word for word in words if "=" not in word), "")
        number = lambda name, values=values: int(values.pop(name), 0)  # noqa: E731  (reads better here)
        line = Line(number("cookie"), number("table"), number("priority"), values, kind, actions)
        tables.setdefault(line.table, []).append(line)
    for flows in tables.values():
        flows.sort(key=lambda line: -line.priority)
    return tables


def first(flows: list[Line], packet: Packet) -> Line:
    """The flow that the packet meets; two of one priority must not decide differently."""
    found = [line for line in flows if _fits(line, packet)]
    equals = [line for line in found if line.priority == found[0].priority]
    assert len({line.actions for line in equals}) == 1, equals
    return found[0]


def _fits(line: Line, packet: Packet) -> bool:
    proto = int(packet.fields["nw_proto"])
    if KINDS.get(line.kind, line.kind) not in (None, proto):
        return False
    return all(_holds(name, wanted, packet) for name, wanted in line.match.items())


def _holds(name: str, wanted: str, packet: Packet) -> bool:
    if name == "ct_state":
        return wanted == {"new": "+trk+new-rel-rpl", "established": "+trk+est-rpl"}[packet.state]
    if name.startswith("reg"):
        return packet.registers.get(name, 0) == int(wanted, 0)
    have = packet.fields.get(name)
    if have is None:
        return False
    if name in ("nw_src", "nw_dst"):
        return IPv4Address(have) in IPv4Network(wanted)
    if name.startswith("dl_"):
        return have == wanted
    value, _, mask = wanted.partition("/")
    return int(have) & int(mask or "0xffffffffffffffff", 0) == int(value, 0)
