"""What strongSwan is told through vici, as a pure function of the wanted private networks.

A connection is known by its content: the names of its children hold a digest of all of it, secrets included, so what
charon has loaded tells whether it is what is wanted.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from network.vpn import RemoteAccess, Tunnel, Vpn, proposals

REMOTE = "remote-"
TUNNEL = "tunnel-"
USER = "user-"
VERSIONS = {"ike": "0", "ikev1": "1", "ikev2": "2"}
REKEY_AT = 0.9
"""The part of a lifetime after which keys are renewed, so that they are before it ends."""
ACCESS_IKE = ("aes256-sha256-modp2048-ecp256-curve25519", "aes128-sha256-modp2048-ecp256", "aes256-sha1-modp2048")
ACCESS_ESP = ("aes256gcm16", "aes128gcm16", "aes256-sha256", "aes128-sha256", "aes256-sha1")
"""What people's systems come with, but for what is broken."""
DPD_SECONDS = 30


@dataclass
class Wanted:
    """By name: connections, their children, shared secrets, ranges of addresses. `begun` are connections that the
    router begins itself; `keys` are private ones, in DER.
    """

    conns: dict[str, dict[str, Any]] = field(default_factory=dict)
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    pools: dict[str, str] = field(default_factory=dict)
    keys: list[bytes] = field(default_factory=list)
    begun: set[str] = field(default_factory=set)

    @property
    def children(self) -> dict[str, dict[str, Any]]:
        return {name: conn["children"] for name, conn in self.conns.items()}


def wanted_of(vpn: Vpn) -> Wanted:
    wanted = Wanted()
    if vpn.remote is not None:
        _add_remote_access(wanted, vpn.remote)
    for tunnel in vpn.tunnels:
        _add_tunnel(wanted, tunnel)
    return wanted


def user_of(secret: str) -> str:
    """Whose password the secret of this name is; "" for other secrets."""
    return secret.removeprefix(USER).rpartition("-")[0] if secret.startswith(USER) else ""


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, default=repr).encode()).hexdigest()[:16]


def _add_remote_access(wanted: Wanted, one: RemoteAccess) -> None:
    addresses = f"{one.first}-{one.last}"
    pool = f"{REMOTE}{_digest(one.id, addresses)}"
    child = {
        "local_ts": list(one.guests),
        "esp_proposals": list(ACCESS_ESP),
        "rekey_time": "0s",
        "dpd_action": "clear",
    }
    conn = {
        "version": "2",
        "local_addrs": [one.address],
        "proposals": list(ACCESS_IKE),
        "send_cert": "always",
        "pools": [pool],
        "unique": "never",
        # Some clients refuse to have their keys renewed by the other side; they renew them themselves.
        "rekey_time": "0s",
        "dpd_delay": f"{DPD_SECONDS}s",
        "local": {"auth": "pubkey", "id": one.address, "certs": [base64.b64decode(one.certificate)]},
        "remote": {"auth": "eap-mschapv2", "id": "%any", "eap_id": "%any"},
    }
    wanted.conns[REMOTE + one.id] = {**conn, "children": {_digest(conn, child): child}}
    wanted.pools[pool] = addresses
    wanted.keys.append(base64.b64decode(one.private_key))
    for user in one.users:
        secret = {"type": "EAP", "data": user.password, "owners": [user.name]}
        wanted.secrets[f"{USER}{user.name}-{_digest(secret)}"] = secret


def _add_tunnel(wanted: Wanted, one: Tunnel) -> None:
    name = TUNNEL + one.id
    conn = {
        "version": VERSIONS[one.version],
        "local_addrs": [one.address],
        "remote_addrs": [one.peer],
        "proposals": list(proposals(one.ike_policy, with_group=True)),
        "encap": _flag(one.force_encapsulation),
        "rekey_time": f"{int(one.ike_lifetime * REKEY_AT)}s",
        "over_time": f"{one.ike_lifetime - int(one.ike_lifetime * REKEY_AT)}s",
        "dpd_delay": f"{DPD_SECONDS if one.dpd else 0}s",
        "keyingtries": "0",
        "local": {"auth": "psk", "id": one.address},
        "remote": {"auth": "psk", "id": one.peer},
    }
    child = {
        "esp_proposals": list(proposals(one.esp_policy)),
        "life_time": f"{one.esp_lifetime}s",
        "rekey_time": f"{int(one.esp_lifetime * REKEY_AT)}s",
        "start_action": "none" if one.passive else "start",
        "close_action": "none" if one.passive else "start",
        "dpd_action": "clear" if one.passive else "restart",
    }
    # IKEv1 joins one pair of networks by one association, and no more.
    split = one.split or one.version == "ikev1"
    pairs = [((here,), (there,)) for here, there in product(one.near, one.far)] if split else [(one.near, one.far)]
    digest = _digest(conn, child, one.secret, one.round, pairs)
    children = {
        f"{digest}-{number}": {**child, "local_ts": list(here), "remote_ts": list(there)}
        for number, (here, there) in enumerate(pairs)
    }
    wanted.conns[name] = {**conn, "children": children}
    secret = {"type": "IKE", "data": one.secret, "owners": [one.address, one.peer]}
    wanted.secrets[f"{name}-{_digest(secret)}"] = secret
    if not one.passive:
        wanted.begun.add(name)


def _flag(value: bool) -> str:
    return "yes" if value else "no"
