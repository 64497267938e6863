"""Two sites with a VPN between them, somebody who comes by remote access, and an ear on the public network."""

from __future__ import annotations

import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import vici
from vici.exception import CommandException

from manager.vpn_certificate import der_of, prove
from network.elements.daemons import Daemon
from network.elements.ipsec import CONF, PLUGINS
from network.types import NicView, RouterSpec
from network.vpn import RemoteAccess, Tunnel, Vpn, VpnUser
from tests.unit.network.lab import ETH_P_ALL, PREFIX, Lab, inside, sh
from tests.unit.network.routers import router
from tests.unit.network.sites import Site
from tests.unit.network.views import network, nic

CLIENT = f"{PREFIX}-vpn"
CLIENT_ADDRESS = "198.51.100.50"
END_A, END_B = "198.51.100.10", "198.51.100.20"
ANY = "0.0.0.0"  # noqa: S104 - asks for an address
INNER_A, INNER_B = "10.1.1.0/24", "10.2.2.0/24"
SOL_PACKET, ADD_MEMBERSHIP, PROMISCUOUS = 263, 1, 1
PROOF = prove(END_A, "VPN of a")


def moved(one: NicView) -> NicView:
    return replace(one, address=one.address.replace("10.1.1.", "10.2.2."))


def second_site(site: Site) -> RouterSpec:
    """The router of tenant b with other addresses inside than those of tenant a; its guests are told so."""
    guests = [moved(nic("b", "1", "host-1")), moved(nic("b", "2", "host-2"))]
    own = moved(nic("b", "router", "host-3", "router"))
    plain = router("b", guests)
    spec = replace(plain, legs=(replace(plain.legs[0], nic=own, cidr=INNER_B),))
    view = replace(network("b", 1002, [*guests, own]), cidr=INNER_B, gateway="10.2.2.1", generation=2)
    site.lab.apply([site.views[0], view])
    for name, address, gateway in (("a1", "10.1.1.11", "10.1.1.1"), ("b1", "10.2.2.11", "10.2.2.1")):
        ns = site.guests[name]
        sh("ip", "-n", ns, "address", "flush", "dev", "eth0")
        sh("ip", "-n", ns, "address", "add", f"{address}/24", "dev", "eth0")
        sh("ip", "-n", ns, "route", "replace", "default", "via", gateway)
    return spec


def remote_access(*users: str, **options) -> Vpn:
    """For tenant a; the password of each user is the name and -secret."""
    people = tuple(VpnUser(name, f"{name}-secret") for name in users)
    plain = RemoteAccess(
        "access", END_A, "10.9.0.2", "10.9.0.9", (INNER_A,), der_of(PROOF.certificate), der_of(PROOF.private_key),
        people,
    )  # fmt: skip
    return Vpn(replace(plain, **options))


def tunnel(tenant: str, **options) -> Vpn:
    """From one tenant's site to the other's."""
    ends, inner = (END_A, END_B), ((INNER_A,), (INNER_B,))
    if tenant == "b":
        ends, inner = ends[::-1], inner[::-1]
    policy = "aes256-sha256;modp2048"
    plain = Tunnel("s2s", *ends, *inner, secret="agreed", ike_policy=policy, esp_policy=policy)
    return Vpn(tunnels=(replace(plain, **options),))


