"""Public addresses and rules of a virtual router with real packets: both ways, after changes and after removal."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from network.types import Forwarding, Opening, RouterSpec, StaticNat, Traffic
from tests.unit.network.lab import inside, ping, reaches, sh
from tests.unit.network.routers import OUTSIDE, revised
from tests.unit.network.sites import PUBLIC, Site

pytestmark = pytest.mark.usefixtures("running")

FIRST, SECOND = "198.51.100.31", "198.51.100.32"
SOON = 1.3
WEB = Traffic("tcp", 80, 80)


def changed(site: Site, **rules) -> RouterSpec:
    """Tenant a's router with two more addresses and these rules."""
    spec = revised(site.specs["a"], addresses=(FIRST, SECOND), **rules)
    site.apply(spec)
    return spec


@contextmanager
def serving(namespace: str, port: int) -> Iterator[socket.socket]:
    with inside(namespace):
        server = socket.create_server(("", port))
    with closing(server):
        server.settimeout(10)
        yield server


def connected(namespace: str, address: str, port: int, within: float = SOON) -> socket.socket | None:
    with inside(namespace):
        client = socket.socket()
    client.settimeout(within)
    if client.connect_ex((address, port)) == 0:
        return client
    client.close()
    return None


def source_seen(server: socket.socket, namespace: str, address: str, port: int) -> str:
    """The address that `server` sees when `namespace` connects to address and port; '' when it hears nothing."""
    client = connected(namespace, address, port)
    if client is None:
        return ""
    with closing(client):
        accepted, (source, _) = server.accept()
        accepted.close()
        return str(source)


def flows(client: socket.socket, server: socket.socket) -> bool:
    """Whether a byte sent on the one connection arrives at the other end."""
    client.send(b"x")
    server.settimeout(SOON)
    try:
        return server.recv(1) == b"x"
    except TimeoutError:
        return False


def test_a_forwarded_port_is_closed_until_it_is_opened_and_after_it_is_revoked(site, addressed):
    forwardings = (Forwarding(FIRST, "tcp", 80, 80, "10.1.1.11", 8080),)
    with serving(addressed["a1"], 8080) as server:
        changed(site, forwardings=forwardings)
        assert reaches(addressed["a1"], OUTSIDE)
        assert source_seen(server, PUBLIC, FIRST, 80) == ""
        changed(site, forwardings=forwardings, openings=(Opening(FIRST, WEB),))
        assert source_seen(server, PUBLIC, FIRST, 80) == OUTSIDE
        for address, port in ((FIRST, 8080), (SECOND, 80), ("198.51.100.10", 80)):
            assert source_seen(server, PUBLIC, address, port) == ""
        elsewhere = Opening(FIRST, replace(WEB, sources=("203.0.113.0/24",)))
        changed(site, forwardings=forwardings, openings=(elsewhere,))
        assert source_seen(server, PUBLIC, FIRST, 80) == ""
        changed(site, openings=(Opening(FIRST, WEB),))
        assert source_seen(server, PUBLIC, FIRST, 80) == ""


def test_a_forwarding_may_be_for_some_sources_only(site, addressed):
    with serving(addressed["a1"], 80) as server:
        for sources, seen in ((("198.51.100.0/24",), OUTSIDE), (("203.0.113.0/24",), "")):
            forwarding = Forwarding(FIRST, "tcp", 80, 80, "10.1.1.11", 80, sources)
            changed(site, forwardings=(forwarding,), openings=(Opening(FIRST, WEB),))
            assert source_seen(server, PUBLIC, FIRST, 80) == seen


