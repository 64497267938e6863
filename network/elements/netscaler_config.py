"""The resources of a NetScaler that serve one tenant network: a pure function of the wanted state.

All carry the network's name in front. Servers and services are per network, in a traffic domain that is the network's
own and has the number of its VLAN, so that networks may have the same addresses. Virtual servers are in the domain of
the public network, 0, and are bound to services of the other; they, monitors and certificates are per balancer.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from network.balancing import Balancer, HealthCheck, Stickiness
from network.elements.address_sets import common
from network.errors import InvalidViewError
from network.hardware import BalancedNetwork
from network.names import digits
from network.types import Opening

PREFIX = "pl-"
FOLDER = "/nsconfig/ssl"
LARGEST_VLAN = 4094
LONGEST_MINUTES = 1440
HTTP_PORT = 80
FORWARDED, PROTOCOL = "X-Forwarded-For", "X-Forwarded-Proto"
"""Headers by which members are told who asks, and that it was by TLS."""
METHODS = {"roundrobin": "ROUNDROBIN", "leastconn": "LEASTCONNECTION", "source": "SOURCEIPHASH"}

Content = Mapping[str, Any]
Resources = Mapping[tuple[str, tuple[str, ...]], Content]
"""Contents by kind and key; the key of a binding is both of its ends."""


@dataclass(frozen=True)
class Kind:
    """`keys` name a resource, `changing` arguments can be updated, a change of `fixed` ones needs a new resource.

    A binding is made on its `owner`, which the first key names, and ends with it; the second key names an `other`.
    """

    name: str
    keys: tuple[str, ...]
    fixed: tuple[str, ...] = ()
    changing: tuple[str, ...] = ()
    owner: str = ""
    other: str = ""

    @property
    def is_binding(self) -> bool:
        return bool(self.owner)


KINDS = (
    Kind("vlan", ("id",), changing=("aliasname",)),
    Kind("vlan_interface_binding", ("id", "ifnum"), ("tagged",), owner="vlan"),
    Kind("nstrafficdomain", ("td",), ("aliasname",)),
    Kind("nstrafficdomain_vlan_binding", ("td", "vlan"), owner="nstrafficdomain", other="vlan"),
    Kind("nsip", ("ipaddress", "td"), ("netmask", "type")),
    Kind("vlan_nsip_binding", ("id", "ipaddress", "td"), ("netmask",), owner="vlan", other="nsip"),
    Kind("server", ("name",), ("td",), ("ipaddress",)),
    Kind(
        "lbmonitor",
        ("monitorname",),
        ("type",),
        ("httprequest", "respcode", "interval", "resptimeout", "retries", "successretries"),
    ),
    Kind("service", ("name",), ("servername", "servicetype", "port", "td", "cip", "cipheader")),
    Kind("service_lbmonitor_binding", ("name", "monitor_name"), owner="service", other="lbmonitor"),
    Kind("systemfile", ("filename",), ("filelocation", "filecontent", "fileencoding")),
    Kind("sslcertkey", ("certkey",), ("cert", "key", "bundle")),
    Kind(
        "lbvserver",
        ("name",),
        ("servicetype", "port"),
        ("ipv46", "lbmethod", "listenpolicy", "persistencetype", "timeout", "cookiename", "rule", "resrule"),
    ),
    Kind("rewriteaction", ("name",), ("type", "target", "stringbuilderexpr")),
    Kind("rewritepolicy", ("name",), ("rule", "action")),
    Kind(
        "lbvserver_rewritepolicy_binding",
        ("name", "policyname"),
        ("priority", "gotopriorityexpression", "bindpoint"),
        owner="lbvserver",
        other="rewritepolicy",
    ),
    Kind("lbvserver_service_binding", ("name", "servicename"), owner="lbvserver", other="service"),
    Kind("sslvserver_sslcertkey_binding", ("vservername", "certkeyname"), owner="lbvserver", other="sslcertkey"),
)
"""In an order in which each stands behind what it needs."""


def name_of(network_id: str) -> str:
    return PREFIX + digits(network_id, 12)


def server_of(network_id: str, balancer_id: str) -> str:
    """The name of a balancer's virtual server."""
    return f"{name_of(network_id)}-{digits(balancer_id, 12)}"