class Person:
    """Somebody's computer, the namespace `ns`, with strongSwan and its files below `folder`; comes to `end`."""

    def __init__(self, ns: str, folder: Path, end: str = END_A) -> None:
        self.ns, self.end, self.folder = ns, end, folder
        self.folder.mkdir(mode=0o700)
        conf = self.folder / "strongswan.conf"
        plugins = PLUGINS.replace("kernel-netlink", "kernel-libipsec kernel-netlink")
        conf.write_text(CONF.format(plugins=plugins, home=self.folder))
        self.daemon = Daemon(
            self.ns, "charon-systemd", ("charon-systemd",), self.folder / "log", (("udp", 500), ("udp", 4500)),
            {"STRONGSWAN_CONF": str(conf)},
        )  # fmt: skip
        self.daemon.restart()

    def connect(
        self, name: str, password: str, authority: str = PROOF.authority, patience: float = 20.0, *,
        end: str | None = None, inner: str = INNER_A,
    ) -> str:  # fmt: skip
        """The address that the router gives. :raises vici.exception.CommandException: it refuses, or is refused"""
        self.disconnect()
        with self._session() as session:
            session.clear_creds()
            session.load_cert({"type": "X509", "flag": "CA", "data": authority})
            session.load_shared({"type": "EAP", "data": password, "owners": [name]})
            children = {"inside": {"remote_ts": [inner], "esp_proposals": ["aes256gcm16"]}}
            local = {"auth": "eap-mschapv2", "id": name, "eap_id": name}
            end = end or self.end
            remote = {"auth": "pubkey", "id": end}
            session.load_conn({"home": {
                "version": "2", "remote_addrs": [end], "vips": [ANY], "proposals": ["aes256-sha256-modp2048"],
                "local": local, "remote": remote, "children": children,
            }})  # fmt: skip
            list(session.initiate({"ike": "home", "child": "inside", "timeout": f"{int(patience * 1000)}"}))
            (sa,) = self._associations(session)
            return sa["local-vips"][0].decode()

    def disconnect(self) -> None:
        assert becomes(self._is_rid, True, 30)

    def _is_rid(self) -> bool:
        with self._session() as session:
            for sa in self._associations(session):
                with suppress(CommandException):  # it has ended meanwhile, or nobody answers
                    list(session.terminate({"ike-id": sa["uniqueid"], "force": "yes", "timeout": "1000"}))
            return not self._associations(session)

    def is_connected(self) -> bool:
        with self._session() as session:
            return bool(self._associations(session))

    @staticmethod
    def _associations(session) -> list[dict]:
        return [sa for answer in session.list_sas() for sa in answer.values()]

    @contextmanager
    def _session(self) -> Iterator[vici.Session]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f"{self.folder}/vici")
            yield vici.Session(connection)


def at_home(lab: Lab, host: str, name: str = "person", address: str = CLIENT_ADDRESS, end: str = END_A) -> Person:
    """A person on the public network of the lab's host."""
    ns = CLIENT if name == "person" else f"{PREFIX}-{name}"
    lab.add_namespace(ns)
    sh("ip", "-n", host, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", ns)
    sh("ip", "-n", host, "link", "set", name, "master", "br-public", "up")
    sh("ip", "-n", ns, "link", "set", "eth0", "up")
    sh("ip", "-n", ns, "address", "add", f"{address}/24", "dev", "eth0")
    return Person(ns, lab.dir / name, end)


class Ear:
    """Counts, from its making on, the IPv4 packets on a bridge: those of tenants' addresses, and those of a VPN."""

    def __init__(self, ns: str, device: str) -> None:
        with inside(ns):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 2**20)
            self.socket.bind((device, ETH_P_ALL))
            everything = struct.pack("IHH8x", socket.if_nametoindex(device), PROMISCUOUS, 0)
            self.socket.setsockopt(SOL_PACKET, ADD_MEMBERSHIP, everything)
        self.socket.setblocking(False)

    def close(self) -> None:
        self.socket.close()

    def heard(self) -> Counter[str]:
        """`clear` packets from or to 10.0.0.0/8, and `sealed` ones: ESP, or UDP of port 4500."""
        found: Counter[str] = Counter()
        while True:
            try:
                frame = self.socket.recv(65535)
            except BlockingIOError:
                return found
            if frame[12:14] == b"\x08\x00":
                ports = struct.unpack("!HH", frame[34:38]) if frame[23] == socket.IPPROTO_UDP else ()
                found["clear"] += 10 in (frame[26], frame[30])
                found["sealed"] += frame[23] == socket.IPPROTO_ESP or 4500 in ports


def becomes(question, wanted, within: float = 40.0) -> bool:
    """Whether the answer is as wanted, at last."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if question() == wanted:
            return True
        time.sleep(0.1)
    return question() == wanted


def secrets_in(folder: Path, *secrets: str) -> list[tuple[str, int]]:
    """(name, mode) of the files below the folder that hold one of the secrets."""
    return [
        (path.name, path.stat().st_mode & 0o777)
        for path in folder.rglob("*")
        if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets)
    ]
