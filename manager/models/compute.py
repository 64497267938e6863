"""Virtual machines, their NICs and volumes."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import JSON, BigInteger, Double, ForeignKey, Index, Integer, Text, UniqueConstraint
from sqlalchemy.dialects.mysql import MEDIUMTEXT
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import ID, STATE, Base, Entity, new_id, utcnow
from manager.secrets import Sealed

LONG_TEXT = Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")


class UserData(Entity, Base):
    """User data registered under a name. `content` is base64; `params` names its parameters, with commas."""

    __tablename__ = "user_data"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    name: Mapped[str]
    content: Mapped[str] = mapped_column(LONG_TEXT)
    params: Mapped[str] = mapped_column(Text, default="")


class Vm(Entity, Base):
    """A virtual machine. `generation` grows with each placement: an agent refuses an older one.

    `host_id` is set from the claim of its host until it is stopped; `reason` says why the last change of state
    was not the wanted one. `lease_ends` is when `lease_action` is done to it, `lease_state` whether that has been told
    or done. `user_data` is base64, as guests are given it; `user_data_id` is the registered one that it
    was made of, and `user_data_details` the values of its parameters.
    """

    __tablename__ = "vms"
    __table_args__ = (Index("ix_vms_account_living", "account_id", "removed"),)

    number: Mapped[int] = mapped_column(Integer, unique=True)
    name: Mapped[str]
    display_name: Mapped[str]
    instance_name: Mapped[str] = mapped_column(unique=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    zone_id: Mapped[str] = mapped_column(ForeignKey("zones.id"), index=True)
    host_id: Mapped[str | None] = mapped_column(ForeignKey("hosts.id"), index=True)
    last_host_id: Mapped[str | None] = mapped_column(ForeignKey("hosts.id"))
    template_id: Mapped[str] = mapped_column(ForeignKey("templates.id"), index=True)
    service_offering_id: Mapped[str] = mapped_column(ForeignKey("service_offerings.id"), index=True)
    os_type_id: Mapped[str] = mapped_column(ForeignKey("os_types.id"))
    hypervisor: Mapped[str] = mapped_column(STATE)
    state: Mapped[str] = mapped_column(STATE, default="Stopped", index=True)
    generation: Mapped[int] = mapped_column(BigInteger, default=0)
    cpus: Mapped[int]
    cpu_mhz: Mapped[int]
    memory: Mapped[int] = mapped_column(BigInteger)
    group_id: Mapped[str | None] = mapped_column(ForeignKey("instance_groups.id"), index=True)
    display: Mapped[bool] = mapped_column(default=True)
    ha_enabled: Mapped[bool] = mapped_column(default=False)
    password: Mapped[str | None] = mapped_column(Sealed)
    key_pairs: Mapped[list[Any]] = mapped_column(default=list)
    public_keys: Mapped[str] = mapped_column(Text, default="")
    user_data: Mapped[str] = mapped_column(LONG_TEXT, default="")
    user_data_id: Mapped[str | None] = mapped_column(ForeignKey("user_data.id"), index=True)
    user_data_details: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    reason: Mapped[str] = mapped_column(Text, default="")
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"), index=True)
    updated: Mapped[dt.datetime | None] = mapped_column(onupdate=utcnow)
    delete_protection: Mapped[bool] = mapped_column(default=False)
    lease_ends: Mapped[dt.datetime | None] = mapped_column(index=True)
    lease_action: Mapped[str | None] = mapped_column(STATE)
    lease_state: Mapped[str | None] = mapped_column(STATE)


class VmFigures(Base):
    """What a VM's guest does, as its host counts it since its domain was started.

    `counters` are the last that were told, at `measured` (the host's clock, seconds); `recent` is what they grew by
    since those before, and `totals` by since the VM was made. All have the keys of agents.figures.GuestFigures.
    """

    __tablename__ = "vm_figures"

    vm_id: Mapped[str] = mapped_column(ForeignKey("vms.id", ondelete="CASCADE"), primary_key=True)
    placement: Mapped[str]
    measured: Mapped[float] = mapped_column(Double)
    counters: Mapped[dict[str, Any]]
    recent: Mapped[dict[str, Any]]
    totals: Mapped[dict[str, Any]]


class Nic(Base):
    """A NIC of a VM, a router or a hardware device. It has no `removed`: when it goes, its address and MAC are free.

    `host_id` is where it is wanted to be plugged: hosts' views of the network are made of the NICs that have one.
    `address` is NULL in networks of layer 2 alone. A device has its own MAC; that of its NIC is not used.
    """

    __tablename__ = "nics"
    __table_args__ = (UniqueConstraint("network_id", "address"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    vm_id: Mapped[str | None] = mapped_column(ForeignKey("vms.id"), index=True)
    router_id: Mapped[str | None] = mapped_column(ForeignKey("routers.id"), index=True)
    hardware_id: Mapped[str | None] = mapped_column(ForeignKey("hardware_devices.id"), index=True)
    network_id: Mapped[str] = mapped_column(ForeignKey("networks.id"))
    host_id: Mapped[str | None] = mapped_column(ForeignKey("hosts.id"), index=True)
    mac: Mapped[str] = mapped_column(STATE, unique=True)
    address: Mapped[str | None] = mapped_column(STATE)
    device: Mapped[int] = mapped_column(default=0)
    is_default: Mapped[bool] = mapped_column(default=True)


class NicAddress(Base):
    """A further address of a VM's NIC, which the guest sets by itself. It goes with its NIC.

    While `removing`, hosts are told to forget it; then it is free.
    """

    __tablename__ = "nic_addresses"
    __table_args__ = (UniqueConstraint("network_id", "address"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    nic_id: Mapped[str] = mapped_column(ForeignKey("nics.id", ondelete="CASCADE"), index=True)
    network_id: Mapped[str] = mapped_column(ForeignKey("networks.id"))
    address: Mapped[str] = mapped_column(STATE)
    removing: Mapped[bool] = mapped_column(default=False)


class Volume(Entity, Base):
    """A volume. `size` in bytes; `pool_id` is set once its space is claimed."""

    __tablename__ = "volumes"

    name: Mapped[str]
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    zone_id: Mapped[str] = mapped_column(ForeignKey("zones.id"), index=True)
    vm_id: Mapped[str | None] = mapped_column(ForeignKey("vms.id"), index=True)
    pool_id: Mapped[str | None] = mapped_column(ForeignKey("storage_pools.id"), index=True)
    template_id: Mapped[str | None] = mapped_column(ForeignKey("templates.id"))
    disk_offering_id: Mapped[str | None] = mapped_column(ForeignKey("disk_offerings.id"))
    type: Mapped[str] = mapped_column(STATE, default="ROOT")
    size: Mapped[int] = mapped_column(BigInteger)
    format: Mapped[str] = mapped_column(STATE, default="qcow2")
    device: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(STATE, default="Allocated")
