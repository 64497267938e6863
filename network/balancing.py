"""Values of load balancing: connections to a public address and port that are spread over guests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Algorithm = Literal["roundrobin", "leastconn", "source"]
BalancedProtocol = Literal["tcp", "tcp-proxy", "ssl"]
StickyMethod = Literal["LbCookie", "AppCookie", "SourceBased"]


@dataclass(frozen=True, slots=True)
class Member:
    """A guest that connections are led to, at `address`."""

    id: str
    address: str


@dataclass(frozen=True, slots=True)
class Stickiness:
    """How a client comes back to the member that it met first.

    LbCookie: by the cookie `cookie`, which the balancer makes (`mode` insert) or changes (rewrite, prefix). AppCookie:
    by the value that a member gave `cookie`, as a cookie or as that parameter of the path or the query (`place`); of
    the value `length` characters are held, and with `learns` also such as a client brings along. SourceBased: by the
    client's address. What is held is forgotten after `expiry` seconds without use, and `size` values are held at most.
    """

    method: StickyMethod
    cookie: str = ""
    mode: Literal["insert", "rewrite", "prefix"] = "insert"
    nocache: bool = False
    indirect: bool = False
    postonly: bool = False
    domain: str = ""
    place: Literal["cookie", "path", "query"] = "cookie"
    learns: bool = False
    length: int = 52
    size: int = 200 * 1024
    expiry: int = 3 * 3600


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How members are watched: by a GET of `path` that is answered with 2xx or 3xx, or by a connection alone without.

    Each `interval` seconds one is tried, for `timeout` seconds; after `unhealthy` failures in a row a member gets
    nothing more, after `healthy` successes it does again.
    """

    path: str = ""
    interval: int = 2
    timeout: int = 2
    healthy: int = 2
    unhealthy: int = 2


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a balancer shows to clients of TLS: PEM texts. `chain` are the certificates between it and its root."""

    id: str
    certificate: str
    key: str = field(repr=False)
    chain: str = ""


@dataclass(frozen=True, slots=True)
class Balancer:
    """TCP connections to `port` of the public `address`, spread over `members` at `member_port`.

    Only for `sources` (as in Traffic), and nothing of it comes in that no Opening allows. With the protocol tcp-proxy
    members are told who connects by the PROXY protocol. With ssl the balancer itself speaks TLS to clients, by its
    `certificate`, and HTTP to members; without a certificate it does not listen.
    """

    id: str
    address: str
    port: int
    member_port: int
    algorithm: Algorithm = "roundrobin"
    protocol: BalancedProtocol = "tcp"
    members: tuple[Member, ...] = ()
    sources: tuple[str, ...] = ()
    stickiness: Stickiness | None = None
    check: HealthCheck = HealthCheck()
    certificate: Certificate | None = None

    @property
    def listens(self) -> bool:
        return self.protocol != "ssl" or self.certificate is not None
