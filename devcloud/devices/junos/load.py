"""Loading a configuration into a candidate: merge, replace and override, with deletions."""

from __future__ import annotations

import copy

from lxml import etree

from devcloud.devices.junos import encrypted, schema
from devcloud.devices.junos.errors import RpcError
from devcloud.devices.junos.schema import Statement

ACTIONS = ("merge", "replace", "override")


def empty() -> etree._Element:
    return etree.Element("configuration")


def plain(element: etree._Element) -> etree._Element:
    """A copy without namespaces, comments and white space between elements."""
    own = etree.Element(schema.tag(element), {str(name): str(value) for name, value in element.attrib.items()})
    children = [child for child in element if isinstance(child.tag, str)]
    own.extend(plain(child) for child in children)
    if not children and (element.text or "").strip():
        own.text = (element.text or "").strip()
    return own


def load(candidate: etree._Element, wanted: etree._Element, action: str = "merge") -> etree._Element:
    """The candidate with `wanted` loaded into it; the given one is left alone.

    :raises RpcError: a statement is unknown, a value does not fit, or what is to be deleted is not there
    """
    if action not in ACTIONS:
        raise RpcError(f"invalid value '{action}' in action", "invalid-value", element="action")
    change = plain(wanted)
    schema.check(change)
    result = empty() if action == "override" else copy.deepcopy(candidate)
    _merge(result, change, schema.ROOT, honours_replace=action == "replace")
    encrypted.shown(result)
    prune(result)
    return result


def _merge(target: etree._Element, change: etree._Element, statement: Statement, *, honours_replace: bool) -> None:
    for child in change:
        known = statement.children[child.tag]
        there = _find(target, child, known)
        said = schema.operation(child)
        if said == "delete":
            if there is None:
                raise RpcError("statement not found", "data-missing", element=child.tag)
            _remove(target, child, known, there)
            continue
        if said == "replace" and there is not None and (honours_replace or child.get("replace") is None):
            fresh = etree.Element(child.tag)
            target.replace(there, fresh)
            there = fresh
        if there is None:
            there = etree.SubElement(target, child.tag)
        if known.kind in (schema.LEAF, schema.LEAF_LIST):
            there.text = child.text
        else:
            _merge(there, child, known, honours_replace=honours_replace)


def _find(target: etree._Element, child: etree._Element, known: Statement) -> etree._Element | None:
    for there in target.findall(child.tag):
        if known.kind == schema.LIST and schema.key_of(there, known) != schema.key_of(child, known):
            continue
        if known.kind == schema.LEAF_LIST and child.text and there.text != child.text:
            continue
        return there
    return None


def _remove(target: etree._Element, child: etree._Element, known: Statement, there: etree._Element) -> None:
    """A leaf-list named without a value goes as a whole."""
    gone = target.findall(child.tag) if known.kind == schema.LEAF_LIST and not child.text else [there]
    for one in gone:
        target.remove(one)


def prune(element: etree._Element, statement: Statement = schema.ROOT) -> None:
    """Take away containers that hold nothing; `permit`, `count` and `discard` mean something when they are empty."""
    for child in list(element):
        known = statement.children[child.tag]
        if known.kind in (schema.CONTAINER, schema.LIST):
            prune(child, known)
        if known.kind == schema.CONTAINER and known.children and not len(child):
            element.remove(child)
