"""What a new cloud has from the start: region, network offerings, guest operating systems, counters. Idempotent."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from manager.db import write
from manager.models import (
    Counter,
    NetworkAclItem,
    NetworkAclList,
    NetworkOffering,
    OsCategory,
    OsType,
    Region,
    Router,
    ServiceOffering,
    VpcOffering,
)
from manager.models.acl import DEFAULT_ALLOW, DEFAULT_DENY
from manager.models.catalog import DEFAULT_ROUTER_OFFERING, DOMAIN_ROUTER
from manager.models.network import L2, SHARED
from network import catalog

NAMESPACE = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")
VIRTUAL_ROUTER = "VirtualRouter"
ROUTER_SERVICES = ("Dhcp", "Dns", "Firewall", "Lb", "PortForwarding", "SourceNat", "StaticNat", "UserData", "Vpn")
BASIC_SERVICES = ("Dhcp", "Dns", "UserData")
OS_TYPES = {
    "Debian": ["Debian GNU/Linux 11 (64-bit)", "Debian GNU/Linux 12 (64-bit)", "Debian GNU/Linux 13 (64-bit)"],
    "Ubuntu": ["Ubuntu 20.04 LTS", "Ubuntu 22.04 LTS", "Ubuntu 24.04 LTS"],
    "RedHat": ["Red Hat Enterprise Linux 8", "Red Hat Enterprise Linux 9"],
    "CentOS": ["CentOS 7", "CentOS Stream 9"],
    "Rocky Linux": ["Rocky Linux 8", "Rocky Linux 9"],
    "SUSE": ["SUSE Linux Enterprise Server 15 (64-bit)"],
    "Unix": ["FreeBSD 13 (64-bit)", "FreeBSD 14 (64-bit)"],
    "Windows": ["Windows Server 2019 (64-bit)", "Windows Server 2022 (64-bit)", "Windows 11 (64-bit)"],
    "Other": ["Other Linux (64-bit)", "Other (64-bit)"],
}
LAST_NUMBERS = {"account": 2, "vm": 0, "router": 0}
"""Accounts 1 and 2 are those of the seed of identity."""


def stable_id(kind: str, name: str) -> str:
    """The same uuid for the same seeded thing in every cloud, so that seeding again changes nothing."""
    return str(uuid.uuid5(NAMESPACE, f"{kind}/{name}"))


def seed(session: Session) -> None:
    for name, last in LAST_NUMBERS.items():
        _ensure(session, Counter, name, name=name, last=last)
    _ensure(session, Region, 1, id=1, name="Local", endpoint="http://localhost:8080/client/")
    for category, names in OS_TYPES.items():
        category_id = stable_id("os_category", category)
        _ensure(session, OsCategory, category_id, id=category_id, name=category, live=category)
        session.flush()
        for name in names:
            type_id = stable_id("os_type", name)
            _ensure(session, OsType, type_id, id=type_id, name=name, category_id=category_id, live=name)
    _router_offering(session)
    _acl_list(session, DEFAULT_DENY, "default_deny", "Default Network ACL Deny All", allow=False)
    _acl_list(session, DEFAULT_ALLOW, "default_allow", "Default Network ACL Allow All", allow=True)
    for offering in network_offerings():
        if session.scalar(select(NetworkOffering.id).filter_by(live=offering["name"])) is None:
            _ensure(session, NetworkOffering, offering["id"], is_default=True, live=offering["name"], **offering)
    _vpc_offering(session)


def _vpc_offering(session: Session) -> None:
    """What a VPC has by default, by CloudStack's name."""
    services = dict.fromkeys(_given(catalog.VPC_VIRTUAL_ROUTER), catalog.VPC_VIRTUAL_ROUTER)
    name = "Default VPC offering"
    offering_id = stable_id("vpc_offering", name)
    if session.scalar(select(VpcOffering.id).filter_by(live=name)) is None:
        _ensure(
            session, VpcOffering, offering_id, id=offering_id, name=name, display_text=name, live=name, is_default=True,
            state="Enabled", services=services, service_offering_id=DEFAULT_ROUTER_OFFERING,
        )  # fmt: skip


