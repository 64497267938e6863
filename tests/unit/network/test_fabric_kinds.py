"""With real packets: a network of layer 2 alone, and one whose gateway is none of its router's addresses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.network.fabric import A1, A2, ALL, FOREIGN, GATEWAY, datagram, frames_of
from tests.unit.network.lab import Wire, arp, ethernet

pytestmark = pytest.mark.usefixtures("as_it_was")


def heard_of(fabric, frames: dict[str, bytes]) -> dict[str, set[str]]:
    """Which guests hear each frame that a1 sends; a frame holds its own name."""
    wires = {name: Wire(ns) for name, ns in fabric.guests.items()}
    for frame in frames.values():
        wires["a1"].send(frame)
    got = {name: frames_of(wire, b"", 0.5) for name, wire in wires.items() if name != "a1"}
    for wire in wires.values():
        wire.close()
    return {name: {one for one, all_ in got.items() if any(name.encode() in f for f in all_)} for name in frames}


def test_layer_2_carries_what_bears_the_own_mac_to_its_members_alone(fabric):
    guests = tuple(replace(nic, address="", role="guest") for nic in fabric.views[0].nics)
    fabric.apply(*fabric.changed(bare=True, cidr="", gateway="", nics=guests))
    everyone = {"a2", "a3", "arouter"}
    assert heard_of(
        fabric,
        {
            "any-address": ethernet(A2, A1, 0x0800, datagram(b"any-address", source="203.0.113.7")),
            "any-type": ethernet(A2, A1, 0x88B5, b"any-type" + b"\0" * 50),
            "question": ethernet(ALL, A1, 0x0806, arp(1, A1, "203.0.113.7", ALL, "203.0.113.8") + b"question"),
            "multicast": ethernet("33:33:00:00:00:01", A1, 0x86DD, b"multicast" + b"\0" * 50),
            "spanning-tree": ethernet("01:80:c2:00:00:00", A1, 0x0027, b"spanning-tree" + b"\0" * 40),
            "spoofed-mac": ethernet(A2, FOREIGN, 0x0800, datagram(b"spoofed-mac")),
            "vlan-tag": ethernet(A2, A1, 0x0800, datagram(b"vlan-tag"), vlan=7),
            "unknown-mac": ethernet(FOREIGN, A1, 0x0800, datagram(b"unknown-mac")),
        },
    ) == {
        "any-address": {"a2"},
        "any-type": {"a2"},
        "question": everyone,
        "multicast": everyone,
        "spanning-tree": set(),
        "spoofed-mac": set(),
        "vlan-tag": set(),
        "unknown-mac": set(),
    }


def test_nobody_answers_for_a_gateway_that_is_outside(fabric):
    question = ethernet(ALL, A1, 0x0806, arp(1, A1, "10.1.1.11", "00:00:00:00:00:00", "10.1.1.254"))
    answers = {}
    for is_outside in (True, False):
        fabric.apply(*fabric.changed(gateway="10.1.1.254", gateway_outside=is_outside))
        wire = Wire(fabric.guests["a1"])
        wire.send(question)
        answers[is_outside] = wire.heard(ethernet(A1, GATEWAY, 0x0806, b"")[:14], 0.5)
        wire.close()
    assert answers == {True: False, False: True}
