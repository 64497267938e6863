"""A probe's way through tenant networks and their routers, step by step, to the first that denies it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from network.reachability import router as routers
from network.reachability.policy import METADATA_ADDRESS, Decision, Meeting, decide, is_within
from network.reachability.values import Leg, Place, Probe, Step, Trail
from network.types import ROUTER, GuestLeg, NicView, RouterSpec, StaticNat


class _Denied(Exception):  # noqa: N818 - it ends the walk and never leaves this module
    """The last step of the trail denies the probe."""


@dataclass
class _Walk:
    """`places` are the networks that the asker may see into; all others are the outside."""

    places: Sequence[Place]
    trail: Trail = field(default_factory=Trail)

    def pass_guest(self, one: Meeting) -> None:
        """Note what a guest's own rules decide.

        :raises _Denied: they deny
        """
        self.pass_by("guest", decide(one), one.view.id, one.nic.id)

    def pass_by(
        self, where: Literal["guest", "network", "router", "outside"], one: Decision, network_id: str, nic_id: str = ""
    ) -> None:
        """Note what decides here.

        :raises _Denied: it denies
        """
        step = Step(where, one.what, one.allowed, one.reason, one.kind, one.object_id, network_id, one.rule, nic_id)
        self.trail.steps.append(step)
        if not one.allowed:
            raise _Denied

    def from_guest(self, place: Place, nic: NicView, probe: Probe) -> None:
        view = place.view
        own = (nic.address, *nic.further)
        is_own = probe.source in own
        reason = f"{probe.source} is {'' if is_own else 'not '}an address of the NIC {nic.mac}."
        self.pass_by("guest", Decision(is_own, "source guard", reason, "Nic", nic.id), view.id)
        if probe.target in own:
            self.trail.receiver = nic
            reason = "A guest reaches its own addresses without its network."
            self.pass_by("guest", Decision(True, "own address", reason, "Nic", nic.id), view.id)
        elif is_within(probe.target, (view.cidr,)) and (view.gateway_outside or probe.target != view.gateway):
            self.to_address(place, nic, probe)
        elif view.gateway_outside and probe.target != METADATA_ADDRESS:
            reason = f"The gateway {view.gateway} is none of the network's NICs, so nothing leads to {probe.target}."
            self.pass_by("network", Decision(False, "route", reason, "Network", view.id), view.id)
        else:
            self.by_router(place, nic, probe)

    def to_address(self, place: Place, sender: NicView, probe: Probe) -> None:
        """To the NIC of the network that has the probe's address."""
        nics = (nic for nic in place.view.nics if probe.target in (nic.address, *nic.further))
        receiver = next(nics, None)
        if receiver is None:
            reason = f"No running virtual machine of the network has the address {probe.target}."
            self.pass_by("network", Decision(False, "addresses", reason, "Network", place.view.id), place.view.id)
        elif receiver.role == ROUTER:
            self.by_router(place, sender, probe)
        else:
            self.cross(place, sender, receiver, probe)
            self.trail.receiver = receiver

    def cross(self, place: Place, sender: NicView, receiver: NicView, probe: Probe) -> None:
        """Through the network: what the sender may send, the way between hosts, what the receiver may be sent."""
        view, before = place.view, len(self.trail.legs)
        frame = probe.frame(sender.mac, receiver.mac)
        self.trail.legs.append(Leg(view, sender, receiver, frame))
        if sender.role != ROUTER:
            self.pass_guest(Meeting(view, sender, receiver, "egress", probe))
        self.trail.legs[before] = replace(self.trail.legs[before], left=True)
        if sender.host_id != receiver.host_id:
            self.pass_by("network", _tunnel(place, sender, receiver), view.id)
        if receiver.role != ROUTER:
            self.pass_guest(Meeting(view, receiver, sender, "ingress", probe))
        self.trail.legs[before] = replace(self.trail.legs[before], allowed=True)

    def by_router(self, place: Place, nic: NicView, probe: Probe) -> None:
        view, spec = place.view, place.router
        leg = routers.leg_in(spec, view.id) if spec is not None else None
        if spec is None or leg is None:
            reason = f"The network has no router that runs, so nothing leads to {probe.target}."
            self.pass_by("network", Decision(False, "route", reason, "Network", view.id), view.id)
            return
        self.cross(place, nic, leg.nic, probe)
        own = {*routers.own_addresses(spec), METADATA_ADDRESS, *(one.nic.address for one in spec.legs)}
        if probe.target in routers.own_addresses(spec) and routers.balances(spec, probe):
            self.to_balancer(spec, leg, probe)
        elif probe.target in routers.own_addresses(spec) and (led := routers.leads(spec, probe)) is not None:
            self.to_led(spec, probe, led)
        elif probe.target in own:
            self.pass_by("router", routers.answers(spec, leg, probe), view.id)
            self.trail.receiver = leg.nic
        elif (other := routers.leg_of(spec, probe.target)) is not None:
            self.pass_by("router", routers.leads_on(leg, other, probe), view.id)
            self.behind(spec, other, probe)
        else:
            self.pass_by("router", routers.lets_out(spec, leg, probe), view.id)
            source = routers.public_source(spec, probe.source)
            reason = f"It leaves with the source address {source}."
            self.pass_by("router", Decision(True, "source NAT", reason, "PublicIpAddress", source), view.id)
            self.from_outside(replace(probe, source=source))

    def from_outside(self, probe: Probe) -> None:
        """To a public address, or to the outside if none of the networks has it."""
        for place in self.places:
            spec = place.router
            if spec is not None and probe.target in routers.own_addresses(spec):
                led = routers.leads(spec, probe)
                if routers.balances(spec, probe):
                    self.to_balancer(spec, spec.legs[0], probe)
                elif led is None:
                    self.pass_by("router", routers.pings_back(spec, probe), place.view.id)
                    self.trail.receiver = spec.legs[0].nic
                else:
                    self.to_led(spec, probe, led)
                return
        reason = f"{probe.target} is outside; what happens there Pileus does not see."
        self.pass_by("outside", Decision(True, "outside", reason), "")

    def to_balancer(self, spec: RouterSpec, leg: GuestLeg, probe: Probe) -> None:
        """To the load balancer of the router, which opens connections of its own to its members."""
        reason = f"A load balancer of the router takes {probe.told()} of {probe.target}."
        step = Decision(True, "load balancer", reason, "PublicIpAddress", probe.target)
        self.pass_by("router", step, leg.network_id)
        self.pass_by("router", routers.lets_in(spec, probe), leg.network_id)
        self.trail.receiver = leg.nic

    def behind(self, spec: RouterSpec, leg: GuestLeg, probe: Probe) -> None:
        """From the router into the network of one of its legs."""
        place = next((place for place in self.places if place.view.id == leg.network_id), None)
        if place is None:
            reason = f"{probe.target} is in a network of router {spec.id} that is not known here."
            self.pass_by("network", Decision(False, "addresses", reason, "Network", leg.network_id), leg.network_id)
            return
        self.to_address(place, leg.nic, probe)

    def to_led(self, spec: RouterSpec, probe: Probe, led: routers.Led) -> None:
        """In by a public address that leads to a guest."""
        leg = routers.leg_of(spec, led.guest) or spec.legs[0]
        how = "static NAT" if isinstance(led.rule, StaticNat) else "port forwarding"
        reason = f"{probe.target} leads to {led.guest}" + (f", port {led.port}." if led.port else ".")
        step = Decision(True, how, reason, "PublicIpAddress", probe.target, led.rule)
        self.pass_by("router", step, leg.network_id)
        self.pass_by("router", routers.lets_in(spec, probe), leg.network_id)
        inner = probe.to(led.guest, led.port)
        if is_within(probe.source, (leg.cidr,)):
            # The router puts itself in the place of a guest that reaches another by a public address.
            inner = replace(inner, source=leg.nic.address)
        self.behind(spec, leg, inner)


