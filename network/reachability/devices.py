"""What hardware devices let through, where they lead it, and what they answer themselves."""

from __future__ import annotations

from typing import Final

from network.hardware import DevicePart
from network.reachability import router as routers
from network.reachability.policy import METADATA_ADDRESS, Decision
from network.reachability.values import ECHO_REQUEST, ICMP, Place, Probe
from network.types import NicView, RouterSpec

DEVICE: Final = "HardwareDevice"


def is_ping(probe: Probe) -> bool:
    return probe.protocol == ICMP and probe.icmp_type == ECHO_REQUEST


def part_at(place: Place, address: str) -> tuple[DevicePart, NicView] | None:
    """The device that has the address in the network."""
    for part in place.parts:
        nic = place.device_nic(part)
        if nic is not None and nic.address == address:
            return part, nic
    return None


def answers(part: DevicePart, probe: Probe) -> Decision:
    """Whether the device answers a guest at its address in the network."""
    if is_ping(probe):
        return Decision(True, "router's services", "The device answers pings of guests.", DEVICE, part.device.id)
    reason = f"The device offers guests nothing by {probe.told()} at {probe.target}."
    return Decision(False, "router's services", reason, DEVICE, part.device.id)


def translates(place: Place, other: Place, address: str) -> bool:
    """Whether the firewall of `place` has the public address for `other`, which may be another network of it."""
    device, same = (next((one.device.id for one in at.parts if one.router is not None), "") for at in (place, other))
    spec = other.firewall
    return device == same and spec is not None and address in routers.own_addresses(spec)


def leads_back(probe: Probe) -> Decision:
    """Of what guests send to a public address that their firewall has itself."""
    reason = f"A hardware device does not lead guests back inside by its own public address {probe.target}."
    return Decision(False, "NAT", reason, "PublicIpAddress", probe.target)


def ends(probe: Probe) -> Decision:
    """Of what comes to a public address of a firewall and is led nowhere: it does not answer pings there itself."""
    reason = f"Nothing leads {probe.told()} of {probe.target} on: no port forwarding, no static NAT."
    return Decision(False, "NAT", reason, "PublicIpAddress", probe.target)


def is_firewall(place: Place, spec: RouterSpec) -> bool:
    return spec is place.firewall


def taker(place: Place, target: str) -> RouterSpec | None:
    """Who takes what guests send to an address that is none of theirs: the virtual router what is its own and all
    that is not outside, else the gateway.
    """
    own = place.router
    if own is not None and target in (METADATA_ADDRESS, *routers.legs_addresses(own)):
        return own
    return place.gateway
