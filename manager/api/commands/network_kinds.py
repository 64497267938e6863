"""What kinds of networks differ in: for whom they are, where their addresses come from, which key they have."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

from sqlalchemy import select

from manager.api.call import Call
from manager.api.command import Given
from manager.api.commands import ipv4
from manager.api.errors import Denied, Invalid
from manager.identity_seed import SYSTEM_NUMBER
from manager.models import Account, NetworkOffering, Zone
from manager.models.network import ISOLATED, L2, SHARED
from manager.workflows.guards import has_groups
from network.overlays import OVERLAYS, VLAN, Overlay

PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))
"""RFC 1918 and RFC 6598."""
LONGEST_PREFIX, SHORTEST_PREFIX = 29, 16
UNTAGGED = "untagged"
ADDRESSING = ("gateway", "netmask", "startip", "endip", "routerip")


def check_open(call: Call, zone: Zone, offering: NetworkOffering) -> None:
    """:raises Denied: the zone takes no networks
    :raises Invalid: it or nobody takes networks of the offering
    """
    if zone.allocation_state != "Enabled" and not call.is_root_admin:
        raise Denied(f"The zone {zone.name} is disabled.")
    if offering.state != "Enabled":
        raise Invalid(f"The network offering {offering.name} is {offering.state}; networks need an enabled one.")
    if zone.is_flat and offering.guest_ip_type != SHARED:
        raise Invalid(f"The zone {zone.name} is Basic: its one network is Shared, and those of the offering "
                      f"{offering.name} are {offering.guest_ip_type}.")  # fmt: skip
    if zone.security_groups and not has_groups(offering.services):
        raise Invalid(f"The zone {zone.name} has security groups: its networks need an offering with the service "
                      f"SecurityGroup, which {offering.name} lacks.")  # fmt: skip


def audience(call: Call, given: Given, offering: NetworkOffering, owner: Account) -> tuple[Account, dict[str, Any]]:
    """Who owns the network, `owner` when it is for an account, and its columns that say for whom it is.

    What is for a domain belongs to no tenant: the account `system` owns it.

    :raises Denied: users make none for a domain
    :raises Invalid: only a shared network can be for a domain
    """
    names_owner = any(call.given.get(name) for name in ("account", "projectid"))
    administers = call.is_root_admin or call.is_domain_admin
    by_default = "domain" if offering.guest_ip_type == SHARED and administers and not names_owner else "account"
    kind = (given.acltype or by_default).lower()
    columns = {"guest_type": offering.guest_ip_type}
    if kind == "account":
        if given.subdomainaccess is not None:
            raise Invalid("The parameter subdomainaccess is for networks with the acltype Domain.")
        return owner, columns
    if offering.guest_ip_type != SHARED:
        raise Invalid(f"Networks of the offering {offering.name} are {offering.guest_ip_type}; only Shared ones can "
                      "have the acltype Domain.")  # fmt: skip
    if not administers:
        raise Denied("Networks with the acltype Domain are made by administrators alone.")
    if names_owner:
        raise Invalid("A network with the acltype Domain belongs to no account; give domainid alone.")
    domain = call.named_domain or call.domain
    is_wide = given.subdomainaccess is not False
    owner = call.session.scalars(select(Account).filter_by(number=SYSTEM_NUMBER)).one()
    return owner, {**columns, "domain_id": domain.id, "subdomain_access": is_wide}


def addressing(call: Call, given: Given, offering: NetworkOffering) -> dict[str, Any]:
    """The columns of the range of a network that is not Isolated, and of what guests may have of it.

    :raises Invalid: the parameters do not fit together or the kind of network, or tenants cannot have that range
    """
    if offering.guest_ip_type == L2:
        wrong = [name for name in ADDRESSING if getattr(given, name)]
        if wrong:
            raise Invalid(f"The network is of layer 2 alone and has no addresses: {wrong[0]} is not for it.")
        return {"cidr": "", "gateway": "", "netmask": ""}
    if given.zoneid.is_flat:
        wrong = [name for name in ADDRESSING if getattr(given, name)]
        if wrong:
            raise Invalid(f"The zone {given.zoneid.name} is Basic: createVlanIpRange gives its network addresses, and "
                          f"{wrong[0]} is not for it.")  # fmt: skip
        return {"cidr": "", "gateway": "", "netmask": "", "live": f"{given.zoneid.id}/basic"}
    return _shared(call, given, offering)


def _shared(call: Call, given: Given, offering: NetworkOffering) -> dict[str, Any]:
    span = ipv4.span(given.gateway, given.netmask, given.startip, given.endip or given.startip)
    check_prefix(span.subnet)
    if not call.is_root_admin:
        check_private(span.subnet)
    router = ipv4.optional_address("routerip", given.routerip)
    if router is not None:
        if "SourceNat" in offering.services:
            raise Invalid(f"The router of networks of the offering {offering.name} is their gateway; it has no "
                          "routerip.")  # fmt: skip
        ipv4.span(given.gateway, given.netmask, router, router)
    return {
        "cidr": str(span.subnet),
        "gateway": str(span.gateway),
        "netmask": str(span.subnet.netmask),
        "first_address": str(span.first),
        "last_address": str(span.last),
        "router_address": router,
    }


def check_prefix(subnet: IPv4Network) -> None:
    """:raises Invalid: the range is too large or too small for a tenant network"""
    if not SHORTEST_PREFIX <= subnet.prefixlen <= LONGEST_PREFIX:
        raise Invalid(f"The range {subnet} has the prefix /{subnet.prefixlen}; it must lie within "
                      f"/{SHORTEST_PREFIX} and /{LONGEST_PREFIX}.")  # fmt: skip


def check_private(subnet: IPv4Network) -> None:
    """:raises Invalid: the range is one of public addresses"""
    if not any(subnet.subnet_of(private) for private in PRIVATE):
        raise Invalid(f"The range {subnet} is not a private one; it must lie in {', '.join(map(str, PRIVATE))}.")


def wanted_key(call: Call, zone: Zone, text: str | None, offering: NetworkOffering, overlay: Overlay) -> int | None:
    """The tunnel key, or the VLAN, of parameter vlan; 0 for frames without a tag, as in Basic zones
    without it.

    :raises Denied: networks whose key is chosen are root administrators'
    :raises Invalid: the offering has no choice, or it is none
    """
    if offering.specify_vlan and not call.is_root_admin:
        raise Denied(
            f"Networks of the offering {offering.name} are made by root administrators, who choose their vlan."
        )
    if not text:
        return 0 if zone.is_flat else None
    if not offering.specify_vlan:
        raise Invalid(f"Networks of the offering {offering.name} take their tunnel keys from the zone; it has no "
                      "specifyvlan, so vlan is not for them.")  # fmt: skip
    plain = text.rpartition("://")[2]
    if overlay is OVERLAYS[VLAN] and plain.lower() == UNTAGGED and offering.guest_ip_type != ISOLATED:
        return 0
    if not (plain.isdecimal() and plain.isascii() and 1 <= int(plain) <= overlay.largest_key):
        raise Invalid(f"The vlan {text} is no {overlay.name} key: a number from 1 to {overlay.largest_key}.")
    return int(plain)
