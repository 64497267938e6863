"""Frames at a device, recorded within bounds into a pcap file."""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
import time
from dataclasses import dataclass
from ipaddress import IPv4Address

from network.errors import CaptureFailedError
from network.packet_filter import Instruction, program

ETH_P_ALL = 3
SO_ATTACH_FILTER = 26
SOL_PACKET, PACKET_STATISTICS = 263, 6
LARGEST_FRAME = 65535
LOOK_SECONDS = 0.2
NO_PACKETS_LOST = b"\0" * 8

SECONDS, PACKETS, BYTES, STOPPED, GONE = "seconds", "packets", "bytes", "stopped", "gone"
"""What can end a recording."""


@dataclass(frozen=True, slots=True)
class CaptureSpec:
    """What is recorded: frames of `protocol` (tcp, udp, icmp, arp, a number, or "" for all), with that port and that
    IPv4 address as source or destination (0 and "" for any).

    It ends with the first of its bounds: `seconds`, `packets`, and the `size` of the file in bytes. Of each frame the
    first `snap_length` bytes are kept.
    """

    seconds: int
    packets: int
    size: int
    snap_length: int = LARGEST_FRAME
    protocol: str = ""
    port: int = 0
    address: str = ""


@dataclass(frozen=True, slots=True)
class CaptureFacts:
    """A recording: the pcap file, how many frames are in it, how many the host lost, and what ended it."""

    content: bytes
    packets: int = 0
    dropped: int = 0
    ended_by: str = SECONDS


def pcap_header(snap_length: int) -> bytes:
    """Source: draft-ietf-opsawg-pcap, section 4: nanoseconds, Ethernet."""
    return struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, snap_length, 1)


class Recording:
    """One recording, which a thread makes until a bound is met or `stop` is called."""

    def __init__(self, device: str, spec: CaptureSpec) -> None:
        """Frames are recorded from here on.

        :raises CaptureFailedError: there is no such device
        """
        self._spec = spec
        self._parts = [pcap_header(spec.snap_length)]
        self._size = len(self._parts[0])
        self._ended_by = SECONDS
        self._stopping = threading.Event()
        # Without a protocol nothing arrives until the filter is there and the socket is bound.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            _attach(self._socket, program(spec.protocol, spec.port, int(IPv4Address(spec.address or 0))))
            self._socket.bind((device, ETH_P_ALL))
        except OSError as error:
            self._socket.close()
            raise CaptureFailedError(
                f"Nothing can be captured: the NIC is not plugged on its host ({error})."
            ) from error
        self._socket.settimeout(LOOK_SECONDS)
        self._until = time.monotonic() + spec.seconds
        self._thread = threading.Thread(target=self._record, daemon=True)
        self._thread.start()

    def stop(self) -> CaptureFacts:
        """What was recorded; ends the recording if nothing else did."""
        self._stopping.set()
        self._thread.join()
        return CaptureFacts(b"".join(self._parts), len(self._parts) - 1, self._dropped, self._ended_by)

    def _record(self) -> None:
        try:
            while (bound := self._bound()) is None:
                try:
                    frame = self._socket.recv(LARGEST_FRAME)
                except TimeoutError:
                    continue
                except OSError:
                    bound = GONE
                    break
                self._keep(frame)
            self._ended_by = bound
        finally:
            self._dropped = _lost(self._socket)
            self._socket.close()

    def _bound(self) -> str | None:
        if len(self._parts) > self._spec.packets:
            return PACKETS
        if self._size >= self._spec.size:
            return BYTES
        if time.monotonic() >= self._until:
            return SECONDS
        return STOPPED if self._stopping.is_set() else None

    def _keep(self, frame: bytes) -> None:
        """A frame for which the file has no room any more ends the recording, and is not kept."""
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        kept = frame[: self._spec.snap_length]
        record = struct.pack("<IIII", seconds, nanoseconds, len(kept), len(frame)) + kept
        if self._size + len(record) > self._spec.size:
            self._size = self._spec.size
            return
        self._parts.append(record)
        self._size += len(record)


class SilentRecording:
    """The recording of a simulated host, where no frames are."""

    def __init__(self, _device: str, spec: CaptureSpec) -> None:
        self._header = pcap_header(spec.snap_length)

    def stop(self) -> CaptureFacts:
        return CaptureFacts(self._header)


def _attach(opened: socket.socket, instructions: list[Instruction]) -> None:
    """Have the kernel pass only what the filter accepts. Source: socket(7), struct sock_fprog."""
    code = b"".join(struct.pack("HBBI", *one) for one in instructions)
    held = ctypes.create_string_buffer(code)
    opened.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(instructions), ctypes.addressof(held)))


def _lost(opened: socket.socket) -> int:
    """Source: packet(7), struct tpacket_stats."""
    try:
        found = opened.getsockopt(SOL_PACKET, PACKET_STATISTICS, len(NO_PACKETS_LOST))
    except OSError:
        return 0
    return int(struct.unpack("II", found)[1])
