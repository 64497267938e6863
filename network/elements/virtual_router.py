"""The virtual router: a network namespace with a leg in each of its tenant networks and one on the public network."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from network import links
from network.diagnostics import Tool, ToolOutput, diagnose
from network.elements import balancer, legs, pair, routes
from network.elements import router_files as files
from network.elements.base import GuestPorts, RouterState
from network.elements.daemons import Daemon
from network.elements.ipsec import Ipsec, has_kernel_esp
from network.elements.pair_files import DEVICE as PAIR_DEVICE
from network.elements.router_files import METADATA_ADDRESS
from network.elements.router_health import examine, note_rules
from network.elements.router_rules import device_of, nft_rules
from network.elements.state_files import read_json, write
from network.errors import CommandFailedError, NetworkError
from network.health import RouterCheck
from network.names import private_device, router_guest_device, router_namespace, router_public_device
from network.process import run
from network.redundancy import Role
from network.types import GuestLeg, NicView, RouterSpec
from network.vpn import TunnelState

SYSCTLS = (
    "net.ipv4.ip_forward=1",
    "net.ipv6.conf.all.disable_ipv6=1",
    # ARP in the name of the metadata address would be taken for forged.
    "net.ipv4.conf.all.arp_announce=2",
    # A device that comes up tells its neighbours who has its address now.
    "net.ipv4.conf.all.arp_notify=1",
    "net.ipv4.conf.default.arp_notify=1",
    # A guest that reaches another by a public address must not be told to go there by itself.
    "net.ipv4.conf.all.send_redirects=0",
    "net.ipv4.conf.default.send_redirects=0",
    # The states that a redundant router takes over do not tell the windows of TCP.
    "net.netfilter.nf_conntrack_tcp_be_liberal=1",
)
PACKAGES = Path(__file__).resolve().parents[2]
OTHERS_MAY_PASS = 0o001
PRIVATE = "private.json"


@dataclass(frozen=True)
class VirtualRouterSettings:
    """`state_dir` holds one directory for each router; dnsmasq, which is not root, must be able to pass through it."""

    state_dir: Path


class VirtualRouter:
    """A RouterElement for Linux hosts; `ports` is the switch of the host that the agent runs on."""

    def __init__(self, settings: VirtualRouterSettings, ports: GuestPorts) -> None:
        self._routers = settings.state_dir / "routers"
        self._ports = ports
        self._routers.mkdir(parents=True, exist_ok=True)
        for folder in (self._routers, *self._routers.resolve().parents):
            if not folder.stat().st_mode & OTHERS_MAY_PASS:
                raise NetworkError(
                    f"The folder {folder} is closed to others, so dnsmasq could not read {self._routers}."
                )

    def apply(self, spec: RouterSpec) -> None:
        files.check_spec(spec)
        with self._locked(spec.id):
            home = self._home(spec.id)
            home.mkdir(mode=0o755, exist_ok=True)
            nics = [leg.nic.id for leg in spec.legs] + ([spec.pair.nic.id] if spec.pair is not None else [])
            before = _nics_of(home)
            write(home / "spec.json", json.dumps({"id": spec.id, "nics": sorted({*nics, *before})}))
            namespace = _ensure_namespace(spec.id)
            # Both before any leg: nothing is forwarded without rules, and devices take the defaults of their making.
            rules = nft_rules(spec, kernel_esp=spec.vpn is not None and has_kernel_esp())
            run(["ip", "netns", "exec", namespace, "nft", "-f", "-"], stdin=rules)
            note_rules(namespace, home, rules)
            run(["ip", "netns", "exec", namespace, "sysctl", "-e", "-q", "-w", *SYSCTLS])
            pair.close_gate(spec, home)
            for leg in spec.legs:
                self._ensure_guest_leg(leg, device_of(spec, leg), namespace)
            for nic_id in sorted({*before} - {*nics}):
                self._drop_leg(nic_id)
            write(home / "spec.json", json.dumps({"id": spec.id, "nics": sorted(nics)}))
            # On the loopback: the guests send to it through their gateway and must not ask for it by ARP.
            links.change([f"address replace {METADATA_ADDRESS}/32 dev lo", "link set dev lo up"], namespace)
            legs.ensure_public_leg(spec, namespace)
            self._ensure_private_legs(spec, namespace, home)
            routes.ensure(spec, namespace)
            legs.announce(spec, home, namespace)
            self._ensure_dnsmasq(spec, home)
            self._ensure_metadata(spec, home)
            balancer.ensure(spec, home)
            self._ipsec(spec.id).ensure(spec.vpn)
            if spec.pair is not None:
                self._ensure_line(spec.pair.nic, PAIR_DEVICE, pair.mtu_of(spec), namespace)
                self._ports.plug_device(spec.pair.nic.id, router_guest_device(spec.pair.nic.id))
            else:
                pair.leave(spec.id, home)

    def join(self, spec: RouterSpec) -> None:
        """Take part in the pair of a router that was applied, once the switch lets the two hear each other.

        Who begins before that takes the other for dead.
        """
        with self._locked(spec.id):
            pair.ensure(spec, self._home(spec.id))

    def remove(self, router_id: str) -> None:
        with self._locked(router_id):
            home, namespace = self._home(router_id), router_namespace(router_id)
            pair.end(router_id, home)
            self._ipsec(router_id).end()
            for daemon in _daemons(router_id, home, []):
                daemon.end()
            balancer.remove(router_id, home)
            for nic_id in _nics_of(home):
                self._drop_leg(nic_id)
            for gateway_id in _private_of(home):
                self._drop_private_leg(gateway_id)
            links.remove(router_public_device(router_id))
            if Path(f"/run/netns/{namespace}").exists():
                run(["ip", "netns", "delete", namespace])
            shutil.rmtree(home, ignore_errors=True)

    def list(self) -> list[str]:
        found = self._routers.glob("*/spec.json")
        return sorted(str(json.loads(path.read_text())["id"]) for path in found)

    def state(self, router_id: str) -> RouterState:
        home, namespace = self._home(router_id), router_namespace(router_id)
        if not (home / "spec.json").exists():
            return "absent"
        try:
            held = json.loads((home / "applied.json").read_text())
            devices = links.links(namespace)
        except (FileNotFoundError, ValueError, CommandFailedError):
            return "degraded"
        served = held["served"]
        daemons = _daemons(router_id, home, list(served.values())) if served else ()
        whole = served.keys() <= devices.keys() and all(daemon.is_running() for daemon in daemons)
        whole = whole and balancer.is_whole(router_id, home) and self._ipsec(router_id).is_whole()
        return "running" if whole else "degraded"

    def check(self, spec: RouterSpec) -> tuple[RouterCheck, ...]:
        with self._locked(spec.id):
            home = self._home(spec.id)
            dnsmasq, is_heard = _dnsmasq(spec.id, home, len(spec.legs)), pair.role(spec.id, home) in (None, "PRIMARY")
            checks = examine(spec, home, self._ports.ports(), dnsmasq, is_heard=is_heard)
            if spec.vpn is not None and not self._ipsec(spec.id).is_whole():
                checks.append(RouterCheck("vpn", False, "charon does not run, or has not the connections wanted."))
            if spec.pair is not None:
                checks.append(pair.check(spec, home))
            return tuple(checks)

    def role(self, router_id: str) -> Role | None:
        return pair.role(router_id, self._home(router_id))

    def keep_tunnels(self, router_id: str) -> None:
        with self._locked(router_id):
            self._ipsec(router_id).keep()

    def tunnels(self, router_id: str) -> dict[str, TunnelState]:
        return self._ipsec(router_id).states()

    def diagnose(self, router_id: str, tool: Tool, address: str, options: Sequence[str]) -> ToolOutput:
        return diagnose(router_namespace(router_id), tool, address, options)

    def _ipsec(self, router_id: str) -> Ipsec:
        return Ipsec(router_namespace(router_id), self._home(router_id) / "ipsec")

    def _home(self, router_id: str) -> Path:
        return self._routers / router_namespace(router_id)

    @contextmanager
    def _locked(self, router_id: str) -> Iterator[None]:
        """One change of a router at a time, for all threads and processes of the host.

        The file goes with the router: whoever waited for one that is gone by now takes the new one.
        """
        path = self._routers / f"{router_namespace(router_id)}.lock"
        while True:
            with path.open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if path.exists() and path.stat().st_ino == os.fstat(lock.fileno()).st_ino:
                    yield
                    if not self._home(router_id).exists():
                        path.unlink()
                    return

    def _ensure_guest_leg(self, leg: GuestLeg, inner: str, namespace: str) -> None:
        self._ensure_line(leg.nic, inner, leg.mtu, namespace)
        prefix = IPv4Network(leg.cidr).prefixlen
        legs.ensure_addresses(namespace, inner, f"{leg.nic.address}/{prefix}", leg.mtu, more=leg.nic.further)
        self._ports.plug_device(leg.nic.id, router_guest_device(leg.nic.id))

    def _ensure_line(self, nic: NicView, inner: str, mtu: int, namespace: str) -> None:
        """The device `inner` of the namespace, without addresses, whose other end can be plugged."""
        legs.ensure_switched_veth(router_guest_device(nic.id), inner, namespace, nic.mac, mtu)

    def _ensure_private_legs(self, spec: RouterSpec, namespace: str, home: Path) -> None:
        wanted, before = {leg.id for leg in spec.private_legs}, {*_private_of(home)}
        write(home / PRIVATE, json.dumps({"gateways": sorted(wanted | before)}))
        for leg in spec.private_legs:
            device, inner = router_guest_device(leg.id), private_device(leg.id)
            legs.ensure_switched_veth(device, inner, namespace, leg.mac, leg.mtu)
            legs.ensure_addresses(namespace, inner, f"{leg.address}/{leg.prefix_length}", leg.mtu)
            self._ports.plug_tagged(device, leg.bridge, leg.vlan)
        for gateway_id in sorted(before - wanted):
            self._drop_private_leg(gateway_id)
        write(home / PRIVATE, json.dumps({"gateways": sorted(wanted)}))

    def _drop_private_leg(self, gateway_id: str) -> None:
        device = router_guest_device(gateway_id)
        self._ports.unplug_tagged(device)
        links.remove(device)

    def _drop_leg(self, nic_id: str) -> None:
        self._ports.unplug(nic_id)
        links.remove(router_guest_device(nic_id))

    def _ensure_dnsmasq(self, spec: RouterSpec, home: Path) -> None:
        """Restart it only for what it reads once; guests that come and go need a SIGHUP. Without a leg none runs."""
        conf = files.dnsmasq_conf(spec, home)
        rest = files.dhcp_hosts(spec) + files.dns_hosts(spec)
        write(home / "dnsmasq.conf", conf)
        write(home / "dhcp-hosts", files.dhcp_hosts(spec))
        write(home / "hosts", files.dns_hosts(spec))
        served = {device_of(spec, leg): leg.nic.address for leg in spec.legs}
        daemon = _dnsmasq(spec.id, home, len(served))
        before = read_json(home / "applied.json")
        # The sockets of dnsmasq are bound to the device: with a new one they hear nothing.
        there = links.links(router_namespace(spec.id))
        numbers = [there[device].ifindex for device in served]
        now = {"conf": _digest(f"{numbers} {conf}"), "rest": _digest(rest), "served": served}
        if before.get("rest") != now["rest"]:
            for device in served:
                links.forget_neighbours(device, router_namespace(spec.id))
        if not served:
            daemon.end()
        elif not daemon.is_running() or before.get("conf") != now["conf"] or _has_foreign_leases(spec, home):
            daemon.end()
            _prune_leases(spec, home)
            daemon.restart()
        elif before.get("rest") != now["rest"]:
            daemon.reload()
        write(home / "applied.json", json.dumps(now))

    def _ensure_metadata(self, spec: RouterSpec, home: Path) -> None:
        write(home / "metadata.json", files.metadata_state(spec), mode=0o600)
        daemon = _metadata(spec.id, home, [leg.nic.address for leg in spec.legs])
        if not spec.legs:
            daemon.end()
        elif not daemon.is_running():
            daemon.restart()


def _ensure_namespace(router_id: str) -> str:
    """Make the namespace unless it is there; a name left from before a restart of the host is replaced."""
    namespace = router_namespace(router_id)
    try:
        links.links(namespace)
    except CommandFailedError:
        if Path(f"/run/netns/{namespace}").exists():
            run(["ip", "netns", "delete", namespace])
        run(["ip", "netns", "add", namespace])
    return namespace


def _nics_of(home: Path) -> list[str]:
    """The NICs of the legs that the router may have."""
    held: list[str] = read_json(home / "spec.json").get("nics", [])
    return held


def _private_of(home: Path) -> list[str]:
    """The private gateways whose legs the router may have."""
    held: list[str] = read_json(home / PRIVATE).get("gateways", [])
    return held


def _daemons(router_id: str, home: Path, gateways: list[str]) -> tuple[Daemon, ...]:
    return (_dnsmasq(router_id, home, len(gateways)), _metadata(router_id, home, gateways))


def _dnsmasq(router_id: str, home: Path, legs: int) -> Daemon:
    arguments = ("dnsmasq", f"--conf-file={home}/dnsmasq.conf")
    ready = (("udp", 67), *(("udp", 53),) * legs)
    return Daemon(router_namespace(router_id), "dnsmasq", arguments, home / "dnsmasq.log", ready)


def _metadata(router_id: str, home: Path, gateways: list[str]) -> Daemon:
    module = "network.elements.metadata"
    program = (sys.executable, "-s", "-S", "-m", module, f"--state={home}/metadata.json")
    listen = tuple(f"--listen={address}" for address in (*gateways, METADATA_ADDRESS))
    ready, environment = (("tcp", 80), ("tcp", 8080)) * len(listen), {"PYTHONPATH": str(PACKAGES)}
    return Daemon(router_namespace(router_id), module, (*program, *listen), home / "metadata.log", ready, environment)


def _lease_lines(home: Path) -> list[str]:
    path = home / "leases"
    return path.read_text().splitlines() if path.exists() else []


def _is_foreign(spec: RouterSpec, line: str) -> bool:
    """Whether the line of a lease file gives away an address that now belongs to another NIC."""
    owners = {lease.address: lease.mac for lease in files.leases_of(spec)}
    match line.split():
        case [_, mac, address, *_]:
            return owners.get(address, mac) != mac
        case _:
            return False


def _has_foreign_leases(spec: RouterSpec, home: Path) -> bool:
    """An address that dnsmasq still holds for a former owner is refused to the new one, also after a SIGHUP."""
    return any(_is_foreign(spec, line) for line in _lease_lines(home))


def _prune_leases(spec: RouterSpec, home: Path) -> None:
    lines = _lease_lines(home)
    kept = [line for line in lines if not _is_foreign(spec, line)]
    if kept != lines:
        write(home / "leases", "".join(f"{line}\n" for line in kept))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
