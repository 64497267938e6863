"""Networks that are VLANs of the underlay, beside one of GRE, with real packets between hosts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from network.errors import InvalidViewError, SwitchRefusedError
from network.flows import check_view
from tests.unit.network import lab as lab_module
from tests.unit.network.fabric import A1, A2, ALL, FOREIGN, datagram, deliver, forged, frames_of
from tests.unit.network.lab import Wire, ethernet, inside, ping, reaches, udp
from tests.unit.network.views import network, nic

VLANS = {"a": 101, "b": 102}
TRUNK = "br-phy"


def vlan_of(view, key: int, **options):
    return replace(view, overlay="vlan", key=key, trunk=TRUNK, **options)


def apply(fabric, *tenants: str) -> None:
    """The networks of these tenants as VLANs, the others over GRE."""
    fabric.apply(*(vlan_of(view, VLANS[view.id[-1]]) if view.id[-1] in tenants else view for view in fabric.views))


@pytest.fixture(scope="module")
def guests(fabric):
    apply(fabric, *VLANS)
    assert all(reaches(fabric.guests[f"{tenant}1"], "10.1.1.12", 20) for tenant in VLANS)
    return fabric.guests


@pytest.fixture
def as_vlans(fabric):
    yield
    apply(fabric, *VLANS)


@pytest.fixture
def underlay(fabric):
    """What passes on the second host's cable."""
    wire = Wire(fabric.lab.underlay, f"{lab_module.PREFIX}u2")
    yield wire
    wire.close()


def tagged(vlan: int, mark: bytes, target: str = A2, source: str = A1) -> bytes:
    return ethernet(target, source, 0x0800, datagram(mark), vlan=vlan)


def test_tenants_with_the_same_addresses_reach_their_own_alone(fabric, guests, underlay):
    for tenant, other in (("a", "b"), ("b", "a")):
        sender, receiver, stranger = (Wire(guests[name]) for name in (f"{tenant}1", f"{tenant}2", f"{other}2"))
        mark = f"look inside {tenant}".encode()
        sender.send(ethernet(A2, A1, 0x0800, datagram(mark)))
        assert receiver.heard(mark, 20)
        assert not stranger.heard(mark, 0.3)
        for wire in (sender, receiver, stranger):
            wire.close()
        frame = next(frame for frame in frames_of(underlay, mark, 20) if mark in frame)
        assert frame[12:14] == b"\x08\x00"  # the kernel keeps the tag beside the frame
    assert not fabric.lab.hosts[0].switch._tunnels()


def test_nothing_forged_is_delivered(fabric, guests):
    assert deliver(fabric, "a1", forged()) == {name: set() for name in forged()}


def test_a_full_frame_passes(guests):
    assert ping(guests["a1"], "10.1.1.12", size=1430, wait=20) == 1


def test_of_the_trunk_only_frames_of_the_networks_nics_come_in(fabric, guests, underlay):
    """What a device on the second host's cable sends is heard by the NICs of its VLAN, if it has their name."""
    wires = {name: Wire(guests[name]) for name in ("a2", "b2")}
    dhcp = udp("10.1.1.11", "10.1.1.12", (67, 68), b"dhcp-of-a-guest")
    for frame in (
        tagged(103, b"foreign-vlan"),
        ethernet(A2, A1, 0x0800, datagram(b"no-tag")),
        tagged(101, b"foreign-mac", source=FOREIGN),
        tagged(101, b"unknown-receiver", target=FOREIGN),
        tagged(101, b"broadcast", target=ALL),
        ethernet(A2, A1, 0x0800, dhcp, vlan=101),
        tagged(101, b"the last one"),
        tagged(102, b"the last one"),
    ):
        underlay.send(frame)
    heard = {name: b"".join(frames_of(wire, b"the last one", 20)) for name, wire in wires.items()}
    for wire in wires.values():
        wire.close()
    assert all(b"the last one" in frames for frames in heard.values())
    for mark in (b"foreign-vlan", b"no-tag", b"foreign-mac", b"unknown-receiver", b"broadcast", b"dhcp-of-a-guest"):
        assert all(mark not in frames for frames in heard.values())


@pytest.mark.usefixtures("as_vlans")
def test_the_kinds_are_on_one_host_at_once_and_a_network_returns(fabric, guests):
    apply(fabric, "a")
    for tenant in VLANS:
        assert reaches(guests[f"{tenant}1"], "10.1.1.12", 20)
        assert reaches(guests[f"{tenant}2"], "10.1.1.13", 20)
    fabric.apply()
    switch = fabric.lab.hosts[0].switch
    with inside(fabric.lab.hosts[0].ns):
        assert switch.drift(fabric.views) == []
        assert switch.trunks._there() == {}
    assert reaches(guests["a1"], "10.1.1.12", 20)


def test_a_switch_that_restarts_has_its_trunk_again(fabric, guests):
    host = fabric.lab.hosts[0]
    host.kill("ovs-vswitchd")
    host.start_vswitchd()
    apply(fabric, *VLANS)
    assert reaches(guests["a1"], "10.1.1.12", 20)


def test_the_underlay_hears_where_a_nic_is(fabric, guests, underlay):
    """A NIC that comes to a host is told to the bridges on the way, which else send its frames to its last host."""
    fabric.apply(vlan_of(fabric.views[1], VLANS["b"]))
    apply(fabric, *VLANS)
    asked = bytes.fromhex(f"8035 0001 0800 06 04 0003 {A2.replace(':', '')}")
    frames = frames_of(underlay, asked, 20)
    assert any(asked in frame and frame[6:12] == bytes.fromhex(A2.replace(":", "")) for frame in frames)


@pytest.mark.usefixtures("as_vlans")
def test_a_host_without_the_bridge_refuses_with_the_reason(fabric):
    host = fabric.lab.hosts[0]
    views = [replace(fabric.views[0], overlay="vlan", key=101, trunk="br-none")]
    with inside(host.ns), pytest.raises(SwitchRefusedError, match="The host has no bridge br-none of Open vSwitch"):
        host.switch.apply(views)


def test_a_vlan_needs_a_bridge_and_a_number(fabric):
    view = network("a", 7, [nic("a", "1", "host-1")], overlay="vlan")
    with pytest.raises(InvalidViewError, match="no bridge is said to lead to it"):
        check_view(view)
    for key in (0, 4095):
        with pytest.raises(InvalidViewError, match=f"has the vlan key {key}, which is not in 1 to 4094"):
            check_view(replace(view, trunk=TRUNK, key=key))
    check_view(replace(view, trunk=TRUNK, key=0, is_flat=True))
