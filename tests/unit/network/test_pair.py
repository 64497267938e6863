"""Two redundant routers with real packets: one forwards, the other takes over, and connections go on."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from random import Random

import pytest

from network.names import router_namespace
from network.reachability.values import Place
from network.types import Peer
from tests.unit.network.ears import Asked, Ears, mark_of
from tests.unit.network.lab import Wire, arp, end, ethernet, inside, ipv4, ping, reaches, sh, udp
from tests.unit.network.pairs import ENDS, HOSTS, IDS, OWN, PUBLIC, SWITCH, PairSite, build
from tests.unit.network.routers import OUTSIDE
from tests.unit.network.streams import Stream
from tests.unit.network.test_router_reach import BEYOND, CASES, as_there, cases, judged
from tests.unit.network.views import MACS
from tests.unit.network.worlds import World, place

LONGEST_GAP = 3.0


@pytest.fixture(scope="module")
def site(lab) -> PairSite:
    return build(lab)


@pytest.fixture
def both(site):
    """Both run, and the first is primary."""
    for half in ("first", "second"):
        site.apply(half)
    site.tell()
    if site.roles() != ["PRIMARY", "BACKUP"]:
        site.remove("second")
        assert site.become("PRIMARY", None)
        site.apply("second")
    assert site.become("PRIMARY", "BACKUP")
    assert reaches(site.guests["a1"], OUTSIDE)
    assert reaches(site.guests["a2"], OUTSIDE)
    return site


def _streams(site, waiting="second"):
    """Connections by all ways, whose states the waiting router has."""
    made = [
        Stream(site.guests["a1"], PUBLIC, (OUTSIDE, 8443), (OUTSIDE, 8443)),
        Stream(site.guests["a2"], PUBLIC, (OUTSIDE, 8444), (OUTSIDE, 8444)),
        Stream(PUBLIC, site.guests["a1"], ("10.1.1.11", 22), (OWN, 2222)),
    ]
    assert all(_has_state(waiting, port) for port in (8443, 8444, 2222))
    return made


def _has_state(half, port, within=20.0):
    """Whether the router knows the connection to the port as established, with its translation."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        told = sh("ip", "netns", "exec", router_namespace(IDS[half]), "cat", "/proc/net/nf_conntrack")
        if any("ESTABLISHED" in line and f"dport={port}" in line and OWN in line for line in told.splitlines()):
            return True
        time.sleep(0.05)
    return False


def _survive(streams):
    try:
        assert all(stream.goes_on() for stream in streams)
    finally:
        for stream in streams:
            stream.close()
    assert max(stream.gap for stream in streams) < LONGEST_GAP, [stream.gap for stream in streams]


def _die(site, half):
    """All processes of the router at once, and its devices stay behind: as bad as it gets without the host."""
    namespace = router_namespace(IDS[half])
    sh("ip", "-n", namespace, "link", "set", "pair0", "down")


def test_connections_go_on_when_the_primary_falls_silent(both):
    streams = _streams(both)
    _die(both, "first")
    assert both.become("FAULT", "PRIMARY")
    _survive(streams)
    both.apply("first")
    assert both.become("BACKUP", "PRIMARY")


def test_each_is_made_anew_in_turn_without_a_gap(both):
    streams = _streams(both)
    for half, meanwhile, after in (
        ("second", ("PRIMARY", None), ("PRIMARY", "BACKUP")),
        ("first", (None, "PRIMARY"), ("BACKUP", "PRIMARY")),
    ):
        both.remove(half)
        assert both.become(*meanwhile)
        both.apply(half)
        assert both.become(*after)
    _survive(streams)


def test_connections_go_on_when_the_host_of_the_primary_is_cut_off(both):
    streams = _streams(both)
    for port in ("eth0", "public"):
        sh("ip", "-n", both.host("first").ns, "link", "set", port, "down")
    try:
        assert both.become("PRIMARY", "PRIMARY")
        _survive(streams)
    finally:
        for port in ("eth0", "public"):
            sh("ip", "-n", both.host("first").ns, "link", "set", port, "up")


def test_the_one_that_waits_is_not_heard(both):
    waiting = router_namespace(IDS["second"])
    with inside(waiting):
        assert ping(waiting, "10.1.1.11", wait=0.5) == 0
        assert ping(waiting, OUTSIDE, wait=0.5) == 0
    wire = Wire(SWITCH, "p2")  # of the host of the second: on the others its primary tells of the same MAC address
    mac = both.specs["second"].public.mac
    with closing(wire):
        both.apply("second")
        sh("ip", "-n", waiting, "link", "set", "dev", "eth1", "address", mac)
        assert not wire.heard(bytes.fromhex(mac.replace(":", "")), 0.7)


def test_states_of_connections_are_on_both(both):
    streams = _streams(both)
    assert all(stream.goes_on() for stream in streams)
    for stream in streams:
        stream.close()


