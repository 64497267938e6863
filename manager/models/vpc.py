"""Virtual private clouds: tenant networks, called tiers, that share one router and a range of addresses."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import STATE, Base, Entity


class VpcOffering(Entity, Base):
    """`services` maps a service ('Dhcp') to its provider ('VpcVirtualRouter').

    `service_offering_id` is that of its VPCs' virtual routers.
    """

    __tablename__ = "vpc_offerings"

    name: Mapped[str]
    display_text: Mapped[str]
    state: Mapped[str] = mapped_column(STATE, default="Disabled")
    is_default: Mapped[bool] = mapped_column(default=False)
    services: Mapped[dict[str, Any]] = mapped_column(default=dict)
    service_offering_id: Mapped[str | None] = mapped_column(ForeignKey("service_offerings.id"))
    sort_key: Mapped[int] = mapped_column(default=0)


class Vpc(Entity, Base):
    """`cidr` holds the ranges of all tiers. `generation` grows with every wanted state of its router.

    `rules_wanted` grows with each change of the rules and public addresses of the VPC and its tiers; its router has
    those up to `rules_applied`. `public_mtu` is that of the router's public interface. `dns1` and `dns2` go before the
    zone's.
    """

    __tablename__ = "vpcs"

    name: Mapped[str]
    display_text: Mapped[str]
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    zone_id: Mapped[str] = mapped_column(ForeignKey("zones.id"), index=True)
    offering_id: Mapped[str] = mapped_column(ForeignKey("vpc_offerings.id"))
    cidr: Mapped[str]
    network_domain: Mapped[str]
    public_mtu: Mapped[int] = mapped_column(default=1500)
    dns1: Mapped[str | None] = mapped_column(STATE)
    dns2: Mapped[str | None] = mapped_column(STATE)
    display: Mapped[bool] = mapped_column(default=True)
    state: Mapped[str] = mapped_column(STATE, default="Enabled")
    generation: Mapped[int] = mapped_column(BigInteger, default=0)
    rules_wanted: Mapped[int] = mapped_column(BigInteger, default=0)
    rules_applied: Mapped[int] = mapped_column(BigInteger, default=0)
