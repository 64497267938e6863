"""What the model says of random questions is what the flows of all hosts do; wrong flows are found.

PILEUS_REACHABILITY_CASES is how many questions are asked.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from random import Random

import pytest

from network.flow_trace.fabric import answer_to, packet_of
from network.flow_trace.words import ARP_TYPE, UnknownFlowError, number
from network.reachability.values import Leg, Place, Probe, Trail
from network.reachability.walk import _Denied, _Walk, from_nic, from_outside
from network.types import NicView
from tests.unit.network.worlds import OUTSIDE, World, probe, replaced, targets, world

CASES = int(os.environ.get("PILEUS_REACHABILITY_CASES", "600"))
QUESTIONS = 20
"""Asked of each cloud."""


@dataclass
class Case:
    """A question, and what the model answers. `nic` is who asks, None for the outside."""

    probe: Probe
    nic: NicView | None
    trail: Trail


def ask(chance: Random, cloud: World) -> Case:
    if chance.random() < 0.1 and (routed := [one for one in cloud.places if one.router]):
        return forwarded(chance, chance.choice(routed))
    if chance.random() < 0.3:
        one = probe(chance, chance.choice(OUTSIDE[1:]), chance.choice(targets(cloud.places)))
        return Case(one, None, from_outside(cloud.places, one))
    own = chance.choice(cloud.places)
    nic = chance.choice([nic for nic in own.view.nics if nic.role == "guest"])
    source = nic.address if chance.random() < 0.9 else chance.choice((*nic.further, "10.1.1.12", "10.1.1.1"))
    one = probe(chance, source, chance.choice(targets(cloud.places)))
    others = [place for place in cloud.places if place is not own]
    return Case(one, nic, from_nic([own, *others], nic.id, one))


def forwarded(chance: Random, place: Place) -> Case:
    """What a router sends to a guest, from whatever address: it forwards what comes."""
    receiver = chance.choice([nic for nic in place.view.nics if nic.role == "guest"])
    others = (nic.address for nic in place.view.nics if nic is not receiver)
    one = probe(chance, chance.choice((*OUTSIDE, *others)), receiver.address)
    walk = _Walk([place])
    with suppress(_Denied):
        walk.cross(place, place.leg.nic, receiver, one)
    return Case(one, None, walk.trail)


def faults(cloud: World, case: Case) -> list[str]:
    """Where the flows do not do what the model says."""
    found = [fault for leg in case.trail.legs for fault in _leg_faults(cloud, leg)]
    first = case.trail.steps[0]
    if case.nic is not None and first.what == "source guard" and not first.allowed:
        for mac in ("02:00:00:00:00:ff", *(f"02:00:00:00:00:0{last}" for last in range(1, 5))):
            cloud.forget()
            heard = cloud.fabric.send(case.nic.id, packet_of(case.probe.frame(case.nic.mac, mac))).hearers()
            found += [f"forged {case.probe} to {mac} is heard by {heard}"] if heard else []
    return found


def _leg_faults(cloud: World, leg: Leg) -> list[str]:
    cloud.forget()
    trace = cloud.fabric.send(leg.sender.id, packet_of(leg.frame))
    wanted = {leg.receiver.id} if leg.allowed else set()
    if trace.hearers() != wanted:
        return [f"{leg} is heard by {trace.hearers()}: {[row.line for _, row in trace.rows]}"]
    for _, packet in trace.heard:
        back = cloud.fabric.send(leg.receiver.id, answer_to(packet))
        if back.hearers() != {leg.sender.id}:
            return [f"the answer to {leg} is heard by {back.hearers()}: {[row.line for _, row in back.rows]}"]
    asked = {
        "dl_src": number(leg.sender.mac), "dl_dst": 2**48 - 1, "dl_type": ARP_TYPE, "arp_op": 1,
        "arp_sha": number(leg.sender.mac), "arp_tha": 0, "arp_spa": number(leg.sender.address),
        "arp_tpa": number(leg.frame.target if leg.receiver.role == "guest" else leg.receiver.address),
    }  # fmt: skip
    answers = cloud.fabric.send(leg.sender.id, asked).heard
    if [(nic, packet["arp_sha"]) for nic, packet in answers] != [(leg.sender.id, number(leg.receiver.mac))]:
        return [f"{leg}: its ARP request was answered {answers}"]
    return []


def clouds(seed: int, count: int):
    """(seed, cloud, chance) until `count` questions are asked."""
    for number_ in range(-(-count // QUESTIONS)):
        chance = Random(seed + number_)
        yield seed + number_, world(chance), chance


def test_the_model_says_what_the_flows_do():
    said = {True: 0, False: 0}
    for seed, cloud, chance in clouds(1, CASES):
        for _ in range(QUESTIONS):
            case = ask(chance, cloud)
            assert not faults(cloud, case), f"cloud {seed}: {case}"
            said[case.trail.reachable] += 1
    assert min(said.values()) > CASES / 10, said


BROKEN = {
    "any source address": (r"(table=5,priority=90,.*),nw_src=[0-9.]+", r"\1"),
    "no tunnel key": (r"(table=40,priority=90.*)set_field:\w+->tun_id,", r"\1"),
    "another network's key": (r"(table=1,.*)set_field:0x3e9->metadata", r"\1set_field:0x3ea->metadata"),
    "a tunnel less": (r".*table=0,priority=90,in_port=1001.*", ""),
    "all guests closed": (r".*table=21,priority=900.*", ""),
    "no answers inwards": (r".*table=51,priority=64800,ip,ct_state=\+trk\+est\+rpl.*", ""),
    "zones mixed up": (r"(table=20,.*)zone=NXM_NX_REG1", r"\1zone=NXM_NX_REG3"),
    "a group's rule for everybody": (r"(table=51,priority=1000,.*),reg6=\w+", r"\1"),
    "members by address alone": (r"(table=49,priority=100,.*),dl_src=[0-9a-f:]+", r"\1"),
    "the second item first": (r"(table=\d+,priority=)49999,", r"\g<1>50001,"),
    "a denial forgotten": (r".*priority=(?:50000|499\d\d),.*actions=drop.*", ""),
    "half of a range of ports": (r".*priority=(?:1000|50000).*tp_dst=0x50/.*", ""),
    "a neighbour's ARP": (r"(table=10,.*arp_tpa=10\.1\.1\.12,.*)set_field:02:00:00:00:00:02->arp_sha",
                          r"\1set_field:02:00:00:00:00:01->arp_sha"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_builder_is_caught(name):
    pattern, instead = BROKEN[name]

    def edit(lines):
        return [line for line in (re.sub(pattern, instead, line) for line in lines) if line]

    assert any(is_caught(chance, cloud, edit) for _, cloud, chance in clouds(500, 3000))


def is_caught(chance: Random, cloud: World, edit) -> bool:
    replaced(cloud.fabric, cloud.views, edit)
    try:
        return any(faults(cloud, ask(chance, cloud)) for _ in range(QUESTIONS))
    except UnknownFlowError:
        return True
