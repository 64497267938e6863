"""A probe's way through tenant networks and their routers, step by step, to the first that denies it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal

from network.balancing import Balancer
from network.hardware import BalancedNetwork, DevicePart
from network.reachability import devices, segment
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
        elif view.is_flat and view.gateway_outside and probe.target != METADATA_ADDRESS:
            segment.leave(self, place, nic, probe)
        elif view.gateway_outside and probe.target != METADATA_ADDRESS:
            reason = f"The gateway {view.gateway} is none of the network's NICs, so nothing leads to {probe.target}."
            self.pass_by("network", Decision(False, "route", reason, "Network", view.id), view.id)
        else:
            self.by_router(place, nic, probe)

    def to_address(self, place: Place, sender: NicView, probe: Probe) -> None:
        """To the NIC of the network that has the probe's address."""
        nics = (nic for nic in place.view.nics if probe.target in (nic.address, *nic.further))
        receiver = next(nics, None)
        if receiver is None and place.view.is_flat:
            segment.leave(self, place, sender, probe)
        elif receiver is None:
            reason = f"No running virtual machine of the network has the address {probe.target}."
            self.pass_by("network", Decision(False, "addresses", reason, "Network", place.view.id), place.view.id)
        elif (found := devices.part_at(place, probe.target)) is not None:
            self.to_device(place, sender, found, probe)
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
        view, spec = place.view, devices.taker(place, probe.target)
        leg = place.leg_of(spec)
        if spec is None or leg is None:
            reason = f"The network has no router that runs, so nothing leads to {probe.target}."
            self.pass_by("network", Decision(False, "route", reason, "Network", view.id), view.id)
            return
        found = devices.part_at(place, probe.target)
        if found is not None:
            self.to_device(place, nic, found, probe)
            return
        self.cross(place, nic, leg.nic, probe)
        if devices.is_firewall(place, spec):
            self.by_firewall(place, spec, leg, probe)
        else:
            self.tell_turn(place, spec)
            self.by_virtual_router(spec, leg, probe)

    def by_firewall(self, place: Place, spec: RouterSpec, leg: GuestLeg, probe: Probe) -> None:
        if any(devices.translates(place, other, probe.target) for other in self.places):
            self.pass_by("router", devices.leads_back(probe), leg.network_id)
        self.leave(spec, routers.by_egress(spec, leg, probe), leg.network_id, probe)

    def by_virtual_router(self, spec: RouterSpec, leg: GuestLeg, probe: Probe) -> None:
        public = routers.own_addresses(spec)
        if probe.target in public and (led := routers.leads(spec, probe)) is not None:
            self.to_led(spec, probe, led)
        elif probe.target in public and (one := routers.balances(spec, probe)) is not None:
            self.to_member(spec, probe, one)
        elif (inner := routers.inside_leg(spec, probe.target)) and (one := routers.balances(spec, probe)) is not None:
            self.to_member(spec, probe, one, routers.lets_inside(leg, inner, probe))
        elif probe.target in (*public, *routers.legs_addresses(spec), METADATA_ADDRESS):
            self.pass_by("router", routers.answers(spec, leg, probe), leg.network_id)
            self.trail.receiver = leg.nic
        elif (other := self.place_of(spec, probe.target)) is not None:
            self.to_tier(*other, probe)
        elif (vpn := routers.by_vpn(spec, probe.source, probe.target)) is not None:
            self.pass_by("router", vpn, leg.network_id)
            reason = f"{probe.target} is behind a VPN; what happens there Pileus does not see."
            self.pass_by("outside", Decision(True, "outside", reason), "")
        elif hop := routers.next_hop(spec, probe.target):
            self.by_route(spec, hop, probe)
        else:
            self.leave(spec, routers.lets_out(spec, leg, probe), leg.network_id, probe)

    def tell_turn(self, place: Place, spec: RouterSpec) -> None:
        if place.turn:
            step = Decision(True, "redundant routers", place.turn, "DomainRouter", spec.id)
            self.pass_by("router", step, place.view.id)

    def leave(self, spec: RouterSpec, egress: Decision, network_id: str, probe: Probe) -> None:
        self.pass_by("router", egress, network_id)
        source = routers.public_source(spec, probe.source)
        reason = f"It leaves with the source address {source}."
        self.pass_by("router", Decision(True, "source NAT", reason, "PublicIpAddress", source), network_id)
        self.from_outside(replace(probe, source=source))

    def to_device(self, place: Place, sender: NicView, found: tuple[DevicePart, NicView], probe: Probe) -> None:
        """To the address that a hardware device has in the network."""
        part, nic = found
        self.cross(place, sender, nic, probe)
        self.pass_by("router", devices.answers(part, probe), place.view.id)
        self.trail.receiver = nic

    def place_of(self, spec: RouterSpec, address: str) -> tuple[Place, GuestLeg] | None:
        """The network of the router that has the address in its range."""
        for place in self.places:
            leg = place.leg if place.gateway is not None and place.gateway.id == spec.id else None
            if leg is not None and is_within(address, (leg.cidr,)):
                return place, leg
        return None

    def to_tier(self, place: Place, leg: GuestLeg, probe: Probe) -> None:
        self.pass_by("router", routers.leads_inside(leg), place.view.id)
        self.to_address(place, leg.nic, probe)

    def by_route(self, spec: RouterSpec, hop: str, probe: Probe) -> None:
        """By a next hop: a guest, or something in the VLAN of a private gateway."""
        private = routers.private_leg(spec, hop)
        if private is not None:
            self.pass_by("router", routers.goes_by(private, "egress", probe), "")
            reason = f"{hop} behind a private gateway leads to {probe.target}; what happens there Pileus does not see."
            self.pass_by("outside", Decision(True, "route", reason), "")
            return
        found = self.place_of(spec, hop)
        nics = found[0].view.nics if found is not None else ()
        receiver = next((nic for nic in nics if hop in (nic.address, *nic.further) and nic.role != ROUTER), None)
        if found is None or receiver is None:
            reason = f"A static route leads to {probe.target} by {hop}, and no running virtual machine has that."
            self.pass_by("router", Decision(False, "route", reason, "DomainRouter", spec.id), "")
            return
        place, leg = found
        if is_within(probe.source, (leg.cidr,)):
            # The router puts itself in the place of a guest that has the next hop in its own network.
            probe = replace(probe, source=leg.nic.address)
        reason = f"A static route leads to {probe.target} by {hop}."
        self.pass_by("router", Decision(True, "route", reason, "DomainRouter", spec.id), place.view.id)
        self.cross(place, leg.nic, receiver, probe)
        self.trail.receiver = receiver

    def from_beside(self, place: Place, spec: RouterSpec, probe: Probe) -> bool:
        """From behind a VPN or a private gateway of the router to a guest; False for what comes from elsewhere."""
        entry = routers.by_vpn(spec, probe.target, probe.source)
        hop, leg = routers.next_hop(spec, probe.source), place.leg_of(spec)
        private = routers.private_leg(spec, hop) if hop else None
        if entry is None and private is not None:
            entry = routers.goes_by(private, "ingress", probe)
        if entry is None or leg is None:
            return False
        if leg.closed:
            self.pass_by("router", routers.leads_inside(leg), place.view.id)
        self.tell_turn(place, spec)
        self.pass_by("router", entry, place.view.id)
        self.to_address(place, leg.nic, probe)
        return True

    def from_outside(self, probe: Probe) -> None:
        """To a public address, or to the outside if none of the networks has it."""
        for place in self.places:
            spec = place.gateway
            if place.balanced is not None and probe.target in {one.address for one in place.balanced.balancers}:
                self.to_balancer(place, place.balanced, probe)
                return
            if spec is not None and probe.target in routers.own_addresses(spec):
                self.tell_turn(place, spec)
                led = routers.leads(spec, probe)
                if led is None and devices.is_firewall(place, spec):
                    self.pass_by("router", devices.ends(probe), place.view.id)
                elif led is None and (one := routers.balances(spec, probe)) is not None:
                    self.to_member(spec, probe, one)
                elif led is None:
                    self.pass_by("router", routers.pings_back(spec, probe), place.view.id)
                    self.trail.receiver = place.leg.nic if place.leg else None
                else:
                    self.to_led(spec, probe, led)
                return
        reason = f"{probe.target} is outside; what happens there Pileus does not see."
        self.pass_by("outside", Decision(True, "outside", reason), "")

    def to_member(self, spec: RouterSpec, probe: Probe, one: Balancer, entry: Decision | None = None) -> None:
        """Through a load balancer of the router, which itself connects to the first member that can be reached.

        `entry` says who comes in; without it, the firewall of the public address.
        """
        found = [self.place_of(spec, member.address) for member in one.members]
        ways = [(there[0], there[1].nic) if there is not None else None for there in found]
        self.balance(one, ways, entry or routers.lets_in(spec, probe), probe)

    def to_balancer(self, place: Place, balanced: BalancedNetwork, probe: Probe) -> None:
        """Through a hardware device, which connects to the first member that can be reached."""
        one = routers.balances(balanced, probe)
        if one is None:
            reason = f"No load balancer at {probe.target} takes {probe.told()} from {probe.source}."
            step = Decision(False, "load balancing", reason, "PublicIpAddress", probe.target)
            self.pass_by("router", step, place.view.id)
            return
        own = devices.part_at(place, balanced.address)
        ways = [(place, own[1]) if own is not None else None for _ in one.members]
        self.balance(one, ways, routers.lets_in(balanced, probe), probe)

    def balance(
        self, one: Balancer, ways: Sequence[tuple[Place, NicView] | None], entry: Decision, probe: Probe
    ) -> None:
        """`ways` are the network of each member and the NIC that connects to it there."""
        reason = f"{probe.target}, port {probe.target_port}, is a load balancer of {len(one.members)} members."
        balancing = Decision(bool(one.members), "load balancing", reason, "PublicIpAddress", probe.target, one)
        network_id = next((place.view.id for place, _ in filter(None, ways)), "")
        self.pass_by("router", balancing, network_id)
        self.pass_by("router", entry, network_id)
        before, tries = self.trail, []
        for member, there in zip(one.members, ways, strict=True):
            if there is not None:
                self.trail = Trail([*before.steps], [*before.legs])
                inner = replace(probe.to(member.address, one.member_port), source=there[1].address)
                with suppress(_Denied):
                    self.to_address(there[0], there[1], inner)
                tries.append(self.trail)
        self.trail = next((trail for trail in tries if trail.reachable), tries[0] if tries else before)
        if not tries:
            reason = "No member of the load balancer is in a network of the router that runs."
            self.pass_by(
                "router", Decision(False, "load balancing", reason, "PublicIpAddress", probe.target), network_id
            )
        if not self.trail.reachable:
            raise _Denied

    def to_led(self, spec: RouterSpec, probe: Probe, led: routers.Led) -> None:
        """In by a public address that leads to a guest."""
        how = "static NAT" if isinstance(led.rule, StaticNat) else "port forwarding"
        found = self.place_of(spec, led.guest)
        network_id = found[0].view.id if found else ""
        reason = f"{probe.target} leads to {led.guest}" + (f", port {led.port}." if led.port else ".")
        step = Decision(True, how, reason, "PublicIpAddress", probe.target, led.rule)
        self.pass_by("router", step, network_id)
        if found is None:
            reason = f"No network of the router that runs has {led.guest}."
            self.pass_by("router", Decision(False, "route", reason, "DomainRouter", spec.id), network_id)
            return
        place, leg = found
        if leg.closed:
            self.pass_by("router", routers.leads_inside(leg), network_id)
        self.pass_by("router", routers.lets_in(spec, probe), network_id)
        inner = probe.to(led.guest, led.port)
        if is_within(probe.source, (leg.cidr,)):
            # The router puts itself in the place of a guest that reaches another by a public address.
            inner = replace(inner, source=leg.nic.address)
        self.to_address(place, leg.nic, inner)


