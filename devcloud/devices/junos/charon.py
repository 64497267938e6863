"""One gateway's strongSwan in a network namespace of its own, which goes with the process.

Two gateways may give out the same addresses and lead to the same networks, which one process could not tell apart. The
device hands over what comes to the gateway's address by one wire, and takes by another what comes out of the tunnel.
ESP is of user space, in UDP.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import vici
from vici.exception import CommandException

from devcloud.devices.junos.remote_access import Gateway
from devcloud.devices.linux import PlaneError, batch, run

PLUGINS = (
    "random nonce openssl curve25519 aes sha1 sha2 md5 hmac kdf gcm pem pkcs1 pkcs8 x509 pubkey constraints revocation "
    "kernel-libipsec kernel-netlink socket-default vici eap-identity eap-mschapv2"
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
READY_SECONDS = 20.0
ANSWER_SECONDS = 10.0
TERMINATE_MS = 200
CONNECTION, CHILD = "people", "inside"
WIRE_MAC, TUNNEL_MAC = "02:00:5e:00:00:01", "02:00:5e:00:00:02"
"""The same at both ends: the wires carry packets for whoever, without ARP."""
SETTINGS = ("net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")


class Charon:
    """Serves `gateway` from its start until `end`; `certificate` and `key` are DER."""

    def __init__(self, home: Path, gateway: Gateway, certificate: bytes, key: bytes) -> None:
        self._home, self.gateway = home, replace(gateway, users=())
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(mode=0o700, parents=True)
        conf = home / "strongswan.conf"
        conf.write_text(CONF.format(plugins=PLUGINS, home=home))
        # It ends with the device's own process, however that ends.
        line = [
            "unshare",
            "--net",
            "setpriv",
            "--pdeathsig",
            "KILL",
            "env",
            f"STRONGSWAN_CONF={conf}",
            "charon-systemd",
        ]
        with (home / "log").open("w") as log:
            self._process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            with self._session(READY_SECONDS) as session:
                self._wire()
                self._load(session, certificate, key)
        except (OSError, CommandException) as error:
            self.end()
            raise PlaneError(f"security ike gateway at {gateway.address}: {error}") from error
        except PlaneError:
            self.end()
            raise

    def is_running(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        """Its people are told where that can be."""
        with suppress(OSError, PlaneError), self._session() as session:
            _terminate(session)
        self._unwire()
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._home, ignore_errors=True)

    def tell(self, users: tuple[tuple[str, str], ...]) -> None:
        """Let these people in; the others are cut off."""
        if users == self.gateway.users:
            return
        before, wanted = set(self.gateway.users), set(users)
        cut = {name for name, _ in before - wanted}
        with self._session() as session:
            for name in sorted(cut):
                session.unload_shared({"id": name})
            for name, password in sorted(wanted - before):
                session.load_shared({"id": name, "type": "EAP", "data": password, "owners": [name]})
            _terminate(session, cut)
        self.gateway = replace(self.gateway, users=users)

    def _unwire(self) -> None:
        # What an earlier one left goes with its namespace, which the kernel takes its time for.
        batch((f"link del dev {one}" for one in (self.gateway.wire, self.gateway.tunnel)), force=True)

    def _wire(self) -> None:
        """Join its namespace to the device's."""
        self._unwire()
        one, pid = self.gateway, self._process.pid
        ends = ((one.wire, "outer", WIRE_MAC, 1500), (one.tunnel, "inner", TUNNEL_MAC, min(one.mtu, 1500)))
        batch(
            f"link add {name} address {mac} mtu {mtu} type veth peer name {peer} netns {pid} address {mac} mtu {mtu}"
            for name, peer, mac, mtu in ends
        )
        Path(f"/proc/sys/net/ipv4/conf/{one.wire}/accept_local").write_text("1")
        for name, _, _, _ in ends:
            Path(f"/proc/sys/net/ipv4/conf/{name}/rp_filter").write_text("0")
        batch(f"link set dev {name} addrgenmode none arp off up" for name, _, _, _ in ends)
        inside = ["nsenter", f"--net=/proc/{pid}/ns/net"]
        run([*inside, "sysctl", "-qw", *SETTINGS])
        lines = [f"link set dev {device} addrgenmode none arp off up" for device in ("outer", "inner")]
        lines += [f"address add {one.address}/32 dev outer", "route add default dev outer"]
        for network in map(IPv4Network, one.near):
            # Charon makes routes for those whose other end is an address of its own; no guest has this one.
            lines += [f"address add {network.network_address}/32 dev inner", f"route add {network} dev inner"]
        run([*inside, "ip", "-batch", "-"], "".join(f"{line}\n" for line in lines))

    def _load(self, session: Any, certificate: bytes, key: bytes) -> None:
        one = self.gateway
        child = {"local_ts": list(one.near), "esp_proposals": list(one.esp), "rekey_time": "0s", "dpd_action": "clear"}
        session.load_key({"type": "any", "data": key})
        session.load_pool({CONNECTION: {"addrs": f"{one.first}-{one.last}"}})
        session.load_conn(
            {
                CONNECTION: {
                    "version": "2",
                    "local_addrs": [one.address],
                    "proposals": list(one.ike),
                    "send_cert": "always",
                    "pools": [CONNECTION],
                    "unique": "never",
                    "rekey_time": "0s",
                    "dpd_delay": f"{one.dpd}s",
                    "local": {"auth": "pubkey", "id": one.identity, "certs": [certificate]},
                    "remote": {"auth": "eap-mschapv2", "id": "%any", "eap_id": "%any"},
                    "children": {CHILD: child},
                }
            }
        )

    @contextmanager
    def _session(self, wait: float = 0) -> Iterator[Any]:
        """:raises PlaneError: charon does not answer, also not after `wait` seconds"""
        deadline = time.monotonic() + wait
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            while True:
                try:
                    connection.connect(f"{self._home}/vici")
                    break
                except OSError as error:
                    if time.monotonic() >= deadline or not self.is_running():
                        log = (self._home / "log").read_text().strip()
                        raise PlaneError(f"charon does not answer: {error} {log}") from error
                    time.sleep(0.05)
            yield vici.Session(connection)


def _terminate(session: Any, names: set[str] | None = None) -> None:
    """End the associations of these people, or of all."""
    associations = [one for answer in session.list_sas() for one in answer.values()]
    for one in associations:
        if names is None or one.get("remote-eap-id", one.get("remote-id", b"")).decode() in names:
            with suppress(CommandException):  # it has ended meanwhile
                list(session.terminate({"ike-id": one["uniqueid"], "force": "yes", "timeout": f"{TERMINATE_MS}"}))


class Charons:
    """Those of all gateways, by their tunnels' numbers; `pair` gives a certificate and its key by name."""

    def __init__(self, home: Path, pair: Any) -> None:
        self._home, self._pair = home, pair
        self._there: dict[int, Charon] = {}

    def serve(self, gateways: Iterable[Gateway]) -> None:
        """Have one for each gateway, as it is wanted, and no others.

        :raises PlaneError: one does not come up
        """
        wanted = {one.unit: one for one in gateways}
        for unit, charon in list(self._there.items()):
            same = unit in wanted and replace(wanted[unit], users=()) == replace(charon.gateway, users=())
            if not same or not charon.is_running():
                self._there.pop(unit).end()
        for unit, one in wanted.items():
            if unit not in self._there:
                self._there[unit] = Charon(self._home / str(unit), one, *self._pair(one.certificate))
            self._there[unit].tell(one.users)
