"""Ranges of public addresses that are kept for an account, a project, or a domain and all below it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import delete

from manager.db import transaction
from manager.models import Dedication, Network, Project, PublicAddress
from manager.placement.address import NoAddress, free_public_addresses, take_public_address
from tests.client import Api, Refused
from tests.unit.api import site
from tests.unit.api.site import RANGE, statements_of

OTHER = {"startip": "198.51.100.40", "endip": "198.51.100.41", "gateway": "198.51.100.1", "netmask": "255.255.255.0"}


@pytest.fixture
def zone_id(api):
    return site.zone(api)


@pytest.fixture
def network_id(api, zone_id):
    return site.physical_network(api, zone_id)


@pytest.fixture
def span(api, zone_id, network_id):
    """The range 198.51.100.10 to .19."""
    return api("createVlanIpRange", zoneid=zone_id, physicalnetworkid=network_id, **RANGE)["vlan"]


def take(factory, zone_id, network_id, account, **wanted) -> str:
    network = factory(Network, zone_id=zone_id, physical_network_id=network_id, account_id=account.id)
    with transaction(factory.engine) as session:
        return take_public_address(session, network, source_nat=True, **wanted).address


def test_life_of_a_dedicated_range(api, factory, span):
    domain = factory.domain("sales")
    account = factory.account("sam", domain)
    kept = api("dedicatePublicIpRange", id=span["id"], domainid=domain.id, account="sam")["vlan"]
    assert (kept["account"], kept["domainid"], kept["domainpath"]) == ("sam", domain.id, "ROOT/sales")
    assert api("listVlanIpRanges", account="sam", domainid=domain.id)["vlaniprange"] == [kept]
    assert api("listVlanIpRanges", domainid=domain.id)["count"] == 1
    assert api("listVlanIpRanges", domainid=factory.root.id) == {}
    with pytest.raises(Refused, match=r"431 .*is dedicated already; release it first"):
        api("dedicatePublicIpRange", id=span["id"], domainid=factory.root.id)
    assert api("releasePublicIpRange", id=span["id"]) == {"success": True}
    assert "account" not in api("listVlanIpRanges", id=span["id"])["vlaniprange"][0]
    with pytest.raises(Refused, match=r"431 .*is not dedicated"):
        api("releasePublicIpRange", id=span["id"])
    assert account.name == "sam"


def test_its_addresses_go_first_to_those_and_never_to_others(api, factory, zone_id, network_id, span):
    domain = factory.domain("sales")
    below = factory.account("sue", factory.domain("east", domain))
    stranger = factory.account("stan")
    given = {"zoneid": zone_id, "physicalnetworkid": network_id, "domainid": domain.id}
    kept = api("createVlanIpRange", **given, **OTHER)["vlan"]
    assert (kept["domain"], "account" in kept) == ("sales", False)
    assert [take(factory, zone_id, network_id, below) for _ in range(2)] != []
    held = api("listPublicIpAddresses", vlanid=kept["id"], listall=True)["publicipaddress"]
    assert {one["account"] for one in held} == {"sue"}
    assert take(factory, zone_id, network_id, below).startswith("198.51.100.1")
    with transaction(factory.engine) as session:
        free_public_addresses(session, PublicAddress.range_id == kept["id"])
    with pytest.raises(NoAddress):
        take(factory, zone_id, network_id, stranger, wanted="198.51.100.40")
    for _ in range(9):
        assert take(factory, zone_id, network_id, stranger).startswith("198.51.100.1")
    with pytest.raises(NoAddress):
        take(factory, zone_id, network_id, stranger)
    api("updateVlanIpRange", id=kept["id"], endip="198.51.100.42")
    with pytest.raises(NoAddress):
        take(factory, zone_id, network_id, stranger)
    assert take(factory, zone_id, network_id, below).startswith("198.51.100.4")
    with transaction(factory.engine) as session:
        session.execute(delete(Dedication))
    assert take(factory, zone_id, network_id, stranger).startswith("198.51.100.4")


def test_a_range_of_which_others_have_addresses_is_not_kept(api, factory, zone_id, network_id, span):
    address = take(factory, zone_id, network_id, factory.account("stan"))
    domain = factory.domain("sales")
    with pytest.raises(Refused, match=rf"431 .*another account or domain has its address {address}"):
        api("dedicatePublicIpRange", id=span["id"], domainid=domain.id)
    assert "domainid" not in api("listVlanIpRanges", id=span["id"])["vlaniprange"][0]
    assert api("dedicatePublicIpRange", id=span["id"], domainid=factory.root.id)["vlan"]["domain"] == "ROOT"
    assert take(factory, zone_id, network_id, factory.account("sue", domain))


def test_a_range_for_a_project(api, factory, zone_id, network_id, span):
    project = factory(Project, name="shop")
    kept = api("dedicatePublicIpRange", id=span["id"], domainid=factory.root.id, projectid=project.id)["vlan"]
    assert (kept["project"], kept["projectid"], "account" in kept) == ("shop", project.id, False)
    assert api("listVlanIpRanges", projectid=project.id)["count"] == 1
    api("releasePublicIpRange", id=span["id"])
    domain = factory.domain("sales")
    for given, reason in (
        ({"domainid": domain.id, "projectid": project.id}, "shop is not in the domain ROOT/sales"),
        ({"domainid": domain.id, "projectid": project.id, "account": "x"}, "exclude each other"),
        ({"domainid": domain.id, "account": "nobody"}, "no account nobody"),
    ):
        with pytest.raises(Refused, match=reason):
            api("dedicatePublicIpRange", id=span["id"], **given)
    with pytest.raises(Refused, match="431 The parameter domainid is missing"):
        api("createVlanIpRange", zoneid=zone_id, physicalnetworkid=network_id, account="x", **OTHER)
    assert api("deleteVlanIpRange", id=span["id"]) == {"success": True}


def test_of_a_race_for_an_address_one_wins(api: Api, factory, zone_id, network_id, span):
    """Either the range is kept, or the stranger has the address: never both."""
    domain = factory.domain("sales")
    strangers = [factory.account(f"stan-{number}") for number in range(4)]

    def dedicate() -> bool:
        try:
            api("dedicatePublicIpRange", id=span["id"], domainid=domain.id)
        except Refused:
            return False
        return True

    def steal(account) -> bool:
        try:
            take(factory, zone_id, network_id, account)
        except NoAddress:
            return False
        return True

    with ThreadPoolExecutor(5) as pool:
        kept = pool.submit(dedicate)
        stolen = [one.result() for one in [pool.submit(steal, account) for account in strangers]]
    held = api("listPublicIpAddresses", vlanid=span["id"], listall=True).get("count", 0)
    assert held == sum(stolen)
    assert not (kept.result() and held)


def test_lists_cost_the_same_at_any_length(api, engine, factory, zone_id, network_id, span):
    one = statements_of(engine, api, "listVlanIpRanges", 1)
    for number in range(3):
        given = {"zoneid": zone_id, "physicalnetworkid": network_id, "domainid": factory.domain(f"d{number}").id}
        ends = {"startip": f"198.51.100.{50 + number}", "endip": f"198.51.100.{50 + number}"}
        api("createVlanIpRange", **given, **{**OTHER, **ends})
    assert statements_of(engine, api, "listVlanIpRanges", 4) == one
