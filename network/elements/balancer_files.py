"""The configuration of a router's load balancer as text: a pure function of its wanted state."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from network.balancing import (
    CHECK_PATH,
    COOKIE,
    COOKIE_DOMAIN,
    COOKIE_MODES,
    LARGEST_TABLE,
    LONGEST_EXPIRY,
    LONGEST_INTERVAL,
    LONGEST_VALUE,
    MOST_TRIES,
    Balancer,
    Certificate,
    HealthCheck,
    Member,
    Stickiness,
)
from network.names import digits

ALGORITHMS = {"roundrobin": "roundrobin", "leastconn": "leastconn", "source": "source"}
PROTOCOLS = ("tcp", "tcp-proxy", "ssl")
METHODS = ("LbCookie", "AppCookie", "SourceBased")
PLACES = ("cookie", "path", "query")
PEM = re.compile(r"(-----BEGIN [A-Z0-9 ]+-----\n[A-Za-z0-9+/=\n]+-----END [A-Z0-9 ]+-----\n*)+")
MARK = re.compile(r"^ +description ([0-9a-f]{64})$", re.MULTILINE)
NO_STATES = "1\n"
"""A file of servers' states that has none, in its version 1."""
LARGEST_PORT = 65535
MOST_CONNECTIONS = 4096
HTTP_PORT = 80
PEER = "127.0.0.1:10000"
"""Where the worker that goes tells the one that comes what it has learned; nothing but the router itself gets there.

haproxy 2.6 tells nothing in the first 5 seconds after its start, in which it waits to be told itself.
"""


def check_balancers(balancers: Iterable[Balancer], own: set[IPv4Address], guests: list[IPv4Network]) -> None:
    """Refuse what must not reach the configuration. `own` are the router's public addresses.

    :raises ValueError: names the value
    """
    taken: set[tuple[str, int]] = set()
    for one in balancers:
        if IPv4Address(one.address) not in own:
            raise ValueError(f"{one.address} is not one of its addresses")
        if (one.address, one.port) in taken:
            raise ValueError(f"two balancers at port {one.port} of {one.address}")
        taken.add((one.address, one.port))
        _check_one(one, guests)


def _check_one(one: Balancer, guests: list[IPv4Network]) -> None:
    _demand("algorithm", one.algorithm, one.algorithm in ALGORITHMS)
    _demand("balanced protocol", one.protocol, one.protocol in PROTOCOLS)
    for port in (one.port, one.member_port):
        _demand("port", port, 1 <= port <= LARGEST_PORT)
    for member in one.members:
        address = IPv4Address(member.address)
        _demand("member, which is no guest of it,", member.address, any(address in network for network in guests))
    for network in one.sources:
        IPv4Network(network)
    _check_health(one.check)
    if one.stickiness is not None:
        _check_stickiness(one.stickiness)
    if one.certificate is not None:
        held = one.certificate
        _demand("certificate", held.id, all(PEM.fullmatch(text) for text in _texts(held)))


def _check_health(check: HealthCheck) -> None:
    _demand("path", check.path, not check.path or bool(CHECK_PATH.fullmatch(check.path)))
    for name in ("interval", "timeout"):
        _demand(name, getattr(check, name), 1 <= getattr(check, name) <= LONGEST_INTERVAL)
    for name in ("healthy", "unhealthy"):
        _demand(f"{name} threshold", getattr(check, name), 1 <= getattr(check, name) <= MOST_TRIES)


def _check_stickiness(sticky: Stickiness) -> None:
    _demand("stickiness", sticky.method, sticky.method in METHODS)
    _demand("cookie", sticky.cookie, not sticky.cookie or bool(COOKIE.fullmatch(sticky.cookie)))
    _demand("cookie's mode", sticky.mode, sticky.mode in COOKIE_MODES)
    _demand("cookie's domain", sticky.domain, not sticky.domain or bool(COOKIE_DOMAIN.fullmatch(sticky.domain)))
    _demand("cookie's place", sticky.place, sticky.place in PLACES)
    for name, most in (("length", LONGEST_VALUE), ("size", LARGEST_TABLE), ("expiry", LONGEST_EXPIRY)):
        _demand(f"stickiness' {name}", getattr(sticky, name), 1 <= getattr(sticky, name) <= most)


def _demand(what: str, value: object, is_right: bool) -> None:
    if not is_right:
        raise ValueError(f"the {what} {value!r}")


def _texts(held: Certificate) -> list[str]:
    return [text.strip() + "\n" for text in (held.certificate, held.chain, held.key) if text.strip()]


def bundle(held: Certificate) -> str:
    """The certificate, its chain and its key in one file, as haproxy takes them."""
    return "".join(_texts(held))