def wanted(network: BalancedNetwork, interface: str) -> Resources:
    """:raises InvalidViewError: the device cannot do it"""
    _check(network)
    found: dict[tuple[str, tuple[str, ...]], Content] = {}
    keys = {kind.name: kind.keys for kind in KINDS}
    for kind, content in _resources(network, interface):
        key = tuple(str(content[name]) for name in keys[kind])
        if found.setdefault((kind, key), content) != content:
            raise InvalidViewError(f"Network {network.id} wants {kind} {key[0]} in two ways.")
    services = [key[0] for kind, key in found if kind == "service_lbmonitor_binding"]
    if len(services) != len(set(services)):
        raise InvalidViewError(
            f"Network {network.id} watches one port of a guest in two ways; a NetScaler does in one."
        )
    return found


def _check(network: BalancedNetwork) -> None:
    try:
        cidr = IPv4Network(network.cidr)
        members = [member.address for one in network.balancers for member in one.members]
        strange = [address for address in (network.address, *members) if IPv4Address(address) not in cidr]
        for one in network.balancers:
            IPv4Address(one.address)
    except ValueError as error:
        raise InvalidViewError(f"Network {network.id} has a wrong address: {error}.") from error
    if strange:
        raise InvalidViewError(f"{strange[0]} is not in the network {network.id}.")
    if not 0 < network.vlan <= LARGEST_VLAN:
        raise InvalidViewError(f"Network {network.id} has no VLAN that leads from the device into it.")
    for one in network.balancers:
        _check_balancer(one)


def _check_balancer(one: Balancer) -> None:
    sticky = one.stickiness
    if one.protocol == "tcp-proxy":
        raise InvalidViewError(f"Load balancer {one.id}: a NetScaler does not speak the PROXY protocol here.")
    if sticky is not None and sticky.method == "LbCookie" and sticky.mode != "insert":
        raise InvalidViewError(f"Load balancer {one.id}: a NetScaler makes its own cookie; it does not change others.")
    if sticky is not None and sticky.method == "AppCookie" and sticky.place != "cookie":
        raise InvalidViewError(f"Load balancer {one.id}: the application's cookie is looked for in cookies only.")


def _resources(network: BalancedNetwork, interface: str) -> Iterator[tuple[str, dict[str, Any]]]:
    name, vlan = name_of(network.id), str(network.vlan)
    td = vlan
    netmask = str(IPv4Network(network.cidr).netmask)
    yield "vlan", {"id": vlan, "aliasname": name}
    yield "vlan_interface_binding", {"id": vlan, "ifnum": interface, "tagged": "true"}
    yield "nstrafficdomain", {"td": td, "aliasname": name}
    yield "nstrafficdomain_vlan_binding", {"td": td, "vlan": vlan}
    yield "nsip", {"ipaddress": network.address, "netmask": netmask, "type": "SNIP", "td": td}
    yield "vlan_nsip_binding", {"id": vlan, "ipaddress": network.address, "netmask": netmask, "td": td}
    for one in network.balancers:
        sources = _sources(one, network.openings)
        if one.listens and sources is not None:
            yield from _balancer(network, one, sources)


def _sources(one: Balancer, openings: tuple[Opening, ...]) -> tuple[str, ...] | None:
    """Who may connect: () for everybody, None for nobody."""
    found: set[str] = set()
    for opening in openings:
        traffic = opening.traffic
        ports = range(traffic.first_port or 0, 1 + (65535 if traffic.last_port is None else traffic.last_port))
        if opening.address == one.address and traffic.protocol in ("tcp", "all") and one.port in ports:
            both = common(one.sources, traffic.sources)
            if both == ():
                return ()
            found.update(both or ())
    return tuple(sorted(found, key=IPv4Network)) or None


def _balancer(
    network: BalancedNetwork, one: Balancer, sources: tuple[str, ...]
) -> Iterator[tuple[str, dict[str, Any]]]:
    name, inner, td = name_of(network.id), "HTTP" if _is_http(one) else "TCP", str(network.vlan)
    server = server_of(network.id, one.id)
    monitor = _monitor(name, one.check)
    yield "lbmonitor", monitor
    yield "lbvserver", _virtual_server(server, one, sources)
    for member in one.members:
        host, service = f"{name}-{member.address}", f"{name}-{member.address}-{one.member_port}-{inner}"
        yield "server", {"name": host, "ipaddress": member.address, "td": td}
        told = {"cip": "ENABLED", "cipheader": FORWARDED} if inner == "HTTP" else {}
        yield (
            "service",
            {"name": service, "servername": host, "servicetype": inner, "port": one.member_port, "td": td, **told},
        )
        yield "service_lbmonitor_binding", {"name": service, "monitor_name": monitor["monitorname"]}
        yield "lbvserver_service_binding", {"name": server, "servicename": service}
    if one.protocol == "ssl":
        yield from _certificate(name, server, one)
        yield from _told_of_tls(name, server)


