"""What network offerings demand: capabilities of services, tags of physical networks, services that networks use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import select

from manager.api.call import Call
from manager.api.command import Given
from manager.api.errors import Invalid
from manager.models import Network, NetworkOffering, NetworkRule, RemoteAccessVpn, VpcOffering
from manager.models.network import ISOLATED, L2, SHARED
from network import catalog

CAPABILITY = {"service", "capabilitytype", "capabilityvalue"}
RULE_SERVICES = {
    "Firewall": "Firewall", "Egress": "Firewall", "PortForwarding": "PortForwarding", "StaticNat": "StaticNat",
    "IpForwarding": "StaticNat", "LoadBalancing": "Lb", "LoadBalancingMember": "Lb", "LoadBalancingStickiness": "Lb",
    "LoadBalancingHealth": "Lb",
}  # fmt: skip
"""Which service a kind of rule needs."""


NOTHING_CHOSEN = {name: values[-1] for (_, name), values in catalog.CHOICES.items()}
"""Values of the capabilities that offerings can choose, by name."""


def chosen_values(offering: NetworkOffering | VpcOffering) -> dict[str, str]:
    return {"RedundantRouter": str(offering.redundant_router).lower()}


def check_capabilities(services: dict[str, str], wanted: list[dict[str, str]]) -> None:
    """:raises Invalid: a service has not the capability that is asked for, or not with that value"""
    for entry in wanted:
        if set(entry) != CAPABILITY:
            raise Invalid(f"Each entry of servicecapabilitylist holds {', '.join(sorted(CAPABILITY))}; nothing else.")
        name, value = entry["capabilitytype"], entry["capabilityvalue"]
        service = next((one for one in services if one.lower() == entry["service"].lower()), None)
        if service is None:
            raise Invalid(f"The servicecapabilitylist names {entry['service']}, which is none of the services.")
        has = catalog.PROVIDERS[services[service]].services[service]
        known = next((text for key, text in has.items() if key.lower() == name.lower()), None)
        if known is None:
            raise Invalid(f"The service {service} has no capability {name}; it has {', '.join(has) or 'none'}.")
        if value.lower() not in _possible(service, name, known):
            raise Invalid(f"The {name} of {service} is {known} with {services[service]}; it cannot be {value}.")


def _possible(service: str, name: str, known: str) -> tuple[str, ...]:
    found = [values for (of, key), values in catalog.CHOICES.items() if of == service and key.lower() == name.lower()]
    return found[0] if found and known == found[0][0] else (known.lower(),)


def wants_redundant_router(given: Given) -> bool:
    """:raises Invalid: it is asked for, and its networks are not the kind that can have one"""
    if not asks_redundant_router(given.servicecapabilitylist or []):
        return False
    if given.guestiptype != ISOLATED or given.forvpc:
        raise Invalid("Only Isolated networks outside VPCs have redundant routers; those of tiers are their VPC's.")
    return True


def asks_redundant_router(entries: Iterable[dict[str, str]]) -> bool:
    """Whether a servicecapabilitylist does."""
    wanted = {
        (entry["service"].lower(), entry["capabilitytype"].lower(), entry["capabilityvalue"].lower())
        for entry in entries
    }
    return ("sourcenat", "redundantrouter", "true") in wanted


def kind_columns(given: Given, services: dict[str, str]) -> dict[str, Any]:
    """The columns of the kind of networks.

    :raises Invalid: the services or flags are not for that kind
    """
    kind = given.guestiptype
    if kind == L2 and services:
        raise Invalid(f"Networks of layer 2 alone have no services; {', '.join(services)} cannot be theirs.")
    devices = [provider for provider in services.values() if provider in catalog.OF_DEVICES]
    if devices and kind != ISOLATED:
        raise Invalid(f"Devices serve Isolated networks; {kind} ones cannot have services by {devices[0]}.")
    if given.forvpc and kind != ISOLATED:
        raise Invalid(f"Tiers of VPCs are Isolated networks; {kind} ones cannot be forvpc.")
    if given.ispersistent and kind != ISOLATED:
        raise Invalid(f"Only Isolated networks can be persistent; {kind} ones cannot.")
    if given.specifyipranges is not None and given.specifyipranges != (kind == SHARED):
        raise Invalid(f"The specifyipranges of {kind} networks is {str(kind == SHARED).lower()}: Shared networks name "
                      "the range of their virtual machines, and others need not.")  # fmt: skip
    return {
        "guest_ip_type": kind,
        "specify_vlan": given.specifyvlan,
        "specify_ip_ranges": kind == SHARED,
        "persistent": given.ispersistent,
        "redundant_router": wants_redundant_router(given),
    }


def tags_text(text: str | None) -> str:
    """The tags of a list with commas, each once."""
    return ",".join(dict.fromkeys(tag.strip() for tag in (text or "").split(",") if tag.strip()))


def by_devices(offering: NetworkOffering) -> dict[str, str]:
    """The services that hardware devices give, with their providers."""
    return {service: by for service, by in offering.services.items() if by in catalog.OF_DEVICES}


def services_needed(call: Call, network: Network) -> set[str]:
    """The services that another offering of the network must have: its own, but of rules and VPNs it has none of."""
    own = call.session.get_one(NetworkOffering, network.offering_id)
    query = select(NetworkRule.purpose).where(NetworkRule.network_id == network.id, NetworkRule.removed.is_(None))
    used = {RULE_SERVICES[purpose] for purpose in call.session.scalars(query)}
    vpn = select(RemoteAccessVpn.id).where(RemoteAccessVpn.network_id == network.id, RemoteAccessVpn.removed.is_(None))
    used |= {"Vpn"} if call.session.scalar(vpn) else set()
    return set(own.services) - {"Vpn", *RULE_SERVICES.values()} | used


def offerings_with(call: Call, model: type[NetworkOffering | VpcOffering], services: list[str]) -> list[str]:
    """The ids of the offerings that have all these services, which are named in any case."""
    wanted = {name.lower() for name in services}
    rows = call.session.execute(select(model.id, model.services))
    return [row.id for row in rows if wanted <= {name.lower() for name in row.services}]
