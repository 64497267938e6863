"""Recordings of real frames at a NIC's port of the switch, read back with a reader of pcap files."""

from __future__ import annotations

import struct
import time
from ipaddress import IPv4Address

import pytest

from network.capture import CaptureSpec, Recording, SilentRecording
from network.errors import CaptureFailedError
from network.names import tap_name
from network.packet_filter import RETURN, program
from network.probe import Frame
from tests.unit.network.fabric import datagram
from tests.unit.network.lab import Lab, Wire, arp, ethernet, inside, reaches, sh
from tests.unit.network.packets import TCP, packet
from tests.unit.network.views import MACS, network, nic

A1, A2 = MACS["1"], MACS["2"]
WHOLE = CaptureSpec(seconds=30, packets=100, size=2**20)


def frames_of(content: bytes) -> list[tuple[float, int, bytes]]:
    """(time, length on the wire, bytes kept) of each frame. Source: draft-ietf-opsawg-pcap."""
    magic, major, minor, _, _, _, link = struct.unpack_from("<IHHiIII", content)
    assert (magic, major, minor, link) == (0xA1B23C4D, 2, 4, 1)
    found, place = [], 24
    while place < len(content):
        seconds, nanoseconds, kept, length = struct.unpack_from("<IIII", content, place)
        found.append((seconds + nanoseconds / 1e9, length, content[place + 16 : place + 16 + kept]))
        assert len(found[-1][2]) == kept
        place += 16 + kept
    return found


@pytest.fixture(scope="module")
def guests():
    """Two guests of one network on one host with a real switch; needs root."""
    lab = Lab(1)
    nics = [nic("a", "1", "host-1"), nic("a", "2", "host-1")]
    view = network("a", 1001, nics)
    spaces = [lab.add_guest(one.id[4:], one) for one in nics]
    lab.apply([view])
    assert reaches(spaces[0], "10.1.1.12")
    yield lab, spaces
    lab.remove()


@pytest.fixture
def record(guests):
    lab, _ = guests

    def begin(spec: CaptureSpec) -> Recording:
        with inside(lab.hosts[0].ns):
            return Recording(tap_name(nic("a", "2", "host-1").id), spec)

    return begin


def send(guests, *frames: bytes) -> None:
    """From the first guest, and let them arrive."""
    wire = Wire(guests[1][0])
    for frame in frames:
        wire.send(frame)
    wire.close()
    time.sleep(0.3)


def honest(mark: bytes, ports: tuple[int, int] = (9, 9)) -> bytes:
    return ethernet(A2, A1, 0x0800, datagram(mark, ports=ports))


def test_both_directions_are_in_the_file(guests, record):
    recording = record(WHOLE)
    before = time.time()
    assert reaches(guests[1][0], "10.1.1.12")
    facts = recording.stop()
    frames = [(at, frame) for at, length, frame in frames_of(facts.content) if frame[23] == 1 and length == len(frame)]
    assert {frame[34] for _, frame in frames} == {8, 0}, "an echo request and its reply"
    assert {frame[:6] for _, frame in frames} == {bytes.fromhex(mac.replace(":", "")) for mac in (A1, A2)}
    assert all(before - 1 < at < time.time() + 1 for at, _ in frames)
    assert (facts.packets, facts.dropped, facts.ended_by) == (len(frames_of(facts.content)), 0, "stopped")


def test_what_the_switch_drops_for_the_guest_is_not_in_it(guests, record):
    recording = record(WHOLE)
    send(guests, ethernet(A2, A1, 0x0800, datagram(b"forged", source="10.1.1.77")), honest(b"honest"))
    kept = [frame for _, _, frame in frames_of(recording.stop().content)]
    assert any(b"honest" in frame for frame in kept)
    assert not any(b"forged" in frame for frame in kept)


@pytest.mark.parametrize(
    ("spec", "ended_by", "count"),
    [
        (CaptureSpec(seconds=30, packets=2, size=2**20, protocol="udp"), "packets", 2),
        (CaptureSpec(seconds=30, packets=100, size=24 + 3 * (16 + 142), protocol="udp"), "bytes", 3),
        (CaptureSpec(seconds=1, packets=100, size=2**20, protocol="udp"), "seconds", 5),
    ],
)
def test_it_ends_with_the_first_bound(guests, record, spec, ended_by, count):
    recording = record(spec)
    send(guests, *(honest(bytes([number]) * 100) for number in range(1, 6)))
    if ended_by == "seconds":
        time.sleep(1)
    facts = recording.stop()
    assert (facts.ended_by, facts.packets) == (ended_by, count)
    assert [frame[42] for _, _, frame in frames_of(facts.content)] == list(range(1, count + 1))
    assert len(facts.content) <= spec.size


