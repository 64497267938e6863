"""Private networks of a router by strongSwan: one charon in its namespace, told what is wanted through vici.

The kernel encrypts where it can. Where it has no ESP, charon does it itself and hands packets over by a tunnel device;
then ESP always travels in UDP, which a peer has to accept.
"""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import vici
from vici.exception import CommandException

from network.elements.daemons import Daemon
from network.elements.ipsec_messages import TUNNEL, Wanted, user_of, wanted_of
from network.elements.state_files import write
from network.errors import CommandFailedError, RouterFailedError
from network.process import run
from network.vpn import TunnelState, Vpn

PLUGINS = (
    "random nonce openssl curve25519 aes sha1 sha2 md5 hmac kdf gcm pem pkcs1 pkcs8 x509 pubkey constraints revocation "
    "kernel-netlink socket-default vici eap-identity eap-mschapv2"
)
CONF = """charon-systemd {{
  load = {plugins}
  retransmit_tries = 4
  retransmit_timeout = 2.0
  retransmit_base = 1.4
  plugins {{
    vici {{
      socket = unix://{home}/vici
    }}
    kernel-libipsec {{
      allow_peer_ts = yes
    }}
  }}
  filelog {{
    stdout {{
      default = 0
    }}
  }}
}}
"""
"""A peer that does not answer is given up after some 20 seconds."""
ANSWER_SECONDS = 10.0
CONNECT_SECONDS = 3.0
TERMINATE_MS = 1000
# A security association that nobody uses: made and taken away to see whether the kernel can.
PROBE = ("src", "127.0.0.1", "dst", "127.0.0.2", "proto", "esp", "spi", "0x70696c65")
PROBE_KEYS = ("mode", "tunnel", "enc", "cbc(aes)", f"0x{'00' * 16}", "auth", "hmac(sha256)", f"0x{'00' * 32}")


@cache
def has_kernel_esp() -> bool:
    """Whether this kernel encrypts IPsec by itself, asked by making a security association in a namespace of its own.

    The namespace goes with the process that asks.
    """
    try:
        run(["unshare", "--net", "ip", "xfrm", "state", "add", *PROBE, *PROBE_KEYS])
    except CommandFailedError:
        return False
    return True


class Ipsec:
    """`folder` holds the socket, settings and wanted state of one router's charon; root alone may look into it."""

    def __init__(self, namespace: str, folder: Path) -> None:
        self._namespace, self._folder = namespace, folder
        self._conf, self._wanted = folder / "strongswan.conf", folder / "wanted.json"
        self._daemon = Daemon(
            namespace,
            "charon-systemd",
            ("charon-systemd",),
            folder / "charon.log",
            (("udp", 500), ("udp", 4500)),
            {"STRONGSWAN_CONF": str(self._conf)},
        )

    def ensure(self, vpn: Vpn | None) -> None:
        """Make the router's private networks as `vpn` says; what is there already and right goes on undisturbed.

        :raises RouterFailedError: charon does not come up, or refuses something
        """
        if vpn is None or vpn == Vpn():
            self._remove()
            return
        self._folder.mkdir(mode=0o700, exist_ok=True)
        is_new = self._write_conf()
        write(self._wanted, msgspec.json.encode(vpn).decode(), mode=0o600)
        if is_new or not self.is_running():
            self._daemon.restart()
        wanted = wanted_of(vpn)
        try:
            with self._session(CONNECT_SECONDS) as session:
                _make_so(session, wanted)
        except (OSError, CommandException) as error:
            raise RouterFailedError(f"charon in {self._namespace} did not take its settings: {error}.") from error

    def keep(self) -> None:
        """Begin again, after the last wanted state, what was given up or has died.

        :raises RouterFailedError: as above
        """
        if self._wanted.exists():
            self.ensure(msgspec.json.decode(self._wanted.read_bytes(), type=Vpn))

    def end(self) -> None:
        self._daemon.end()

    def _remove(self) -> None:
        if self._folder.exists():
            self.end()
            shutil.rmtree(self._folder)

    def is_whole(self) -> bool:
        """Whether charon runs where it shall."""
        return not self._wanted.exists() or self.is_running()

    def is_running(self) -> bool:
        """Whether charon runs and answers at this folder's socket."""
        if not self._daemon.is_running():
            return False
        try:
            with self._session() as session:
                session.version()
        except OSError:
            return False
        return True

    def states(self) -> dict[str, TunnelState]:
        """How the tunnels to other sites are, by id; none while charon does not run."""
        try:
            with self._session() as session:
                loaded = list(session.list_conns())
                there = list(session.list_sas())
        except OSError:
            return {}
        found: dict[str, TunnelState] = {}
        for answer in loaded:
            for name, conn in answer.items():
                if name.startswith(TUNNEL):
                    mine = [sa for one in there for sa_name, sa in one.items() if sa_name == name]
                    found[name.removeprefix(TUNNEL)] = _state_of(len(conn["children"]), mine)
        return found

    def _write_conf(self) -> bool:
        plugins = PLUGINS if has_kernel_esp() else PLUGINS.replace("kernel-netlink", "kernel-libipsec kernel-netlink")
        text = CONF.format(plugins=plugins, home=self._folder)
        return write(self._conf, text, mode=0o600)

    @contextmanager
    def _session(self, wait: float = 0) -> Iterator[Any]:
        """:raises OSError: charon does not answer, also not after `wait` seconds"""
        deadline = time.monotonic() + wait
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            while True:
                try:
                    connection.connect(f"{self._folder}/vici")
                    break
                except OSError:
                    if time.monotonic() >= deadline:
                        raise
                    time.sleep(0.05)
            yield vici.Session(connection)


