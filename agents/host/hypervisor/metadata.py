"""The element that marks a domain as ours and records its generation: what a restarted agent re-adopts by."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote

from lxml import etree

from agents.host.hypervisor.elements import maker

NAMESPACE = "https://pileus.dev/domain/1"
PREFIX = "pileus"
PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


@dataclass(frozen=True, slots=True)
class DomainMark:
    """Of which VM and which generation of its placement a domain is."""

    vm_id: str
    generation: int
    hostname: str = ""


def mark_element(mark: DomainMark) -> etree._Element:
    """The element for `<metadata>`. The host name is percent-encoded, for XML cannot hold all characters."""
    make = maker(NAMESPACE, PREFIX)
    return make.vm(
        make.uuid(mark.vm_id),
        make.generation(str(mark.generation)),
        make.hostname(quote(mark.hostname, safe="", errors="surrogatepass")),
    )


def read_mark(text: str) -> DomainMark | None:
    """The mark in a domain's XML or in the bare element; None when there is none that can be read."""
    try:
        root = etree.fromstring(text.encode(), PARSER)
    except etree.XMLSyntaxError:
        return None
    path = f"{{{NAMESPACE}}}vm"
    element = root if root.tag == path else root.find(f"metadata/{path}")
    if element is None:
        return None
    values = {etree.QName(child).localname: child.text or "" for child in element.iterchildren("*")}
    try:
        generation = int(values.get("generation", ""))
    except ValueError:
        return None
    hostname = unquote(values.get("hostname", ""), errors="surrogatepass")
    return DomainMark(values.get("uuid", ""), generation, hostname)
