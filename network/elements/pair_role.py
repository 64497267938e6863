"""What keepalived calls when a router of a pair becomes the one that forwards, or does not any more.

A program of its own that needs the standard library only; keepalived adds what changed, its name, the new state and
the priority to the home of the router.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from pathlib import Path

from network import links
from network.elements.pair_files import ALONE, CLOSED, GROUP, LINE, NOBODY, OPEN, SECONDS_BETWEEN
from network.elements.state_files import write
from network.process import run
from network.redundancy import VRRP

MASTER = "MASTER"
TIMES = 4
ROLES = {MASTER: "PRIMARY", "BACKUP": "BACKUP", "FAULT": "FAULT"}


def turn(home: Path, state: str) -> None:
    """Open or close the gate, and tell by `home` which it is. Who opens it tells its neighbours so."""
    if state == ALONE:
        announce_alone(home)
        return
    is_primary, was_primary = state == MASTER, _role(home) == ROLES[MASTER]
    run(["nft", "-f", "-"], stdin=OPEN if is_primary else CLOSED)
    if is_primary:
        announce()
    elif state == "BACKUP":
        # What was missed while this router was away; a primary one that does not answer has none to give.
        run(["conntrackd", "-C", str(home / "conntrackd.conf"), "-n"], ok=(0, 1))
    write(home / "role", ROLES.get(state, "UNKNOWN"))
    if state == "BACKUP" and was_primary:
        give_way(home)


def announce() -> None:
    """The kernel tells of all addresses of a device whose MAC address is set, even to what it is."""
    there = links.links()
    links.change([f"link set dev {one.name} address {one.mac}" for one in there.values() if _has_neighbours(one)])


def give_way(home: Path) -> None:
    """Tell the other primary that there were two: it may have heard nothing of this one. keepalived says no more, so
    this is one advertisement of the lowest priority (RFC 5798, section 5).
    """
    own, peer = (home / LINE).read_text().split()
    ends = socket.inet_aton(own) + socket.inet_aton(peer)
    interval = int(SECONDS_BETWEEN * 100)

    def packet(checksum: int) -> bytes:
        return struct.pack("!BBBBHH4s", 0x31, GROUP, 1, 1, interval, checksum, socket.inet_aton(NOBODY))

    told = packet(_checksum(ends + struct.pack("!HH", VRRP, len(packet(0))) + packet(0)))
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, VRRP) as sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        sender.bind((own, 0))
        for _ in range(TIMES):
            sender.sendto(told, (peer, 0))
            time.sleep(SECONDS_BETWEEN)


def _checksum(data: bytes) -> int:
    """Of an even number of bytes (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _role(home: Path) -> str:
    return (home / "role").read_text() if (home / "role").exists() else ""


def announce_alone(home: Path) -> None:
    """Two were primary while they did not hear each other, and neighbours know the one that spoke last.

    The other one gives way when it hears of this one, and may have spoken until then: so this is said more than once.
    """
    for _ in range(TIMES):
        if _role(home) != ROLES[MASTER]:
            return
        announce()
        time.sleep(SECONDS_BETWEEN)


def _has_neighbours(link: links.Link) -> bool:
    return link.up and link.name.startswith(("eth", "tr-"))


if __name__ == "__main__":
    turn(Path(sys.argv[1]), sys.argv[4])
