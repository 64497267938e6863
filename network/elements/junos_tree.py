"""Junos configurations as sets of entries: what belongs to one owner, and the change from one set to another.

An entry is one element of a list somewhere in the configuration. An owner has entries by their names, and a change
touches nothing but those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lxml import etree


@dataclass(frozen=True)
class Place:
    """A list of the configuration: the steps to it, as (tag, value of its key `name`), then its own tag and keys."""

    above: tuple[tuple[str, str], ...]
    tag: str
    keys: tuple[str, ...] = ("name",)


Element = etree._Element  # noqa: SLF001 - lxml has no public name for the type of its elements
Entries = Mapping[tuple[Place, tuple[str, ...]], Element]


def place(path: str, tag: str, *keys: str, **names: str) -> Place:
    """`names` give the key of a step that is itself a list, by its tag with underscores for dashes."""
    steps = tuple((step, names.get(step.replace("-", "_"), "")) for step in path.split("/") if step)
    return Place(steps, tag, keys or ("name",))


def node(tag: str, *content: str | etree._Element) -> etree._Element:
    found = etree.Element(tag)
    for one in content:
        if isinstance(one, str):
            found.text = one
        else:
            found.append(one)
    return found


def leaves(tag: str, values: tuple[str, ...] | list[str]) -> list[etree._Element]:
    return [node(tag, value) for value in values]


def below(configuration: etree._Element, where: Place) -> list[etree._Element]:
    """The entries that stand at a place."""
    found = [configuration]
    for tag, name in where.above:
        found = [one for parent in found for one in parent.findall(tag) if not name or one.findtext("name") == name]
    return [one for parent in found for one in parent.findall(where.tag)]


def key_of(element: etree._Element, where: Place) -> tuple[str, ...]:
    return tuple((element.findtext(key) or "").strip() for key in where.keys)


def change(held: Entries, wanted: Entries) -> etree._Element | None:
    """What to load, with Junos' attributes `delete` and `replace`; None when nothing differs."""
    root = etree.Element("configuration")
    for where, key in held:
        if (where, key) not in wanted:
            gone = etree.SubElement(_reached(root, where), where.tag, {"delete": "delete"})
            gone.extend([node(name, value) for name, value in zip(where.keys, key, strict=True)])
    for (where, key), element in wanted.items():
        there = held.get((where, key))
        if there is None or _canonical(there) != _canonical(element):
            if there is not None:
                element.set("replace", "replace")
            _reached(root, where).append(element)
    return root if len(root) else None


def differences(held: Entries, wanted: Entries) -> list[str]:
    """Names of entries that are there and not wanted (+), wanted and not there (-), or other than wanted (~)."""
    signs = {at: "+" for at in held if at not in wanted} | {at: "-" for at in wanted if at not in held}
    both = (at for at in wanted if at in held and _canonical(held[at]) != _canonical(wanted[at]))
    signs |= dict.fromkeys(both, "~")
    return sorted(f"{sign}{where.tag} {' '.join(key)}" for (where, key), sign in signs.items())


def _reached(root: etree._Element, where: Place) -> etree._Element:
    """The element that holds the list, made on the way."""
    found = root
    for tag, name in where.above:
        there = next((one for one in found.findall(tag) if not name or one.findtext("name") == name), None)
        if there is None:
            there = etree.SubElement(found, tag)
            if name:
                there.append(node("name", name))
        found = there
    return found


def _canonical(element: etree._Element) -> tuple[str, str, tuple[object, ...]]:
    """Elements of one name in their order; those of different names in any, as devices answer in their own."""
    children = sorted((child for child in element if isinstance(child.tag, str)), key=lambda child: str(child.tag))
    return str(element.tag), (element.text or "").strip(), tuple(_canonical(child) for child in children)


def without_namespaces(element: etree._Element) -> etree._Element:
    """A copy with plain names, without comments and the attributes that a device adds."""
    found = etree.Element(etree.QName(element).localname)
    children = [child for child in element if isinstance(child.tag, str)]
    found.text = None if children else element.text
    found.extend([without_namespaces(child) for child in children])
    return found


def texts(element: etree._Element, path: str) -> Iterator[str]:
    for found in element.findall(path):
        yield (found.text or "").strip()
