"""Network offerings through the API, against the catalog of services and providers."""

from __future__ import annotations

import pytest

from manager import db
from manager.models import Network, NetworkOffering
from manager.seed import seed
from tests.client import Refused
from tests.unit.api.live_cloud import costs

KIND = {"guestiptype": "Isolated", "traffictype": "GUEST"}
CHOICE = {"serviceproviderlist[0].service": "Dhcp", "serviceproviderlist[0].provider": "VirtualRouter"}


def test_life_of_an_offering(api, tenant, factory):
    made = api(
        "createNetworkOffering", name="plain", displaytext="DHCP and source NAT", supportedservices="dhcp,SourceNat",
        egressdefaultpolicy=False, networkrate=100, params=CHOICE, **KIND,
    )["networkoffering"]  # fmt: skip
    assert (made["state"], made["availability"], made["isdefault"]) == ("Disabled", "Optional", False)
    assert (made["guestiptype"], made["traffictype"], made["networkrate"]) == ("Isolated", "Guest", 100)
    assert made["egressdefaultpolicy"] is False
    assert [(s["name"], s["provider"]) for s in made["service"]] == [
        ("Dhcp", [{"name": "VirtualRouter"}]),
        ("SourceNat", [{"name": "VirtualRouter"}]),
    ]
    assert made["service"][1]["capability"][0]["name"] == "SupportedSourceNatTypes"
    assert factory.first(NetworkOffering, id=made["id"]).services == {
        "Dhcp": "VirtualRouter",
        "SourceNat": "VirtualRouter",
    }
    changed = api("updateNetworkOffering", id=made["id"], state="enabled", name="plainer", displaytext="x", sortkey=3)
    assert (changed["networkoffering"]["state"], changed["networkoffering"]["name"]) == ("Enabled", "plainer")
    assert api("listNetworkOfferings", tenant, state="Enabled")["networkoffering"] == [changed["networkoffering"]]
    assert api("deleteNetworkOffering", id=made["id"]) == {"success": True}
    assert api("listNetworkOfferings") == {}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"supportedservices": "Vpn"}, "No provider gives the service Vpn"),
        ({"supportedservices": "Dhcp,Nonsense"}, "no network service Nonsense"),
        ({"params": {**CHOICE, "serviceproviderlist[0].provider": "JuniperSRX"}}, "no network provider JuniperSRX"),
        ({"params": {**CHOICE, "serviceproviderlist[0].service": "Lb"}}, "VirtualRouter does not give the service Lb"),
        ({"params": {"serviceproviderlist[0].service": "Dhcp"}}, "holds a service and a provider"),
        ({"supportedservices": "Dns", "params": CHOICE}, "chosen for Dhcp, which is not among"),
        ({"guestiptype": "Shared"}, "Shared is none of Isolated"),
        ({"traffictype": "Public"}, "Public is none of Guest"),
        ({"specifyvlan": True, "ispersistent": True}, "with specifyvlan and ispersistent are not possible"),
        ({"forvpc": True, "params": CHOICE}, "VirtualRouter is for networks outside VPCs"),
        ({"forvpc": True, "supportedservices": "Firewall"}, "No provider gives the service Firewall in VPCs"),
    ],
)
def test_what_cannot_be_had_is_refused(api, given, reason):
    with pytest.raises(Refused, match=f"431 .*{reason}"):
        api("createNetworkOffering", **{"name": "odd", **KIND, **given})
    assert api("listNetworkOfferings") == {}


def test_the_offering_of_the_seed_stays(api, engine):
    with db.transaction(engine) as session:
        seed(session)
    (seeded,) = api("listNetworkOfferings", isdefault=True, availability="Required")["networkoffering"]
    assert (seeded["availability"], seeded["state"]) == ("Required", "Enabled")
    with pytest.raises(Refused, match=r"431 .*comes with the cloud and cannot be deleted"):
        api("deleteNetworkOffering", id=seeded["id"])
    with pytest.raises(Refused, match=r"431 .*keeps its name"):
        api("updateNetworkOffering", id=seeded["id"], name="x")
    with pytest.raises(Refused, match=f"431 A network offering named {seeded['name']} exists already"):
        api("createNetworkOffering", name=seeded["name"], **KIND)
    with pytest.raises(Refused, match=f"431 One network offering can be Required, and {seeded['name']} is"):
        api("createNetworkOffering", name="second", availability="Required", **KIND)
    api("updateNetworkOffering", id=seeded["id"], availability="Required")
    api("updateNetworkOffering", id=seeded["id"], availability="Optional")
    api("createNetworkOffering", name="second", availability="Required", **KIND)


def test_an_offering_in_use_stays(api, factory):
    network = factory(Network)
    with pytest.raises(Refused, match=r"431 .*that of 1 networks"):
        api("deleteNetworkOffering", id=network.offering_id)
    factory.change(network, removed=network.created)
    api("deleteNetworkOffering", id=network.offering_id)


def test_update_needs_an_id(api):
    with pytest.raises(Refused, match="missing parameter id"):
        api("updateNetworkOffering", name="x")


def test_only_root_administrators_change_offerings(api, tenant, factory):
    offering = factory(NetworkOffering)
    for command, given in (("createNetworkOffering", {"name": "x", **KIND}), ("deleteNetworkOffering", {})):
        with pytest.raises(Refused, match="not available for the account"):
            api(command, tenant, id=offering.id, **given)


def test_filters(api, tenant, factory):
    factory(NetworkOffering, name="full", services={"Dhcp": "VirtualRouter", "SourceNat": "VirtualRouter"})
    factory(NetworkOffering, name="bare", services={"Dhcp": "VirtualRouter"}, state="Disabled")

    def names(**given):
        return [one["name"] for one in api("listNetworkOfferings", tenant, **given).get("networkoffering", [])]

    assert names() == ["bare", "full"]
    assert (
        names(sourcenatsupported=True)
        == names(supportedservices="dhcp,sourcenat")
        == names(state="Enabled")
        == ["full"]
    )
    assert names(sourcenatsupported=False) == names(name="bare") == names(keyword="are") == ["bare"]
    assert names(guestiptype="isolated", traffictype="GUEST", forvpc=False) == ["bare", "full"]
    assert names(guestiptype="Shared") == names(forvpc=True) == names(specifyvlan=True) == []
    page = api("listNetworkOfferings", supportedservices="Dhcp", page=2, pagesize=1)
    assert (page["count"], page["networkoffering"][0]["name"]) == (2, "full")


def test_supported_services(api, tenant):
    found = api("listSupportedNetworkServices", tenant)["networkservice"]
    assert [one["name"] for one in found] == [
        "Dhcp", "Dns", "Firewall", "NetworkACL", "PortForwarding", "SourceNat", "StaticNat", "UserData",
    ]  # fmt: skip
    assert found[0]["provider"] == [{"name": "VirtualRouter"}, {"name": "VpcVirtualRouter"}]
    assert api("listSupportedNetworkServices", service="dhcp", provider="virtualrouter")["count"] == 1
    assert api("listSupportedNetworkServices", provider="Netscaler") == {}


def test_lists_cost_the_same_at_any_length(api, factory, engine):
    found = costs(
        engine,
        lambda: factory(NetworkOffering, services={"Dhcp": "VirtualRouter"}),
        lambda: api("listNetworkOfferings"),
    )
    assert found == {1: found[1], 50: found[1]}
