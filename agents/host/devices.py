"""The hardware devices that are cabled to a host: their parts in its networks, as the journal holds them."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from agents.contract import ApplyNetwork, DeviceDrift
from agents.journal import Journal
from network.cables import Cable
from network.elements.devices import digest, first_told
from network.errors import NetworkError
from network.hardware import Device, DeviceFacts, DevicePart
from network.probe import DeviceTrace

log = structlog.get_logger()
PART = "device"
LOOK_SECONDS = 300.0
"""How long what devices showed is told again, before they are looked at anew."""


@dataclass(frozen=True, slots=True)
class HeldPart:
    """What a device does for a network with `mtu`; one that is `leaving` is taken off it as soon as it answers."""

    network_id: str
    mtu: int
    part: DevicePart
    leaving: bool = False

    @property
    def key(self) -> str:
        return f"{self.part.nic_id}/{self.part.device.id}"


@dataclass
class HostDevices:
    """`drivers` are network.elements.devices.Devices, or simulated ones.

    What a device was told last is remembered in memory: it is asked again when something of that changes, and by a
    new agent.
    """

    journal: Journal
    switch: Any
    drivers: Any
    _told: dict[str, str] = field(default_factory=dict)
    _alone: dict[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))
    _keeper: threading.Thread | None = None
    _looker: threading.Thread | None = None
    _look_at: float = 0.0
    _seen: dict[str, tuple[str, tuple[DeviceDrift, ...]]] = field(default_factory=dict)
    _strange: tuple[str, ...] = ()

    def want(self, command: ApplyNetwork) -> None:
        """Take the parts of a newer view; those that are not in it any more are leaving."""
        view = command.view
        wanted = {one.key: one for one in (HeldPart(view.id, view.mtu, part) for part in command.devices)}
        for held in self._held(view.id):
            if held.key not in wanted:
                self.journal.want(PART, held.key, view.generation, replace(held, leaving=True))
        for held in wanted.values():
            self.journal.want(PART, held.key, view.generation, held)

    def bring(self, network_id: str) -> None:
        """Bring the cables and devices of a network to the wanted state.

        Ways into the network are shut before its devices are asked to forget it, and open before they serve it.
        """
        with self._alone[network_id]:
            held = sorted(self._held(network_id), key=lambda one: not one.leaving)
            for one in held:
                if one.leaving:
                    self.switch.unplug(one.part.nic_id)
                    self._told.pop(one.key, None)
            self._plug(held)
            for one in held:
                self._tell(one)

    def resume(self) -> None:
        """After a restart of the agent or the switch: cables at once, devices in their own time."""
        for one in self._held():
            try:
                self._plug([one])
            except NetworkError as error:
                if error.retryable:
                    raise
                log.warning("device not cabled", network=one.network_id, error=str(error))
        self.keep()

    def keep(self) -> None:
        """Try again, beside all else, what devices have not taken yet: one that is down answers late, or never."""
        if (self._keeper is None or not self._keeper.is_alive()) and any(map(self._is_open, self._held())):
            self._keeper = threading.Thread(target=self.keep_all, daemon=True)
            self._keeper.start()

    def keep_all(self) -> None:
        """The trouble of a network is logged, and not that of the others."""
        for network_id in sorted({one.network_id for one in self._held() if self._is_open(one)}):
            try:
                self.bring(network_id)
            except NetworkError as error:
                log.warning("device not ready", network=network_id, error=str(error))

    def inspect(self, device: Device, cable: str) -> DeviceFacts:
        self.switch.check_cable(cable)
        found: DeviceFacts = self.drivers.inspect(device)
        return found

    def trace(self, part: DevicePart) -> DeviceTrace:
        """What is otherwise than the part says; changes nothing."""
        cable = self.switch.cable_difference(part.nic_id, Cable(part.cable, part.vlan, 0))
        try:
            return DeviceTrace(cable, first_told(self.drivers.look(part)))
        except NetworkError as error:
            return DeviceTrace(cable, silent=str(error))

    def drift(self) -> tuple[DeviceDrift, ...]:
        """What devices showed otherwise when they were last looked at, of parts that they were told nothing of since.

        A new look is begun beside all else when the last was a while ago.
        """
        if time.monotonic() >= self._look_at and (self._looker is None or not self._looker.is_alive()):
            self._look_at = time.monotonic() + LOOK_SECONDS
            if self._held():
                self._looker = threading.Thread(target=self.look, daemon=True)
                self._looker.start()
        return tuple(one for key, (told, found) in sorted(self._seen.items()) for one in found
                     if self._told.get(key) == told)  # fmt: skip

    def strangers(self) -> tuple[str, ...]:
        """Networks that devices have and nobody ordered, as of the last look at devices that serve any."""
        return self._strange

    def look(self) -> None:
        """Hold what devices have against what they were told; nothing is changed. Trouble is logged and passed over."""
        seen, strange = {}, []
        known: dict[str, list[HeldPart]] = defaultdict(list)
        for held in self._held():
            known[held.part.device.id].append(held)
            with self._alone[held.network_id]:
                told = self._told.get(held.key)
                if told is not None and not held.leaving:
                    seen[held.key] = told, tuple(self._differences(held))
        for parts in known.values():
            device = parts[0].part.device
            try:
                found = self.drivers.strangers([one.part for one in parts])
            except NetworkError as error:
                log.warning("device not looked at", device=device.host, error=str(error))
                continue
            strange += [f"device {device.host}: {name}" for name in found]
        self._seen, self._strange = seen, tuple(strange)

    def _differences(self, held: HeldPart) -> Iterable[DeviceDrift]:
        device = held.part.device
        try:
            return [DeviceDrift(held.network_id, device.host, line) for line in self.drivers.look(held.part)]
        except NetworkError as error:
            log.warning("device not looked at", device=device.host, error=str(error))
            return []

    def _held(self, network_id: str = "") -> list[HeldPart]:
        held: list[HeldPart] = self.journal.wanted(PART, HeldPart)
        return [one for one in held if network_id in ("", one.network_id)]

    def _is_open(self, held: HeldPart) -> bool:
        return held.leaving or held.key not in self._told

    def _plug(self, held: Iterable[HeldPart]) -> None:
        for one in held:
            if not one.leaving:
                self.switch.plug_cable(one.part.nic_id, Cable(one.part.cable, one.part.vlan, one.mtu))

    def _tell(self, held: HeldPart) -> None:
        if held.leaving:
            self.drivers.remove(held.part)
            self.journal.drop(PART, held.key)
            return
        content = digest(held.part)
        if self._told.get(held.key) != content:
            self._told.pop(held.key, None)
            self.drivers.apply(held.part)
            self._told[held.key] = content


def check(parts: Iterable[DevicePart]) -> None:
    """:raises InvalidViewError: a device cannot do what is wanted of it"""
    for part in parts:
        digest(part)
