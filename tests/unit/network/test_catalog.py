"""The catalog: what a combination of services and providers becomes, and which are refused."""

from __future__ import annotations

import pytest

from network import catalog
from network.catalog import PROVIDERS, SERVICES, UnsuitableService, check, providers_of


def test_services_get_the_provider_chosen_or_the_default_one():
    assert check(["dhcp", "SourceNat"], [("DHCP", "virtualrouter")]) == {
        "Dhcp": "VirtualRouter",
        "SourceNat": "VirtualRouter",
    }
    assert check([], [("Dns", "VirtualRouter")]) == {"Dns": "VirtualRouter"}
    assert check([], []) == {}
    assert check(["Dhcp", "dhcp"], []) == {"Dhcp": "VirtualRouter"}


@pytest.mark.parametrize(
    ("wanted", "chosen", "reason"),
    [
        (["Gateway"], [], "No provider gives the service Gateway"),
        (
            ["Gateway"],
            [("Gateway", "VirtualRouter")],
            "VirtualRouter does not give the service Gateway; it gives",
        ),
        (["Teleport"], [], "no network service Teleport; there are Connectivity,"),
        (["Dhcp"], [("Dhcp", "Nobody")], "no network provider Nobody; there are VirtualRouter"),
        (["Dhcp"], [("Dns", "VirtualRouter")], "chosen for Dns, which is not among"),
        (["Dhcp", "Firewall"], [], "The service Firewall needs SourceNat, which is not among"),
        ([], [("StaticNat", "VirtualRouter")], "The service StaticNat needs SourceNat"),
        ([], [("Lb", "JuniperSRX")], "JuniperSRX does not give the service Lb; it gives Firewall, PortForwarding"),
        ([], [("Vpn", "JuniperSRX")], "The service Vpn needs SourceNat, which is not among"),
        (["SourceNat", "Vpn"], [("SourceNat", "JuniperSRX")], "Vpn is by VirtualRouter and SourceNat by JuniperSRX"),
        (["Dhcp", "Lb"], [("Lb", "Netscaler")], "The service Lb needs SourceNat, which is not among"),
        (
            ["SourceNat", "Firewall"],
            [("Firewall", "JuniperSRX")],
            "Firewall is by JuniperSRX and SourceNat by VirtualRouter: public addresses come in where",
        ),
        (
            ["SourceNat", "Lb", "Vpn"],
            [("SourceNat", "JuniperSRX")],
            "Lb is by VirtualRouter and SourceNat by JuniperSRX",
        ),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(wanted, chosen, reason):
    with pytest.raises(UnsuitableService, match=reason):
        check(wanted, chosen)


def test_a_load_balancer_goes_with_either_gateway():
    for gateway in ("VirtualRouter", "JuniperSRX"):
        chosen = [("SourceNat", gateway), ("Lb", "Netscaler")]
        assert check([], chosen) == {"SourceNat": gateway, "Lb": "Netscaler"}


def test_a_service_has_one_provider(monkeypatch):
    other = catalog.Provider("Other", {"Dhcp": {}})
    monkeypatch.setattr(catalog, "PROVIDERS", {**PROVIDERS, "Other": other})
    assert providers_of("Dhcp") == ["VirtualRouter", "VpcVirtualRouter", "Other"]
    assert check(["Dhcp", "Dns"], [("Dhcp", "other")]) == {"Dhcp": "Other", "Dns": "VirtualRouter"}
    with pytest.raises(UnsuitableService, match="two providers, VirtualRouter and Other"):
        check([], [("Dhcp", "VirtualRouter"), ("Dhcp", "Other")])


def test_providers_give_services_that_are_named():
    assert {service for provider in PROVIDERS.values() for service in provider.services} <= set(SERVICES)
    assert all(name == provider.name for name, provider in PROVIDERS.items())
