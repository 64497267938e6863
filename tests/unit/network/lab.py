"""Hosts made of network namespaces, each with its own Open vSwitch, joined by an underlay; guests are namespaces."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from network.names import router_namespace, tap_name
from network.ovs import Switch, SwitchSettings
from network.types import NicView

PREFIX = "ptn" + os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
ROUTERS = {name: f"{PREFIX}-router-{name}" for name in ("a", "b", "vpc", "vpc2")}
ROUTER_NAMESPACES = {router_namespace(router_id) for router_id in ROUTERS.values()}
LIBC = ctypes.CDLL(None, use_errno=True)
NEW_NET = 0x40000000
ETH_P_ALL = 3


def sh(*arguments: str, check: bool = True, **options) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60, **options)
    if check and done.returncode:
        raise RuntimeError(f"{arguments}: {done.stderr} {done.stdout}")
    return done.stdout


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Run the block, and the processes and sockets it makes, in a network namespace; concerns this thread only."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    wanted = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        assert LIBC.setns(wanted, NEW_NET) == 0
        yield
    finally:
        assert LIBC.setns(before, NEW_NET) == 0
        os.close(before)
        os.close(wanted)


class Host:
    """A hypervisor host: a namespace, an underlay NIC, ovsdb-server and ovs-vswitchd."""

    def __init__(self, lab: Lab, number: int) -> None:
        self.lab, self.number = lab, number
        self.id, self.ns = f"host-{number}", f"{PREFIX}-h{number}"
        self.address = f"192.0.2.{number}"
        self.dir = lab.dir / self.ns
        self.dir.mkdir()
        self.pids: dict[str, int] = {}

    def build(self) -> None:
        sh("ip", "netns", "add", self.ns)
        port = f"{PREFIX}u{self.number}"
        sh(
            "ip",
            "link",
            "add",
            port,
            "netns",
            self.lab.underlay,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            self.ns,
        )
        sh("ip", "-n", self.lab.underlay, "link", "set", port, "master", "br0", "up", "mtu", "1600")
        sh("ip", "netns", "exec", self.lab.underlay, "ethtool", "-K", port, "tx", "off")
        sh("ip", "-n", self.ns, "link", "set", "lo", "up")
        sh("ip", "-n", self.ns, "link", "set", "eth0", "mtu", "1600")
        sh("ip", "-n", self.ns, "address", "add", f"{self.address}/24", "dev", "eth0")
        sh("ovsdb-tool", "create", f"{self.dir}/conf.db", "/usr/share/openvswitch/vswitch.ovsschema")
        self.start_database()
        self.start_vswitchd()
        settings = SwitchSettings(self.dir, self.id, self.address, "eth0", self.dir / "state")
        self.switch = Switch(settings)
        with inside(self.ns):
            self.switch.ensure_bridges()

    def start_database(self) -> None:
        self._start("ovsdb-server", f"{self.dir}/conf.db", f"--remote=punix:{self.dir}/db.sock")

    def start_vswitchd(self) -> None:
        self._start("ovs-vswitchd", f"unix:{self.dir}/db.sock")

    def _start(self, program: str, *arguments: str) -> None:
        pidfile = self.dir / f"{program}.pid"
        environment = {**os.environ, "OVS_RUNDIR": str(self.dir), "OVS_LOGDIR": str(self.dir)}
        sh(
            *("ip", "netns", "exec", self.ns, program, *arguments, f"--pidfile={pidfile}", "--detach", "--no-chdir"),
            *(f"--log-file={self.dir}/{program}.log", "-vconsole:off", "-vsyslog:off"),
            env=environment,
        )
        self.pids[program] = int(pidfile.read_text())

    def kill(self, program: str) -> None:
        end(self.pids.pop(program))

    def appctl(self, *arguments: str) -> str:
        return sh("ovs-appctl", "-t", f"{self.dir}/ovs-vswitchd.{self.pids['ovs-vswitchd']}.ctl", *arguments)

    def ofctl(self, action: str, *arguments: str) -> str:
        return sh("ovs-ofctl", "-O", "OpenFlow15", action, f"unix:{self.dir}/br-int.mgmt", *arguments)


class Lab:
    def __init__(self, hosts: int) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix=f"{PREFIX}-"))
        self.dir.chmod(0o755)
        self.underlay = f"{PREFIX}-ul"
        self.guests: list[str] = []
        sweep()
        self.add_namespace(self.underlay)
        sh("ip", "-n", self.underlay, "link", "add", "br0", "type", "bridge")
        sh("ip", "-n", self.underlay, "link", "set", "br0", "up")
        self.hosts = [Host(self, number) for number in range(1, hosts + 1)]
        for host in self.hosts:
            host.build()

    def add_namespace(self, name: str) -> None:
        sh("ip", "netns", "add", name)
        sh("ip", "-n", name, "link", "set", "lo", "up")

    def add_guest(
        self, name: str, nic: NicView, gateway: str = "", prefix: int = 24, *, configured: bool = True
    ) -> str:
        """A namespace with one interface that is the NIC's port on its host."""
        ns, host = f"{PREFIX}-{name}", self.host(nic.host_id)
        self.add_namespace(ns)
        self.guests.append(ns)
        device = tap_name(nic.id)
        sh(
            "ip",
            "link",
            "add",
            device,
            "netns",
            host.ns,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            ns,
            "address",
            nic.mac,
        )
        for where, end_ in ((host.ns, device), (ns, "eth0")):
            sh("ip", "netns", "exec", where, "ethtool", "-K", end_, "tx", "off")
            sh("ip", "-n", where, "link", "set", end_, "addrgenmode", "none")
            sh("ip", "-n", where, "link", "set", end_, "mtu", "1458", "up")
        if configured:
            sh("ip", "-n", ns, "address", "add", f"{nic.address}/{prefix}", "dev", "eth0")
            if gateway:
                sh("ip", "-n", ns, "route", "add", "default", "via", gateway)
        with inside(host.ns):
            host.switch.plug_device(nic.id, device)
        return ns

    def host(self, host_id: str) -> Host:
        return next(host for host in self.hosts if host.id == host_id)

    def apply(self, views) -> None:
        for host in self.hosts:
            with inside(host.ns):
                host.switch.apply(views)

    def remove(self) -> None:
        for host in self.hosts:
            for program in list(host.pids):
                host.kill(program)
        sweep()
        shutil.rmtree(self.dir, ignore_errors=True)


