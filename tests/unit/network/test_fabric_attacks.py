"""What a guest must not get through to anybody, whatever its rules allow, and what the switch counts of it.

S-26, S-28 and S-29 of the security design; the frames that fabric.py forges are among them.
"""

from __future__ import annotations

import re
import struct
from dataclasses import replace

import pytest

from network.types import Policy, PolicyRule, Traffic
from tests.unit.network import lab as lab_module
from tests.unit.network.fabric import A1, A2, A3, ALL, FOREIGN, GATEWAY, datagram, deliver, forged
from tests.unit.network.lab import Wire, arp, ethernet, ipv4, mac, udp

pytestmark = pytest.mark.usefixtures("as_it_was")
METADATA = "169.254.169.254"
ALL_ALLOWED = tuple(PolicyRule(way, way, Traffic("all")) for way in ("ingress", "egress"))
TABLES = {"classify": 0, "source guard": 5, "forward": 40}


def fragment(source: str, target: str, payload: bytes, offset: int, *, more: bool, protocol: int = 17) -> bytes:
    """A part of an IPv4 packet; `offset` in bytes, a multiple of 8."""
    packet = bytearray(ipv4(source, target, protocol, payload))
    packet[6:8] = struct.pack("!H", (0x2000 if more else 0) | offset // 8)
    packet[10:12] = b"\0\0"
    packet[10:12] = struct.pack("!H", lab_module.checksum(bytes(packet[:20])))
    return bytes(packet)


def ipv6(next_header: int, payload: bytes, target: str = "ff020000000000000000000000000001") -> bytes:
    source = bytes.fromhex("fe80000000000000000000fffe000001".rjust(32, "0"))
    return struct.pack("!IHBB", 6 << 28, len(payload), next_header, 255) + source + bytes.fromhex(target) + payload


def attacks() -> dict[str, bytes]:
    """By the name that each frame holds."""
    neighbour = bytes.fromhex("fe800000000000000000000000000012")
    inner = ethernet(A2, A1, 0x0800, datagram(b"vxlan-to-host"))
    vxlan = struct.pack("!II", 0x08000000, 1002 << 8) + inner
    reply = struct.pack("!HHHH", 67, 68, 600, 0) + b"fragmented-dhcp-first" + b"\0" * 11
    own = "10.1.1.11"
    return {
        "metadata-arp": ethernet(ALL, A1, 0x0806, arp(2, A1, METADATA, ALL, METADATA) + b"metadata-arp"),
        "metadata-answer": ethernet(A2, A1, 0x0800, datagram(b"metadata-answer", source=METADATA, ports=(80, 4000))),
        "arp-of-another": ethernet(ALL, A1, 0x0806, arp(1, A3, "10.1.1.13", ALL, "10.1.1.12") + b"arp-of-another"),
        "arp-broadcast-reply": ethernet(ALL, A1, 0x0806, arp(2, A1, own, ALL, "10.1.1.12") + b"arp-broadcast-reply"),
        "rarp": ethernet(ALL, A1, 0x8035, arp(3, A1, own, A1, own) + b"rarp"),
        "vxlan-to-host": ethernet(FOREIGN, A1, 0x0800, udp(own, "192.0.2.2", (4789, 4789), vxlan)),
        "geneve-to-host": ethernet(FOREIGN, A1, 0x0800, udp(own, "192.0.2.2", (6081, 6081), b"geneve-to-host")),
        "gre-broadcast": ethernet(ALL, A1, 0x0800, ipv4(own, "192.0.2.255", 47, b"\x20\0\x65\x58gre-broadcast")),
        "double-tag": mac(A2) + mac(A1) + struct.pack("!HHHHH", 0x88A8, 7, 0x8100, 8, 0x0800) + datagram(b"double-tag"),
        "service-tag": mac(A2) + mac(A1) + struct.pack("!HHH", 0x88A8, 7, 0x0800) + datagram(b"service-tag"),
        "zero-tag": mac(A2) + mac(A1) + struct.pack("!HHH", 0x8100, 0, 0x0800) + datagram(b"zero-tag"),
        "mpls": ethernet(A2, A1, 0x8847, b"\0\0\x11\xff" + datagram(b"mpls")),
        "pppoe": ethernet(ALL, A1, 0x8863, b"\x11\x09\0\0\0\0pppoe" + b"\0" * 40),
        "lacp": ethernet("01:80:c2:00:00:02", A1, 0x8809, b"\x01\x01lacp" + b"\0" * 50),
        "pause": ethernet("01:80:c2:00:00:01", A1, 0x8808, b"\0\x01\xff\xffpause" + b"\0" * 40),
        "eapol": ethernet("01:80:c2:00:00:03", A1, 0x888E, b"\x02\x01\0\0eapol" + b"\0" * 40),
        "cdp": ethernet("01:00:0c:cc:cc:cc", A1, 0x0040, b"\xaa\xaa\x03\0\0\x0c\x20\0cdp" + b"\0" * 40),
        "igmp": ethernet("01:00:5e:00:00:16", A1, 0x0800, ipv4(own, "224.0.0.22", 2, b"\x22\0\0\0igmp")),
        "igmp-query": ethernet("01:00:5e:00:00:01", A1, 0x0800, ipv4(own, "224.0.0.1", 2, b"\x11\0\0\0igmp-query")),
        "mdns": ethernet("01:00:5e:00:00:fb", A1, 0x0800, udp(own, "224.0.0.251", (5353, 5353), b"mdns-flood")),
        "neighbour-solicit": ethernet("33:33:ff:00:00:12", A1, 0x86DD, ipv6(58, b"\x87\0\0\0\0\0\0\0" + neighbour
                                                                           + b"neighbour-solicit")),
        "neighbour-advert": ethernet(A2, A1, 0x86DD, ipv6(58, b"\x88\0\0\0\x60\0\0\0" + neighbour
                                                          + b"neighbour-advert")),
        "hop-by-hop": ethernet(A2, A1, 0x86DD, ipv6(0, b"\x3a\0\x05\x02\0\0\x01\0\x8f\0\0\0hop-by-hop")),
        "ipv6-fragment": ethernet(A2, A1, 0x86DD, ipv6(44, b"\x3a\0\0\x01\0\0\0\x07ipv6-fragment")),
        "routing-header": ethernet(A2, A1, 0x86DD, ipv6(43, b"\x3a\x02\0\x01\0\0\0\0" + neighbour + b"routing-header")),
        "spoofed-first": ethernet(A2, A1, 0x0800, fragment("10.1.1.13", "10.1.1.12", b"\0\x09\0\x09\0\x20\0\0"
                                                            b"spoofed-first" + b"\0" * 11, 0, more=True)),
        "spoofed-later": ethernet(A2, A1, 0x0800, fragment("10.1.1.13", "10.1.1.12", b"spoofed-later", 32, more=False)),
        "fragmented-dhcp-first": ethernet(A2, A1, 0x0800, fragment(own, "10.1.1.12", reply, 0, more=True)),
        "fragmented-dhcp-later": ethernet(A2, A1, 0x0800, fragment(own, "10.1.1.12", b"fragmented-dhcp-later", 40,
                                                                   more=False)),
        "from-broadcast-mac": ethernet(A2, ALL, 0x0800, datagram(b"from-broadcast-mac")),
        "from-no-address": ethernet(A2, A1, 0x0800, datagram(b"from-no-address", source="0.0.0.0")),  # noqa: S104
        "from-the-network": ethernet(A2, A1, 0x0800, datagram(b"from-the-network", source="10.1.1.255")),
        "from-loopback": ethernet(A2, A1, 0x0800, datagram(b"from-loopback", source="127.0.0.1")),
        "of-the-router": ethernet(A2, GATEWAY, 0x0800, datagram(b"of-the-router", source="10.1.1.1")),
    }  # fmt: skip


def policed(fabric, kind: str):
    """The views of the fabric, tenant a under rules that allow everything."""
    view = fabric.views[0]
    if kind == "list":
        view = replace(view, acl=Policy("all", ALL_ALLOWED))
    if kind == "groups":
        nics = tuple(replace(one, groups=("all",)) if one.role == "guest" else one for one in view.nics)
        view = replace(view, nics=nics, has_groups=True, groups=(Policy("all", ALL_ALLOWED),))
    return [view, *fabric.views[1:]]


@pytest.mark.parametrize("kind", ["plain", "list", "groups"])
def test_attacks_reach_nobody(fabric, kind):
    fabric.apply(*policed(fabric, kind))
    heard = deliver(fabric, "a1", {**forged(), **attacks()})
    assert {name: listeners for name, listeners in heard.items() if listeners} == {}


def test_nothing_of_them_is_on_the_underlay(fabric):
    """Else another host's switch would have to be the one that drops it."""
    wire = Wire(fabric.lab.underlay, f"{lab_module.PREFIX}u1")
    sender = Wire(fabric.guests["a1"])
    marks = {**forged(), **attacks()}
    for frame in marks.values():
        sender.send(frame)
    sender.send(ethernet(A2, A1, 0x0800, datagram(b"the honest one")))
    seen = []
    while not seen or b"the honest one" not in seen[-1]:
        wire.socket.settimeout(3)
        seen.append(wire.socket.recv(65535))
    wire.close()
    sender.close()
    # The mark may be cut off where a switch parses no further, so addresses tell too.
    assert [name for name in marks if any(name.encode() in frame for frame in seen)] == []


def test_the_switch_counts_what_it_drops(fabric):
    host = fabric.lab.hosts[0]

    def dropped() -> dict[str, int]:
        found = {}
        for name, table in TABLES.items():
            text = host.ofctl("dump-flows", f"table={table},cookie=0xdead/-1")
            found[name] = sum(int(count) for count in re.findall(r"n_packets=(\d+)", text))
        return found

    before = dropped()
    frames = attacks()
    sent = {"classify": ("double-tag", "service-tag"), "source guard": ("spoofed-later", "metadata-answer", "lacp"),
            "forward": ("igmp", "vxlan-to-host")}  # fmt: skip
    wire = Wire(fabric.guests["a1"])
    for names in sent.values():
        for name in names:
            wire.send(frames[name])
    wire.close()
    deliver(fabric, "a1", {})  # all that was sent before has gone by
    after = dropped()
    assert {name: after[name] - before[name] >= len(names) for name, names in sent.items()} == dict.fromkeys(sent, True)