def _tunnel(place: Place, sender: NicView, receiver: NicView) -> Decision:
    known = {peer.host_id for peer in place.view.peers}
    is_known = not known or {sender.host_id, receiver.host_id} <= known
    way = "trunk" if place.view.trunk else "tunnel"
    reason = f"The hosts of the two NICs have {'a' if is_known else 'no'} {way}."
    return Decision(is_known, way, reason, "Host", receiver.host_id)


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
    that leads to it; from behind a VPN or a private gateway, by that. The probe's port is the guest's.
    """
    place, nic = next((place, nic) for place in places for nic in place.view.nics if nic.id == nic_id)
    walk, direct = _Walk(places), replace(probe, target=nic.address)
    if place.view.is_flat:
        with suppress(_Denied):
            segment.arrive(walk, place, nic, probe)
        return walk.trail
    try:
        if place.router is not None and walk.from_beside(place, place.router, direct):
            return walk.trail
    except _Denied:
        walk.trail.receiver = None
        return walk.trail
    ways = routers.ways_to(place.gateway, nic.address, probe) if place.gateway else []
    ways += routers.balanced_ways(place.balanced, nic.address, probe) if place.balanced else []
    trails = [from_outside(places, way) for way in ways]
    found = next((trail for trail in trails if trail.reachable), trails[0] if trails else None)
    if found is not None:
        return found
    reason = f"No public address leads {probe.told()} to {nic.address}: no static NAT and no port forwarding."
    return Trail([Step("router", "NAT", False, reason, "Network", place.view.id, place.view.id)])