def test_ports_of_a_range_keep_their_order(site, addressed):
    openings = (Opening(FIRST, Traffic("tcp", 9000, 9010)),)
    changed(site, forwardings=(Forwarding(FIRST, "tcp", 9000, 9010, "10.1.1.12", 7000),), openings=openings)
    with serving(addressed["a2"], 7004) as server:
        assert source_seen(server, PUBLIC, FIRST, 9004) == OUTSIDE
        assert source_seen(server, PUBLIC, FIRST, 9005) == ""
    changed(site, forwardings=(Forwarding(FIRST, "tcp", 9000, 9010, "10.1.1.12", 9000),), openings=openings)
    with serving(addressed["a2"], 9007) as server:
        assert source_seen(server, PUBLIC, FIRST, 9007) == OUTSIDE


def test_static_nat_holds_both_ways_until_it_is_taken_away(site, addressed):
    nats, openings = (StaticNat(SECOND, "10.1.1.11"),), (Opening(SECOND, Traffic("all")),)
    changed(site, static_nats=nats)
    with serving(addressed["a1"], 2222) as server, serving(PUBLIC, 9100) as outside:
        assert source_seen(server, PUBLIC, SECOND, 2222) == ""
        assert source_seen(outside, addressed["a1"], OUTSIDE, 9100) == SECOND
        assert source_seen(outside, addressed["a2"], OUTSIDE, 9100) == "198.51.100.10"
        changed(site, static_nats=nats, openings=openings)
        assert source_seen(server, PUBLIC, SECOND, 2222) == OUTSIDE
        assert ping(PUBLIC, SECOND) == 1
        changed(site, openings=openings)
        assert source_seen(server, PUBLIC, SECOND, 2222) == ""
        assert source_seen(outside, addressed["a1"], OUTSIDE, 9100) == "198.51.100.10"


def test_a_guest_reaches_its_own_and_its_neighbours_public_address(site, addressed):
    changed(
        site,
        forwardings=(Forwarding(FIRST, "tcp", 80, 80, "10.1.1.11", 8080),),
        static_nats=(StaticNat(SECOND, "10.1.1.12"),),
        openings=(Opening(FIRST, WEB), Opening(SECOND, Traffic("tcp", 2222, 2222))),
    )
    with serving(addressed["a1"], 8080) as web, serving(addressed["a2"], 2222) as shell:
        for guest in ("a1", "a2"):
            assert source_seen(web, addressed[guest], FIRST, 80) == "10.1.1.1"
            assert source_seen(shell, addressed[guest], SECOND, 2222) == "10.1.1.1"
        # Another tenant comes as any stranger does, by its own public address.
        assert reaches(addressed["b1"], OUTSIDE)
        assert source_seen(web, addressed["b1"], FIRST, 80) == "198.51.100.20"
        assert source_seen(web, addressed["b1"], FIRST, 8080) == ""


def test_guests_may_leave_unless_a_rule_denies_it(site, addressed):
    with serving(PUBLIC, 25) as mail, serving(PUBLIC, 9200) as other:
        changed(site, egress=(Traffic("tcp", 25, 25, sources=("10.1.1.11/32",)),))
        assert source_seen(mail, addressed["a1"], OUTSIDE, 25) == ""
        assert source_seen(mail, addressed["a2"], OUTSIDE, 25) == "198.51.100.10"
        assert source_seen(other, addressed["a1"], OUTSIDE, 9200) == "198.51.100.10"
        changed(site)
        assert source_seen(mail, addressed["a1"], OUTSIDE, 25) == "198.51.100.10"


def test_guests_may_not_leave_unless_a_rule_allows_it(site, addressed):
    with serving(PUBLIC, 9300) as allowed, serving(PUBLIC, 9301) as other:
        changed(site, egress_open=False)
        assert source_seen(allowed, addressed["a1"], OUTSIDE, 9300) == ""
        assert ping(addressed["a1"], OUTSIDE, wait=0.3) == 0
        assert ping(addressed["a1"], "10.1.1.1") == 1
        rule = Traffic("tcp", 9300, 9300, destinations=(f"{OUTSIDE}/32",))
        changed(site, egress_open=False, egress=(rule, Traffic("icmp", icmp_type=8)))
        assert source_seen(allowed, addressed["a1"], OUTSIDE, 9300) == "198.51.100.10"
        assert source_seen(other, addressed["a1"], OUTSIDE, 9301) == ""
        assert ping(addressed["a1"], OUTSIDE) == 1
        changed(site, egress_open=False, egress=(replace(rule, destinations=("203.0.113.1/32",)),))
        assert source_seen(allowed, addressed["a1"], OUTSIDE, 9300) == ""


