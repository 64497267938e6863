"""Tunnel keys that are kept for the networks of one account, and which keys are taken."""

from __future__ import annotations

import pytest

from manager.models import KeyRange, Network, NetworkOffering, PhysicalNetwork, TrafficType, Zone
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import done, rows


@pytest.fixture
def physical(factory):
    zone = factory(Zone, name="z1")
    made = factory(PhysicalNetwork, zone_id=zone.id, name="ph1", state="Enabled", key_start=5, key_end=24)
    factory(TrafficType, physical_network_id=made.id)
    return made


@pytest.fixture
def place(factory, physical):
    offering = factory(NetworkOffering, name="isolated", services={"Dhcp": "VirtualRouter"})
    return {"zoneid": physical.zone_id, "networkofferingid": offering.id}


@pytest.fixture
def kept(api, factory, tenant, physical):
    given = {"account": "tenant", "domainid": tenant.account.domain_id, "physicalnetworkid": physical.id}
    return api("dedicateGuestVlanRange", vlanrange="10-12", **given)["dedicatedguestvlanrange"]


def made(api, caller, place, count):
    for number in range(count):
        api("createNetwork", caller, name=f"n{number}", **place)


def test_the_account_has_its_keys_first_and_others_none_of_them(api, engine, factory, tenant, place, kept):
    assert (kept["guestvlanrange"], kept["account"]) == ("10-12", "tenant")
    made(api, tenant, place, 4)
    mine = sorted(row.key for row in rows(factory, Network))
    assert mine[0] < 10 or mine[-1] > 12
    assert {10, 11, 12} < set(mine)
    rival = Caller.of(engine, factory.user("rival").username)
    made(api, rival, place, 16)
    assert len({row.key for row in rows(factory, Network)}) == 20
    with pytest.raises(Refused, match="533 All tunnel keys 5-24 of ph1 are used up"):
        made(api, rival, place, 1)


def test_others_do_not_get_them_when_no_other_is_left(api, engine, factory, place, kept):
    rival = Caller.of(engine, factory.user("rival").username)
    made(api, rival, place, 17)
    with pytest.raises(Refused, match="533 All tunnel keys"):
        made(api, rival, place, 1)
    assert not {10, 11, 12} & {row.key for row in rows(factory, Network)}
    done(api, None, api("releaseDedicatedGuestVlanRange", id=kept["id"]))
    assert rows(factory, KeyRange) == []
    made(api, rival, place, 1)


def test_lists(api, tenant, place, kept, physical):
    assert api("listDedicatedGuestVlanRanges", zoneid=physical.zone_id)["dedicatedguestvlanrange"] == [kept]
    assert api("listDedicatedGuestVlanRanges", guestvlanrange="10-11") == {}
    made(api, tenant, place, 1)
    (shown,) = api("listGuestVlans", physicalnetworkid=physical.id)["guestvlan"]
    assert (shown["account"], shown["isdedicated"], shown["allocationstate"]) == ("tenant", True, "Allocated")
    assert 10 <= int(shown["vlan"]) <= 12
    assert shown["network"][0]["name"] == "n0"
    assert api("listGuestVlans", vnet=str(int(shown["vlan"]) + 1)) == {}


def test_what_cannot_be_is_refused(api, factory, tenant, physical, place, kept):
    owner = {"account": "tenant", "domainid": tenant.account.domain_id, "physicalnetworkid": physical.id}
    for given, reason in (
        ({"vlanrange": "12-13"}, "The vlanrange 12-13 overlaps 10-12"),
        ({"vlanrange": "20-30"}, "does not lie within 5-24"),
        ({"vlanrange": "x"}, "is not one range of GRE keys"),
        ({"vlanrange": "20-21", "account": None, "domainid": None}, "It is not said for whom"),
    ):
        with pytest.raises(Refused, match=f"431 .*{reason}"):
            api("dedicateGuestVlanRange", **{**owner, **given})
    factory(Network, name="theirs", key=20, zone_id=physical.zone_id, physical_network_id=physical.id)
    with pytest.raises(Refused, match=r"431 .*holds the key of the network theirs of another account"):
        api("dedicateGuestVlanRange", **owner, vlanrange="20-21")
    shared = factory(NetworkOffering, name="chosen", guest_ip_type="L2", specify_vlan=True)
    with pytest.raises(Refused, match="431 The tunnel key 11 is kept for networks of another account"):
        api("createNetwork", name="x", vlan="11", zoneid=place["zoneid"], networkofferingid=shared.id)
