"""Looks into a configuration that several parts of the device take."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Interface

from lxml import etree

Complaint = tuple[str, str, str]
"""Edit path, element and message of what is wrong."""


def texts(element: etree._Element, path: str) -> list[str]:
    return [(found.text or "").strip() for found in element.findall(path)]


def units(configuration: etree._Element) -> Iterator[tuple[str, etree._Element]]:
    """Each logical interface by its name, such as ge-0/0/1.100."""
    for interface in configuration.findall("interfaces/interface"):
        for unit in interface.findall("unit"):
            yield f"{interface.findtext('name')}.{unit.findtext('name')}", unit


def networks_of(unit: etree._Element) -> list[IPv4Interface]:
    return [IPv4Interface(text) for text in texts(unit, "family/inet/address/name")]


def named(configuration: etree._Element, path: str) -> dict[str, etree._Element]:
    """The entries of a list by their names."""
    return {one.findtext("name") or "": one for one in configuration.findall(path)}
