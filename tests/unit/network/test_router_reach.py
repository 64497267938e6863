"""The model held against real routers: packets of guests and from outside, through switches and packet filters.

PILEUS_REAL_CASES is how many questions are put.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from random import Random

from network.reachability.values import Probe, Trail
from network.reachability.walk import from_nic, from_outside
from network.types import NicView, RouterSpec
from tests.unit.network.ears import Asked, Ears, mark_of
from tests.unit.network.packets import wire_form
from tests.unit.network.sites import PUBLIC, Site
from tests.unit.network.views import nic
from tests.unit.network.worlds import OUTSIDE, World, place, probe, targets

CASES = int(os.environ.get("PILEUS_REAL_CASES", "160"))
TOGETHER = 40
GATEWAY_MAC = "02:00:00:00:aa:01"
BEYOND = "outside"


@dataclass
class Case:
    """A question: by whom it is sent (a NIC's id, or the outside), with which frame, and who must hear it."""

    sender: str
    frame: bytes
    hears: str
    trail: Trail


def cloud_of(chance: Random, site: Site) -> World:
    """Random rules for the site's guests and routers."""
    places = []
    for tenant, spec in site.specs.items():
        guests = [nic(tenant, "1", "host-1"), nic(tenant, "2", "host-2")]
        found = place(chance, tenant, guests, spec.legs[0].nic)
        places.append(replace(found, router=as_there(found.router, spec)))
    return World(places)


def as_there(wanted: RouterSpec, there: RouterSpec) -> RouterSpec:
    legs = tuple(
        replace(leg, leases=own.leases, nameservers=own.nameservers)
        for leg, own in zip(wanted.legs, there.legs, strict=True)
    )
    return replace(wanted, id=there.id, legs=legs)


def cases(chance: Random, cloud: World, first_port: int) -> list[Case]:
    found = []
    while len(found) < TOGETHER:
        one = replace(question(chance, cloud), source_port=first_port + len(found))
        case = from_a_guest(chance, cloud, one) if chance.random() < 0.6 else from_beyond(chance, cloud, one)
        if case is not None:
            found.append(case)
    return found


def question(chance: Random, cloud: World) -> Probe:
    """Of a protocol whose connections are told apart by ports or identifiers."""
    while True:
        one = probe(chance, "", chance.choice(targets(cloud.places)))
        if one.protocol != 47 and one.icmp_type == 8:
            return one


def from_a_guest(chance: Random, cloud: World, one: Probe) -> Case | None:
    own = chance.choice(cloud.places)
    sender = chance.choice([nic for nic in own.view.nics if nic.role == "guest"])
    one = replace(one, source=sender.address)
    trail = from_nic([own, *(other for other in cloud.places if other is not own)], sender.id, one)
    if not trail.legs:
        return None
    return Case(
        sender.id, wire_form(trail.legs[0].frame, mark_of(one.source_port)), hearer(trail, sender.id, one), trail
    )


def from_beyond(chance: Random, cloud: World, one: Probe) -> Case | None:
    one = replace(one, source=chance.choice(OUTSIDE[1:]))
    specs = (held.gateway for held in cloud.places if held.gateway.public)
    spec = next((spec for spec in specs if one.target in (spec.public.address, *spec.addresses)), None)
    if spec is None:
        return None
    trail = from_outside(cloud.places, one)
    return Case(
        BEYOND,
        wire_form(one.frame(GATEWAY_MAC, spec.public.mac), mark_of(one.source_port)),
        hearer(trail, BEYOND, one),
        trail,
    )


def hearer(trail: Trail, sender: str, one: Probe) -> str:
    """Who must hear the packet or, of a ping that a router answers, its answer; "" for nobody, "?" for who cares."""
    if not trail.reachable:
        return ""
    receiver: NicView | None = trail.receiver
    if receiver is None:
        return BEYOND
    if receiver.role == "router":
        return sender if one.protocol == 1 else "?"
    return receiver.id


def judged(ears: Ears, one_round: list[Case]) -> int:
    """How many are heard by somebody, of whom each is the one that must; those that nobody cares for left out."""
    wanted = [{case.hears} - {"", "?"} for case in one_round]
    heard = ears.put([Asked(case.sender, case.frame, who) for case, who in zip(one_round, wanted, strict=True)])
    for case, who, hearers in zip(one_round, wanted, heard, strict=True):
        # An error that quotes the packet may come back to who sent it.
        assert case.hears == "?" or hearers - ({case.sender} - who) == who, case
    return sum(map(bool, wanted))


def test_real_routers_do_what_the_model_says(site):
    chance, asked, passed = Random(5), 0, 0
    with Ears({f"nic-{guest}": ns for guest, ns in site.guests.items()} | {BEYOND: PUBLIC}) as ears:
        while asked < CASES:
            cloud = cloud_of(chance, site)
            for spec in (held.router for held in cloud.places):
                site.apply(spec)
            site.lab.apply(cloud.views)
            one_round = cases(chance, cloud, 10000 + asked)
            passed += judged(ears, one_round)
            asked += len(one_round)
    assert CASES / 10 < passed < asked
