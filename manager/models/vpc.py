"""Virtual private clouds: tenant networks, called tiers, that share one router and a range of addresses."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import ID, STATE, Base, Entity


class VpcOffering(Entity, Base):
    """`services` maps a service ('Dhcp') to its provider ('VpcVirtualRouter').

    `service_offering_id` is that of its VPCs' virtual routers, of which each has two with `redundant_router`.
    """

    __tablename__ = "vpc_offerings"

    name: Mapped[str]
    display_text: Mapped[str]
    state: Mapped[str] = mapped_column(STATE, default="Disabled")
    is_default: Mapped[bool] = mapped_column(default=False)
    services: Mapped[dict[str, Any]] = mapped_column(default=dict)
    service_offering_id: Mapped[str | None] = mapped_column(ForeignKey("service_offerings.id"))
    redundant_router: Mapped[bool] = mapped_column(default=False)
    sort_key: Mapped[int] = mapped_column(default=0)


class Vpc(Entity, Base):
    """`cidr` holds the ranges of all tiers. `generation` grows with every wanted state of its router.

    `rules_wanted` grows with each change of the rules and public addresses of the VPC and its tiers; its router has
    those up to `rules_applied`. `public_mtu` is that of the router's public interface. `dns1` and `dns2` go before the
    zone's.

    A `redundant` one has two routers, which hear each other on a line of their own; `line_key` is its number in the
    tunnels of `line_overlay`.
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
    redundant: Mapped[bool] = mapped_column(default=False)
    line_key: Mapped[int | None] = mapped_column(BigInteger, default=None)
    line_overlay: Mapped[str | None] = mapped_column(STATE, default=None)


class PrivateGateway(Entity, Base):
    """A leg of a VPC's router in a VLAN of a physical network, with `address` there; `gateway` leads further.

    `acl_id` is the network ACL list that holds what comes in and goes out by it. With `source_nat` all that leaves by
    it bears `address`.
    """

    __tablename__ = "private_gateways"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"), index=True)
    physical_network_id: Mapped[str] = mapped_column(ForeignKey("physical_networks.id"), index=True)
    vlan: Mapped[int]
    address: Mapped[str] = mapped_column(STATE)
    gateway: Mapped[str] = mapped_column(STATE)
    netmask: Mapped[str] = mapped_column(STATE)
    mac: Mapped[str] = mapped_column(STATE, unique=True)
    source_nat: Mapped[bool] = mapped_column(default=False)
    acl_id: Mapped[str] = mapped_column(ID, index=True)
    state: Mapped[str] = mapped_column(STATE, default="Creating")


class StaticRoute(Entity, Base):
    """A network outside a VPC that its router reaches by `next_hop`, or by that of the private gateway."""

    __tablename__ = "static_routes"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"), index=True)
    gateway_id: Mapped[str | None] = mapped_column(ForeignKey("private_gateways.id"), index=True)
    cidr: Mapped[str] = mapped_column(STATE)
    next_hop: Mapped[str] = mapped_column(STATE)
    state: Mapped[str] = mapped_column(STATE, default="Add")
