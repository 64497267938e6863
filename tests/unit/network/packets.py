"""Frames of the model as bytes on the wire, with right checksums."""

from __future__ import annotations

import socket
import struct

from network.probe import Frame
from tests.unit.network.lab import checksum, ethernet, ipv4, udp

ICMP, TCP, UDP = 1, 6, 17
SYN = 0x02


def wire_form(frame: Frame, mark: bytes) -> bytes:
    """The frame with `mark` in it."""
    return ethernet(frame.target_mac, frame.source_mac, 0x0800, packet(frame, mark))


def packet(frame: Frame, mark: bytes) -> bytes:
    mark += b"\0" * (len(mark) % 2)
    if frame.protocol == UDP:
        return udp(frame.source, frame.target, (frame.source_port, frame.target_port), mark)
    if frame.protocol == TCP:
        return ipv4(frame.source, frame.target, TCP, _tcp(frame, mark))
    if frame.protocol == ICMP:
        head = struct.pack("!BBHHH", frame.icmp_type, frame.icmp_code, 0, frame.source_port, 1)
        total = checksum(head + mark)
        return ipv4(frame.source, frame.target, ICMP, head[:2] + struct.pack("!H", total) + head[4:] + mark)
    return ipv4(frame.source, frame.target, frame.protocol, mark)


def _tcp(frame: Frame, mark: bytes) -> bytes:
    head = struct.pack("!HHIIBBHHH", frame.source_port, frame.target_port, 1, 0, 5 << 4, SYN, 1024, 0, 0)
    ends = socket.inet_aton(frame.source) + socket.inet_aton(frame.target)
    total = checksum(ends + struct.pack("!BBH", 0, TCP, len(head + mark)) + head + mark)
    return head[:16] + struct.pack("!H", total) + head[18:] + mark
