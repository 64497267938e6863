"""A flat network with security groups, with real packets: guests are in one segment with a host that is not ours."""

from __future__ import annotations

from dataclasses import replace

import pytest

from network.names import tap_name
from network.types import Policy, PolicyRule, Traffic
from tests.unit.network import lab as lab_module
from tests.unit.network.fabric import A1, A2, A3, ALL, FOREIGN, GATEWAY, datagram, forged, frames_of
from tests.unit.network.lab import Wire, arp, ethernet, inside, ping, reaches, sh, udp

OUTSIDE, BEYOND = "10.1.1.254", "198.51.100.7"
NS = f"{lab_module.PREFIX}-outside"
EGRESS = PolicyRule("out", "egress", Traffic("all"))
PINGS = PolicyRule("pings", "ingress", Traffic("icmp", sources=(f"{OUTSIDE}/32",)))
MEMBERS = PolicyRule("members", "ingress", Traffic("all"), group="web")
GROUPS = {"10.1.1.11": ("web",), "10.1.1.12": ("web", "pinged"), "10.1.1.13": ()}


@pytest.fixture(scope="module")
def outside(lab) -> str:
    """A host on the underlay's wire that is none of the cloud's; it is the gateway, and has what lies beyond."""
    lab.add_namespace(NS)
    port = f"{lab_module.PREFIX}uo"
    sh("ip", "link", "add", port, "netns", lab.underlay, "type", "veth", "peer", "name", "eth0", "netns", NS)
    sh("ip", "-n", lab.underlay, "link", "set", port, "master", "br0", "up", "mtu", "1600")
    sh("ip", "netns", "exec", lab.underlay, "ethtool", "-K", port, "tx", "off")
    sh("ip", "netns", "exec", NS, "ethtool", "-K", "eth0", "tx", "off")
    for address, device in ((f"{OUTSIDE}/24", "eth0"), (f"{BEYOND}/32", "lo")):
        sh("ip", "-n", NS, "address", "add", address, "dev", device)
    sh("ip", "-n", NS, "link", "set", "eth0", "up")
    return NS


@pytest.fixture
def flat(fabric, outside):
    """Tenant a's network as a flat one; the function applies it with these rules of the groups and this guest moved."""

    def apply(*rules: PolicyRule, moved: str = "", egress: tuple[PolicyRule, ...] = (EGRESS,), vlan: int = 0) -> None:
        found = {"web": (*egress, *(one for one in rules if one.group)), "pinged": ()}
        found["pinged"] = tuple(one for one in rules if not one.group)
        nics = tuple(
            replace(nic, groups=GROUPS.get(nic.address, ()), host_id="host-3" if nic.address == moved else nic.host_id)
            for nic in fabric.views[0].nics
        )
        policies = tuple(Policy(name, mine) for name, mine in found.items())
        fabric.apply(*fabric.changed(
            overlay="vlan", key=vlan, trunk="br-phy", is_flat=True, gateway=OUTSIDE, gateway_outside=True, nics=nics,
            has_groups=True, groups=policies,
        ))  # fmt: skip

    for guest in ("a1", "a2"):
        sh("ip", "-n", fabric.guests[guest], "route", "replace", "default", "via", OUTSIDE)
    yield apply
    fabric.apply()


def test_guests_and_the_outside_reach_what_groups_allow(fabric, flat, outside):
    flat(PINGS, MEMBERS)
    a1, a2 = fabric.guests["a1"], fabric.guests["a2"]
    assert reaches(a1, OUTSIDE, 20)
    assert reaches(a1, BEYOND, 20)
    assert reaches(fabric.guests["arouter"], OUTSIDE, 20)  # by which it asks name servers
    assert reaches(a1, "10.1.1.12", 20)
    assert reaches(outside, "10.1.1.12", 20)
    assert ping(outside, "10.1.1.11", wait=0.5) == 0
    assert ping(fabric.guests["a3"], "10.1.1.12", wait=0.5) == 0
    assert reaches(fabric.guests["b1"], "10.1.1.12", 20)  # another tenant with the same addresses, by GRE

    connection = Wire(a2)
    asked = ethernet(A2, _mac(outside), 0x0800, udp(OUTSIDE, "10.1.1.12", (7, 7), b"a datagram"))
    with_outside = Wire(outside)
    with_outside.send(asked)
    assert not connection.heard(b"a datagram", 0.4)
    connection.close()

    flat(MEMBERS)
    assert ping(outside, "10.1.1.12", wait=0.5) == 0
    assert reaches(a1, "10.1.1.12", 20)
    flat(PINGS)
    assert ping(a1, "10.1.1.12", wait=0.5) == 0
    assert reaches(outside, "10.1.1.12", 20)
    flat(PINGS, egress=())
    assert ping(a1, OUTSIDE, wait=0.5) == 0
    with_outside.close()


