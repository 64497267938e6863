"""The configuration statements that the device knows. What is not here is a syntax error, as on a real one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Final

from lxml import etree

from devcloud.devices.junos import encrypted
from devcloud.devices.junos.errors import RpcError
from devcloud.devices.junos.statements import STATEMENTS

CONTAINER, LIST, LEAF, LEAF_LIST, EMPTY = "container", "list", "leaf", "leaf-list", "empty"
KINDS: Final = {"*": LIST, ":": LEAF, "+": LEAF_LIST, "!": EMPTY, "": CONTAINER}
LINE: Final = re.compile(r"(?P<depth> *)(?P<name>[a-z][a-z0-9-]*)(?P<sign>[*:+!]?)(?P<rest>.*)")
PROTOCOLS: Final = ("tcp", "udp", "icmp", "gre", "esp", "ah", "igmp", "ospf", "sctp")
LARGEST_BYTE: Final = 255
LARGEST_PORT: Final = 65535


@dataclass
class Statement:
    """`rest` is the type of a leaf; `keys` are the elements that tell the entries of a list apart."""

    name: str
    kind: str
    rest: str = ""
    keys: tuple[str, ...] = ()
    children: dict[str, Statement] = field(default_factory=dict)


def _read(text: str) -> Statement:
    root = Statement("configuration", CONTAINER)
    above = [root]
    for line in text.strip().splitlines():
        found = LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"The schema has a malformed line: {line}")
        kind, rest = KINDS[found["sign"]], found["rest"]
        keys = tuple(rest.split(",")) if kind == LIST else ()
        own = Statement(found["name"], kind, rest, keys)
        del above[len(found["depth"]) // 2 + 1 :]
        above[-1].children[own.name] = own
        above.append(own)
    return root


ROOT: Final = _read(STATEMENTS)


def check(element: etree._Element, statement: Statement = ROOT, path: str = "") -> None:
    """Refuse what is not defined, and values that do not fit.

    :raises RpcError: as Junos reports a syntax error, with the edit path
    """
    if statement.kind in (LEAF, LEAF_LIST):
        _check_value(element, statement, path)
        return
    below = f"{path} {_title(element, statement)}".strip()
    for child in element:
        name = tag(child)
        known = statement.children.get(name)
        if known is None:
            raise RpcError("syntax error", "unknown-element", path=f"[edit {below}]", element=name)
        check(child, known, "" if statement is ROOT else below)
    missing = [key for key in statement.keys if element.findtext(key) is None]
    if missing:
        raise RpcError(f"missing argument: {missing[0]}", "missing-element", path=f"[edit {path}]", element=missing[0])


def _check_value(element: etree._Element, statement: Statement, path: str) -> None:
    value = (element.text or "").strip()
    if is_deleted(element) and not value:
        return
    if len(element) or not fits(value, statement.rest):
        message = f"invalid value '{value}' in {statement.name}"
        raise RpcError(message, "invalid-value", path=f"[edit {path}]", element=statement.name)


def fits(value: str, kind: str) -> bool:
    """Whether the text is a value of the type."""
    if kind in CHECKS:
        try:
            return bool(CHECKS[kind](value))
        except ValueError:
            return False
    least, dots, most = kind.partition("..")
    if dots:
        return value.isdecimal() and int(least) <= int(value) <= int(most)
    return value in kind.split("|")


def _is_ports(value: str) -> bool:
    numbers = [int(part) for part in value.split("-")]
    return numbers == sorted(numbers) and len(numbers) in (1, 2) and 0 < numbers[0] <= numbers[-1] <= LARGEST_PORT


def _is_network(value: str) -> bool:
    """Junos takes an address for the /32 that it stands for."""
    return IPv4Network(value) is not None


CHECKS: Final[Mapping[str, Callable[[str], object]]] = {
    "text": lambda value: 0 < len(value) <= 900 and value.isprintable(),  # noqa: PLR2004 - Junos' longest description
    "secret": lambda value: encrypted.plain(value) if value.startswith(encrypted.MAGIC) else value.isprintable(),
    "word": lambda value: re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_./:-]{0,254}", value),
    "name31": lambda value: re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}", value),
    "name32": lambda value: re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}", value),
    "login": lambda value: re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9@_.-]{0,126}", value),
    "name63": lambda value: re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}", value),
    "address": lambda value: IPv4Address(value) is not None,
    "prefix": _is_network,
    "interface": lambda value: "/" in value and IPv4Interface(value) is not None,
    "ports": _is_ports,
    "protocol": lambda value: value in PROTOCOLS or (value.isdecimal() and int(value) <= LARGEST_BYTE),
}


def tag(element: etree._Element) -> str:
    """The name without a namespace: clients send configurations in none, in Junos' and in that of NETCONF."""
    return str(etree.QName(element).localname)


def operation(element: etree._Element) -> str:
    """delete, replace, merge or '' (none said): Junos' own attributes or that of RFC 6241."""
    for name in ("delete", "replace"):
        if element.get(name) == name:
            return name
    said = element.get("operation") or element.get("{urn:ietf:params:xml:ns:netconf:base:1.0}operation") or ""
    return "delete" if said == "remove" else said


def is_deleted(element: etree._Element) -> bool:
    return operation(element) == "delete"


def key_of(element: etree._Element, statement: Statement) -> tuple[str, ...]:
    return tuple((element.findtext(key) or "").strip() for key in statement.keys)


def _title(element: etree._Element, statement: Statement) -> str:
    if statement is ROOT:
        return ""
    return " ".join((statement.name, *key_of(element, statement)))
