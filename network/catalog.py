"""Which provider gives which service to a tenant network, and whether a wanted combination can be had."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from network.balancer_catalog import LB_CAPABILITIES, NETSCALER_CAPABILITIES

VIRTUAL_ROUTER: Final = "VirtualRouter"
VPC_VIRTUAL_ROUTER: Final = "VpcVirtualRouter"
INTERNAL_BALANCER: Final = "InternalLbVm"
SECURITY_GROUPS: Final = "SecurityGroupProvider"
JUNIPER_SRX: Final = "JuniperSRX"
NETSCALER: Final = "Netscaler"

SERVICES: Final = (
    "Connectivity", "Dhcp", "Dns", "Firewall", "Gateway", "Lb", "NetworkACL", "PortForwarding", "SecurityGroup",
    "SourceNat", "StaticNat", "UserData", "Vpn",
)  # fmt: skip
"""The names that CloudStack knows. A service that no provider gives is known and cannot be had."""


@dataclass(frozen=True)
class Provider:
    """`services` maps each service that it gives to CloudStack's capabilities of it: name and value."""

    name: str
    services: Mapping[str, Mapping[str, str]]


PROVIDERS: Final[Mapping[str, Provider]] = {
    VIRTUAL_ROUTER: Provider(
        VIRTUAL_ROUTER,
        {
            "Dhcp": {},
            "Dns": {"AllowDnsSuffixModification": "true"},
            "Firewall": {
                "MultipleIps": "true",
                "SupportedEgressProtocols": "tcp,udp,icmp, all",
                "SupportedProtocols": "tcp,udp,icmp",
                "SupportedTrafficDirection": "ingress, egress",
                "TrafficStatistics": "none",
            },
            "Lb": LB_CAPABILITIES,
            "PortForwarding": {},
            "SourceNat": {"SupportedSourceNatTypes": "peraccount", "RedundantRouter": "true"},
            "StaticNat": {},
            "UserData": {},
            "Vpn": {"SupportedVpnTypes": "ipsec", "VpnTypes": "removeaccessvpn"},
        },
    ),
    VPC_VIRTUAL_ROUTER: Provider(
        VPC_VIRTUAL_ROUTER,
        {
            "Dhcp": {},
            "Dns": {"AllowDnsSuffixModification": "true"},
            "Lb": LB_CAPABILITIES,
            "NetworkACL": {"SupportedProtocols": "tcp,udp,icmp"},
            "PortForwarding": {},
            "SourceNat": {"SupportedSourceNatTypes": "peraccount", "RedundantRouter": "true"},
            "StaticNat": {},
            "UserData": {},
            "Vpn": {"SupportedVpnTypes": "ipsec", "VpnTypes": "s2svpn"},
        },
    ),
    INTERNAL_BALANCER: Provider(INTERNAL_BALANCER, {"Lb": {**LB_CAPABILITIES, "LbSchemes": "Internal"}}),
    SECURITY_GROUPS: Provider(SECURITY_GROUPS, {"SecurityGroup": {}}),
    JUNIPER_SRX: Provider(
        JUNIPER_SRX,
        {
            "Firewall": {
                "MultipleIps": "true",
                "SupportedEgressProtocols": "tcp,udp,icmp, all",
                "SupportedProtocols": "tcp,udp,icmp",
                "SupportedTrafficDirection": "ingress, egress",
                "TrafficStatistics": "none",
            },
            "PortForwarding": {},
            "SourceNat": {"SupportedSourceNatTypes": "peraccount", "RedundantRouter": "false"},
            "StaticNat": {},
            "Vpn": {"SupportedVpnTypes": "ipsec", "VpnTypes": "removeaccessvpn"},
        },
    ),
    NETSCALER: Provider(NETSCALER, {"Lb": NETSCALER_CAPABILITIES}),
}
OF_VPCS: Final = (VPC_VIRTUAL_ROUTER, INTERNAL_BALANCER)
"""Providers of tiers of VPCs alone; all others are for other networks."""