def _mac(ns: str) -> str:
    return sh("ip", "netns", "exec", ns, "cat", "/sys/class/net/eth0/address").strip()


def heard_of(fabric, sender: Wire, frames: dict[str, bytes], last: tuple[str, bytes]) -> dict[str, set[str]]:
    """Who hears each frame, which holds its own name; `last` is one that its listener is allowed to hear."""
    wires = {name: Wire(fabric.guests[name]) for name in ("a1", "a2", "a3", "arouter", "b1")} | {"outside": Wire(NS)}
    listener, final = last
    for frame in frames.values():
        sender.send(frame)
    sender.send(final)
    got = {listener: frames_of(wires[listener], b"the last one", 20)}
    assert any(b"the last one" in frame for frame in got[listener])
    for name, wire in wires.items():
        got[name] = got.get(name, []) + frames_of(wire, b"", 0.2)
        wire.close()
    return {name: {one for one, all_ in got.items() if any(name.encode() in f for f in all_)} for name in frames}


def test_nothing_that_a_guest_forges_is_delivered(fabric, flat, outside):
    flat(PINGS, MEMBERS)
    assert reaches(fabric.guests["a1"], "10.1.1.12", 20)
    assert reaches(fabric.guests["a1"], OUTSIDE, 20)
    frames = {key: frame for key, frame in forged().items() if key not in ("unknown-mac", "gre-to-host")}
    gateway = _mac(outside)
    frames |= {
        "other-ip-to-gateway": ethernet(gateway, A1, 0x0800, datagram(b"other-ip-to-gateway", BEYOND, "10.1.1.12")),
        "other-mac-to-gateway": ethernet(gateway, A3, 0x0800, datagram(b"other-mac-to-gateway", BEYOND)),
        "tag-to-gateway": ethernet(gateway, A1, 0x0800, datagram(b"tag-to-gateway", BEYOND), vlan=7),
        "arp-of-gateway": ethernet(ALL, A1, 0x0806, arp(1, A1, OUTSIDE, ALL, "10.1.1.12") + b"arp-of-gateway"),
    }
    sender = Wire(fabric.guests["a1"])
    heard = heard_of(fabric, sender, frames, ("a2", ethernet(A2, A1, 0x0800, datagram(b"the last one"))))
    sender.close()
    assert {name: who - {"a1"} for name, who in heard.items()} == {name: set() for name in frames}


def test_nothing_that_a_thing_outside_forges_is_delivered(fabric, flat, outside):
    allowed = PolicyRule("all", "ingress", Traffic("udp", 9, 9))
    flat(allowed, MEMBERS)
    assert reaches(fabric.guests["a1"], "10.1.1.12", 20)
    own, dhcp = _mac(outside), (67, 68)
    assert reaches(fabric.guests["a1"], OUTSIDE, 20)
    frames = {
        "arp-for-a-guest": ethernet(A1, own, 0x0806, arp(2, own, "10.1.1.12", A1, "10.1.1.11") + b"arp-for-a-guest"),
        "arp-announced": ethernet(ALL, own, 0x0806, arp(1, own, OUTSIDE, ALL, OUTSIDE) + b"arp-announced"),
        "dhcp-server": ethernet(A1, own, 0x0800, udp(OUTSIDE, "10.1.1.11", dhcp, b"dhcp-server")),
        "dhcp-to-all": ethernet(ALL, own, 0x0800, udp(OUTSIDE, "255.255.255.255", dhcp, b"dhcp-to-all")),
        "dns-of-the-router": ethernet(
            GATEWAY, own, 0x0800, udp(OUTSIDE, "10.1.1.1", (40000, 53), b"dns-of-the-router")
        ),
        "not-allowed": ethernet(A2, own, 0x0800, udp(OUTSIDE, "10.1.1.12", (10, 10), b"not-allowed")),
        "broadcast": ethernet(ALL, own, 0x0800, udp(OUTSIDE, "10.1.1.255", (9, 9), b"broadcast")),
        "ipv6": ethernet(A2, own, 0x86DD, b"ipv6" + b"\0" * 60),
        "tagged": ethernet(A2, own, 0x0800, udp(OUTSIDE, "10.1.1.12", (9, 9), b"tagged"), vlan=7),
        "not-ours": ethernet(FOREIGN, own, 0x0800, udp(OUTSIDE, "10.1.1.12", (9, 9), b"not-ours")),
    }
    sender = Wire(outside)
    last = ethernet(A2, own, 0x0800, udp(OUTSIDE, "10.1.1.12", (9, 9), b"the last one"))
    heard = heard_of(fabric, sender, frames, ("a2", last))
    sender.close()
    assert {name: who - {"outside"} for name, who in heard.items()} == {name: set() for name in frames}


