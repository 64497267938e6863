"""Where things run: regions, zones, pods, clusters, hosts and their agents; physical networks and storage."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import BigInteger, Double, Float, ForeignKey, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import ID, STATE, Base, Entity, new_id, utcnow
from manager.secrets import Sealed


class Region(Base):
    __tablename__ = "regions"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    endpoint: Mapped[str]

    @staticmethod
    def number(text: str) -> int:
        """:raises ValueError: it is none, or longer than any that the column takes"""
        return int(text if len(text) < 10 else "")  # noqa: PLR2004 - digits of the largest integer


BASIC = "Basic"


class Zone(Entity, Base):
    """With `security_groups` all networks that are made in it have them.

    A `network_type` of Basic is a flat zone: it has one network for all its guests, which is a segment of its physical
    network, and security groups.
    """

    __tablename__ = "zones"

    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    network_type: Mapped[str] = mapped_column(STATE, default="Advanced")
    allocation_state: Mapped[str] = mapped_column(STATE, default="Enabled")
    dns1: Mapped[str]
    dns2: Mapped[str | None]
    internal_dns1: Mapped[str]
    internal_dns2: Mapped[str | None]
    guest_cidr: Mapped[str] = mapped_column(default="10.1.1.0/24")
    network_domain: Mapped[str | None]
    local_storage: Mapped[bool] = mapped_column(default=True)
    security_groups: Mapped[bool] = mapped_column(default=False)

    @property
    def is_flat(self) -> bool:
        return self.network_type == BASIC


class Pod(Entity, Base):
    __tablename__ = "pods"

    zone_id: Mapped[str] = mapped_column(ForeignKey("zones.id"), index=True)
    name: Mapped[str]
    gateway: Mapped[str]
    netmask: Mapped[str]
    start_ip: Mapped[str]
    end_ip: Mapped[str | None]
    allocation_state: Mapped[str] = mapped_column(STATE, default="Enabled")


class Cluster(Entity, Base):
    __tablename__ = "clusters"

    zone_id: Mapped[str] = mapped_column(ForeignKey("zones.id"), index=True)
    pod_id: Mapped[str] = mapped_column(ForeignKey("pods.id"), index=True)
    name: Mapped[str]
    hypervisor: Mapped[str] = mapped_column(STATE)
    cluster_type: Mapped[str] = mapped_column(STATE, default="CloudManaged")
    allocation_state: Mapped[str] = mapped_column(STATE, default="Enabled")
    managed_state: Mapped[str] = mapped_column(STATE, default="Managed")
    cpu_overcommit: Mapped[float] = mapped_column(Float, default=1.0)
    memory_overcommit: Mapped[float] = mapped_column(Float, default=1.0)


class Agent(Entity, Base):
    """The process that acts for the manager on a host or beside an image store.

    `public_key` is its Ed25519 key in base64: answers and reports are signed with it. `last_seen` is by the
    database's clock. `report_sequence` counts within `incarnation`; an older report is ignored.
    """

    __tablename__ = "agents"

    kind: Mapped[str] = mapped_column(STATE)
    public_key: Mapped[str]
    broker_user: Mapped[str]
    broker_password: Mapped[str] = mapped_column(Sealed)
    last_seen: Mapped[float] = mapped_column(Double(), default=0.0)
    incarnation: Mapped[str] = mapped_column(default="")
    report_sequence: Mapped[int] = mapped_column(BigInteger, default=0)

    @property
    def queue(self) -> str:
        return f"agent.{self.id}"


class Host(Entity, Base):
    """A hypervisor host. `cpu_used` (MHz) and `memory_used` (bytes) are claims, made by one guarded UPDATE."""

    __tablename__ = "hosts"

    zone_id: Mapped[str] = mapped_column(ForeignKey("zones.id"), index=True)
    pod_id: Mapped[str] = mapped_column(ForeignKey("pods.id"))
    cluster_id: Mapped[str] = mapped_column(ForeignKey("clusters.id"), index=True)
    agent_id: Mapped[str] = mapped_column(ForeignKey("agents.id"))
    name: Mapped[str]
    url: Mapped[str]
    address: Mapped[str] = mapped_column(default="")
    underlay_address: Mapped[str] = mapped_column(default="")
    hypervisor: Mapped[str] = mapped_column(STATE)
    virt_type: Mapped[str] = mapped_column(STATE, default="")
    hypervisor_version: Mapped[str] = mapped_column(default="")
    state: Mapped[str] = mapped_column(STATE, default="Connecting")
    resource_state: Mapped[str] = mapped_column(STATE, default="Enabled")
    tags: Mapped[str] = mapped_column(default="")
    cpus: Mapped[int] = mapped_column(default=0)
    cpu_mhz: Mapped[int] = mapped_column(default=0)
    memory: Mapped[int] = mapped_column(BigInteger, default=0)
    cpu_used: Mapped[int] = mapped_column(BigInteger, default=0)
    memory_used: Mapped[int] = mapped_column(BigInteger, default=0)
    disconnected: Mapped[float] = mapped_column(Double(), default=0.0)
    boot_id: Mapped[str] = mapped_column(default="")
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)


class PhysicalNetwork(Entity, Base):
    """A network of the data centre. Tenant networks on it take their keys from `key_start`..`key_end`."""

    __tablename__ = "physical_networks"

    zone_id: Mapped[str] = mapped_column(ForeignKey("zones.id"), index=True)
    name: Mapped[str]
    state: Mapped[str] = mapped_column(STATE, default="Disabled")
    isolation_methods: Mapped[str] = mapped_column(default="GRE")
    broadcast_domain_range: Mapped[str] = mapped_column(default="ZONE")
    tags: Mapped[str] = mapped_column(default="")
    vlan: Mapped[str] = mapped_column(default="")
    key_start: Mapped[int] = mapped_column(BigInteger, default=1)
    key_end: Mapped[int] = mapped_column(BigInteger, default=2**32 - 1)


class TrafficType(Entity, Base):
    __tablename__ = "traffic_types"

    physical_network_id: Mapped[str] = mapped_column(ForeignKey("physical_networks.id"), index=True)
    traffic_type: Mapped[str] = mapped_column(STATE)
    kvm_label: Mapped[str] = mapped_column(default="")


class StoragePool(Entity, Base):
    """Primary storage. `allocated` is the sum of the virtual sizes claimed, by one guarded UPDATE; bytes."""

    __tablename__ = "storage_pools"

    zone_id: Mapped[str] = mapped_column(ForeignKey("zones.id"), index=True)
    pod_id: Mapped[str | None] = mapped_column(ForeignKey("pods.id"))
    cluster_id: Mapped[str | None] = mapped_column(ForeignKey("clusters.id"))
    host_id: Mapped[str | None] = mapped_column(ForeignKey("hosts.id"), index=True)
    name: Mapped[str]
    scope: Mapped[str] = mapped_column(STATE)
    driver: Mapped[str] = mapped_column(STATE)
    url: Mapped[str]
    path: Mapped[str]
    state: Mapped[str] = mapped_column(STATE, default="Up")
    tags: Mapped[str] = mapped_column(default="")
    capacity: Mapped[int] = mapped_column(BigInteger, default=0)
    allocated: Mapped[int] = mapped_column(BigInteger, default=0)
    overprovision: Mapped[float] = mapped_column(Float, default=2.0)


class ImageStore(Entity, Base):
    __tablename__ = "image_stores"

    zone_id: Mapped[str | None] = mapped_column(ForeignKey("zones.id"), index=True)
    agent_id: Mapped[str] = mapped_column(ForeignKey("agents.id"))
    name: Mapped[str]
    driver: Mapped[str] = mapped_column(STATE)
    url: Mapped[str]
    path: Mapped[str]
    read_only: Mapped[bool] = mapped_column(default=False)
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)


class VlanIpRange(Entity, Base):
    """A range of public addresses of a zone; with `portable_range_id` it is there for portable ones alone.

    With `network_id` it is no public one: guests of that network, the one of a Basic zone, have its addresses. They are
    those of the pod `pod_id`, and any host of the zone may have them.
    """

    __tablename__ = "vlan_ip_ranges"

    zone_id: Mapped[str] = mapped_column(ForeignKey("zones.id"), index=True)
    physical_network_id: Mapped[str] = mapped_column(ForeignKey("physical_networks.id"))
    vlan: Mapped[str] = mapped_column(default="untagged")
    gateway: Mapped[str]
    netmask: Mapped[str]
    start_ip: Mapped[str]
    end_ip: Mapped[str]
    portable_range_id: Mapped[str | None] = mapped_column(ForeignKey("portable_ranges.id"), index=True)
    network_id: Mapped[str | None] = mapped_column(ForeignKey("networks.id"), index=True)
    pod_id: Mapped[str | None] = mapped_column(ForeignKey("pods.id"), index=True)


class PortableRange(Entity, Base):
    """Public addresses of a region that any of its zones may have, one at a time; `vlan` as that of a VlanIpRange.

    A zone that has some of them has a VlanIpRange for that as long.
    """

    __tablename__ = "portable_ranges"

    region_id: Mapped[int] = mapped_column(ForeignKey("regions.id"), index=True)
    vlan: Mapped[str] = mapped_column(default="untagged")
    gateway: Mapped[str]
    netmask: Mapped[str]
    start_ip: Mapped[str]
    end_ip: Mapped[str]


class PortableAddress(Base):
    """An address of a PortableRange, free while `taken` is NULL. The PublicAddress that it is meanwhile has its id."""

    __tablename__ = "portable_addresses"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    range_id: Mapped[str] = mapped_column(ForeignKey("portable_ranges.id"), index=True)
    address: Mapped[str] = mapped_column(STATE, unique=True)
    mac: Mapped[str] = mapped_column(STATE, unique=True)
    taken: Mapped[dt.datetime | None]


class PublicAddress(Base):
    """One public IPv4 address of a range; free while `account_id` is NULL, taken by one guarded UPDATE.

    That of a VPC has `vpc_id`, and `network_id` while its rules lead to guests of that tier.

    While `releasing`, a job takes it back from its network, and no new rule can be made on it. `dedication_id` is that
    of its range: it stands here too, so that the UPDATE that takes the address sees whether it is kept for another by
    now. It says nothing once there is no such dedication.

    A `portable` one is of a PortableRange, and its row goes when it is given back.

    Until `quarantined_until` a free one is for the account `quarantined_for` alone, which had it last.
    """

    __tablename__ = "public_addresses"
    __table_args__ = (UniqueConstraint("zone_id", "address"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    zone_id: Mapped[str] = mapped_column(ForeignKey("zones.id"))
    range_id: Mapped[str] = mapped_column(ForeignKey("vlan_ip_ranges.id"), index=True)
    address: Mapped[str] = mapped_column(STATE)
    mac: Mapped[str] = mapped_column(STATE, unique=True)
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"))
    dedication_id: Mapped[str | None] = mapped_column(ID)
    network_id: Mapped[str | None] = mapped_column(ForeignKey("networks.id"), index=True)
    vpc_id: Mapped[str | None] = mapped_column(ForeignKey("vpcs.id"), index=True)
    source_nat: Mapped[bool] = mapped_column(default=False)
    allocated: Mapped[dt.datetime | None]
    releasing: Mapped[bool] = mapped_column(default=False)
    display: Mapped[bool] = mapped_column(default=True)
    portable: Mapped[bool] = mapped_column(default=False)
    quarantined_until: Mapped[dt.datetime | None]
    quarantined_for: Mapped[str | None] = mapped_column(ID)


class Quarantine(Base):
    """A public address that was given back, and is not given to others than `account_id` until `ends`.

    The one that holds for the address is its `current` one. Who ends it before says why: `reason`, at `lifted`.
    """

    __tablename__ = "quarantines"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    created: Mapped[dt.datetime] = mapped_column(default=utcnow)
    address_id: Mapped[str] = mapped_column(ID, index=True)
    address: Mapped[str] = mapped_column(STATE)
    current: Mapped[str | None] = mapped_column(ID, unique=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    ends: Mapped[dt.datetime]
    lifted: Mapped[dt.datetime | None]
    reason: Mapped[str | None]
    remover_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"))


class KeyRange(Base):
    """Tunnel keys `first` to `last` of a physical network that are for networks of one account alone."""

    __tablename__ = "key_ranges"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    created: Mapped[dt.datetime] = mapped_column(default=utcnow)
    physical_network_id: Mapped[str] = mapped_column(ForeignKey("physical_networks.id"), index=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    first: Mapped[int] = mapped_column(BigInteger)
    last: Mapped[int] = mapped_column(BigInteger)


class TunnelKey(Base):
    """A tunnel key held by a network. The row stays after the network: a key is not given out twice."""

    __tablename__ = "tunnel_keys"

    zone_id: Mapped[str] = mapped_column(ForeignKey("zones.id"), primary_key=True)
    key: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    network_id: Mapped[str] = mapped_column(ID, unique=True)


class VlanKey(Base):
    """A VLAN of a physical network that a network is; `vlan` 0 is that of frames without a tag.

    The row goes with the network: there are only 4094, and by then no host has a part of it.
    """

    __tablename__ = "vlan_keys"

    physical_network_id: Mapped[str] = mapped_column(ForeignKey("physical_networks.id"), primary_key=True)
    vlan: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    network_id: Mapped[str] = mapped_column(ID, unique=True)
