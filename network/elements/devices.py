"""Hardware devices of a host by their drivers: what each is to do for a network, checked and brought to it."""

from __future__ import annotations

import hashlib
import threading
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from lxml import etree

from network.elements import driver, netscaler_config, srx_config
from network.elements.nitro import NetscalerSettings
from network.elements.srx_names import SrxSettings
from network.errors import InvalidViewError
from network.hardware import BalancedNetwork, Device, DeviceFacts, DeviceKind, DevicePart
from network.types import RouterSpec


class Kind(ABC):
    """How parts are told to the driver of one kind of device."""

    element: str

    @abstractmethod
    def settings(self, device: Device) -> Any:
        """Those of the driver."""

    @abstractmethod
    def wanted(self, part: DevicePart) -> RouterSpec | BalancedNetwork:
        """What the driver applies.

        :raises InvalidViewError: the part has none for this kind
        """

    @abstractmethod
    def content(self, part: DevicePart) -> list[Any]:
        """All that the device is told.

        :raises InvalidViewError: it cannot do it
        """

    @abstractmethod
    def called(self, network_id: str) -> str:
        """How the driver lists the network."""

    def driver(self, device: Device) -> Any:
        return driver(self.element)(self.settings(device))


class Firewall(Kind):
    element = "juniper-srx"

    def settings(self, device: Device) -> SrxSettings:
        return SrxSettings(
            device.host,
            device.user,
            device.password,
            device.port,
            device.public_interface,
            device.public_zone,
            device.guest_port,
            device.host_key,
            device.timeout,
        )

    def wanted(self, part: DevicePart) -> RouterSpec:
        if part.router is None:
            raise InvalidViewError(f"The firewall {part.device.id} is given no router.")
        return part.router

    def called(self, network_id: str) -> str:
        return network_id

    def content(self, part: DevicePart) -> list[Any]:
        entries = srx_config.wanted(self.wanted(part), self.settings(part.device))
        return [(repr(where), key, etree.tostring(element)) for (where, key), element in entries.items()]


class LoadBalancer(Kind):
    element = "netscaler"

    def settings(self, device: Device) -> NetscalerSettings:
        return NetscalerSettings(
            device.host,
            device.user,
            device.password,
            device.port,
            device.host_key,
            device.guest_port,
            timeout=device.timeout,
        )

    def wanted(self, part: DevicePart) -> BalancedNetwork:
        if part.balanced is None:
            raise InvalidViewError(f"The load balancer {part.device.id} is given no network.")
        return part.balanced

    def called(self, network_id: str) -> str:
        return netscaler_config.name_of(network_id)

    def content(self, part: DevicePart) -> list[Any]:
        resources = netscaler_config.wanted(self.wanted(part), part.device.guest_port)
        return [(kind, key, sorted(content.items())) for (kind, key), content in resources.items()]


KINDS: dict[DeviceKind, Kind] = {"srx": Firewall(), "netscaler": LoadBalancer()}


def digest(part: DevicePart) -> str:
    """Stands for all that the device and the switch are told of the part.

    :raises InvalidViewError: the device cannot do it, or the part contradicts itself
    """
    inner = part.router.legs[0].vlan if part.router and part.router.legs else part.balanced and part.balanced.vlan
    content = KINDS[part.device.kind].content(part)
    if inner != part.vlan:
        raise InvalidViewError(f"Device {part.device.id} uses VLAN {inner} for a network of VLAN {part.vlan}.")
    where = part.device, part.device.password, part.nic_id, part.cable, part.vlan
    return hashlib.sha256(repr((where, sorted(content, key=repr))).encode()).hexdigest()


SAYINGS = {"-": "It lacks {}.", "~": "It has {} otherwise than wanted.", "+": "It has {}, which nobody wants."}


def first_told(differences: Sequence[str]) -> str:
    """The gravest of what `Devices.look` finds, as a sentence; "" for none."""
    signs = list(SAYINGS)
    for found in sorted(differences, key=lambda one: signs.index(one[0])):
        return SAYINGS[found[0]].format(found[1:])
    return ""


class Devices:
    """One conversation with a device at a time; the drivers' errors come through."""

    def __init__(self) -> None:
        self._alone: dict[str, threading.Lock] = defaultdict(threading.Lock)

    def apply(self, part: DevicePart) -> None:
        kind = KINDS[part.device.kind]
        with self._alone[part.device.id]:
            kind.driver(part.device).apply(kind.wanted(part))

    def remove(self, part: DevicePart) -> None:
        """Make the device forget the network; one that knows nothing of it is no error."""
        kind = KINDS[part.device.kind]
        with self._alone[part.device.id]:
            kind.driver(part.device).remove(kind.wanted(part).id)

    def look(self, part: DevicePart) -> list[str]:
        """What the device has otherwise than the part wants, as its driver names it."""
        kind = KINDS[part.device.kind]
        with self._alone[part.device.id]:
            return list(kind.driver(part.device).differences(kind.wanted(part)))

    def strangers(self, parts: Sequence[DevicePart]) -> list[str]:
        """Networks that a device has by our marks, without those of `parts`, which are all that it is to have."""
        device = parts[0].device
        kind = KINDS[device.kind]
        with self._alone[device.id]:
            return sorted(set(kind.driver(device).list()) - {kind.called(kind.wanted(part).id) for part in parts})

    def inspect(self, device: Device) -> DeviceFacts:
        """:raises DeviceRefusedError: the login is refused, or the device lacks what is named"""
        with self._alone[device.id]:
            found: DeviceFacts = KINDS[device.kind].driver(device).inspect()
            return found
