from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from network import names

ALL = [
    names.tap_name,
    names.gre_port_name,
    names.router_namespace,
    names.router_guest_device,
    names.router_public_device,
    names.tier_device,
]


@pytest.mark.parametrize("name", ALL)
def test_names_fit_a_device_and_depend_on_the_id_only(name):
    one, other = str(uuid4()), str(uuid4())
    assert len(name(one)) <= 15
    assert name(one) == name(one) != name(other)


def test_names_of_different_kinds_differ():
    one = str(uuid4())
    assert len({name(one) for name in ALL}) == len(ALL)


def test_identifiers_that_start_alike_get_different_names():
    """As those of UUID version 7 do when they are made in the same millisecond."""
    start = "0190a5b0-1234-7"
    one, other = str(UUID(start + "000-8000-000000000001")), str(UUID(start + "000-8000-000000000002"))
    assert names.tap_name(one) != names.tap_name(other)


def test_a_random_identifier_can_be_seen_in_its_name():
    one = uuid4()
    assert names.tap_name(str(one)) == f"pt-{one.hex[:12]}"