def network_offerings() -> Iterator[dict[str, Any]]:
    """CloudStack's default offerings by their names, and those of the catalog."""
    yield _offering(
        "DefaultIsolatedNetworkOfferingWithSourceNatService",
        "Isolated network with DHCP, DNS, user data, NAT, port forwarding, firewall and VPN by a virtual router",
        ROUTER_SERVICES,
        availability="Required",
    )
    yield _offering(
        "DefaultIsolatedNetworkOffering",
        "Isolated network with DHCP, DNS and user data by a virtual router, and without a way to the outside",
        BASIC_SERVICES,
    )
    shared: dict[str, Any] = {"guest_ip_type": SHARED, "specify_ip_ranges": True, "specify_vlan": True}
    yield _offering(
        "DefaultSharedNetworkOffering",
        "Network for guests of many accounts with DHCP, DNS and user data by a virtual router",
        BASIC_SERVICES,
        **shared,
    )
    yield _offering(
        "DefaultSharedNetworkOfferingWithSGService",
        "Network for guests of many accounts, which security groups keep apart",
        BASIC_SERVICES,
        {"SecurityGroup": catalog.SECURITY_GROUPS},
        **shared,
    )
    yield _offering("DefaultL2NetworkOffering", "Network of layer 2 alone", (), guest_ip_type=L2)
    yield _offering(
        "DefaultL2NetworkOfferingVlan", "Network of layer 2 alone, with a chosen key", (), guest_ip_type=L2,
        specify_vlan=True,
    )  # fmt: skip
    yield from _of_the_catalog()
    yield from _of_tiers()


def _of_tiers() -> Iterator[dict[str, Any]]:
    of_tier = dict.fromkeys(_given(catalog.VPC_VIRTUAL_ROUTER), catalog.VPC_VIRTUAL_ROUTER)
    yield _offering(
        "DefaultIsolatedNetworkOfferingForVpcNetworks",
        "Tier of a VPC with DHCP, DNS, user data, NAT, port forwarding, load balancing and ACL lists",
        (),
        of_tier,
        conserve_mode=False,
    )
    yield _offering(
        "DefaultIsolatedNetworkOfferingForVpcNetworksNoLB",
        "Tier of a VPC without load balancing",
        (),
        {service: provider for service, provider in of_tier.items() if service != "Lb"},
        conserve_mode=False,
    )
    yield _offering(
        "DefaultIsolatedNetworkOfferingForVpcNetworksWithInternalLB",
        "Tier of a VPC with load balancing inside the VPC",
        (),
        {**of_tier, "Lb": catalog.INTERNAL_BALANCER},
        conserve_mode=False,
    )


def _of_the_catalog() -> Iterator[dict[str, Any]]:
    yield _offering("gold", "Isolated network with all that a virtual router gives", tuple(_given(VIRTUAL_ROUTER)))
    yield _offering(
        "platinum",
        "Isolated network with a firewall and NAT by a Juniper SRX and load balancing by a NetScaler",
        BASIC_SERVICES,
        dict.fromkeys(_given(catalog.JUNIPER_SRX), catalog.JUNIPER_SRX)
        | dict.fromkeys(_given(catalog.NETSCALER), catalog.NETSCALER),
    )


def _given(provider: str) -> list[str]:
    return sorted(catalog.PROVIDERS[provider].services)


def _offering(
    name: str, text: str, by_router: tuple[str, ...], by_others: dict[str, str] | None = None, **values: Any
) -> dict[str, Any]:
    services = dict.fromkeys(by_router, VIRTUAL_ROUTER) | (by_others or {})
    return {
        "id": stable_id("network_offering", name),
        "name": name,
        "display_text": text,
        "services": services,
        "service_offering_id": DEFAULT_ROUTER_OFFERING if by_router else None,
        **values,
    }


def _acl_list(session: Session, list_id: str, name: str, text: str, *, allow: bool) -> None:
    _ensure(session, NetworkAclList, list_id, id=list_id, name=name, description=text)
    session.flush()
    for number, direction in enumerate(("ingress", "egress"), 1):
        item_id = stable_id("network_acl_item", f"{name}/{number}")
        _ensure(session, NetworkAclItem, item_id, id=item_id, list_id=list_id, number=number, direction=direction,
                allow=allow, state="Active", live=f"{list_id}/{number}")  # fmt: skip


def _router_offering(session: Session) -> None:
    """What virtual routers have that have nothing else; those from before there was one get it."""
    name = "System Offering For Software Router"
    size = {"cpus": 1, "cpu_mhz": 500, "memory": 256 * 2**20, "storage_type": "shared"}
    _ensure(
        session, ServiceOffering, DEFAULT_ROUTER_OFFERING, id=DEFAULT_ROUTER_OFFERING, name=name, display_text=name,
        live=name.lower(), system_vm_type=DOMAIN_ROUTER, **size,
    )  # fmt: skip
    session.flush()
    for offering in session.scalars(select(NetworkOffering).where(NetworkOffering.service_offering_id.is_(None))):
        if VIRTUAL_ROUTER in offering.services.values():
            offering.service_offering_id = DEFAULT_ROUTER_OFFERING
    bare = update(Router).where(Router.service_offering_id.is_(None))
    write(session, bare.values(service_offering_id=DEFAULT_ROUTER_OFFERING))


def _ensure(session: Session, model: type[Any], key: Any, **values: Any) -> None:
    if session.get(model, key) is None:
        session.add(model(**values))
