"""What binds virtual machines together or to places: instance groups, affinity groups, dedicated resources."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import ID, STATE, Base, Entity


class InstanceGroup(Entity, Base):
    """A name that VMs of an account are shown under."""

    __tablename__ = "instance_groups"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    name: Mapped[str]


class AffinityGroup(Entity, Base):
    """VMs of an account that run together or apart, by `type` (manager.placement.affinity).

    Its row is locked while a host is claimed for one of its VMs, so that two claims see each other.
    """

    __tablename__ = "affinity_groups"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    name: Mapped[str]
    type: Mapped[str] = mapped_column(STATE)
    description: Mapped[str] = mapped_column(Text, default="")


class AffinityMember(Base):
    __tablename__ = "affinity_members"

    group_id: Mapped[str] = mapped_column(ForeignKey("affinity_groups.id"), primary_key=True)
    vm_id: Mapped[str] = mapped_column(ForeignKey("vms.id"), primary_key=True, index=True)


class Dedication(Base):
    """What is kept for one account, or for a domain and all below it.

    `resource_type` is Zone, Pod, Cluster, Host or VlanIpRange.
    """

    __tablename__ = "dedications"

    id: Mapped[str] = mapped_column(ID, unique=True)
    resource_id: Mapped[str] = mapped_column(ID, primary_key=True)
    resource_type: Mapped[str] = mapped_column(STATE, index=True)
    domain_id: Mapped[str] = mapped_column(ForeignKey("domains.id"), index=True)
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"), index=True)
