"""A router that is made anew takes over the connections of the one before it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from network.types import Forwarding, Opening, StaticNat, Traffic
from tests.unit.network.lab import ROUTERS, inside
from tests.unit.network.routers import OUTSIDE
from tests.unit.network.sites import PUBLIC
from tests.unit.network.streams import Stream

pytestmark = pytest.mark.usefixtures("running")

ETH_P_ARP = 0x0806
OWN, FURTHER = "198.51.100.10", "198.51.100.11"


@contextmanager
def stream(*ends) -> Iterator[Stream]:
    made = Stream(*ends)
    try:
        assert made.goes_on()
        yield made
    finally:
        made.close()


@pytest.fixture
def published(site, addressed):
    """Port 2222 of the router's own address leads to a guest's 22, and another address stands for another guest."""
    spec = replace(
        site.specs["a"],
        addresses=(FURTHER,),
        forwardings=(Forwarding(OWN, "tcp", 2222, 2222, "10.1.1.11", 22),),
        static_nats=(StaticNat(FURTHER, "10.1.1.12"),),
        openings=(Opening(OWN, Traffic("tcp", 2222, 2222)), Opening(FURTHER, Traffic("tcp", 80, 80))),
    )
    site.apply(spec)
    yield spec
    site.apply(site.specs["a"])


def test_connections_go_on_through_a_router_that_is_made_anew(site, published):
    """As restartNetwork with cleanup does it: no state of connections is left, and both ends only hear nothing."""
    ways = {
        "source NAT": (site.guests["a1"], PUBLIC, (OUTSIDE, 8443), (OUTSIDE, 8443)),
        "port forwarding": (PUBLIC, site.guests["a1"], ("10.1.1.11", 22), (OWN, 2222)),
        "static NAT": (PUBLIC, site.guests["a2"], ("10.1.1.12", 80), (FURTHER, 80)),
    }
    for way, ends in ways.items():
        with stream(*ends) as one:
            site.remove(ROUTERS["a"])
            site.apply(published)
            assert one.goes_on(), way


def test_a_connection_that_is_not_allowed_any_more_ends_with_its_router(site, published):
    with stream(PUBLIC, site.guests["a1"], ("10.1.1.11", 22), (OWN, 2222)) as one:
        site.remove(ROUTERS["a"])
        site.apply(replace(published, openings=()))
        assert not one.goes_on(within=3)


def test_the_public_network_is_told_where_all_its_addresses_are_now(site, published):
    """The router may have been on another host, to which all send until they hear of this one."""
    site.remove(ROUTERS["a"])
    with inside(PUBLIC), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP)) as ear:
        ear.bind(("eth0", ETH_P_ARP))
        ear.settimeout(20)
        site.apply(published)
        told = set()
        while told != {OWN, FURTHER}:
            frame = ear.recv(100)
            sender, target = frame[28:32], frame[38:42]
            if sender == target and frame[6:12] == bytes.fromhex(published.public.mac.replace(":", "")):
                told.add(socket.inet_ntoa(sender))
