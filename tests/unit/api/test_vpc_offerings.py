"""VPC offerings through the API."""

from __future__ import annotations

import pytest

from manager import db
from manager.models import Vpc, VpcOffering
from manager.seed import seed
from tests.client import Refused
from tests.unit.api.live_cloud import costs

SERVICES = "Dhcp,Dns,SourceNat"


def make(api, **given) -> dict:
    answer = api("createVPCOffering", **{"name": "small", "supportedservices": SERVICES, **given})
    return api("listVPCOfferings", id=answer["id"])["vpcoffering"][0]


def test_life_of_a_vpc_offering(api, tenant, factory):
    made = make(api, displaytext="few services")
    assert (made["state"], made["isdefault"], made["displaytext"]) == ("Disabled", False, "few services")
    assert [one["name"] for one in made["service"]] == ["Dhcp", "Dns", "SourceNat"]
    assert all(one["provider"] == [{"name": "VpcVirtualRouter"}] for one in made["service"])
    with pytest.raises(Refused, match=r"431 A VPC offering named small exists already"):
        make(api)
    api("updateVPCOffering", id=made["id"], name="tiny", state="Enabled", sortkey=3, displaytext="d")
    (shown,) = api("listVPCOfferings", tenant, name="tiny", supportedservices="dhcp", state="Enabled")["vpcoffering"]
    assert (shown["displaytext"], shown["distributedvpcrouter"]) == ("d", False)
    assert api("listVPCOfferings", supportedservices="NetworkACL") == {}
    vpc = factory(Vpc, offering_id=made["id"])
    with pytest.raises(Refused, match=r"431 The VPC offering tiny is that of 1 VPCs and cannot be deleted"):
        api("deleteVPCOffering", id=made["id"])
    factory.change(vpc, removed=vpc.created)
    api("deleteVPCOffering", id=made["id"])
    assert api("listVPCOfferings") == {}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"supportedservices": "Dhcp"}, "A VPC offering needs the service SourceNat"),
        ({"supportedservices": "SourceNat,Firewall"}, "No provider gives the service Firewall in VPCs"),
        ({"supportedservices": None, "params": {"serviceproviderlist[0].service": "SourceNat",
          "serviceproviderlist[0].provider": "VirtualRouter"}}, "VirtualRouter is for networks outside VPCs"),
        ({"supportedservices": "Magic"}, "There is no network service Magic"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_refused(api, given, reason):
    with pytest.raises(Refused, match=f"431 .*{reason}"):
        make(api, **given)
    assert api("listVPCOfferings") == {}


def test_the_offering_of_the_seed_stays(api, engine, factory):
    with db.transaction(engine) as session:
        seed(session)
        seed(session)
    seeded, redundant = api("listVPCOfferings", isdefault=True)["vpcoffering"]
    assert (seeded["name"], seeded["state"]) == ("Default VPC offering", "Enabled")
    assert (redundant["name"], redundant["state"]) == ("Redundant VPC offering", "Enabled")
    assert [_redundancy(one) for one in (seeded, redundant)] == ["false", "true"]
    wanted = {"service": "SourceNat", "capabilitytype": "RedundantRouter", "capabilityvalue": "true"}
    params = {f"servicecapabilitylist[0].{key}": value for key, value in wanted.items()}
    assert _redundancy(make(api, name="two", params=params)) == "true"
    with pytest.raises(Refused, match=r"431 .*comes with the cloud and cannot be deleted"):
        api("deleteVPCOffering", id=seeded["id"])
    with pytest.raises(Refused, match=r"431 .*keeps its name"):
        api("updateVPCOffering", id=seeded["id"], name="x")


def _redundancy(offering) -> str:
    (nat,) = [one for one in offering["service"] if one["name"] == "SourceNat"]
    (found,) = [one["value"] for one in nat["capability"] if one["name"] == "RedundantRouter"]
    return found


def test_an_offering_for_one_domain_is_seen_there_alone(api, tenant, factory):
    domain = factory.domain("apart")
    made = make(api, domainid=domain.id, enable=True)
    assert made["domainid"] == domain.id
    assert api("listVPCOfferings", tenant) == {}
    api("updateVPCOffering", id=made["id"], domainid="public")
    assert api("listVPCOfferings", tenant)["count"] == 1


def test_lists_cost_the_same_at_any_length(api, factory, engine):
    found = costs(engine, lambda: factory(VpcOffering), lambda: api("listVPCOfferings"))
    assert found == {1: found[1], 50: found[1]}