def _is_http(one: Balancer) -> bool:
    """Where the device must understand what is said, as a virtual router does; CloudStack takes port 80 for HTTP."""
    by_cookie = one.stickiness is not None and one.stickiness.method != "SourceBased"
    return by_cookie or one.protocol == "ssl" or one.port == HTTP_PORT


def _told_of_tls(name: str, server: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Members believe the header, so what a client says itself is taken out first."""
    deleted, inserted = f"{name}-untold", f"{name}-told"
    yield "rewriteaction", {"name": deleted, "type": "delete_http_header", "target": PROTOCOL}
    yield (
        "rewriteaction",
        {"name": inserted, "type": "insert_http_header", "target": PROTOCOL, "stringbuilderexpr": '"https"'},
    )
    rules = {deleted: f'HTTP.REQ.HEADER("{PROTOCOL}").EXISTS', inserted: "true"}
    for number, (policy, rule) in enumerate(rules.items()):
        yield "rewritepolicy", {"name": policy, "rule": rule, "action": policy}
        bound = {"priority": 10 + number, "gotopriorityexpression": "END" if rule == "true" else "NEXT"}
        yield (
            "lbvserver_rewritepolicy_binding",
            {"name": server, "policyname": policy, "bindpoint": "REQUEST", **bound},
        )


def _virtual_server(name: str, one: Balancer, sources: tuple[str, ...]) -> dict[str, Any]:
    kind = "SSL" if one.protocol == "ssl" else "HTTP" if _is_http(one) else "TCP"
    policy = " || ".join(f"CLIENT.IP.SRC.IN_SUBNET({network})" for network in sources) or "NONE"
    return {
        "name": name,
        "servicetype": kind,
        "ipv46": one.address,
        "port": one.port,
        "lbmethod": METHODS[one.algorithm],
        "listenpolicy": policy,
        **_persistence(one.stickiness),
    }


def _persistence(sticky: Stickiness | None) -> dict[str, Any]:
    if sticky is None:
        return {"persistencetype": "NONE"}
    timeout = min(max(sticky.expiry // 60, 1), LONGEST_MINUTES)
    if sticky.method == "SourceBased":
        return {"persistencetype": "SOURCEIP", "timeout": timeout}
    if sticky.method == "LbCookie":
        # 0: a cookie of the browser's session.
        return {"persistencetype": "COOKIEINSERT", "timeout": 0, "cookiename": sticky.cookie or "PILEUS"}
    name = sticky.cookie
    asked, answered = f'HTTP.REQ.COOKIE.VALUE("{name}")', f'HTTP.RES.SET_COOKIE.COOKIE("{name}").VALUE("{name}")'
    return {"persistencetype": "RULE", "timeout": timeout, "rule": asked, "resrule": answered}


def _monitor(name: str, check: HealthCheck) -> dict[str, Any]:
    content: dict[str, Any] = {
        "type": "HTTP" if check.path else "TCP",
        "interval": check.interval,
        "resptimeout": check.timeout,
        "retries": check.unhealthy,
        "successretries": check.healthy,
    }
    if check.path:
        content |= {"httprequest": f"GET {check.path}", "respcode": ["200-399"]}
    return {"monitorname": f"{name}-{_digest(check)}", **content}


def _certificate(name: str, server: str, one: Balancer) -> Iterator[tuple[str, dict[str, Any]]]:
    held = one.certificate
    if held is None:
        return
    own = f"{name}-{_digest((held.certificate, held.key, held.chain))}"
    texts = {f"{own}.pem": held.certificate.rstrip() + "\n" + held.chain, f"{own}.key": held.key}
    for file, text in texts.items():
        content = base64.b64encode(text.encode()).decode()
        yield (
            "systemfile",
            {
                "filename": file,
                "filelocation": FOLDER,
                "filecontent": content,
                "fileencoding": "BASE64",
            },
        )
    bundle = "YES" if held.chain else "NO"
    yield "sslcertkey", {"certkey": own, "cert": f"{own}.pem", "key": f"{own}.key", "bundle": bundle}
    yield "sslvserver_sslcertkey_binding", {"vservername": server, "certkeyname": own}


def _digest(value: object) -> str:
    """Names a thing by what it says; the same thing has the same name for all balancers of the network."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]
