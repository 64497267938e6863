"""Model and interpreter held against Open vSwitch itself: its own trace of flows, and real packets.

PILEUS_REAL_CASES is how many questions are put to real packets.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from ipaddress import IPv4Address
from random import Random

import pytest

from network.flow_trace.connections import Connections
from network.flow_trace.fabric import Site, packet_of
from network.probe import Frame
from network.reachability.values import Leg
from tests.unit.network.ears import Asked, Ears, mark_of
from tests.unit.network.lab import inside, reaches
from tests.unit.network.packets import wire_form
from tests.unit.network.test_reachability import ask
from tests.unit.network.worlds import World, guest, leg, place

CASES = int(os.environ.get("PILEUS_REAL_CASES", "160"))
TOGETHER = 40
"""Questions that are put to one set of rules."""
TRACED = 40
ROW = re.compile(r"^\s*(\d+)\. (?:.*, )?priority (\d+), cookie 0x([0-9a-f]+)", re.MULTILINE)
"""With a cookie, as all flows of ours have: those of the bridge that a tunnel's packets leave by have none."""
MACS = ["02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03", "02:00:00:00:00:ff", "02:00:00:00:00:77"]
ADDRESSES = ["10.1.1.11", "10.1.1.12", "10.1.1.13", "10.1.1.1", "203.0.113.9", "169.254.169.254"]


@pytest.fixture(scope="module")
def cast(lab):
    """Two tenants with the same addresses; a NIC of each of their three guests and routers is a namespace."""
    hosts = {"a": ("host-1", "host-2", "host-1", "host-3"), "b": ("host-2", "host-2", "host-3", "host-1")}
    found = {t: ([guest(t, n, hosts[t][n - 1]) for n in (1, 2, 3)], leg(t, hosts[t][3])) for t in hosts}
    guests = {one.id: lab.add_guest(one.id[4:], one) for own, way in found.values() for one in (*own, way)}
    cloud = cloud_of(Random(1), found)
    lab.apply(cloud.views)
    assert reaches(guests["nic-a1"], "10.1.1.13")
    return found, guests


def cloud_of(chance: Random, found) -> World:
    return World([place(chance, tenant, *nics) for tenant, nics in found.items()])


def random_frame(chance: Random) -> Frame:
    protocol = chance.choice((6, 17, 1, 47))
    return Frame(
        chance.choice(MACS), chance.choice(MACS), chance.choice(ADDRESSES), chance.choice(ADDRESSES), protocol,
        chance.choice((67, 68, 5000)), chance.choice((67, 68, 22, 80)), chance.choice((8, 13)),
    )  # fmt: skip


def mac_text(value: int) -> str:
    return ":".join(f"{value:012x}"[position : position + 2] for position in range(0, 12, 2))


def address_text(value: int) -> str:
    return str(IPv4Address(value))


def matched(host, packet) -> list[tuple[int, int, int]]:
    """Table, priority and cookie of the flows that the packet meets, as ovs-appctl tells."""
    forms = {"dl_src": mac_text, "dl_dst": mac_text, "nw_src": address_text, "nw_dst": address_text}
    kind = {6: "tcp", 17: "udp"}.get(packet["nw_proto"], "")
    text = ",".join(
        f"{name.replace('tp_', f'{kind}_')}={forms.get(name, str)(value)}" for name, value in packet.items()
    )
    shown = host.appctl("ofproto/trace", "br-int", text)
    return sorted((int(t), int(p), int(c, 16)) for t, p, c in ROW.findall(shown))


def told(site: Site, met: list[tuple[int, int, int]]) -> list[tuple[int, int, list[str]]]:
    """What flows do in the place of their cookies: of two rules that allow the same either may be met."""
    does: dict[tuple[int, int, int], set[str]] = {}
    for row in site.bridge.rows.values():
        does.setdefault((row.table, row.priority, row.cookie), set()).add(repr(row.actions))
    return sorted((table, priority, sorted(does[table, priority, mark])) for table, priority, mark in met)


def test_open_vswitch_traces_as_the_interpreter_does(lab, cast):
    found, _ = cast
    chance, compared = Random(11), 0
    for _ in range(2):
        cloud = cloud_of(chance, found)
        lab.apply(cloud.views)
        for host in lab.hosts:
            with inside(host.ns):
                wanted, there, numbers = host.switch.sets(cloud.views)
            site = Site.of(there, numbers)
            assert {row[:4] for row in site.bridge.rows.values()} == {
                row[:4] for row in Site.of(wanted, numbers).bridge.rows.values()
            }
            for _ in range(TRACED // 4):
                packet = packet_of(random_frame(chance))
                port = chance.choice([*site.nics, *site.tunnels])
                packet |= {"in_port": port}
                if port in site.tunnels:
                    packet |= {"tun_id": chance.choice((1001, 1002, 1003))}
                site.connections = Connections()
                mine = [(row.table, row.priority, row.cookie) for row in site.enter(packet, port).rows]
                assert told(site, mine) == told(site, matched(host, packet)), packet
                compared += 1
    assert compared >= TRACED


def test_real_packets_go_where_the_model_says(lab, cast):
    found, guests = cast
    chance, checked, passed = Random(12), 0, 0
    with Ears(guests) as ears:
        while checked < CASES:
            cloud = cloud_of(chance, found)
            lab.apply(cloud.views)
            legs = [one for _ in range(TOGETHER) for one in ask(chance, cloud).trail.legs if is_told_apart(one)]
            asked = [asked_of(one, checked + number) for number, one in enumerate(legs)]
            for one, question, hearers in zip(legs, asked, ears.put(asked), strict=True):
                assert hearers - speakers(one) == question.wanted, one
            checked += len(legs)
            passed += sum(one.allowed for one in legs)
    assert CASES / 10 < passed < checked


def is_told_apart(one: Leg) -> bool:
    """A protocol without ports or identifiers has one connection for each pair, and earlier questions opened it."""
    return one.frame.protocol in (1, 6, 17)


def asked_of(one: Leg, number: int) -> Asked:
    """As a connection of its own, so that no other one's answers belong to it."""
    frame = replace(one.frame, source_port=10000 + number % 50000)
    return Asked(one.sender.id, wire_form(frame, mark_of(number)), {one.receiver.id} if one.allowed else set())


def speakers(one: Leg) -> set[str]:
    """Who sent it and whose source it bears: answers bring them what it said."""
    return {one.sender.id, *(nic.id for nic in one.view.nics if nic.address == one.frame.source)}
