"""Networks over VXLAN beside one over GRE, with real packets between hosts."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from network.errors import InvalidViewError
from network.flows import check_view
from network.overlays import OVERLAYS, overlay_named, uri
from tests.unit.network import lab as lab_module
from tests.unit.network.fabric import A1, A2, datagram, frames_of
from tests.unit.network.lab import Wire, ethernet, ping, reaches
from tests.unit.network.views import network, nic

VXLAN_PORT = 4789
FULL = {"gre": 1430, "vxlan": 1422}
"""What a ping carries in a packet of the guests' MTU."""


@pytest.fixture
def guests(fabric):
    """Tenant a's network goes over VXLAN, tenant b's stays on GRE; both are between the same hosts."""
    views = fabric.changed(overlay="vxlan", mtu=1450)
    fabric.apply(*views)
    # The first packet through a new tunnel waits for the neighbour on the underlay.
    assert all(reaches(fabric.guests[f"{tenant}1"], "10.1.1.12") for tenant in ("a", "b"))
    yield fabric.guests
    fabric.apply()


def test_guests_reach_their_own_over_either(guests):
    for tenant in ("a", "b"):
        assert reaches(guests[f"{tenant}1"], "10.1.1.12")
        assert reaches(guests[f"{tenant}2"], "10.1.1.13")


def test_the_underlay_carries_vxlan_with_the_networks_number(fabric, guests):
    underlay, guest = Wire(fabric.lab.underlay, f"{lab_module.PREFIX}u2"), Wire(guests["a1"])
    guest.send(ethernet(A2, A1, 0x0800, datagram(b"look inside")))
    frame = next(frame for frame in frames_of(underlay, b"look inside") if b"look inside" in frame)
    assert (frame[14 + 9], struct.unpack("!H", frame[36:38])[0]) == (17, VXLAN_PORT)
    assert struct.unpack("!II", frame[42:50]) == (0x08000000, 1001 << 8)
    underlay.close()
    guest.close()


def test_what_a_tunnel_costs_is_what_the_guests_mtu_lacks(guests):
    assert ping(guests["a1"], "10.1.1.12", size=FULL["vxlan"]) == 1
    assert ping(guests["a1"], "10.1.1.12", size=FULL["vxlan"] + 1) == 0
    assert ping(guests["b1"], "10.1.1.12", size=FULL["gre"]) == 1


def test_a_network_returns_to_gre_and_no_tunnel_is_left(fabric, guests):
    kinds = {tunnel.kind for tunnel in fabric.lab.hosts[0].switch._tunnels().values()}
    fabric.apply()
    left = {tunnel.kind for tunnel in fabric.lab.hosts[0].switch._tunnels().values()}
    assert (kinds, left) == ({"gre", "vxlan"}, {"gre"})
    assert reaches(guests["a1"], "10.1.1.12")


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_key_is_one_of_its_overlay(name):
    trunk = "br-phy" if name == "vlan" else ""
    view = network("a", OVERLAYS[name].largest_key, [nic("a", "1", "host-1")], overlay=name, trunk=trunk)
    check_view(view)
    with pytest.raises(InvalidViewError, match="which is not in 1 to"):
        check_view(replace(view, key=view.key + 1))


def test_the_names_of_cloudstack():
    assert [overlay_named(name) for name in ("gre", "VXLAN", "VLAN", "STT")] == ["gre", "vxlan", "vlan", None]
    assert [uri(*one) for one in (("gre", 7), ("vxlan", 8), ("vlan", 9), ("vlan", 0))] == [
        "gre://7", "vxlan://8", "vlan://9", "vlan://untagged",
    ]  # fmt: skip


def test_packets_that_came_while_the_tunnel_was_away_do_not_keep_it_shut(fabric):
    views = fabric.changed(overlay="vxlan", mtu=1450)
    for _ in range(20):
        fabric.apply(*views)
        assert reaches(fabric.guests["a1"], "10.1.1.12")
        fabric.apply()
        assert reaches(fabric.guests["a1"], "10.1.1.12")
