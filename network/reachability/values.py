"""The question, the steps of its answer, and the frames that the answer sends through the networks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from network.hardware import BalancedNetwork, DevicePart
from network.probe import Frame
from network.types import GuestLeg, NetworkView, NicView, RouterSpec

ICMP, TCP, UDP = 1, 6, 17
NUMBERS = {"icmp": ICMP, "tcp": TCP, "udp": UDP}
NAMES = {number: name for name, number in NUMBERS.items()}
ECHO_REQUEST = 8
OPENS = (8, 13, 15)
"""ICMP types that begin an exchange; others are let through only as part of one (ovs-fields(7), ct_state)."""
FIRST_PRIVATE_PORT = 49152


def number_of(protocol: str) -> int:
    """The protocol's number, of a name or a number."""
    return NUMBERS[protocol] if protocol in NUMBERS else int(protocol)


Kind = Literal[
    "", "VirtualMachine", "Nic", "Network", "PublicIpAddress", "DomainRouter", "HardwareDevice", "SecurityGroup",
    "NetworkACLList", "Host",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Probe:
    """The packet that opens a connection, from who sends it; addresses are IPv4, `protocol` a number (RFC 5237)."""

    source: str
    target: str
    protocol: int
    target_port: int = 0
    source_port: int = FIRST_PRIVATE_PORT
    icmp_type: int = ECHO_REQUEST
    icmp_code: int = 0

    def frame(self, source_mac: str, target_mac: str) -> Frame:
        return Frame(
            source_mac, target_mac, self.source, self.target, self.protocol, self.source_port, self.target_port,
            self.icmp_type, self.icmp_code,
        )  # fmt: skip

    def to(self, target: str, port: int) -> Probe:
        return replace(self, target=target, target_port=port)

    def told(self) -> str:
        """What kind of traffic it is, for a sentence."""
        if self.protocol == ICMP:
            return f"ICMP of type {self.icmp_type}"
        name = NAMES.get(self.protocol)
        return f"{name} to port {self.target_port}" if name else f"IP protocol {self.protocol}"


@dataclass(frozen=True, slots=True)
class Place:
    """A tenant network with all its NICs and hosts, its router if it has one that runs, and what devices do for it.

    Of redundant routers `router` is the one that forwards, and `turn` the sentence that tells which that is.
    """

    view: NetworkView
    router: RouterSpec | None = None
    parts: tuple[DevicePart, ...] = ()
    turn: str = ""

    @property
    def firewall(self) -> RouterSpec | None:
        """What the hardware device is told that is the network's gateway, if one is."""
        return next((part.router for part in self.parts if part.router is not None), None)

    @property
    def balanced(self) -> BalancedNetwork | None:
        """What the hardware device is told that balances for the network, if one does."""
        return next((part.balanced for part in self.parts if part.balanced is not None), None)

    @property
    def gateway(self) -> RouterSpec | None:
        """What leads out of the network: the firewall, else the router."""
        return self.firewall or self.router

    @property
    def leg(self) -> GuestLeg | None:
        """The gateway's leg in the network."""
        return self.leg_of(self.gateway)

    def leg_of(self, spec: RouterSpec | None) -> GuestLeg | None:
        legs = spec.legs if spec else ()
        return next((leg for leg in legs if leg.network_id == self.view.id), None)

    def device_nic(self, part: DevicePart) -> NicView | None:
        """The device's NIC, where it is on a host."""
        return next((nic for nic in self.view.nics if nic.id == part.nic_id), None)


@dataclass(frozen=True, slots=True)
class Step:
    """What decides on the way. `rule` is the value of the rule that decided, if one did: a Traffic, Opening,
    Forwarding, StaticNat or PolicyRule of the view or router. `network_id` is that of the network it is in, `nic_id`
    that of the guest's NIC whose own rules these are.
    """

    where: Literal["guest", "network", "router", "outside"]
    what: str
    allowed: bool
    reason: str
    kind: Kind = ""
    object_id: str = ""
    network_id: str = ""
    rule: object = None
    nic_id: str = ""


@dataclass(frozen=True, slots=True)
class Leg:
    """A frame's way through one network, between two of its NICs.

    `left` is whether the sender may send it, `allowed` whether it arrives.
    """

    view: NetworkView
    sender: NicView
    receiver: NicView
    frame: Frame
    left: bool = False
    allowed: bool = False


@dataclass
class Trail:
    """The steps so far; the last one may deny, and then nothing follows."""

    steps: list[Step] = field(default_factory=list)
    legs: list[Leg] = field(default_factory=list)
    receiver: NicView | None = None

    @property
    def reachable(self) -> bool:
        return all(step.allowed for step in self.steps)
