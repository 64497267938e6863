"""A router's configuration as text."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from network.elements import router_files as files
from network.elements.router_rules import nft_rules
from network.errors import InvalidViewError
from network.types import Forwarding, GuestLeg, Lease, NicView, Opening, PublicLeg, RouterSpec, StaticNat, Traffic
from tests.unit.network.routers import revised, router, tier, vpc_router
from tests.unit.network.views import nic

GOLDEN = Path(__file__).parents[2] / "golden" / "network"
SPEC = router("a", [nic("a", "2", "host-2"), nic("a", "1", "host-1")])
PUBLISHED = revised(
    SPEC,
    addresses=("198.51.100.31", "198.51.100.32"),
    openings=(
        Opening("198.51.100.31", Traffic("tcp", 80, 90, sources=("0.0.0.0/0", "192.0.2.0/24"))),
        Opening("198.51.100.31", Traffic("udp", 53, 53, sources=("192.0.2.8/32", "192.0.2.0/24"))),
        Opening("198.51.100.32", Traffic("icmp", icmp_type=8, icmp_code=0)),
        Opening("198.51.100.32", Traffic("all", sources=("203.0.113.0/24",))),
        Opening("198.51.100.32", Traffic("47")),
        Opening("198.51.100.10", Traffic("icmp", icmp_type=3)),
    ),
    forwardings=(
        Forwarding("198.51.100.31", "tcp", 80, 80, "10.1.1.11", 8080),
        Forwarding("198.51.100.31", "udp", 5000, 5002, "10.1.1.11", 6000),
        Forwarding("198.51.100.31", "tcp", 81, 90, "10.1.1.12", 81, ("192.0.2.0/24",)),
    ),
    static_nats=(StaticNat("198.51.100.32", "10.1.1.12"),),
    egress=(Traffic("tcp", 25, 25, sources=("10.1.1.0/24",)), Traffic("icmp", destinations=("203.0.113.0/24",))),
)
VPC = vpc_router(
    tier(1, [NicView("nic-web", "02:00:00:00:03:01", "10.0.1.11", "host-1")]),
    tier(2, [NicView("nic-app", "02:00:00:00:03:02", "10.0.2.11", "host-1")], egress_open=False),
    tier(3, closed=True),
    addresses=("198.51.100.31",),
    forwardings=(Forwarding("198.51.100.31", "tcp", 80, 80, "10.0.1.11", 80),),
    openings=(Opening("198.51.100.31", Traffic("tcp", 80, 80)),),
)
APART = revised(SPEC, public=None, nic=dataclasses.replace(SPEC.legs[0].nic, address="10.1.1.200"), gateway="10.1.1.1")
TEXTS = {
    "dnsmasq.conf": files.dnsmasq_conf(SPEC, Path("/state")),
    "dhcp-hosts": files.dhcp_hosts(SPEC),
    "hosts": files.dns_hosts(SPEC),
    "nft": nft_rules(SPEC),
    "nft-private": nft_rules(revised(SPEC, public=None)),
    "nft-published": nft_rules(PUBLISHED),
    "nft-closed": nft_rules(revised(PUBLISHED, egress_open=False)),
    "outside-dnsmasq.conf": files.dnsmasq_conf(APART, Path("/state")),
    "vpc-nft": nft_rules(VPC),
    "vpc-dnsmasq.conf": files.dnsmasq_conf(VPC, Path("/state")),
    "vpc-hosts": files.dns_hosts(VPC),
    "metadata.json": files.metadata_state(SPEC),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_that_of_the_golden_file(name):
    golden = GOLDEN / f"router-{name}"
    if os.environ.get("PILEUS_WRITE_GOLDEN"):
        golden.write_text(TEXTS[name])
    assert TEXTS[name] == golden.read_text()


def test_the_order_of_leases_does_not_matter():
    turned = revised(SPEC, leases=SPEC.legs[0].leases[::-1])
    assert files.dhcp_hosts(turned) == files.dhcp_hosts(SPEC)
    assert files.metadata_state(turned) == files.metadata_state(SPEC)


def _with(holder: str, field: str, value: str) -> RouterSpec:
    match holder:
        case "lease":
            return revised(SPEC, leases=(dataclasses.replace(SPEC.legs[0].leases[0], **{field: value}),))
        case "public":
            return revised(SPEC, public=dataclasses.replace(SPEC.public, **{field: value}))
        case _:
            return revised(SPEC, **{field: value})


def _texts(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind) if field.type == "str"]


EVERY_TEXT = [
    (h, f)
    for h, kind in (("spec", RouterSpec), ("spec", GuestLeg), ("lease", Lease), ("public", PublicLeg))
    for f in _texts(kind)
]


@pytest.mark.parametrize("problem", ["\n", "\r", "\0", "\x1b", "\x7f"])
@pytest.mark.parametrize(("holder", "field"), EVERY_TEXT)
def test_control_characters_are_refused_in_every_value(holder, field, problem):
    if (field, problem) == ("public_keys", "\n"):
        files.check_spec(_with(holder, field, "one\ntwo"))
        return
    spec = _with(holder, field, f"a{problem}dhcp-script=/bin/sh")
    with pytest.raises(InvalidViewError):
        files.check_spec(spec)


@pytest.mark.parametrize(
    ("holder", "field", "value"),
    [
        ("lease", "hostname", "a,b"),
        ("lease", "hostname", ""),
        ("lease", "hostname", "-a"),
        ("lease", "hostname", "a" * 64),
        ("lease", "mac", "02:00:00:00:00:01,set:known"),
        ("lease", "address", "10.2.2.2"),
        ("lease", "address", "10.1.1.1"),
        ("lease", "address", "10.1.1.11 evil"),
        ("lease", "user_data", "not base64!"),
        ("spec", "domain", "a/b"),
        ("spec", "cidr", "10.1.1.0/24 accept"),
        ("spec", "nameservers", ("10.0.0.1#53@eth0",)),
        ("public", "bridge", "br0 nomaster"),
        ("public", "address", "198.51.100.7; accept"),
    ],
)
def test_values_that_would_change_a_configuration_are_refused(holder, field, value):
    with pytest.raises(InvalidViewError, match=SPEC.id):
        files.check_spec(_with(holder, field, value))


@pytest.mark.parametrize(
    "spec",
    [
        vpc_router(tier(1), tier(1)),
        vpc_router(tier(1), tier(2, cidr="10.0.0.0/16")),
        vpc_router(tier(1), tier(2), vpc_id=""),
        vpc_router(tier(1), inside="10.0.0.0/16 accept"),
        vpc_router(tier(1), addresses=("198.51.100.31",), static_nats=(StaticNat("198.51.100.31", "10.0.2.11"),)),
    ],
)
def test_legs_that_do_not_go_together_are_refused(spec):
    with pytest.raises(InvalidViewError, match=spec.id):
        files.check_spec(spec)


def test_the_plain_wanted_state_passes():
    files.check_spec(SPEC)
    files.check_spec(VPC)
    files.check_spec(vpc_router())
    files.check_spec(revised(SPEC, public=None, leases=(), nameservers=()))


def _published(**more) -> RouterSpec:
    return revised(SPEC, **{"addresses": ("198.51.100.31", "198.51.100.32"), **more})


@pytest.mark.parametrize(
    "rules",
    [
        {"addresses": ("198.51.100.31; accept",)},
        {"openings": (Opening("198.51.100.99", Traffic("tcp")),)},
        {"openings": (Opening("198.51.100.31", Traffic("tcp accept")),)},
        {"openings": (Opening("198.51.100.31", Traffic("tcp", 2, 1)),)},
        {"openings": (Opening("198.51.100.31", Traffic("tcp", 1, 65536)),)},
        {"openings": (Opening("198.51.100.31", Traffic("icmp", icmp_type=256)),)},
        {"openings": (Opening("198.51.100.31", Traffic("all", sources=("0.0.0.0/0 accept",))),)},
        {"egress": (Traffic("all", destinations=("10.1.1.1/8",)),)},
        {"static_nats": (StaticNat("198.51.100.31", "10.2.2.2"),)},
        {"static_nats": (StaticNat("198.51.100.99", "10.1.1.11"),)},
        {"forwardings": (Forwarding("198.51.100.31", "icmp", 1, 1, "10.1.1.11", 1),)},
        {"forwardings": (Forwarding("198.51.100.31", "tcp", 1, 2, "10.1.1.11", 65535),)},
        {"forwardings": (Forwarding("198.51.100.31", "tcp", 2, 1, "10.1.1.11", 1),)},
        {"forwardings": (Forwarding("198.51.100.31", "tcp", 1, 1, "10.2.2.2", 1),)},
        {"forwardings": (Forwarding("198.51.100.31", "tcp", 1, 1, "10.1.1.11", 1, ("x",)),)},
    ],
)
def test_rules_that_would_change_others_or_lead_astray_are_refused(rules):
    with pytest.raises(InvalidViewError, match=SPEC.id):
        files.check_spec(_published(**rules))


def test_the_order_of_rules_does_not_matter():
    turned = {name: getattr(PUBLISHED, name)[::-1] for name in ("addresses", "openings", "forwardings", "static_nats")}
    assert nft_rules(revised(PUBLISHED, egress=PUBLISHED.legs[0].egress[::-1], **turned)) == nft_rules(PUBLISHED)
    files.check_spec(PUBLISHED)
