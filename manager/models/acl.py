"""Network ACL lists: what the guests of tiers may open, and what may be opened to them, in order."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import STATE, Base, Entity

DEFAULT_DENY, DEFAULT_ALLOW = "2d2b4a1e-7d0a-5a53-9f2c-0c9a6f2f4d01", "2d2b4a1e-7d0a-5a53-9f2c-0c9a6f2f4d02"
"""The lists that every cloud has; nobody changes them."""


class NetworkAclList(Entity, Base):
    """A list of items for the tiers of one VPC; without a VPC and an owner, for those of all.

    `items_wanted` grows with each change of its items; the hosts of its tiers have those up to `items_applied`.
    """

    __tablename__ = "network_acl_lists"

    name: Mapped[str]
    description: Mapped[str]
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"), index=True)
    vpc_id: Mapped[str | None] = mapped_column(ForeignKey("vpcs.id"), index=True)
    display: Mapped[bool] = mapped_column(default=True)
    items_wanted: Mapped[int] = mapped_column(BigInteger, default=0)
    items_applied: Mapped[int] = mapped_column(BigInteger, default=0)


class NetworkAclItem(Entity, Base):
    """An item of a list; of those that fit, the one with the lowest `number` holds. Its owner is the list's.

    `direction` is ingress or egress, and `networks` are what it comes from or goes to, none for all. `protocol`,
    ports, ICMP type and code are as in NetworkRule.
    """

    __tablename__ = "network_acl_items"

    list_id: Mapped[str] = mapped_column(ForeignKey("network_acl_lists.id"), index=True)
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"), index=True)
    number: Mapped[int]
    state: Mapped[str] = mapped_column(STATE, default="Add")
    direction: Mapped[str] = mapped_column(STATE, default="ingress")
    allow: Mapped[bool] = mapped_column(default=True)
    protocol: Mapped[str] = mapped_column(STATE, default="all")
    first_port: Mapped[int | None]
    last_port: Mapped[int | None]
    icmp_type: Mapped[int | None]
    icmp_code: Mapped[int | None]
    networks: Mapped[list[Any]] = mapped_column(default=list)
    reason: Mapped[str | None]
    display: Mapped[bool] = mapped_column(default=True)
