"""Between guests of a flat network and things outside that are in the same segment, or beyond its gateway."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Protocol

from network.flow_tables.layout import trunk_id
from network.reachability.policy import Decision, Meeting
from network.reachability.values import Leg, Place, Probe, Trail
from network.types import NetworkView, NicView

OUTSIDE_MAC = "00:00:5e:00:53:00"
"""Stands for any that is none of the network's (RFC 7042, for documentation)."""


class Walk(Protocol):
    trail: Trail

    def pass_guest(self, one: Meeting) -> None: ...

    def pass_by(
        self, where: Literal["guest", "network", "router", "outside"], one: Decision, network_id: str, nic_id: str = ""
    ) -> None: ...


def _thing(view: NetworkView, address: str) -> NicView:
    """It is on no host; the trunk leads to it."""
    return NicView("outside", OUTSIDE_MAC, address, trunk_id(view.trunk))


def leave(walk: Walk, place: Place, sender: NicView, probe: Probe) -> None:
    """From a guest to what is outside."""
    view = place.view
    thing = _thing(view, probe.target)
    walk.trail.legs.append(Leg(view, sender, thing, probe.frame(sender.mac, thing.mac)))
    walk.pass_guest(Meeting(view, sender, thing, "egress", probe))
    walk.trail.legs[-1] = replace(walk.trail.legs[-1], left=True, allowed=True)
    reason = (
        f"{probe.target} is outside, in the segment of the network or beyond; what happens there Pileus does not see."
    )
    walk.pass_by("outside", Decision(True, "outside", reason), view.id)


def arrive(walk: Walk, place: Place, receiver: NicView, probe: Probe) -> None:
    """From what is outside to a guest."""
    view = place.view
    thing = _thing(view, probe.source)
    walk.trail.legs.append(Leg(view, thing, receiver, probe.frame(thing.mac, receiver.mac), left=True))
    walk.pass_guest(Meeting(view, receiver, thing, "ingress", probe))
    walk.trail.legs[-1] = replace(walk.trail.legs[-1], allowed=True)
    walk.trail.receiver = receiver
