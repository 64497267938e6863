"""VPNs with real packets: remote access, tunnels between sites, and that nothing of them is seen in clear."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace

import pytest
from vici.exception import CommandException

from manager.vpn_certificate import prove
from network.types import Opening, Traffic
from tests.unit.network.lab import ROUTERS, end, inside, ping, reaches
from tests.unit.network.sites import Site
from tests.unit.network.vpn_sites import (
    CLIENT,
    CLIENT_ADDRESS,
    END_A,
    becomes,
    remote_access,
    second_site,
    secrets_in,
    tunnel,
)

GUEST_A, GUEST_B = "10.1.1.11", "10.2.2.11"


@pytest.fixture(scope="module")
def pair(site) -> Site:
    site.specs["b"] = second_site(site)
    for spec in site.specs.values():
        site.apply(spec)
    assert reaches(site.guests["a1"], "10.1.1.1")
    assert reaches(site.guests["b1"], "10.2.2.1")
    return site


def state_of(pair, tenant) -> str:
    return pair.element.tunnels(ROUTERS[tenant]).get("s2s")


def test_a_person_reaches_the_guests_and_nobody_sees_what_is_said(pair, person, give, ear):
    give("a", remote_access("ann", "bob"))
    assert person.connect("ann", "ann-secret") == "10.9.0.2"
    assert ping(CLIENT, GUEST_A, 3) == 3
    heard = ear.heard()
    assert heard["clear"] == 0
    assert heard["sealed"] > 6
    assert ping(CLIENT, "10.1.1.1", wait=0.5) == 0, "the router itself is not for them"
    assert pair.element.state(ROUTERS["a"]) == "running"


def test_a_guest_reaches_the_person(pair, person, give):
    give("a", remote_access("ann"))
    address = person.connect("ann", "ann-secret")
    assert ping(pair.guests["a1"], address, 2) == 2


@pytest.mark.parametrize(("name", "password"), [("ann", "wrong"), ("eve", "ann-secret")])
def test_a_wrong_name_or_password_is_refused(pair, person, give, name, password):
    give("a", remote_access("ann"))
    with pytest.raises(CommandException):
        person.connect(name, password)
    assert ping(CLIENT, GUEST_A, wait=0.5) == 0


def test_a_person_refuses_a_router_that_another_authority_signed(pair, person, give):
    give("a", remote_access("ann"))
    with pytest.raises(CommandException):
        person.connect("ann", "ann-secret", prove(END_A, "VPN of a").authority)


def test_a_removed_user_is_cut_off_and_others_are_not(pair, person, give):
    give("a", remote_access("ann", "bob"))
    person.connect("bob", "bob-secret")
    give("a", remote_access("bob"))
    assert ping(CLIENT, GUEST_A, 2) == 2
    give("a", remote_access("ann"))
    assert becomes(person.is_connected, False)
    assert ping(CLIENT, GUEST_A, wait=0.5) == 0
    with pytest.raises(CommandException):
        person.connect("bob", "bob-secret")


def test_a_closed_vpn_takes_whom_openings_let_in(pair, person, give):
    give("a", remote_access("ann", open_to_all=False))
    with pytest.raises(CommandException):
        person.connect("ann", "ann-secret", patience=2)
    ports = [Traffic("udp", port, port, sources=(f"{CLIENT_ADDRESS}/32", "198.51.100.48/29")) for port in (500, 4500)]
    openings = tuple(Opening(END_A, traffic) for traffic in ports)
    give("a", remote_access("ann", open_to_all=False), openings=openings)
    assert person.connect("ann", "ann-secret")


def test_a_vpn_that_is_gone_leaves_nothing(pair, person, give):
    give("a", remote_access("ann"))
    person.connect("ann", "ann-secret")
    home = pair.element._home(ROUTERS["a"])
    assert {mode for _, mode in secrets_in(home, "ann-secret")} == {0o600}
    assert (home / "ipsec").stat().st_mode & 0o777 == 0o700
    pair.apply(pair.specs["a"])
    assert ping(CLIENT, GUEST_A, wait=0.5) == 0
    assert set(pair.daemons(ROUTERS["a"])) == {"dnsmasq", "metadata"}
    assert secrets_in(home, "ann-secret") == []


VERSIONS = [
    {},
    {"version": "ikev1"},
    {"version": "ikev2", "ike_policy": "3des-md5;modp1024", "esp_policy": "aes128-sha1", "dpd": True, "split": True},
]


@pytest.mark.parametrize("agreed", VERSIONS, ids=["plain", "ikev1", "oldest"])
def test_two_sites_reach_each_other_and_nobody_sees_what_is_said(pair, give, agreed, ear):
    give("b", tunnel("b", passive=True, **agreed))
    give("a", tunnel("a", **agreed))
    assert becomes(lambda: (state_of(pair, "a"), state_of(pair, "b")), ("Connected", "Connected"))
    assert ping(pair.guests["a1"], GUEST_B, 3) == 3
    assert ping(pair.guests["b1"], GUEST_A, 3) == 3
    assert ping(pair.guests["a1"], GUEST_B, 3, size=1400) > 0, "in pieces, once the guest knows how large they may be"
    heard = ear.heard()
    assert heard["clear"] == 0
    assert heard["sealed"] > 12


def test_much_is_carried_whole(pair, give):
    give("b", tunnel("b", passive=True))
    give("a", tunnel("a"))
    assert becomes(lambda: state_of(pair, "a"), "Connected")
    with inside(pair.guests["b1"]):
        server = socket.create_server((GUEST_B, 9000))
    server.settimeout(5)
    with inside(pair.guests["a1"]):
        client = socket.create_connection((GUEST_B, 9000), 5)
    accepted, (source, _) = server.accept()
    assert source == GUEST_A
    sent = bytes(range(256)) * 4000
    threading.Thread(target=accepted.sendall, args=(sent,)).start()
    received = b""
    while len(received) < len(sent) and (part := client.recv(65536)):
        received += part
    assert received == sent
    for one in (accepted, client, server):
        one.close()


def test_a_wrong_secret_is_refused_and_nothing_goes_in_clear(pair, give, ear):
    give("b", tunnel("b", passive=True))
    give("a", tunnel("a", secret="guessed"))
    assert becomes(lambda: state_of(pair, "a"), "Disconnected")
    assert ping(pair.guests["a1"], GUEST_B, 2, wait=0.5) == 0
    assert state_of(pair, "b") == "Disconnected"
    assert ear.heard()["clear"] == 0
    give("a", tunnel("a"))
    assert becomes(lambda: state_of(pair, "a"), "Connected")
    assert reaches(pair.guests["a1"], GUEST_B)


def test_what_was_refused_once_is_begun_again(pair, give):
    give("a", tunnel("a"))
    give("b", tunnel("b", passive=True, secret="guessed"))
    assert becomes(lambda: state_of(pair, "a"), "Disconnected", 40)
    give("b", tunnel("b", passive=True))
    time.sleep(1)
    assert state_of(pair, "a") == "Disconnected"
    pair.keep("a")
    assert becomes(lambda: state_of(pair, "a"), "Connected")


@pytest.mark.parametrize("killed", ["a", "b"])
def test_a_tunnel_is_back_after_charon_is_killed(pair, give, killed, ear):
    give("b", tunnel("b", passive=True, dpd=True))
    give("a", tunnel("a", dpd=True))
    assert becomes(lambda: state_of(pair, "a"), "Connected")
    end(pair.daemons(ROUTERS[killed])["charon-systemd"])
    assert pair.element.state(ROUTERS[killed]) == "degraded"
    assert state_of(pair, killed) is None
    assert ping(pair.guests["a1"], GUEST_B, wait=0.5) == 0
    pair.keep(killed)
    assert pair.element.state(ROUTERS[killed]) == "running"
    assert becomes(lambda: ping(pair.guests["a1"], GUEST_B, wait=0.5), 1, 90)
    assert ear.heard()["clear"] == 0


def test_a_tunnel_is_set_up_anew_when_it_is_wished(pair, give):
    give("b", tunnel("b", passive=True))
    give("a", tunnel("a"))
    assert becomes(lambda: state_of(pair, "a"), "Connected")
    before = pair.daemons(ROUTERS["a"])
    give("a", tunnel("a"))
    assert state_of(pair, "a") == "Connected"
    give("a", tunnel("a", round=1))
    assert becomes(lambda: state_of(pair, "a"), "Connected")
    assert reaches(pair.guests["a1"], GUEST_B)
    assert pair.daemons(ROUTERS["a"]) == before


def test_remote_access_and_a_tunnel_do_not_disturb_each_other(pair, person, give):
    both = replace(remote_access("ann"), tunnels=tunnel("a").tunnels)
    give("b", tunnel("b", passive=True))
    give("a", both)
    assert becomes(lambda: state_of(pair, "a"), "Connected")
    person.connect("ann", "ann-secret")
    give("a", remote_access("ann"))
    assert ping(CLIENT, GUEST_A, 2) == 2
    assert ping(pair.guests["a1"], GUEST_B, wait=0.5) == 0
