"""Values of the virtual private networks that end at a router: remote access of people, tunnels to other sites."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

KeyExchange = Literal["ike", "ikev1", "ikev2"]
TunnelState = Literal["Connected", "Connecting", "Disconnected"]
"""Connected: the security associations of all its networks are there. Connecting: both ends are speaking."""

CIPHERS: Final = ("3des", "aes128", "aes192", "aes256")
HASHES: Final = ("md5", "sha1", "sha256", "sha384", "sha512")
GROUPS: Final = ("modp1024", "modp1536", "modp2048", "modp3072", "modp4096", "modp6144", "modp8192")


class UnknownPolicy(ValueError):  # noqa: N818 - it names what is wrong
    """Not a list of algorithms that a router knows; the sentence says what is wrong and what there is."""


def proposals(policies: str, *, with_group: bool = False) -> tuple[str, ...]:
    """The proposals of strongSwan for CloudStack's "aes128-sha1;modp1536,aes256-sha256": cipher, hash, and a group.

    :raises UnknownPolicy: malformed, an algorithm is not in the lists above, or a group is missing `with_group`
    """
    return tuple(_proposal(policy, with_group) for policy in policies.split(","))


def _proposal(policy: str, with_group: bool) -> str:
    algorithms, has_group, group = policy.partition(";")
    cipher, _, digest = algorithms.partition("-")
    for name, value, known in (("cipher", cipher, CIPHERS), ("hash", digest, HASHES)):
        if value not in known:
            raise UnknownPolicy(f"{policy!r} has the {name} {value!r}; there are {', '.join(known)}.")
    if (has_group or with_group) and group not in GROUPS:
        raise UnknownPolicy(f"{policy!r} has the group {group!r} after its semicolon; there are {', '.join(GROUPS)}.")
    return f"{algorithms}-{group}" if has_group else algorithms


@dataclass(frozen=True, slots=True)
class VpnUser:
    name: str
    password: str


@dataclass(frozen=True, slots=True)
class RemoteAccess:
    """People with a name and a password reach the networks of `guests` by IKEv2 at the public `address`.

    Each is given an address from `first` to `last`. They may come from everywhere if it is `open_to_all`, else from
    where openings of UDP let them. `certificate` and `private_key` are what the router proves itself
    by: base64 of DER (X.509, PKCS #8).
    """

    id: str
    address: str
    first: str
    last: str
    guests: tuple[str, ...]
    certificate: str
    private_key: str
    users: tuple[VpnUser, ...] = ()
    open_to_all: bool = True


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A tunnel from the public `address` to another site's `peer`; both know `secret`.

    It joins the `near` networks with the `far` ones. Policies are as in `proposals`, lifetimes in seconds. A `passive`
    router waits for the peer to begin. With `dpd` a peer that does not answer is noticed without traffic, with
    `split` each pair of networks has a security association of its own. A greater `round` sets it up anew.
    """

    id: str
    address: str
    peer: str
    near: tuple[str, ...]
    far: tuple[str, ...]
    secret: str
    ike_policy: str
    esp_policy: str
    version: KeyExchange = "ike"
    ike_lifetime: int = 86400
    esp_lifetime: int = 3600
    dpd: bool = False
    force_encapsulation: bool = False
    passive: bool = False
    split: bool = False
    round: int = 0


@dataclass(frozen=True, slots=True)
class Vpn:
    """All private networks of one router."""

    remote: RemoteAccess | None = None
    tunnels: tuple[Tunnel, ...] = ()

    def pairs(self) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
        """(networks of guests, who is behind the VPN: networks, or one range as "first-last")."""
        if self.remote is not None:
            yield self.remote.guests, (f"{self.remote.first}-{self.remote.last}",)
        for tunnel in self.tunnels:
            yield tunnel.near, tunnel.far
