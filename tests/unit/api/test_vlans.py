"""VLAN IP ranges and the public addresses in them."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from manager.db import transaction
from manager.models import Network, PublicAddress, VlanIpRange
from manager.placement.address import take_public_address
from tests.client import Api, Refused
from tests.unit.api import site
from tests.unit.api.site import RANGE, statements_of


@pytest.fixture
def zone_id(api):
    return site.zone(api)


@pytest.fixture
def network_id(api, zone_id):
    return site.physical_network(api, zone_id)


def create(api, zone_id, network_id, **more):
    given = {"forvirtualnetwork": "true", "vlan": "untagged", **RANGE, **more}
    return api("createVlanIpRange", zoneid=zone_id, physicalnetworkid=network_id, **given)["vlan"]


def addresses(engine):
    with transaction(engine) as session:
        return session.scalars(select(PublicAddress).order_by(PublicAddress.address)).all()


def test_a_range_gives_the_zone_its_addresses(api, engine, zone_id, network_id):
    made = create(api, zone_id, network_id)
    assert (made["startip"], made["endip"]) == ("198.51.100.10", "198.51.100.19")
    assert (made["gateway"], made["netmask"], made["cidr"]) == ("198.51.100.1", "255.255.255.0", "198.51.100.0/24")
    assert (made["vlan"], made["forvirtualnetwork"]) == ("vlan://untagged", True)
    assert api("listVlanIpRanges", zoneid=zone_id) == {"count": 1, "vlaniprange": [made]}
    assert api("listVlanIpRanges", physicalnetworkid=network_id, vlan="untagged")["count"] == 1
    assert api("listVlanIpRanges", vlan="12") == {}
    rows = addresses(engine)
    assert [row.address for row in rows] == [f"198.51.100.{last}" for last in range(10, 20)]
    assert all(re.fullmatch("06(:[0-9a-f]{2}){5}", row.mac) for row in rows)
    assert len({row.mac for row in rows}) == 10
    assert all(row.range_id == made["id"] and row.network_id is None for row in rows)


def test_a_range_of_65536_addresses_is_the_largest(api, engine, zone_id, network_id):
    wide = {"gateway": "10.0.0.1", "netmask": "255.0.0.0", "startip": "10.1.0.0"}
    with pytest.raises(Refused, match=r"431 The range 10.1.0.0-10.2.0.0 has 65537 addresses; at most 65536"):
        create(api, zone_id, network_id, **{**wide, "endip": "10.2.0.0"})
    made = create(api, zone_id, network_id, **{**wide, "endip": "10.1.255.255"})
    rows = addresses(engine)
    assert len(rows) == len({row.mac for row in rows}) == 65536
    changed = api("updateVlanIpRange", id=made["id"], startip="10.1.255.254")["vlan"]
    assert changed["startip"] == "10.1.255.254"
    assert len(addresses(engine)) == 2


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "431 The range 198.51.100.10-198.51.100.19 overlaps the range 198.51.100.10-198.51.100.19"),
        ({"startip": "198.51.100.19", "endip": "198.51.100.25"}, "431 The range 198.51.100.19-198.51.100.25 overlaps"),
        ({"startip": "198.51.100.0", "endip": "198.51.100.5"}, "431 The startip 198.51.100.0 is no host address"),
        ({"startip": "203.0.113.5", "endip": "203.0.113.6"}, "431 The startip 203.0.113.5 is no host address"),
        ({"startip": "198.51.100.30", "gateway": "198.51.100.31", "endip": "198.51.100.32"}, "431 The gateway .* lies"),
        ({"gateway": "198.51.100.200", "startip": "198.51.100.1", "endip": "198.51.100.2"}, "431 .* the gateway of"),
        ({"netmask": "255.255.0.255"}, "431 The netmask 255.255.0.255 is not one"),
        ({"gateway": "x"}, "431 The gateway x is not an IPv4 address"),
        ({"startip": None}, "431 The parameter startip is missing"),
        ({"vlan": "4095", "startip": "198.51.100.90", "endip": None}, "431 The vlan 4095 is neither"),
        ({"forvirtualnetwork": "false"}, "431 .*missing parameter podid"),
    ],
)
def test_bad_ranges_are_refused_and_leave_nothing(api, engine, zone_id, network_id, given, reason):
    create(api, zone_id, network_id)
    with pytest.raises(Refused, match=reason):
        create(api, zone_id, network_id, **given)
    assert len(addresses(engine)) == 10


def test_one_address_needs_no_end(api, engine, zone_id, network_id):
    assert create(api, zone_id, network_id, endip=None)["endip"] == "198.51.100.10"
    assert len(addresses(engine)) == 1


def test_another_zone_may_have_the_same_addresses(api, zone_id, network_id):
    create(api, zone_id, network_id)
    other = site.zone(api, "z2")
    create(api, other, site.physical_network(api, other))
    with pytest.raises(Refused, match="431 The physical network physical is not in the zone z2"):
        create(api, other, network_id)


def test_the_place_may_be_told_by_zone_or_by_network(api, zone_id, network_id):
    with pytest.raises(Refused, match="431 The range needs its place"):
        create(api, None, None)
    with pytest.raises(Refused, match="431 The zone z1 has 0 physical networks with public traffic"):
        create(api, zone_id, None)
    api("addTrafficType", physicalnetworkid=network_id, traffictype="Public")
    assert create(api, zone_id, None)["physicalnetworkid"] == network_id
    more = {"startip": "198.51.100.50", "endip": "198.51.100.51"}
    assert create(api, None, network_id, **more)["zoneid"] == zone_id


def test_a_range_goes_when_no_address_is_in_use(api, engine, zone_id, network_id, factory):
    made = create(api, zone_id, network_id)
    network = factory(Network, zone_id=zone_id)
    with transaction(engine) as session:
        taken = take_public_address(session, session.get_one(Network, network.id), source_nat=True)
    with pytest.raises(Refused, match=f"431 1 addresses of the range .* are in use, such as {taken.address}"):
        api("deleteVlanIpRange", id=made["id"])
    assert len(addresses(engine)) == 10
    factory.change(taken, network_id=None, account_id=None)
    assert api("deleteVlanIpRange", id=made["id"]) == {"success": True}
    assert addresses(engine) == []
    assert api("listVlanIpRanges") == {}
    create(api, zone_id, network_id)


def test_a_range_grows_and_shrinks_around_what_is_in_use(api, engine, zone_id, network_id, factory):
    made = create(api, zone_id, network_id)
    network = factory(Network, zone_id=zone_id)
    factory.change(factory.first(PublicAddress, address="198.51.100.15"), network_id=network.id,
                   account_id=network.account_id)  # fmt: skip
    changed = api("updateVlanIpRange", id=made["id"], startip="198.51.100.14", endip="198.51.100.21")["vlan"]
    assert (changed["startip"], changed["endip"]) == ("198.51.100.14", "198.51.100.21")
    assert [row.address for row in addresses(engine)] == [f"198.51.100.{last}" for last in range(14, 22)]
    assert factory.first(PublicAddress, address="198.51.100.15").network_id == network.id
    with pytest.raises(Refused, match=r"431 1 addresses .* in use, such as 198.51.100.15"):
        api("updateVlanIpRange", id=made["id"], startip="198.51.100.16")
    assert len(addresses(engine)) == 8


def test_of_overlapping_ranges_asked_for_at_once_one_is_made(any_api, any_engine):
    zone_id = site.zone(any_api)
    network_id = site.physical_network(any_api, zone_id)

    def ask(last):
        try:
            return create(Api(any_api.app, any_api.admin), zone_id, network_id, endip=f"198.51.100.{last}")
        except Refused as error:
            return error

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(ask, range(40, 48)))
    refused = [answer for answer in answers if isinstance(answer, Refused)]
    assert len(refused) == 7
    assert all("overlaps the range" in error.text for error in refused)
    (made,) = [answer for answer in answers if not isinstance(answer, Refused)]
    assert len(addresses(any_engine)) == int(made["endip"].rpartition(".")[2]) - 9


def test_lists_of_ranges_take_the_same_statements_for_one_and_for_fifty(api, engine, factory):
    factory(VlanIpRange)
    one = statements_of(engine, api, "listVlanIpRanges", 1)
    for _ in range(49):
        factory(VlanIpRange)
    assert statements_of(engine, api, "listVlanIpRanges", 50) == one
