"""What the parts of an SRX's configuration share: the settings of the driver, and the names of a network's entries."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from lxml import etree

from network.elements.junos_tree import leaves, node
from network.names import digits

PREFIX = "pl-"
MARK = "pileus "
"""In front of the router's identifier in the description of its logical interfaces."""
RULE_SET = "pileus"


@dataclass(frozen=True)
class SrxSettings:
    """`host_key` is the device's public SSH key in base64; '' believes any. `timeout` and `confirm` are in seconds.

    The ports, the zone of the public one and the default route are the operator's own configuration. A change is
    taken back by the device unless it is confirmed within `confirm_minutes`.
    """

    host: str
    user: str
    password: str = field(repr=False, metadata={"secret": True})
    port: int = 830
    public_interface: str = "ge-0/0/0.0"
    public_zone: str = "untrust"
    guest_port: str = "ge-0/0/1"
    host_key: str = ""
    timeout: int = 30
    confirm_minutes: int = 1


def name_of(router_id: str) -> str:
    return PREFIX + digits(router_id, 12)


def digest_of(value: object) -> str:
    """Names a thing by what it says, so that it keeps its name as long as it stays the same."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]


def policy_of(name: str, ends: tuple[list[str], list[str]], application: str, verdict: str) -> etree._Element:
    """A security policy; `ends` are names of addresses in the books of its two zones."""
    sources, targets = ends
    match = node("match", *leaves("source-address", sources), *leaves("destination-address", targets))
    match.append(node("application", application))
    return node("policy", node("name", name), match, node("then", node(verdict), node("count")))
