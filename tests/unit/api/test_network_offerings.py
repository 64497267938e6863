"""Network offerings through the API, against the catalog of services and providers."""

from __future__ import annotations

import pytest

from manager import db
from manager.models import Network, NetworkOffering
from manager.seed import seed
from network import catalog
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
        ({"supportedservices": "Gateway"}, "No provider gives the service Gateway"),
        ({"supportedservices": "Dhcp,Nonsense"}, "no network service Nonsense"),
        ({"params": {**CHOICE, "serviceproviderlist[0].provider": "Nobody"}}, "no network provider Nobody"),
        (
            {
                "params": {
                    **CHOICE,
                    "serviceproviderlist[0].service": "SourceNat",
                    "serviceproviderlist[0].provider": "JuniperSRX",
                },
                "guestiptype": "Shared",
            },
            "Devices serve Isolated networks; Shared ones cannot have services by JuniperSRX",
        ),
        ({"params": {**CHOICE, "serviceproviderlist[0].service": "Gateway"}}, "does not give the service Gateway"),
        ({"params": {"serviceproviderlist[0].service": "Dhcp"}}, "holds a service and a provider"),
        ({"supportedservices": "Dns", "params": CHOICE}, "chosen for Dhcp, which is not among"),
        ({"guestiptype": "Flat"}, "Flat is none of Isolated, Shared, L2"),
        ({"guestiptype": "L2", "supportedservices": "Dhcp"}, "Networks of layer 2 alone have no services; Dhcp"),
        ({"guestiptype": "Shared", "ispersistent": True}, "Only Isolated networks can be persistent"),
        ({"guestiptype": "Shared", "specifyipranges": False}, "The specifyipranges of Shared networks is true"),
        ({"specifyipranges": True}, "The specifyipranges of Isolated networks is false"),
        ({"traffictype": "Public"}, "Public is none of Guest"),
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


def test_a_new_cloud_has_the_default_offerings_and_gold(api, engine):
    with db.transaction(engine) as session:
        seed(session)
        seed(session)
    shown = {one["name"]: one for one in api("listNetworkOfferings", isdefault=True)["networkoffering"]}
    kinds = {name: (one["guestiptype"], one["specifyvlan"]) for name, one in shown.items()}
    assert kinds == {
        "DefaultIsolatedNetworkOfferingForVpcNetworks": ("Isolated", False),
        "DefaultIsolatedNetworkOfferingForVpcNetworksNoLB": ("Isolated", False),
        "DefaultIsolatedNetworkOfferingForVpcNetworksWithInternalLB": ("Isolated", False),
        "DefaultIsolatedNetworkOfferingWithSourceNatService": ("Isolated", False),
        "DefaultIsolatedNetworkOffering": ("Isolated", False),
        "DefaultSharedNetworkOffering": ("Shared", True),
        "DefaultSharedNetworkOfferingWithSGService": ("Shared", True),
        "DefaultL2NetworkOffering": ("L2", False),
        "DefaultL2NetworkOfferingVlan": ("L2", True),
        "gold": ("Isolated", False),
        "platinum": ("Isolated", False),
    }
    given = {service["name"] for service in shown["gold"]["service"]}
    assert given == set(catalog.PROVIDERS[catalog.VIRTUAL_ROUTER].services)
    assert shown["DefaultL2NetworkOffering"]["service"] == []
    with_keys = api("listNetworkOfferings", specifyvlan=True, specifyipranges=False)["networkoffering"]
    assert [one["name"] for one in with_keys] == ["DefaultL2NetworkOfferingVlan"]


def test_kinds_of_networks_are_offered(api):
    shared = api("createNetworkOffering", name="s", **{**KIND, "guestiptype": "shared"}, params=CHOICE)
    assert (shared["networkoffering"]["guestiptype"], shared["networkoffering"]["specifyipranges"]) == ("Shared", True)
    bare = {"name": "l2", "guestiptype": "L2", "traffictype": "Guest", "specifyvlan": True}
    made = api("createNetworkOffering", **bare)["networkoffering"]
    assert (made["guestiptype"], made["specifyvlan"], made["service"]) == ("L2", True, [])


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
        "Dhcp", "Dns", "Firewall", "Lb", "NetworkACL", "PortForwarding", "SecurityGroup", "SourceNat", "StaticNat",
        "UserData", "Vpn",
    ]  # fmt: skip
    assert found[0]["provider"] == [{"name": "VirtualRouter"}, {"name": "VpcVirtualRouter"}]
    assert api("listSupportedNetworkServices", service="dhcp", provider="virtualrouter")["count"] == 1
    assert api("listSupportedNetworkServices", provider="Nobody") == {}
    (balancing,) = api("listSupportedNetworkServices", provider="Netscaler")["networkservice"]
    givers = ["VirtualRouter", "VpcVirtualRouter", "InternalLbVm", "Netscaler"]
    assert [one["name"] for one in balancing["provider"]] == givers
    assert {one["name"]: one["value"] for one in balancing["capability"]}["SupportedProtocols"] == "tcp,tcp-proxy,ssl"


def test_lists_cost_the_same_at_any_length(api, factory, engine):
    found = costs(
        engine,
        lambda: factory(NetworkOffering, services={"Dhcp": "VirtualRouter"}),
        lambda: api("listNetworkOfferings"),
    )
    assert found == {1: found[1], 50: found[1]}