def sweep() -> None:
    """Remove the namespaces of this lab and of one that was cut short, with the processes in them."""
    for line in sh("ip", "netns", "list").splitlines():
        name = line.split()[0]
        if name.startswith(f"{PREFIX}-") or name in ROUTER_NAMESPACES:
            for pid in sh("ip", "netns", "pids", name).split():
                if int(pid) != os.getpid():
                    end(int(pid))
            sh("ip", "netns", "delete", name)


def end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    for _ in range(200):
        try:
            if " Z " in Path(f"/proc/{pid}/stat").read_text():
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.01)


def ping(ns: str, address: str, count: int = 1, wait: float = 1.0, interval: float = 0.2, size: int = 56) -> int:
    """How many of `count` pings were answered."""
    line = ("ping", "-n", "-q", "-c", str(count), "-i", str(interval), "-W", str(wait), "-s", str(size), address)
    for text in sh("ip", "netns", "exec", ns, *line, check=False).splitlines():
        if "received" in text:
            return int(text.split(",")[1].split()[0])
    return 0


def reaches(ns: str, address: str, within: float = 20.0) -> bool:
    """Whether a ping is answered at last: the first packet to a cold underlay neighbour takes a second."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if ping(ns, address):
            return True
    return False


class Wire:
    """A raw socket on a namespace's device: sends frames as they are and sees all that arrive."""

    def __init__(self, ns: str, device: str = "eth0") -> None:
        with inside(ns):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self.socket.bind((device, ETH_P_ALL))

    def send(self, frame: bytes) -> None:
        self.socket.send(frame)

    def heard(self, mark: bytes, within: float) -> bool:
        """Whether a frame that holds `mark` arrives."""
        deadline = time.monotonic() + within
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                frame, (_, _, kind, _, _) = self.socket.recvfrom(65535)
            except TimeoutError:
                break
            if kind != socket.PACKET_OUTGOING and mark in frame:
                return True
        return False

    def close(self) -> None:
        self.socket.close()


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ethernet(target: str, source: str, kind: int, payload: bytes, vlan: int = 0) -> bytes:
    tag = struct.pack("!HH", 0x8100, vlan) if vlan else b""
    return mac(target) + mac(source) + tag + struct.pack("!H", kind) + payload


def arp(operation: int, hardware: str, protocol: str, target_hardware: str, target: str) -> bytes:
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    return (
        head + mac(hardware) + socket.inet_aton(protocol) + mac(target_hardware) + socket.inet_aton(target) + b"\0" * 18
    )


def ipv4(source: str, target: str, protocol: int, payload: bytes) -> bytes:
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0) + ends
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def udp(source: str, target: str, ports: tuple[int, int], payload: bytes) -> bytes:
    return ipv4(source, target, 17, struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload)


def checksum(content: bytes) -> int:
    total = sum(struct.unpack(f"!{len(content) // 2}H", content))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
