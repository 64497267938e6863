"""What a host's switch remembers of connections, zone by zone, as far as Pileus' flows ask for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from network.flow_trace.words import ICMP, STATES, TCP, UDP

End = tuple[int, int, int]
"""Address, port or ICMP identifier, and what else one side is told by."""
Key = tuple[int, int, End, End]
REQUESTS = {8: 0, 13: 14, 15: 16}
"""ICMP types that open a connection, and those that answer them. Others are invalid unless they tell of an error."""
ANSWERS = {answer: request for request, answer in REQUESTS.items()}


@dataclass
class Connection:
    key: Key
    answered: bool = False
    mark: int = 0


@dataclass
class Connections:
    """A connection is established once packets of both sides have been seen (ovs-fields(7), ct_state)."""

    held: dict[Key, Connection] = field(default_factory=dict)

    def look(self, zone: int, packet: dict[str, int]) -> tuple[int, int]:
        """State bits and mark of the packet in the zone."""
        key = key_of(zone, packet)
        if key is None:
            return STATES["trk"] | STATES["inv"], 0
        found = self.held.get(key) or self.held.get(_turned(key))
        if found is None:
            opens = packet["nw_proto"] != ICMP or packet.get("icmp_type") in REQUESTS
            return STATES["trk"] | STATES["new" if opens else "inv"], 0
        is_reply = found.key != key
        found.answered = found.answered or is_reply
        state = STATES["est" if found.answered else "new"] | (STATES["rpl"] if is_reply else 0)
        return STATES["trk"] | state, found.mark

    def commit(self, zone: int, packet: dict[str, int]) -> Connection | None:
        """Remember the packet's connection; None for one that is invalid."""
        key = key_of(zone, packet)
        if key is None or self.look(zone, packet)[0] & STATES["inv"]:
            return None
        found = self.held.get(key) or self.held.get(_turned(key))
        return found or self.held.setdefault(key, Connection(key))


def key_of(zone: int, packet: dict[str, int]) -> Key | None:
    protocol = packet["nw_proto"]
    source, target = packet["nw_src"], packet["nw_dst"]
    if protocol in (TCP, UDP):
        return zone, protocol, (source, packet["tp_src"], 0), (target, packet["tp_dst"], 0)
    if protocol != ICMP:
        return zone, protocol, (source, 0, 0), (target, 0, 0)
    kind, identifier = packet["icmp_type"], packet.get("icmp_id", 0)
    request = ANSWERS.get(kind, kind)
    if request not in REQUESTS:
        return None
    # Both sides of an exchange have the one identifier; which of them asks, only the type tells.
    return zone, protocol, (source, identifier, request), (target, identifier, request)


def _turned(key: Key) -> Key:
    return key[0], key[1], key[3], key[2]