def _tunnel(place: Place, sender: NicView, receiver: NicView) -> Decision:
    known = {peer.host_id for peer in place.view.peers}
    is_known = not known or {sender.host_id, receiver.host_id} <= known
    reason = "The hosts of the two NICs have a tunnel." if is_known else "The hosts of the two NICs have no tunnel."
    return Decision(is_known, "tunnel", reason, "Host", receiver.host_id)


def from_nic(places: Sequence[Place], nic_id: str, probe: Probe) -> Trail:
    """The way of a probe that a guest's NIC sends; the NIC must be in one of the places."""
    place, nic = next((place, nic) for place in places for nic in place.view.nics if nic.id == nic_id)
    walk = _Walk(places)
    try:
        walk.from_guest(place, nic, probe)
    except _Denied:
        walk.trail.receiver = None
    return walk.trail


def from_outside(places: Sequence[Place], probe: Probe) -> Trail:
    """The way of a probe that comes from outside all networks, to a public address."""
    walk = _Walk(places)
    try:
        walk.from_outside(probe)
    except _Denied:
        walk.trail.receiver = None
    return walk.trail


def from_outside_to(places: Sequence[Place], nic_id: str, probe: Probe) -> Trail:
    """The way of a probe from outside to a guest's NIC, by the first public address that lets it in, or else by one
    that leads to it; the probe's port is the guest's.
    """
    place, nic = next((place, nic) for place in places for nic in place.view.nics if nic.id == nic_id)
    ways = routers.ways_to(place.router, nic.address, probe) if place.router else []
    trails = [from_outside(places, way) for way in ways]
    found = next((trail for trail in trails if trail.reachable), trails[0] if trails else None)
    if found is not None:
        return found
    reason = f"No public address leads {probe.told()} to {nic.address}: no static NAT and no port forwarding."
    return Trail([Step("router", "NAT", False, reason, "Network", place.view.id, place.view.id)])
