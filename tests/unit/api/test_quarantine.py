"""Quarantine of released public addresses: for whom they are meanwhile, who sees, moves and ends it."""

from __future__ import annotations

import datetime as dt

import pytest

from manager import configuration, db
from manager.models import PublicAddress, Quarantine, WorkflowRow, utcnow
from tests.client import Caller, Refused
from tests.unit.api.live_cloud import rows, run

DURATION = "public.ip.address.quarantine.duration"


@pytest.fixture
def lasting(api, cloud):
    api("updateConfiguration", name=DURATION, value="60")
    configuration.forget()


@pytest.fixture
def rival(factory, engine, cloud, api) -> tuple[Caller, str]:
    """Another account, and a network of its own."""
    caller = Caller.of(engine, factory.user("rival").username)
    offering = api("listNetworkOfferings", availability="Required")["networkoffering"][0]["id"]
    made = api("createNetwork", caller, name="theirs", zoneid=cloud.zone_id, networkofferingid=offering)
    return caller, made["network"]["id"]


@pytest.fixture
def released(api, cloud, user, lasting) -> str:
    """A public address that the user had and gave back; the first one stays the network's source NAT."""
    run(api, cloud, user, "associateIpAddress", networkid=cloud.network_id)
    address = run(api, cloud, user, "associateIpAddress", networkid=cloud.network_id)["ipaddress"]
    run(api, cloud, user, "disassociateIpAddress", id=address["id"])
    return address["ipaddress"]


def test_a_released_address_is_given_to_nobody_else(api, cloud, user, rival, released, factory):
    caller, network = rival
    with pytest.raises(Refused, match=f"431 The public address {released} is not free, in quarantine"):
        api("associateIpAddress", caller, networkid=network, ipaddress=released)
    for _ in range(8):
        assert run(api, cloud, caller, "associateIpAddress", networkid=network)["ipaddress"]["ipaddress"] != released
    with pytest.raises(Refused, match="533"):
        api("associateIpAddress", caller, networkid=network)
    (shown,) = api("listQuarantinedIps")["quarantinedips"]
    assert (shown["ipaddress"], shown["previousownername"]) == (released, "tenant")
    again = run(api, cloud, user, "associateIpAddress", networkid=cloud.network_id, ipaddress=released)
    assert again["ipaddress"]["ipaddress"] == released
    assert api("listQuarantinedIps") == {}
    (past,) = api("listQuarantinedIps", showremoved=True)["quarantinedips"]
    assert past["removalreason"] == "The account that had the address took it again."
    assert factory.first(PublicAddress, address=released).quarantined_until is None


def test_it_ends_by_itself(api, cloud, rival, released, factory):
    caller, network = rival
    address = factory.first(PublicAddress, address=released)
    over = utcnow() - dt.timedelta(seconds=1)
    factory.change(address, quarantined_until=over)
    factory.change(factory.first(Quarantine, address=released), ends=over)
    assert api("listQuarantinedIps") == {}
    assert len(api("listQuarantinedIps", showinactive=True)["quarantinedips"]) == 1
    with pytest.raises(Refused, match=f"431 The public address {released} is not in that quarantine any more"):
        api("removeQuarantinedIp", ipaddress=released, removalreason="why not")
    run(api, cloud, caller, "associateIpAddress", networkid=network, ipaddress=released)


def test_administrators_move_its_end_and_end_it(api, cloud, rival, released, factory):
    caller, network = rival
    end = (utcnow() + dt.timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%S+0000")
    assert api("updateQuarantinedIp", ipaddress=released, enddate=end)["quarantinedips"]["enddate"] == end
    held = factory.first(PublicAddress, address=released).quarantined_until
    assert held.strftime("%Y-%m-%dT%H:%M:%S+0000") == end
    with pytest.raises(Refused, match=r"431 The enddate .* is over"):
        api("updateQuarantinedIp", ipaddress=released, enddate="2026-01-01")
    (shown,) = api("listQuarantinedIps")["quarantinedips"]
    for command in ("listQuarantinedIps", "removeQuarantinedIp"):
        with pytest.raises(Refused):
            api(command, caller, id=shown["id"], removalreason="mine")
    api("removeQuarantinedIp", id=shown["id"], removalreason="needed")
    (past,) = api("listQuarantinedIps", showremoved=True)["quarantinedips"]
    assert (past["removalreason"], bool(past["removed"])) == ("needed", True)
    run(api, cloud, caller, "associateIpAddress", networkid=network, ipaddress=released)


def test_without_the_setting_there_is_none(api, cloud, user, factory):
    run(api, cloud, user, "associateIpAddress", networkid=cloud.network_id)
    address = run(api, cloud, user, "associateIpAddress", networkid=cloud.network_id)["ipaddress"]
    run(api, cloud, user, "disassociateIpAddress", id=address["id"])
    assert rows(factory, Quarantine) == []


def test_what_was_never_used_is_free_at_once(api, cloud, user, lasting, factory):
    run(api, cloud, user, "associateIpAddress", networkid=cloud.network_id)
    answer = api("associateIpAddress", user, networkid=cloud.network_id)
    with db.transaction(factory.engine) as session:
        session.get_one(WorkflowRow, answer["jobid"]).cancelled = True
    cloud.settle()
    assert rows(factory, Quarantine) == []


def test_the_addresses_of_a_network_that_goes_are_in_quarantine(api, cloud, user, lasting):
    run(api, cloud, user, "associateIpAddress", networkid=cloud.network_id)
    run(api, cloud, user, "deleteNetwork", id=cloud.network_id)
    assert api("listQuarantinedIps")["count"] == 1
