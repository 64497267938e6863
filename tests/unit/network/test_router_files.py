"""A router's configuration as text."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from network.elements import router_files as files
from network.elements.router_rules import nft_rules
from network.errors import InvalidViewError
from network.types import Lease, PublicLeg, RouterSpec
from tests.unit.network.routers import router
from tests.unit.network.views import nic

GOLDEN = Path(__file__).parents[2] / "golden" / "network"
SPEC = router("a", [nic("a", "2", "host-2"), nic("a", "1", "host-1")])
TEXTS = {
    "dnsmasq.conf": files.dnsmasq_conf(SPEC, Path("/state")),
    "dhcp-hosts": files.dhcp_hosts(SPEC),
    "hosts": files.dns_hosts(SPEC),
    "nft": nft_rules(SPEC),
    "nft-private": nft_rules(dataclasses.replace(SPEC, public=None)),
    "metadata.json": files.metadata_state(SPEC),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_that_of_the_golden_file(name):
    golden = GOLDEN / f"router-{name}"
    if os.environ.get("PILEUS_WRITE_GOLDEN"):
        golden.write_text(TEXTS[name])
    assert TEXTS[name] == golden.read_text()


def test_the_order_of_leases_does_not_matter():
    turned = dataclasses.replace(SPEC, leases=SPEC.leases[::-1])
    assert files.dhcp_hosts(turned) == files.dhcp_hosts(SPEC)
    assert files.metadata_state(turned) == files.metadata_state(SPEC)


def _with(holder: str, field: str, value: str) -> RouterSpec:
    match holder:
        case "lease":
            return dataclasses.replace(SPEC, leases=(dataclasses.replace(SPEC.leases[0], **{field: value}),))
        case "public":
            return dataclasses.replace(SPEC, public=dataclasses.replace(SPEC.public, **{field: value}))
        case _:
            return dataclasses.replace(SPEC, **{field: value})


def _texts(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind) if field.type == "str"]


EVERY_TEXT = [
    (h, f) for h, kind in (("spec", RouterSpec), ("lease", Lease), ("public", PublicLeg)) for f in _texts(kind)
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


def test_the_plain_wanted_state_passes():
    files.check_spec(SPEC)
    files.check_spec(dataclasses.replace(SPEC, public=None, leases=(), nameservers=()))