def _make_so(session: Any, wanted: Wanted) -> None:
    loaded = {name: _names(conn["children"]) for answer in session.list_conns() for name, conn in answer.items()}
    fitting = {name for name, children in loaded.items() if children == _names(wanted.children.get(name, {}))}
    for name in loaded.keys() - fitting:
        session.unload_conn({"name": name})
    _terminate(session, [sa for name, sa in _associations(session) if name not in fitting])
    cut = _load_secrets(session, wanted)
    _load_keys(session, wanted)
    _load_pools(session, wanted)
    for name in sorted(wanted.conns.keys() - fitting):
        session.load_conn({name: wanted.conns[name]})
    _terminate(session, [sa for _, sa in _associations(session) if _person(sa) in cut])
    _begin(session, wanted, fitting)


def _load_secrets(session: Any, wanted: Wanted) -> set[str]:
    """The names of people whose password is not valid any more."""
    there = {_text(key) for key in session.get_shared().get("keys", [])}
    for key in sorted(there - wanted.secrets.keys()):
        session.unload_shared({"id": key})
    for key in sorted(wanted.secrets.keys() - there):
        session.load_shared({"id": key, **wanted.secrets[key]})
    return {name for name in map(user_of, there - wanted.secrets.keys()) if name}


def _load_keys(session: Any, wanted: Wanted) -> None:
    needed = {_text(session.load_key({"type": "any", "data": key})["id"]) for key in wanted.keys}
    for key in session.get_keys().get("keys", []):
        if _text(key) not in needed:
            session.unload_key({"id": key})


def _load_pools(session: Any, wanted: Wanted) -> None:
    there = set(session.get_pools({}))
    for name in sorted(there - wanted.pools.keys()):
        session.unload_pool({"name": name})
    for name in sorted(wanted.pools.keys() - there):
        session.load_pool({name: {"addrs": wanted.pools[name]}})


def _begin(session: Any, wanted: Wanted, names: Iterable[str]) -> None:
    """Begin anew what was given up, such as after a refusal; what was just loaded has begun by itself."""
    busy = {name for name, _ in _associations(session)}
    for name in sorted(set(names) & wanted.begun - busy):
        for child in wanted.children[name]:
            with suppress(CommandException):
                list(session.initiate({"ike": name, "child": child, "timeout": "-1"}))


def _terminate(session: Any, associations: Iterable[dict[str, Any]]) -> None:
    for one in associations:
        with suppress(CommandException):  # it has ended meanwhile
            list(session.terminate({"ike-id": one["uniqueid"], "force": "yes", "timeout": f"{TERMINATE_MS}"}))


def _associations(session: Any) -> list[tuple[str, dict[str, Any]]]:
    return [pair for answer in session.list_sas() for pair in answer.items()]


def _person(association: dict[str, Any]) -> str:
    """Who has proved a password; charon names that only where it is not the name of the connection's end."""
    return _text(association.get("remote-eap-id", association.get("remote-id", b"")))


def _state_of(children: int, associations: list[dict[str, Any]]) -> TunnelState:
    for one in associations:
        installed = [child for child in one.get("child-sas", {}).values() if child["state"] == b"INSTALLED"]
        if len(_names(child["name"] for child in installed)) >= children:
            return "Connected"
    return "Connecting" if associations else "Disconnected"


def _names(names: Iterable[Any]) -> set[str]:
    return {_text(name) for name in names}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
