"""The words of a flow line: fields, values, matches and actions, as ovs-ofctl writes and shows them."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network
from typing import Final, NamedTuple

from network.errors import NetworkError

IP_TYPE, ARP_TYPE = 0x0800, 0x0806
TAGGED, VLAN_BITS = 0x1000, 0x1FFF
"""Of vlan_tci: the bit that says that there is a tag, and it with the number of the VLAN."""
ICMP, TCP, UDP = 1, 6, 17
WHOLE: Final = -1
"""The mask of a field that must be equal in all bits."""

KEYWORDS = {
    "ip": (("dl_type", IP_TYPE),),
    "arp": (("dl_type", ARP_TYPE),),
    "icmp": (("dl_type", IP_TYPE), ("nw_proto", ICMP)),
    "tcp": (("dl_type", IP_TYPE), ("nw_proto", TCP)),
    "udp": (("dl_type", IP_TYPE), ("nw_proto", UDP)),
}
FIELDS = frozenset({
    "in_port", "vlan_tci", "tun_id", "metadata", "dl_type", "dl_src", "dl_dst", "nw_proto", "nw_src", "nw_dst",
    "tp_src", "tp_dst", "icmp_type", "icmp_code", "arp_op", "arp_spa", "arp_tpa", "arp_sha", "arp_tha", "ct_mark",
    *(f"reg{number}" for number in range(8)),
})  # fmt: skip
ALIASES = {
    "eth_src": "dl_src", "eth_dst": "dl_dst", "tcp_src": "tp_src", "tcp_dst": "tp_dst", "udp_src": "tp_src",
    "udp_dst": "tp_dst", "NXM_OF_ETH_SRC": "dl_src", "NXM_OF_ETH_DST": "dl_dst", "NXM_NX_ARP_SHA": "arp_sha",
    "NXM_NX_ARP_THA": "arp_tha", "NXM_OF_ARP_SPA": "arp_spa", "NXM_OF_ARP_TPA": "arp_tpa",
    **{f"NXM_NX_REG{number}": f"reg{number}" for number in range(8)},
}  # fmt: skip
FULL = {"nw_src": 2**32 - 1, "nw_dst": 2**32 - 1, "tp_src": 2**16 - 1, "tp_dst": 2**16 - 1}
"""Masks that leave nothing out; Open vSwitch does not show them."""
STATES = {"new": 1, "est": 2, "rel": 4, "rpl": 8, "inv": 16, "trk": 32}
PART = re.compile(r"([A-Za-z0-9_]+)\[(?:(\d+)\.\.(\d+))?\]")


class UnknownFlowError(NetworkError):
    """A flow says something that no flow of Pileus does."""


class Match(NamedTuple):
    field: str
    value: int
    mask: int = WHOLE


class Part(NamedTuple):
    """A field, or as many `bits` of it from bit `shift`."""

    field: str
    shift: int = 0
    bits: int = 64

    def of(self, packet: dict[str, int]) -> int:
        return packet.get(self.field, 0) >> self.shift & (1 << self.bits) - 1


class Action(NamedTuple):
    """`verb` and what it is applied to; `number` is a table, group, port or value."""

    verb: str
    field: str = ""
    number: int = 0
    mask: int = WHOLE
    source: Part = Part("")
    inner: tuple[Action, ...] = ()


@lru_cache(maxsize=65536)
def number(text: str) -> int:
    """The value of a MAC or IPv4 address, or of a number in any notation.

    :raises UnknownFlowError: it is none of them
    """
    try:
        if ":" in text:
            return int(text.replace(":", ""), 16)
        return int(IPv4Address(text)) if "." in text else int(text, 0)
    except ValueError as error:
        raise UnknownFlowError(f"The value {text} of a flow is not known.") from error


def field_of(name: str) -> str:
    """:raises UnknownFlowError: no flow of Pileus has that field"""
    found = ALIASES.get(name, name)
    if found not in FIELDS:
        raise UnknownFlowError(f"The field {name} of a flow is not known.")
    return found


def part_of(text: str) -> Part:
    found = PART.fullmatch(text)
    if found is None:
        raise UnknownFlowError(f"The field {text} of a flow is not known.")
    name, first, last = found.groups()
    return Part(field_of(name)) if first is None else Part(field_of(name), int(first), int(last) - int(first) + 1)


@lru_cache(maxsize=65536)
def matches_of(word: str) -> tuple[Match, ...]:
    """What one word of a match wants.

    :raises UnknownFlowError: it is no word of Pileus' flows
    """
    name, has_value, text = word.partition("=")
    if not has_value:
        if name not in KEYWORDS:
            raise UnknownFlowError(f"The match {word} of a flow is not known.")
        return tuple(Match(*one) for one in KEYWORDS[name])
    if name == "ct_state":
        return (_state(text),)
    if name == "dl_vlan":
        return (Match("vlan_tci", TAGGED | number(text), VLAN_BITS),)
    value, has_mask, mask = text.partition("/")
    field = field_of(name)
    if not has_mask:
        return (Match(field, number(value)),)
    bits = int(IPv4Network(text).netmask) if "." in value and "." not in mask else number(mask)
    if not bits:
        return ()
    return (Match(field, number(value) & bits, WHOLE if bits == FULL.get(field) else bits),)


def _state(text: str) -> Match:
    """Such as +trk+new-rpl: the bits that must be set, and those that are looked at."""
    flags = re.findall(r"([+-])([a-z]+)", text)
    if "".join(sign + name for sign, name in flags) != text or any(name not in STATES for _, name in flags):
        raise UnknownFlowError(f"The connection state {text} of a flow is not known.")
    value = sum(STATES[name] for sign, name in flags if sign == "+")
    return Match("ct_state", value, sum(STATES[name] for _, name in flags))


@lru_cache(maxsize=65536)
def actions_of(text: str) -> tuple[Action, ...]:
    """The actions of a flow or of a group's bucket, in order.

    :raises UnknownFlowError: one is not among those of Pileus' flows
    """
    return tuple(_action(word) for word in split(text))


def split(text: str) -> list[str]:
    """The words between the commas that are not inside parentheses."""
    words, depth, start = [], 0, 0
    for position, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            words.append(text[start:position])
            start = position + 1
    return [word for word in (*words, text[start:]) if word]


def _action(word: str) -> Action:
    verb, _, rest = word.partition(":")
    if word.lower() in BARE:
        return Action(word.lower())
    if verb in NUMBERED:
        return Action(NUMBERED[verb], number=number(rest))
    if verb in READERS:
        return READERS[verb](rest)
    called, _, inside = word.partition("(")
    if called in CALLS and inside.endswith(")"):
        return CALLS[called](inside[:-1])
    raise UnknownFlowError(f"The action {word} of a flow is not known.")


def _output(text: str) -> Action:
    return Action("output", source=part_of(text)) if "[" in text else Action("output", number=number(text))


def _move(text: str) -> Action:
    source, _, target = text.partition("->")
    return Action("move", field=part_of(target).field, source=part_of(source))


def _set_field(text: str) -> Action:
    value, _, target = text.partition("->")
    if target == "vlan_vid":
        return Action("set", "vlan_tci", number(value), VLAN_BITS)
    value, has_mask, mask = value.partition("/")
    return Action("set", field_of(target), number(value), number(mask) if has_mask else WHOLE)


def _track(text: str) -> Action:
    """ct(): `number` is the table that the tracked packet goes to, -1 for none; `inner` marks what is committed."""
    table, zone, verb = -1, Part(""), "track"
    inner: tuple[Action, ...] = ()
    for word in split(text):
        name, _, value = word.partition("=")
        if word == "commit":
            verb = "commit"
        elif name == "table":
            table = number(value)
        elif name == "zone":
            zone = part_of(value)
        elif word.startswith("exec(") and word.endswith(")"):
            inner = actions_of(word[5:-1])
        else:
            raise UnknownFlowError(f"The action ct({text}) of a flow is not known.")
    if not zone.field or (verb == "track") == (table < 0):
        raise UnknownFlowError(f"The action ct({text}) of a flow is not known.")
    return Action(verb, number=table, source=zone, inner=inner)


def _resubmit(text: str) -> Action:
    port, _, table = text.partition(",")
    if port or not table.isdigit():
        raise UnknownFlowError(f"The action resubmit({text}) of a flow is not known.")
    return Action("resubmit", number=int(table))


BARE = frozenset({"drop", "in_port", "pop_vlan"})
NUMBERED = {"meter": "meter", "goto_table": "goto", "group": "group", "push_vlan": "push_vlan"}
READERS: dict[str, Callable[[str], Action]] = {"output": _output, "set_field": _set_field, "move": _move}
CALLS: dict[str, Callable[[str], Action]] = {"ct": _track, "resubmit": _resubmit}