def test_connections_survive_changes_and_end_with_the_rule_that_allowed_them(site, addressed):
    forwardings = (Forwarding(FIRST, "tcp", 80, 80, "10.1.1.11", 8080),)
    web = Opening(FIRST, WEB)
    changed(site, forwardings=forwardings, openings=(web,))
    with serving(addressed["a1"], 8080) as server, serving(PUBLIC, 9400) as outside:
        inward = connected(PUBLIC, FIRST, 80)
        served, _ = server.accept()
        outward = connected(addressed["a2"], OUTSIDE, 9400)
        heard, _ = outside.accept()
        more = (*forwardings, Forwarding(FIRST, "tcp", 81, 81, "10.1.1.12", 81))
        changed(site, forwardings=more, openings=(web, Opening(SECOND, Traffic("icmp"))), egress=(Traffic("udp"),))
        assert flows(inward, served)
        assert flows(served, inward)
        assert flows(outward, heard)
        changed(site, forwardings=forwardings, egress=(Traffic("tcp", 9400, 9400),))
        assert not flows(inward, served)
        assert not flows(outward, heard)
        for one in (inward, served, outward, heard):
            one.close()


def test_an_address_answers_pings_where_icmp_is_opened(site, addressed):
    changed(site)
    assert ping(PUBLIC, FIRST, wait=0.3) == 0
    changed(site, openings=(Opening(FIRST, Traffic("icmp", icmp_type=8, icmp_code=0)),))
    assert ping(PUBLIC, FIRST) == 1
    assert ping(PUBLIC, SECOND, wait=0.3) == 0


def test_an_address_that_moves_to_another_router_is_found_there_at_once(site, addressed):
    opened = {"openings": (Opening(FIRST, Traffic("icmp")),), "static_nats": (StaticNat(FIRST, "10.1.1.11"),)}
    assert reaches(addressed["b1"], OUTSIDE)
    changed(site, **opened)
    assert reaches(PUBLIC, FIRST)
    site.apply(site.specs["a"])
    assert ping(PUBLIC, FIRST, wait=0.3) == 0
    site.apply(revised(site.specs["b"], addresses=(FIRST,), **opened))
    assert ping(PUBLIC, FIRST, count=3, wait=0.5) >= 2
    assert reaches(addressed["b1"], OUTSIDE)
    assert reaches(addressed["a1"], OUTSIDE)


def test_a_further_address_of_a_guest_is_its_own_and_nobody_elses(site, addressed):
    ns = addressed["a1"]
    sh("ip", "-n", ns, "address", "add", "10.1.1.50/24", "dev", "eth0")
    lab = site.lab
    views = [view for view in site.views if view.id == "net-a"]
    assert ping(addressed["a2"], "10.1.1.50", wait=0.5) == 0
    allowed = [
        replace(view, generation=2, nics=tuple(replace(one, further=("10.1.1.50",)) if one.id == "nic-a1" else one
                                               for one in view.nics)) for view in views
    ]  # fmt: skip
    try:
        lab.apply([*allowed, *(view for view in site.views if view.id != "net-a")])
        assert reaches(addressed["a2"], "10.1.1.50")
        changed(site, static_nats=(StaticNat(FIRST, "10.1.1.50"),), openings=(Opening(FIRST, Traffic("icmp")),))
        assert reaches(PUBLIC, FIRST)
    finally:
        lab.apply(site.views)
    assert ping(addressed["a2"], "10.1.1.50", wait=0.5) == 0