OF_DEVICES: Final[Mapping[str, str]] = {JUNIPER_SRX: "srx", NETSCALER: "netscaler"}
"""Providers by hardware devices, with the kind of these: they are there once an operator has some."""
WITHOUT_GATEWAY: Final = (NETSCALER,)
"""Providers that have a public side by themselves; guests leave by another one, which gives SourceNat."""


NEED_PUBLIC_SIDE: Final = ("Firewall", "Lb", "PortForwarding", "StaticNat", "Vpn")
"""Services of public addresses: the provider has a public side by SourceNat alone."""


CHOICES: Final = {("SourceNat", "RedundantRouter"): ("true", "false")}
"""Capabilities of which an offering chooses the value, where its provider has the first; it has the last by itself."""


class UnsuitableService(ValueError):  # noqa: N818 - it names what is wrong
    """A service or provider that cannot be had; the sentence names both, and what there is instead."""


def service_named(name: str) -> str:
    """The service's name as this catalog writes it; `name` is in any case.

    :raises UnsuitableService: there is none
    """
    return _named(name, SERVICES, "service")


def provider_named(name: str) -> str:
    """As `service_named`, of a provider."""
    return _named(name, PROVIDERS, "provider")


def _named(name: str, known: Iterable[str], kind: str) -> str:
    found = next((one for one in known if one.lower() == name.lower()), None)
    if found is None:
        raise UnsuitableService(f"There is no network {kind} {name}; there are {', '.join(known)}.")
    return found


def providers_of(service: str) -> list[str]:
    """The providers that give `service`, the one to take by default first."""
    return [provider.name for provider in PROVIDERS.values() if service in provider.services]


def check(wanted: Iterable[str], chosen: Iterable[tuple[str, str]], *, for_vpc: bool = False) -> dict[str, str]:
    """The provider of each service of an offering; a wanted one without a choice gets the default provider.

    `chosen` are pairs of service and provider; when nothing is `wanted`, they say which services there are.

    :raises UnsuitableService: a name is unknown, a provider lacks the service it was chosen for, a service is chosen
        that is not wanted or has two providers, nobody gives it, or one is wanted without that which it needs
    """
    services = list(dict.fromkeys(service_named(name) for name in wanted))
    found: dict[str, str] = {}
    for service, provider in ((service_named(s), provider_named(p)) for s, p in chosen):
        if services and service not in services:
            raise UnsuitableService(f"{provider} is chosen for {service}, which is not among the supported services.")
        if found.setdefault(service, provider) != provider:
            raise UnsuitableService(f"{service} has two providers, {found[service]} and {provider}; choose one.")
        if service not in PROVIDERS[provider].services:
            raise UnsuitableService(_lacking(service, provider))
        if (provider in OF_VPCS) != for_vpc:
            raise UnsuitableService(f"The provider {provider} is for networks {'outside' if for_vpc else 'in'} VPCs.")
    given = {service: found.get(service) or _default(service, for_vpc=for_vpc) for service in services or found}
    lame = [service for service in NEED_PUBLIC_SIDE if service in given and "SourceNat" not in given]
    if lame:
        raise UnsuitableService(f"The service {lame[0]} needs SourceNat, which is not among the services.")
    _check_gateway(given)
    return given


def _check_gateway(given: Mapping[str, str]) -> None:
    """:raises UnsuitableService: a service of public addresses has another provider than that of SourceNat"""
    gateway = given.get("SourceNat")
    for service in NEED_PUBLIC_SIDE:
        provider = given.get(service, gateway)
        if provider != gateway and provider not in WITHOUT_GATEWAY:
            raise UnsuitableService(
                f"{service} is by {provider} and SourceNat by {gateway}: public addresses come in where guests go out, "
                "so both need one provider."
            )


def _lacking(service: str, provider: str) -> str:
    given = ", ".join(PROVIDERS[provider].services)
    return f"The provider {provider} does not give the service {service}; it gives {given}."


def _default(service: str, *, for_vpc: bool) -> str:
    providers = [name for name in providers_of(service) if (name in OF_VPCS) == for_vpc]
    if not providers:
        raise UnsuitableService(f"No provider gives the service {service}{' in VPCs' if for_vpc else ''}.")
    return providers[0]
