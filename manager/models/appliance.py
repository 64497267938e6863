"""Appliances that are parts of others, and can be stopped by themselves."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import STATE, Base, Entity


class BalancerAppliance(Entity, Base):
    """All load balancers at one address of a tier, which the VPC's router carries; one living row each.

    While it is not Running or Starting, the router has the address, and nothing of what balances at it.
    """

    __tablename__ = "balancer_appliances"

    name: Mapped[str]
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    zone_id: Mapped[str] = mapped_column(ForeignKey("zones.id"))
    network_id: Mapped[str] = mapped_column(ForeignKey("networks.id"), index=True)
    address: Mapped[str] = mapped_column(STATE)
    state: Mapped[str] = mapped_column(STATE, default="Running")