def test_groups_follow_a_guest_to_another_host(fabric, flat, outside):
    """It stops at host-2 and starts at host-3, and all that was allowed and denied is so again."""
    flat(PINGS, MEMBERS)
    a1 = fabric.guests["a1"]
    assert reaches(a1, "10.1.1.12", 20)
    assert reaches(outside, "10.1.1.12", 20)
    try:
        _move(fabric, "host-2", "host-3")
        flat(PINGS, MEMBERS, moved="10.1.1.12")
        assert reaches(a1, "10.1.1.12", 20)
        assert reaches(outside, "10.1.1.12", 20)
        assert ping(fabric.guests["a3"], "10.1.1.12", wait=0.5) == 0
        flat(MEMBERS, moved="10.1.1.12")
        assert ping(outside, "10.1.1.12", wait=0.5) == 0
    finally:
        _move(fabric, "host-3", "host-2")


def _move(fabric, source: str, target: str) -> None:
    nic = next(nic for nic in fabric.views[0].nics if nic.address == "10.1.1.12")
    device, old, new = tap_name(nic.id), fabric.lab.host(source), fabric.lab.host(target)
    with inside(old.ns):
        old.switch._vsctl("--if-exists", "del-port", "br-int", device)
    sh("ip", "-n", old.ns, "link", "set", device, "netns", new.ns)
    sh("ip", "-n", new.ns, "link", "set", device, "up")
    with inside(new.ns):
        new.switch.plug_device(nic.id, device)


def test_a_segment_may_have_a_tag(fabric, flat, outside):
    """What is outside asks for a guest and sends to it with the tag; the guest's frames leave with it."""
    flat(PolicyRule("udp", "ingress", Traffic("udp", 9, 9)), MEMBERS, vlan=77)
    assert reaches(fabric.guests["a1"], "10.1.1.12", 20)
    own, guest, thing = _mac(outside), Wire(fabric.guests["a2"]), Wire(outside)
    asked = arp(1, own, OUTSIDE, "00:00:00:00:00:00", "10.1.1.12")
    sent = udp(OUTSIDE, "10.1.1.12", (9, 9), b"with the tag")
    for vlan in (78, 0):
        thing.send(ethernet(ALL, own, 0x0806, asked, vlan=vlan))
        thing.send(ethernet(A2, own, 0x0800, sent.replace(b"with the tag", b"other vlans!"), vlan=vlan))
    assert not thing.heard(ethernet(own, A2, 0x0806, b"")[:14], 0.4)
    thing.send(ethernet(ALL, own, 0x0806, asked, vlan=77))
    assert thing.heard(ethernet(own, A2, 0x0806, b"")[:14], 20)
    thing.send(ethernet(A2, own, 0x0800, sent, vlan=77))
    heard = b"".join(frames_of(guest, b"with the tag", 20))
    assert (b"with the tag" in heard, b"other vlans!" in heard) == (True, False)
    guest.send(ethernet(own, A2, 0x0800, udp("10.1.1.12", OUTSIDE, (9, 9), b"and back")))
    assert thing.heard(b"and back", 20)
    guest.close()
    thing.close()
