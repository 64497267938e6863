"""A port whose frames carry VLAN tags (IEEE 802.1Q), of which each VLAN is a device of the kernel of its own.

Many kernels that this runs on have no 802.1Q. The devices are taps with the port's MAC address, and this passes frames
between them and the port; they go with the process.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress

from devcloud.devices.linux import batch, show

SET_INTERFACE = 0x400454CA
TAP, WITHOUT_HEADER = 0x0002, 0x1000
ALL_PROTOCOLS, TAGGED = 0x0003, 0x8100
PACKET_OPTIONS, AUXILIARY, OUTGOING = 263, 8, 4
HAS_TAG = 0x10
NUMBER = 0x0FFF
LARGEST_FRAME = 65536
AT_ONCE = 64


class Trunk:
    """Serves the port `device`, which is in the namespace of the process, until the process ends."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._taps: dict[str, tuple[int, int]] = {}
        self._by_number: dict[int, int] = {}
        self._port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
        self._port.setsockopt(PACKET_OPTIONS, AUXILIARY, 1)
        self._port.bind((device, ALL_PROTOCOLS))
        self._port.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._port, selectors.EVENT_READ)
        self._change = threading.Lock()
        threading.Thread(target=self._pass_frames, daemon=True).start()

    def serve(self, vlans: Mapping[str, int]) -> None:
        """Make the devices that are named, each for a VLAN, and no others."""
        with self._change:
            for name in [name for name, (_, vlan) in self._taps.items() if vlans.get(name) != vlan]:
                tap, vlan = self._taps.pop(name)
                del self._by_number[vlan]
                self._selector.unregister(tap)
                os.close(tap)
            for name, vlan in vlans.items():
                if name not in self._taps:
                    tap = self._make(name)
                    self._taps[name], self._by_number[vlan] = (tap, vlan), tap
                    self._selector.register(tap, selectors.EVENT_READ, vlan)

    def _make(self, name: str) -> int:
        tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tap, SET_INTERFACE, struct.pack("16sH22x", name.encode(), TAP | WITHOUT_HEADER))
        port = show("link", "show", "dev", self._device)[0]
        batch([f"link set dev {name} address {port['address']} mtu {port['mtu']} addrgenmode none up"])
        return tap

    def _pass_frames(self) -> None:
        while True:
            for key, _ in self._selector.select(timeout=1.0):
                with self._change, suppress(OSError):
                    if self._selector.get_map().get(key.fileobj) is not key:
                        continue
                    if key.data:
                        self._take_out(key.fd, key.data)
                    else:
                        self._take_in()

    def _take_in(self) -> None:
        for vlan, frame in self._tagged():
            tap = self._by_number.get(vlan)
            if tap is not None:
                # A device that is down takes nothing.
                with suppress(OSError):
                    os.write(tap, frame)

    def _tagged(self) -> Iterator[tuple[int, bytes]]:
        """Frames that came in, with their VLAN; the kernel has taken the tag off and tells it beside."""
        for _ in range(AT_ONCE):
            frame, beside, _, sender = self._port.recvmsg(LARGEST_FRAME, socket.CMSG_SPACE(20))
            for _, _, told in beside:
                status, vlan = struct.unpack_from("I", told)[0], struct.unpack_from("H", told, 16)[0]
                if status & HAS_TAG and sender[2] != OUTGOING:
                    yield vlan & NUMBER, frame

    def _take_out(self, tap: int, vlan: int) -> None:
        for _ in range(AT_ONCE):
            frame = os.read(tap, LARGEST_FRAME)
            self._port.send(frame[:12] + struct.pack("!HH", TAGGED, vlan) + frame[12:])


class Trunks:
    """The trunks of a device, by port."""

    def __init__(self) -> None:
        self._held: dict[str, Trunk] = {}

    def serve(self, vlans: Mapping[str, Mapping[str, int]]) -> None:
        """`vlans` are devices with their VLANs, by port; a port that is not cabled has none."""
        there = {link["ifname"] for link in show("link", "show")}
        for port in vlans:
            if port not in self._held and port in there:
                batch([f"link set dev {port} addrgenmode none up"])
                self._held[port] = Trunk(port)
        for port, trunk in self._held.items():
            trunk.serve(vlans.get(port, {}))