def bundle_name(held: Certificate) -> str:
    """Another name for other content: what a file of that name holds never changes."""
    return f"tls-{hashlib.sha256(bundle(held).encode()).hexdigest()[:32]}.pem"


def server_name(member: Member, port: int) -> str:
    """Another name for another place: what haproxy holds of a server goes with its name."""
    return f"m{digits(f'{member.id} {member.address}:{port}', 16)}"


def section_name(balancer_id: str) -> str:
    return f"b{digits(balancer_id, 16)}"


def haproxy_conf(balancers: Iterable[Balancer], home: Path) -> str:
    """The whole file. Its `description` is a digest of the rest, by which the process tells what it has read."""
    sections = "".join(_section(one, home) for one in sorted(balancers, key=lambda one: one.id) if one.listens)
    text = GLOBAL.format(home=home, most=MOST_CONNECTIONS, peer=PEER) + sections
    mark = hashlib.sha256(text.encode()).hexdigest()
    return text.replace("global\n", f"global\n    description {mark}\n", 1)


def _section(one: Balancer, home: Path) -> str:
    lines = [f"bind {one.address}:{one.port}{_tls(one, home)}"]
    if _is_http(one):
        lines += ["mode http", "option forwardfor"]
    if one.certificate is not None and one.protocol == "ssl":
        lines.append("http-request set-header X-Forwarded-Proto https")
    lines.append(f"balance {ALGORITHMS[one.algorithm]}")
    if one.algorithm == "source":
        # With the plain hash each change of the members would send nearly all clients elsewhere.
        lines.append("hash-type consistent")
    if one.stickiness is not None:
        lines += _sticky(one, one.stickiness)
    lines += _watch(one)
    lines += [_server(one, member) for member in sorted(one.members, key=lambda member: member.id)]
    return f"\nlisten {section_name(one.id)}\n" + "".join(f"    {line}\n" for line in lines)


def _is_http(one: Balancer) -> bool:
    """Where the balancer must understand what is said; elsewhere it passes bytes. CloudStack takes port 80 for HTTP."""
    by_cookie = one.stickiness is not None and one.stickiness.method != "SourceBased"
    return by_cookie or one.protocol == "ssl" or (one.port == HTTP_PORT and one.protocol == "tcp")


def _tls(one: Balancer, home: Path) -> str:
    if one.protocol != "ssl" or one.certificate is None:
        return ""
    return f" ssl crt {home}/{bundle_name(one.certificate)} alpn http/1.1"


def _sticky(one: Balancer, sticky: Stickiness) -> Iterator[str]:
    name = sticky.cookie or f"lb{digits(one.id, 8)}"
    if sticky.method == "LbCookie":
        flags = [flag for flag in ("indirect", "nocache", "postonly") if getattr(sticky, flag)]
        flags += [f"domain {sticky.domain}"] if sticky.domain else []
        yield " ".join(["cookie", name, sticky.mode, *flags])
        return
    if sticky.method == "SourceBased":
        yield f"stick-table type ip size {sticky.size} expire {sticky.expiry}s peers routers"
        yield "stick on src"
        return
    asked = {"cookie": f"req.cook({name})", "path": f"urlp({name},;)", "query": f"urlp({name})"}[sticky.place]
    yield f"stick-table type string len {sticky.length} size {sticky.size} expire {sticky.expiry}s peers routers"
    yield f"stick store-response res.cook({name})"
    yield f"stick {'on' if sticky.learns else 'match'} {asked}"


def _watch(one: Balancer) -> Iterator[str]:
    check = one.check
    if check.path:
        yield "option httpchk"
        yield f"http-check send meth GET uri {check.path} ver HTTP/1.1 hdr Host {one.address}"
    yield f"timeout check {check.timeout}s"
    yield f"default-server check inter {check.interval}s rise {check.healthy} fall {check.unhealthy}"


def _server(one: Balancer, member: Member) -> str:
    name = server_name(member, one.member_port)
    line = f"server {name} {member.address}:{one.member_port}"
    if one.protocol == "tcp-proxy":
        line += " send-proxy"
    if one.stickiness is not None and one.stickiness.method == "LbCookie":
        line += f" cookie {name}"
    return line


GLOBAL = """global
    user haproxy
    group haproxy
    chroot {home}/empty
    nbthread 1
    maxconn {most}
    localpeer router
    mworker-max-reloads 20
    stats socket {home}/haproxy.sock mode 600 level admin
    server-state-file {home}/haproxy.states
    ssl-default-bind-options ssl-min-ver TLSv1.2
    tune.ssl.default-dh-param 2048

defaults
    mode tcp
    maxconn {most}
    retries 3
    option redispatch
    timeout connect 5s
    timeout http-request 15s
    timeout client 50s
    timeout server 50s
    load-server-state-from-file global

peers routers
    peer router {peer}
"""
