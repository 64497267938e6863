"""What is on offer: compute, disk and network offerings, guest operating systems, templates."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import ID, STATE, Base, Entity

DOMAIN_ROUTER = "domainrouter"
DEFAULT_ROUTER_OFFERING = "4880766e-8174-5f41-b513-4f6ee219a71e"
"""The id of the service offering of virtual routers that comes with every cloud."""


class DiskTraits:
    """How the disks of an offering are made and used; `io_limits` has the fields of storage.types.IoLimits."""

    provisioning: Mapped[str] = mapped_column(STATE, default="thin")
    cache_mode: Mapped[str] = mapped_column(STATE, default="none")
    io_limits: Mapped[dict[str, Any]] = mapped_column(default=dict)
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)


class ServiceOffering(DiskTraits, Entity, Base):
    """`cpus`, `cpu_mhz` (of each CPU) and `memory` (bytes) are 0 where the user chooses at deployment.

    `bounds` says between what: mincpunumber, maxcpunumber, minmemory and maxmemory (MiB), each where there is one.
    `network_rate` is in Mbit/s. `lease_days` and `lease_action` are those of VMs that ask for no lease of their own.
    `system_vm_type` is NULL but for those of virtual routers. A router is no guest and claims nothing of its host's
    CPUs and memory: it takes the offering's host tags, and shows its name.
    """

    __tablename__ = "service_offerings"

    name: Mapped[str]
    display_text: Mapped[str]
    cpus: Mapped[int]
    cpu_mhz: Mapped[int]
    memory: Mapped[int] = mapped_column(BigInteger)
    storage_type: Mapped[str] = mapped_column(STATE, default="local")
    host_tags: Mapped[str] = mapped_column(default="")
    storage_tags: Mapped[str] = mapped_column(default="")
    offer_ha: Mapped[bool] = mapped_column(default=False)
    limit_cpu_use: Mapped[bool] = mapped_column(default=False)
    customized: Mapped[bool] = mapped_column(default=False)
    root_disk_size: Mapped[int] = mapped_column(BigInteger, default=0)
    bounds: Mapped[dict[str, Any]] = mapped_column(default=dict)
    network_rate: Mapped[int | None]
    planner: Mapped[str | None] = mapped_column(STATE)
    lease_days: Mapped[int | None]
    lease_action: Mapped[str | None] = mapped_column(STATE)
    system_vm_type: Mapped[str | None] = mapped_column(STATE)
    state: Mapped[str] = mapped_column(STATE, default="Active")
    sort_key: Mapped[int] = mapped_column(default=0)


class DiskOffering(DiskTraits, Entity, Base):
    """`size` in bytes, 0 where the user chooses."""

    __tablename__ = "disk_offerings"

    name: Mapped[str]
    display_text: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    customized: Mapped[bool] = mapped_column(default=False)
    storage_type: Mapped[str] = mapped_column(STATE, default="local")
    tags: Mapped[str] = mapped_column(default="")
    display: Mapped[bool] = mapped_column(default=True)
    state: Mapped[str] = mapped_column(STATE, default="Active")
    sort_key: Mapped[int] = mapped_column(default=0)


class NetworkOffering(Entity, Base):
    """`services` maps a service ('Dhcp') to its provider ('VirtualRouter').

    `service_offering_id` is that of its networks' virtual routers, NULL where they have none. Networks of it are on a
    physical network that has all its `tags`. With `specify_vlan` root administrators choose the tunnel keys of its
    networks, and those of `persistent` ones are implemented when they are made. Networks of `redundant_router` have
    two virtual routers on different hosts.
    """

    __tablename__ = "network_offerings"

    name: Mapped[str]
    display_text: Mapped[str]
    traffic_type: Mapped[str] = mapped_column(STATE, default="Guest")
    guest_ip_type: Mapped[str] = mapped_column(STATE, default="Isolated")
    availability: Mapped[str] = mapped_column(STATE, default="Optional")
    state: Mapped[str] = mapped_column(STATE, default="Enabled")
    is_default: Mapped[bool] = mapped_column(default=False)
    conserve_mode: Mapped[bool] = mapped_column(default=True)
    specify_vlan: Mapped[bool] = mapped_column(default=False)
    specify_ip_ranges: Mapped[bool] = mapped_column(default=False)
    persistent: Mapped[bool] = mapped_column(default=False)
    redundant_router: Mapped[bool] = mapped_column(default=False)
    egress_default: Mapped[bool] = mapped_column(default=True)
    broadcast: Mapped[bool] = mapped_column(default=False)
    network_rate: Mapped[int | None]
    tags: Mapped[str] = mapped_column(default="")
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    services: Mapped[dict[str, Any]] = mapped_column(default=dict)
    service_offering_id: Mapped[str | None] = mapped_column(ForeignKey("service_offerings.id"))
    sort_key: Mapped[int] = mapped_column(default=0)


class OfferingDomain(Base):
    """An offering of any kind is for the domains named here and those below them; without a row, for all."""

    __tablename__ = "offering_domains"

    offering_id: Mapped[str] = mapped_column(ID, primary_key=True)
    domain_id: Mapped[str] = mapped_column(ForeignKey("domains.id"), primary_key=True, index=True)


class OfferingZone(Base):
    """An offering of any kind is for the zones named here; without a row, for all."""

    __tablename__ = "offering_zones"

    offering_id: Mapped[str] = mapped_column(ID, primary_key=True)
    zone_id: Mapped[str] = mapped_column(ForeignKey("zones.id"), primary_key=True, index=True)


class OsCategory(Entity, Base):
    __tablename__ = "os_categories"

    name: Mapped[str]


class OsType(Entity, Base):
    __tablename__ = "os_types"

    category_id: Mapped[str] = mapped_column(ForeignKey("os_categories.id"), index=True)
    name: Mapped[str]


class Template(Entity, Base):
    """A template. Format, sizes and checksum are those that inspection found, recorded once.

    `user_data_policy` says how VMs' own user data goes with that of `user_data_id`.
    """

    __tablename__ = "templates"

    name: Mapped[str]
    display_text: Mapped[str]
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    zone_id: Mapped[str | None] = mapped_column(ForeignKey("zones.id"), index=True)
    image_store_id: Mapped[str | None] = mapped_column(ForeignKey("image_stores.id"), index=True)
    os_type_id: Mapped[str] = mapped_column(ForeignKey("os_types.id"))
    hypervisor: Mapped[str] = mapped_column(STATE)
    format: Mapped[str] = mapped_column(STATE)
    url: Mapped[str] = mapped_column(Text)
    requested_checksum: Mapped[str] = mapped_column(default="")
    checksum: Mapped[str] = mapped_column(default="")
    size: Mapped[int] = mapped_column(BigInteger, default=0)
    physical_size: Mapped[int] = mapped_column(BigInteger, default=0)
    state: Mapped[str] = mapped_column(STATE, default="Registering")
    status: Mapped[str] = mapped_column(Text, default="")
    bits: Mapped[int] = mapped_column(Integer, default=64)
    is_public: Mapped[bool] = mapped_column(default=False)
    is_featured: Mapped[bool] = mapped_column(default=False)
    is_extractable: Mapped[bool] = mapped_column(default=False)
    requires_hvm: Mapped[bool] = mapped_column(default=True)
    password_enabled: Mapped[bool] = mapped_column(default=False)
    ssh_key_enabled: Mapped[bool] = mapped_column(default=False)
    dynamically_scalable: Mapped[bool] = mapped_column(default=False)
    user_data_id: Mapped[str | None] = mapped_column(ForeignKey("user_data.id"), index=True)
    user_data_policy: Mapped[str | None] = mapped_column(STATE)
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    sort_key: Mapped[int] = mapped_column(default=0)


class TemplateShare(Base):
    """An account that may use a template that is not its own."""

    __tablename__ = "template_shares"

    template_id: Mapped[str] = mapped_column(ForeignKey("templates.id"), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True, index=True)
