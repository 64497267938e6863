"""Portable addresses: ranges of a region, and networks of several zones that have one address in turn."""

from __future__ import annotations

import pytest

from manager import db
from manager.models import PortableAddress, PublicAddress, ResourceUse, TrafficType, VlanIpRange, WorkflowRow
from tests.client import Refused
from tests.unit.api.live_cloud import done, rows, run

SPAN = {"gateway": "203.0.113.1", "netmask": "255.255.255.0", "startip": "203.0.113.10", "endip": "203.0.113.11"}


@pytest.fixture
def portable(api, cloud):
    return done(api, None, api("createPortableIpRange", regionid=1, vlan="77", **SPAN))["portableiprange"]


def test_a_range_shows_its_addresses_and_their_use(api, cloud, user, portable, factory):
    assert (portable["regionid"], portable["vlan"], portable["startip"]) == (1, "77", "203.0.113.10")
    assert [one["state"] for one in portable["portableipaddress"]] == ["Free", "Free"]
    assert api("listRegions", id=1)["region"][0]["portableipserviceenabled"] is True
    given = {"networkid": cloud.network_id, "isportable": True}
    address = run(api, cloud, user, "associateIpAddress", **given)["ipaddress"]
    assert (address["isportable"], address["issourcenat"]) == (True, False)
    assert address["ipaddress"].startswith("203.0.113.1")
    (shown,) = api("listPortableIpRanges", regionid=1)["portableiprange"]
    uses = {one["ipaddress"]: one for one in shown["portableipaddress"]}
    assert uses[address["ipaddress"]]["networkid"] == cloud.network_id
    with pytest.raises(Refused, match=r"431 1 addresses of the range 203.0.113.10-203.0.113.11 are in use"):
        api("deletePortableIpRange", id=portable["id"])
    before = factory.first(ResourceUse, account_id=cloud.account_id).public_addresses
    run(api, cloud, user, "disassociateIpAddress", id=address["id"])
    assert factory.first(ResourceUse, account_id=cloud.account_id).public_addresses == before - 1
    assert rows(factory, PublicAddress, portable=True) == []
    assert rows(factory, VlanIpRange, portable_range_id=portable["id"], removed=None) == []
    done(api, None, api("deletePortableIpRange", id=portable["id"]))
    assert api("listPortableIpRanges") == {}
    assert rows(factory, PortableAddress) == []
    assert api("listRegions", id=1)["region"][0]["portableipserviceenabled"] is False


def test_an_address_moves_between_networks_with_its_mac(api, cloud, user, portable, factory):
    other = cloud.add_network("net2")
    wanted = {"isportable": True, "ipaddress": "203.0.113.11"}
    macs = set()
    for network in (cloud.network_id, other):
        address = run(api, cloud, user, "associateIpAddress", networkid=network, **wanted)["ipaddress"]
        macs.add(factory.first(PublicAddress, id=address["id"]).mac)
        with pytest.raises(Refused, match="431 No portable address is free, or the one"):
            api("associateIpAddress", user, networkid=other, **wanted)
        run(api, cloud, user, "disassociateIpAddress", id=address["id"])
    assert len(macs) == 1


def test_they_go_with_the_network_and_the_zones_list_does_not_show_them(api, cloud, user, portable, factory):
    run(api, cloud, user, "associateIpAddress", networkid=cloud.network_id, isportable=True)
    assert [one["startip"] for one in api("listVlanIpRanges")["vlaniprange"]] == ["198.51.100.10"]
    span = factory.first(VlanIpRange, portable_range_id=portable["id"])
    for command in ("deleteVlanIpRange", "updateVlanIpRange"):
        with pytest.raises(Refused, match=r"431 The addresses 203.0.113.10-203.0.113.11 are portable"):
            api(command, id=span.id)
    run(api, cloud, user, "deleteNetwork", id=cloud.network_id)
    assert rows(factory, PublicAddress, portable=True) == []
    assert {row.taken for row in rows(factory, PortableAddress)} == {None}


def test_what_cannot_be_is_refused(api, cloud, user, portable, factory):
    with pytest.raises(Refused, match=r"431 The range 203.0.113.11-203.0.113.12 overlaps"):
        api("createPortableIpRange", regionid=1, **{**SPAN, "startip": "203.0.113.11", "endip": "203.0.113.12"})
    zone = {"gateway": "198.51.100.1", "netmask": "255.255.255.0", "startip": "198.51.100.19", "endip": "198.51.100.30"}
    with pytest.raises(Refused, match=r"431 The range 198.51.100.19-198.51.100.30 overlaps"):
        api("createPortableIpRange", regionid=1, **zone)
    with pytest.raises(Refused, match=r"431 .* overlaps 203.0.113.10-203.0.113.11, which is portable"):
        api("createVlanIpRange", zoneid=cloud.zone_id, physicalnetworkid=cloud.physical_id, **SPAN)
    with pytest.raises(Refused, match="431 The regionid is for portable addresses"):
        api("associateIpAddress", user, networkid=cloud.network_id, regionid=1)
    for traffic in rows(factory, TrafficType, traffic_type="Public"):
        factory.change(traffic, traffic_type="Storage")
    with pytest.raises(Refused, match="533 The network's zone has no range of public addresses"):
        api("associateIpAddress", user, networkid=cloud.network_id, isportable=True)


def test_a_cancelled_job_leaves_nothing(api, cloud, user, portable, factory):
    answer = api("associateIpAddress", user, networkid=cloud.network_id, isportable=True)
    with db.transaction(factory.engine) as session:
        session.get_one(WorkflowRow, answer["jobid"]).cancelled = True
    cloud.settle()
    assert rows(factory, PublicAddress, portable=True) == []
    assert {row.taken for row in rows(factory, PortableAddress)} == {None}
