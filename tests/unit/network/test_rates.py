"""Rates of NICs, by packets that are counted where they arrive."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tests.unit.network.fabric import A1, A2, datagram
from tests.unit.network.lab import Wire, ethernet, inside

pytestmark = pytest.mark.usefixtures("as_it_was")
FRAMES, LENGTH = 600, 1000
BURST_BYTES = 500_000 // 8


def arrived(fabric) -> int:
    """How many of a burst of frames from a1, on the first host, reach a2, on the second."""
    sender, receiver = Wire(fabric.guests["a1"]), Wire(fabric.guests["a2"])
    frame = ethernet(A2, A1, 0x0800, datagram(b"counted".ljust(LENGTH, b".")))
    count = 0
    try:
        for _ in range(FRAMES // 20):
            for _ in range(20):
                sender.send(frame)
            while receiver.heard(b"counted", 0.02):
                count += 1
        while receiver.heard(b"counted", 0.2):
            count += 1
    finally:
        sender.close()
        receiver.close()
    return count


def limited(fabric, nic_id: str, rate: int):
    view = fabric.views[0]
    nics = tuple(replace(nic, rate=rate) if nic.id == nic_id else nic for nic in view.nics)
    return [replace(view, nics=nics), *fabric.views[1:]]


def meters(host) -> str:
    return host.ofctl("dump-meters")


@pytest.mark.parametrize(("nic_id", "number"), [("nic-a1", 0), ("nic-a2", 1)])
def test_a_nic_has_its_rate_and_no_more(fabric, nic_id, number):
    """The one that sends, then the one that receives."""
    host = fabric.lab.hosts[number]
    assert arrived(fabric) == FRAMES
    began = time.monotonic()
    views = limited(fabric, nic_id, 1)
    fabric.apply(*views)
    count = arrived(fabric)
    allowed = BURST_BYTES + (time.monotonic() - began) * 1_000_000 / 8
    assert BURST_BYTES // 2 / LENGTH < count <= allowed / LENGTH + 2
    assert meters(host).count("rate=1000") == 2
    with inside(host.ns):
        assert host.switch.drift(views) == []
    fabric.apply(*limited(fabric, nic_id, 900))
    assert meters(host).count("rate=900000") == 2
    assert arrived(fabric) == FRAMES
    fabric.apply()
    assert "meter=" not in meters(host)


def test_rates_come_back_after_a_restart_of_the_switch(fabric):
    host, views = fabric.lab.hosts[0], limited(fabric, "nic-a1", 1)
    fabric.apply(*views)
    host.kill("ovs-vswitchd")
    host.start_vswitchd()
    assert "meter=" not in meters(host)
    with inside(host.ns):
        host.switch.apply(views)
        host.switch.apply(views, whole=True)
        assert host.switch.drift(views) == []
    assert meters(host).count("rate=1000") == 2


def test_meters_that_a_killed_agent_left_do_not_stand_in_the_way(fabric):
    host, views = fabric.lab.hosts[0], limited(fabric, "nic-a1", 1)
    for number in range(1, 40):
        host.ofctl("add-meter", f"meter={number},kbps,band=type=drop,rate=77")
    fabric.apply(*views)
    assert (meters(host).count("rate=1000"), meters(host).count("meter=")) == (2, 2)
    with inside(host.ns):
        assert host.switch.drift(views) == []
