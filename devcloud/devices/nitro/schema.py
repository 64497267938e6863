"""The resources that the device knows, and their arguments. What is not here is refused, as on a real one.

Source: NITRO API reference, configuration; error numbers as the drivers of CloudStack and Citrix' own SDK know them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Final

DONE = 0
BAD_LOGIN = 354
NO_RESOURCE = 258
EXISTS = 273
NO_SERVICE = 344
NOT_PERMITTED = 257
INTERFACE_BOUND = 2080
UNKNOWN_ARGUMENT = 278
MISSING_ARGUMENT = 1095
BAD_VALUE = 1097
FEATURE_OFF = 1336
INTERNAL = 1
STATUS = {BAD_LOGIN: 401, NO_RESOURCE: 404, NO_SERVICE: 404, EXISTS: 409, UNKNOWN_ARGUMENT: 400, MISSING_ARGUMENT: 400}
OTHER_STATUS = 599
LARGEST_PORT = 65535
DOMAIN = "nstrafficdomain"


@dataclass
class NitroError(Exception):
    """What the device answers: NITRO's number and a sentence."""

    code: int
    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Resource:
    """`needs` is what must be given to add one; the first of it is the key. `fixed` cannot be changed by an update.

    `refers` are arguments that name another resource. A binding is kept by all of its `needs` together. What is
    `scoped` has its key once in each traffic domain, and is told apart by the argument `td`.
    """

    name: str
    arguments: Mapping[str, str]
    needs: tuple[str, ...]
    fixed: tuple[str, ...] = ()
    refers: Mapping[str, str] | None = None
    is_binding: bool = False
    scoped: bool = False


def _resource(
    name: str, arguments: str, needs: str, fixed: str = "", /, *, scoped: bool = False, **refers: str
) -> Resource:
    kinds = dict(word.split(":", 1) for word in arguments.split())
    return Resource(name, kinds, tuple(needs.split()), tuple(fixed.split()), refers, scoped=scoped)


def _binding(name: str, arguments: str, needs: str, /, **refers: str) -> Resource:
    kinds = dict(word.split(":", 1) for word in arguments.split())
    return Resource(name, kinds, tuple(needs.split()), refers=refers, is_binding=True)


RESOURCES: Final = {
    one.name: one
    for one in (
        _resource("vlan", "id:1..4094 aliasname:name", "id"),
        _resource("nstrafficdomain", "td:1..4094 aliasname:alias vmac:DISABLED", "td", "aliasname vmac"),
        _resource(
            "nsip",
            "ipaddress:ip netmask:ip type:SNIP|VIP td:0..4094",
            "ipaddress netmask",
            "netmask type",
            scoped=True,
            td=DOMAIN,
        ),
        _resource(
            "route",
            "network:ip netmask:ip gateway:ip td:0..4094",
            "network netmask gateway",
            "netmask gateway",
            scoped=True,
            td=DOMAIN,
        ),
        _resource(
            "server",
            "name:name ipaddress:ip state:ENABLED|DISABLED td:0..4094",
            "name ipaddress",
            "td",
            td=DOMAIN,
        ),
        _resource(
            "service",
            "name:name servername:name ip:ip servicetype:HTTP|TCP|UDP|SSL_BRIDGE port:port state:ENABLED|DISABLED"
            " td:0..4094 cip:ENABLED|DISABLED cipheader:token",
            "name servicetype port",
            "servername ip servicetype port td cip cipheader",
            servername="server",
            td=DOMAIN,
        ),
        _resource(
            "lbvserver",
            "name:name servicetype:HTTP|TCP|UDP|SSL|SSL_BRIDGE ipv46:ip port:port state:ENABLED|DISABLED"
            " lbmethod:ROUNDROBIN|LEASTCONNECTION|SOURCEIPHASH"
            " persistencetype:NONE|SOURCEIP|COOKIEINSERT|RULE timeout:0..1440 cookiename:token"
            " rule:expression resrule:expression listenpolicy:expression comment:text td:0..4094",
            "name servicetype",
            "servicetype port td",
            td=DOMAIN,
        ),
        _resource(
            "lbmonitor",
            "monitorname:name type:TCP|HTTP|PING httprequest:text respcode:codes interval:1..20940 resptimeout:1..20939"
            " retries:1..127 failureretries:0..32 successretries:1..32",
            "monitorname type",
            "type",
        ),
        _resource(
            "systemfile",
            "filename:file filelocation:folder filecontent:base64 fileencoding:BASE64",
            "filename filelocation filecontent",
            "filecontent",
        ),
        _resource(
            "sslcertkey",
            "certkey:name cert:file key:file bundle:YES|NO passplain:text",
            "certkey cert key",
            "cert key bundle",
        ),
        _resource(
            "rewriteaction",
            "name:name type:rewrite target:token stringbuilderexpr:expression",
            "name type target",
            "type",
        ),
        _resource("rewritepolicy", "name:name rule:expression action:name", "name rule action", action="rewriteaction"),
        _binding("nstrafficdomain_vlan_binding", "td:1..4094 vlan:1..4094", "td vlan", td=DOMAIN, vlan="vlan"),
        _binding(
            "vlan_nsip_binding",
            "id:1..4094 ipaddress:ip netmask:ip td:0..4094",
            "id ipaddress",
            id="vlan",
            ipaddress="nsip",
            td=DOMAIN,
        ),
        _binding("vlan_interface_binding", "id:1..4094 ifnum:interface tagged:flag", "id ifnum", id="vlan"),
        _binding(
            "lbvserver_service_binding",
            "name:name servicename:name weight:1..100",
            "name servicename",
            name="lbvserver",
            servicename="service",
        ),
        _binding(
            "lbvserver_rewritepolicy_binding",
            "name:name policyname:name priority:1..2147483647 gotopriorityexpression:NEXT|END"
            " bindpoint:REQUEST|RESPONSE",
            "name policyname",
            name="lbvserver",
            policyname="rewritepolicy",
        ),
        _binding(
            "service_lbmonitor_binding",
            "name:name monitor_name:name",
            "name monitor_name",
            name="service",
            monitor_name="lbmonitor",
        ),
        _binding(
            "sslvserver_sslcertkey_binding",
            "vservername:name certkeyname:name",
            "vservername certkeyname",
            vservername="lbvserver",
            certkeyname="sslcertkey",
        ),
    )
}