def test_only_what_the_filter_names_is_kept(guests, record):
    by_port = record(CaptureSpec(30, 100, 2**20, protocol="udp", port=53))
    short = record(CaptureSpec(30, 100, 2**20, snap_length=64, protocol="udp", port=7, address="10.1.1.11"))
    other = record(CaptureSpec(30, 100, 2**20, protocol="udp", address="10.1.1.99"))
    send(guests, honest(b"to-port", (9, 53)), honest(b"from-port", (53, 9)), honest(b"neither", (7, 9)) + b"x" * 100)
    kept = [frame for _, _, frame in frames_of(by_port.stop().content)]
    assert [b"to-port" in kept[0], b"from-port" in kept[1], len(kept)] == [True, True, 2]
    ((_, length, frame),) = frames_of(short.stop().content)
    assert (len(frame), length > 100) == (64, True)
    assert frames_of(other.stop().content) == []


def test_a_device_that_is_not_there_and_one_that_goes(guests, record):
    """The last test with these guests, of whom it takes one away."""
    lab, _ = guests
    with inside(lab.hosts[0].ns), pytest.raises(CaptureFailedError, match="not plugged"):
        Recording("pt-none", WHOLE)
    assert frames_of(SilentRecording("pt-none", WHOLE).stop().content) == []
    recording = record(WHOLE)
    send(guests, honest(b"before"))
    sh("ip", "-n", lab.hosts[0].ns, "link", "delete", tap_name(nic("a", "2", "host-1").id))
    time.sleep(0.3)
    facts = recording.stop()
    assert (facts.ended_by, any(b"before" in frame for _, _, frame in frames_of(facts.content))) == ("gone", True)


def accepts(instructions, frame: bytes) -> bool:
    """What the kernel's machine makes of it. A load past the end refuses. Source: filter.txt of the kernel."""
    a = x = at = 0
    while True:
        code, jt, jf, k = instructions[at]
        at += 1
        start, size = (x + k if code == 0x48 else k), {0x20: 4, 0x28: 2, 0x30: 1, 0x48: 2}.get(code, 0)
        if size:
            if start + size > len(frame):
                return False
            a = int.from_bytes(frame[start : start + size], "big")
        elif code == 0xB1:
            x = 4 * (frame[k] & 15)
        elif code == RETURN:
            return k > 0
        else:
            at += jt if (a == k if code == 0x15 else a & k) else jf


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, "tua"),
        ({"protocol": "tcp"}, "t"),
        ({"protocol": "17"}, "u"),
        ({"protocol": "arp"}, "a"),
        ({"protocol": "arp", "address": "10.1.1.12"}, "a"),
        ({"protocol": "arp", "address": "10.1.1.13"}, ""),
        ({"protocol": "tcp", "port": 80}, "t"),
        ({"protocol": "tcp", "port": 4000}, "t"),
        ({"protocol": "udp", "port": 80}, ""),
        ({"address": "10.1.1.11"}, "tu"),
        ({"address": "10.1.1.12"}, "tu"),
        ({"address": "10.1.1.1"}, ""),
        ({"protocol": "udp", "port": 9, "address": "10.1.1.12"}, "u"),
    ],
)
def test_filters_pass_what_they_name(given, wanted):

    opening = Frame(A1, A2, "10.1.1.11", "10.1.1.12", TCP, 4000, 80)
    frames = {
        "t": ethernet(A2, A1, 0x0800, packet(opening, b"")),
        "u": honest(b"mark"),
        "a": ethernet("ff:ff:ff:ff:ff:ff", A1, 0x0806, arp(1, A1, "10.1.1.11", "00:00:00:00:00:00", "10.1.1.12")),
    }
    filtering = program(given.get("protocol", ""), given.get("port", 0), int(IPv4Address(given.get("address", 0))))
    assert "".join(name for name, frame in frames.items() if accepts(filtering, frame)) == wanted
