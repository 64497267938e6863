"""Two tenants with the same addresses on three hosts, honest frames and forged ones."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass, replace

from network.types import NetworkView
from tests.unit.network.lab import Lab, Wire, arp, ethernet, ipv4, udp
from tests.unit.network.views import MACS

ALL = "ff:ff:ff:ff:ff:ff"
A1, A2, A3, GATEWAY = (MACS[name] for name in ("1", "2", "3", "router"))
NOWHERE = "0.0.0.0"  # noqa: S104  (a source address, nothing binds to it)
FOREIGN = "02:00:00:00:00:99"


@dataclass
class Fabric:
    lab: Lab
    views: list[NetworkView]
    guests: dict[str, str]

    def apply(self, *views: NetworkView) -> None:
        self.lab.apply(list(views) or self.views)

    def changed(self, **options) -> list[NetworkView]:
        return [replace(self.views[0], **options), *self.views[1:]]


def deliver(fabric: Fabric, sender: str, frames: dict[str, bytes]) -> dict[str, set[str]]:
    """Which guests hear each frame. A frame holds its own name; a last one that is allowed tells that all went by."""
    wires = {name: Wire(ns) for name, ns in fabric.guests.items()}
    try:
        for frame in frames.values():
            wires[sender].send(frame)
        for target, address in ((A2, "10.1.1.12"), (A3, "10.1.1.13"), (GATEWAY, "10.1.1.1")):
            wires[sender].send(ethernet(target, A1, 0x0800, udp("10.1.1.11", address, (9, 9), b"the last one")))
        heard = {
            name: frames_of(wire, b"the last one") for name, wire in wires.items() if name in ("a2", "a3", "arouter")
        }
        for name, wire in wires.items():
            heard[name] = heard.get(name, []) + frames_of(wire, b"", 0.15)
    finally:
        for wire in wires.values():
            wire.close()
    assert all(any(b"the last one" in frame for frame in heard[name]) for name in ("a2", "a3", "arouter"))
    return {
        name: {
            listener
            for listener, frames in heard.items()
            if listener != sender and any(name.encode() in f for f in frames)
        }
        for name in frames
    }


def frames_of(wire: Wire, last: bytes, within: float = 3.0) -> list[bytes]:
    """Frames that arrive until one holds `last`."""
    found, deadline = [], time.monotonic() + within
    while (left := deadline - time.monotonic()) > 0:
        wire.socket.settimeout(left)
        try:
            frame, (_, _, kind, _, _) = wire.socket.recvfrom(65535)
        except TimeoutError:
            break
        if kind != socket.PACKET_OUTGOING:
            found.append(frame)
            if last and last in frame:
                break
    return found


def datagram(
    mark: bytes, target: str = "10.1.1.12", source: str = "10.1.1.11", ports: tuple[int, int] = (9, 9)
) -> bytes:
    return udp(source, target, ports, mark)


def forged() -> dict[str, bytes]:
    """What a1 must not get through to anybody; each frame holds its name."""
    advertisement = bytes.fromhex(
        "60000000 00103aff fe800000000000000000000000000001 ff020000000000000000000000000001 86000000"
    )
    inner = ethernet(A2, A1, 0x0800, datagram(b"gre-to-host"))
    gre = struct.pack("!HHI", 0x2000, 0x6558, 1002) + inner
    return {
        "spoofed-mac": ethernet(A2, FOREIGN, 0x0800, datagram(b"spoofed-mac")),
        "mac-of-neighbour": ethernet(A2, A3, 0x0800, datagram(b"mac-of-neighbour")),
        "spoofed-ip": ethernet(A2, A1, 0x0800, datagram(b"spoofed-ip", source="10.1.1.13")),
        "ip-of-gateway": ethernet(A2, A1, 0x0800, datagram(b"ip-of-gateway", source="10.1.1.1")),
        "gratuitous-arp": ethernet(ALL, A1, 0x0806, arp(2, A1, "10.1.1.1", ALL, "10.1.1.1") + b"gratuitous-arp"),
        "arp-reply": ethernet(A2, A1, 0x0806, arp(2, A1, "10.1.1.13", A2, "10.1.1.12") + b"arp-reply"),
        "own-arp-reply": ethernet(A2, A1, 0x0806, arp(2, A1, "10.1.1.11", A2, "10.1.1.12") + b"own-arp-reply"),
        "rogue-dhcp": ethernet(ALL, A1, 0x0800, udp("10.1.1.11", "255.255.255.255", (67, 68), b"rogue-dhcp")),
        "rogue-dhcp-unicast": ethernet(A2, A1, 0x0800, datagram(b"rogue-dhcp-unicast", ports=(67, 68))),
        "router-advertisement": ethernet("33:33:00:00:00:01", A1, 0x86DD, advertisement + b"router-advertisement"),
        "ipv6": ethernet(A2, A1, 0x86DD, advertisement + b"ipv6"),
        "vlan-tag": ethernet(A2, A1, 0x0800, datagram(b"vlan-tag"), vlan=7),
        "vlan-priority-tag": ethernet(A2, A1, 0x0800, datagram(b"vlan-priority-tag"), vlan=0x2000),
        "ethertype": ethernet(A2, A1, 0x88B5, b"ethertype" + b"\0" * 50),
        "lldp": ethernet("01:80:c2:00:00:0e", A1, 0x88CC, b"lldp" + b"\0" * 50),
        "spanning-tree": ethernet("01:80:c2:00:00:00", A1, 0x0027, b"\x42\x42\3spanning-tree" + b"\0" * 30),
        "broadcast": ethernet(ALL, A1, 0x0800, datagram(b"broadcast", target="10.1.1.255")),
        "multicast": ethernet("01:00:5e:00:00:05", A1, 0x0800, datagram(b"multicast", target="224.0.0.5")),
        "unknown-mac": ethernet(FOREIGN, A1, 0x0800, datagram(b"unknown-mac")),
        "gre-to-host": ethernet(FOREIGN, A1, 0x0800, ipv4("10.1.1.11", "192.0.2.2", 47, gre)),
    }