def check(resource: Resource, given: Mapping[str, Any], *, is_update: bool = False) -> dict[str, Any]:
    """The arguments as they are kept.

    :raises NitroError: one is unknown, missing, or does not fit
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        kind = resource.arguments.get(name)
        if kind is None:
            raise NitroError(UNKNOWN_ARGUMENT, f"Invalid argument [{name}]")
        found[name] = _value(name, kind, value)
    needed = resource.needs[:1] if is_update else resource.needs
    for name in needed:
        if name not in found:
            raise NitroError(MISSING_ARGUMENT, f"Required argument missing [{name}]")
    # What is given no traffic domain is in the one that is always there.
    return found if is_update or "td" not in resource.arguments else {"td": 0, **found}


def _value(name: str, kind: str, value: Any) -> Any:
    text = value if isinstance(value, str) else str(value)
    least, dots, most = kind.partition("..")
    if dots and text.isdecimal() and int(least) <= int(text) <= int(most):
        return int(text)
    if kind == "port" and text.isdecimal() and 0 < int(text) <= LARGEST_PORT:
        return int(text)
    if kind == "codes" and isinstance(value, list) and all(re.fullmatch(r"[0-9]{3}(-[0-9]{3})?", one) for one in value):
        return value
    if kind in PATTERNS and PATTERNS[kind](text):
        return value
    if kind.isupper() and text in kind.split("|"):
        return text
    raise NitroError(BAD_VALUE, f"Invalid argument value [{name}, {text[:80]}]")


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def _matches(pattern: str) -> Callable[[str], object]:
    return re.compile(pattern).fullmatch


PATTERNS: Final[Mapping[str, Callable[[str], object]]] = {
    "ip": _is_address,
    "name": _matches(r"[A-Za-z0-9_][A-Za-z0-9_.:#@=-]{0,126}"),
    "alias": _matches(r"[A-Za-z0-9_][A-Za-z0-9_.:#@=-]{0,30}"),
    "token": _matches(r"[A-Za-z0-9_.-]{1,64}"),
    "file": _matches(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}"),
    "folder": _matches(r"/nsconfig/ssl/?"),
    "base64": _matches(r"[A-Za-z0-9+/=\s]+"),
    "rewrite": _matches(r"insert_http_header|delete_http_header"),
    "interface": _matches(r"(LA|[0-9]+)/[0-9]+"),
    "flag": _matches(r"(?i)true|false"),
    "text": _matches(r"[^\x00-\x1f]{1,255}"),
    "expression": _matches(r"[^\x00-\x1f]{0,1499}"),
}