def test_guests_reach_neither_end_of_the_line(both):
    """Whatever a guest sends: as itself, in the name of the other end, VRRP or states."""
    target, peer = ENDS
    wire = Wire(router_namespace(IDS["first"]), "pair0")
    guest = Wire(both.guests["a1"])
    for source, mac in ((both.others[0].address, MACS["1"]), (peer.address, peer.mac), (peer.address, MACS["1"])):
        mark = b"planted-frame"
        guest.send(ethernet(target.mac, mac, 0x0800, ipv4(source, target.address, 112, mark + b"\0")))
        guest.send(ethernet(target.mac, mac, 0x0800, udp(source, target.address, (3780, 3780), mark + b"\0")))
    assert not wire.heard(b"planted-frame", 0.7)
    wire.close()
    guest.close()


def test_a_dead_keepalived_is_told_and_started_again(both):
    for pid in sh("ip", "netns", "pids", router_namespace(IDS["second"])).split():
        if "keepalived" in sh("ps", "-o", "args=", "-p", pid, check=False):
            end(int(pid))
    with inside(both.host("second").ns):
        failed = [check for check in both.elements["second"].check(both.specs["second"]) if not check.success]
    assert [check.name for check in failed] == ["redundancy"]
    both.apply("second")
    assert both.become("PRIMARY", "BACKUP")


def test_the_one_that_forwards_does_what_the_model_says(both):
    """A quarter of PILEUS_REAL_CASES questions."""
    plain, chance, asked, passed = dict(both.specs), Random(41), 0, 0
    with Ears({f"nic-{name}": ns for name, ns in both.guests.items()} | {BEYOND: PUBLIC}) as ears:
        while asked < CASES // 4:
            cloud = pair_of(chance, both)
            assert both.become("PRIMARY", "BACKUP", within=25)
            one_round = cases(chance, cloud, 10000 + asked)
            passed += judged(ears, one_round)
            asked += len(one_round)
    assert asked / 10 < passed < asked
    both.specs.update(plain)


def pair_of(chance: Random, site: PairSite) -> World:
    """Random rules, which both routers and all hosts are told; the first router forwards."""
    found = place(chance, "a", list(site.others), site.gateway)
    while found.view.gateway_outside:
        found = place(chance, "a", list(site.others), site.gateway)
    for half, there in site.specs.items():
        leg = replace(as_there(found.router, there).legs[0], nic=there.legs[0].nic)
        site.specs[half] = replace(as_there(found.router, there), legs=(leg,), pair=there.pair)
        site.apply(half)
    own = {one.id: one.groups for one in found.view.nics}
    policies = {name: getattr(found.view, name) for name in ("acl", "has_groups", "groups", "egress_open")}
    seen = {}
    for host in site.lab.hosts:
        view = replace(site.view(host.id), **policies)
        view = replace(view, nics=tuple(replace(one, groups=own.get(one.id, ())) for one in view.nics))
        seen[host.id] = view
        with inside(host.ns):
            host.switch.apply([view])
    every = tuple(Peer(host.id, host.address) for host in site.lab.hosts)
    whole = replace(seen[HOSTS["first"]], peers=every)
    return World([Place(whole, site.specs["first"], turn="The first router forwards.")])


def test_nobody_stands_in_for_the_gateway_that_two_hosts_have(both):
    """S-28: a guest speaks as the gateway, as an end of the line or as a third router, on whatever host it is."""
    places = {f"nic-{name}": ns for name, ns in both.guests.items()}
    places |= {half: router_namespace(IDS[half]) for half in HOSTS}
    asked, number = [], 0
    for sender, victim in (("a1", "a2"), ("a2", "a1")):
        own, target = (next(one for one in both.others if one.id == f"nic-{name}") for name in (sender, victim))
        for mac, address in ((both.gateway.mac, both.gateway.address), (own.mac, both.gateway.address),
                             (ENDS[1].mac, ENDS[1].address), (own.mac, ENDS[0].address)):  # fmt: skip
            for to in (target.mac, both.gateway.mac, "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:12"):
                mark = mark_of(number)
                number += 3
                asked += [
                    Asked(f"nic-{sender}", ethernet(to, mac, 0x0806, arp(2, mac, address, to, address) + mark)),
                    Asked(f"nic-{sender}", ethernet(to, mac, 0x0800, ipv4(address, "224.0.0.18", 112, mark_of(
                        number - 1) + b"\0"))),
                    Asked(f"nic-{sender}", ethernet(to, mac, 0x0800, udp(address, target.address, (3780, 3780), mark_of(
                        number - 2) + b"\0"))),
                ]  # fmt: skip
    with Ears(places) as ears:
        assert {one for heard in ears.put(asked) for one in heard} == set()
        honest = ethernet(both.others[1].mac, both.others[0].mac, 0x0800, udp(
            both.others[0].address, both.others[1].address, (9, 9), mark_of(number) + b"\0"))  # fmt: skip
        assert "nic-a2" in ears.put([Asked("nic-a1", honest, {"nic-a2"})])[0]
    assert both.become("PRIMARY", "BACKUP", within=25)
