"""Values of hardware devices: what one of them is to do for a tenant network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from network.balancing import Balancer
from network.types import Opening, RouterSpec

DeviceKind = Literal["srx", "netscaler"]


@dataclass(frozen=True, slots=True)
class BalancedNetwork:
    """The whole wanted state of one tenant network on a load balancer; replaces every older one.

    `address` is the balancer's own in the network `cidr`, which `vlan` leads to. Only what `openings` let in reaches
    one of the balancers.
    """

    id: str
    vlan: int
    address: str
    cidr: str
    balancers: tuple[Balancer, ...] = ()
    openings: tuple[Opening, ...] = ()


@dataclass(frozen=True, slots=True)
class Device:
    """How a device is reached and which of its ports are used; names of ports and zones are the device's own.

    `host_key` is what the device is known by: of an SRX its public SSH key in base64, of a NetScaler the SHA-256 of its
    certificate in hexadecimal. `timeout` is in seconds.
    """

    id: str
    kind: DeviceKind
    host: str
    port: int
    user: str
    password: str = field(repr=False, metadata={"secret": True})
    guest_port: str
    public_interface: str = ""
    public_zone: str = ""
    host_key: str = ""
    timeout: int = 30


@dataclass(frozen=True, slots=True)
class DevicePart:
    """What a device does for one tenant network, and its way into the overlay.

    `cable` is the interface of the host that `guest_port` of the device is cabled to; frames of the network are
    tagged with `vlan` on it (IEEE 802.1Q), and are those of the NIC `nic_id` of the view. A firewall has `router`, a
    load balancer `balanced`.
    """

    device: Device
    nic_id: str
    cable: str
    vlan: int
    router: RouterSpec | None = None
    balanced: BalancedNetwork | None = None


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What a hardware device tells of itself. `mac` is that of its guest port, lower-case and colon-separated."""

    mac: str
    name: str = ""
    model: str = ""
    version: str = ""
