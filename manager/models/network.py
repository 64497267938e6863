"""Tenant networks and the virtual routers that serve them."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import BigInteger, ForeignKey, Integer
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import ID, STATE, Base, Entity, text_column, utcnow

ISOLATED, SHARED, L2 = "Isolated", "Shared", "L2"
"""The kinds of networks, as offerings name them."""


class Network(Entity, Base):
    """A tenant network. `generation` grows with every change of what hosts must know about it.

    `shared_generation` is the last that all its hosts were told: later ones concern its router alone.
    `rules_wanted` grows with each change of its rules or public addresses; its router has those up to
    `rules_applied`. Its hosts were told by a carrier of the changes up to the generation `hosts_told`.

    `key` is its number in the tunnels of `overlay` (network/overlays.py).

    `cidr` is the whole range. Virtual machines are given addresses from `first_address` to `last_address` where those
    are set; with `guest_cidr` it is the hosts of that part of `cidr`. `mtu` is that of guests, `public_mtu` that of the
    router's public interface. `dns1` and `dns2` go before the zone's. Users do not see a network without `display`.
    A tier of a VPC has `vpc_id`; `acl_id` is the network ACL list that holds its guests.

    `guest_type` is that of its offering: Isolated, Shared (guests of many accounts), or L2 (the owner's guests address
    themselves: cidr, gateway and netmask are empty). With `domain_id` it is for all accounts of that domain, and with
    `subdomain_access` for those of the domains below it; else for its owner and those that NetworkShare names.
    `router_address` is asked for the router where that is not the gateway.
    """

    __tablename__ = "networks"

    name: Mapped[str]
    display_text: Mapped[str]
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    zone_id: Mapped[str] = mapped_column(ForeignKey("zones.id"), index=True)
    offering_id: Mapped[str] = mapped_column(ForeignKey("network_offerings.id"))
    physical_network_id: Mapped[str] = mapped_column(ForeignKey("physical_networks.id"))
    overlay: Mapped[str] = mapped_column(STATE, default="gre")
    vpc_id: Mapped[str | None] = mapped_column(ForeignKey("vpcs.id"), index=True)
    acl_id: Mapped[str | None] = mapped_column(ID, index=True)
    key: Mapped[int] = mapped_column(BigInteger)
    cidr: Mapped[str]
    gateway: Mapped[str]
    netmask: Mapped[str]
    network_domain: Mapped[str]
    mtu: Mapped[int] = mapped_column(default=1458)
    public_mtu: Mapped[int] = mapped_column(default=1500)
    guest_cidr: Mapped[str | None] = mapped_column(STATE)
    first_address: Mapped[str | None] = mapped_column(STATE)
    last_address: Mapped[str | None] = mapped_column(STATE)
    dns1: Mapped[str | None] = mapped_column(STATE)
    dns2: Mapped[str | None] = mapped_column(STATE)
    external_id: Mapped[str | None]
    display: Mapped[bool] = mapped_column(default=True)
    hide_address_usage: Mapped[bool] = mapped_column(default=False)
    guest_type: Mapped[str] = mapped_column(STATE, default=ISOLATED)
    domain_id: Mapped[str | None] = mapped_column(ForeignKey("domains.id"), index=True)
    subdomain_access: Mapped[bool] = mapped_column(default=True)
    router_address: Mapped[str | None] = mapped_column(STATE)
    state: Mapped[str] = mapped_column(STATE, default="Allocated")
    generation: Mapped[int] = mapped_column(BigInteger, default=0)
    shared_generation: Mapped[int] = mapped_column(BigInteger, default=0)
    hosts_told: Mapped[int] = mapped_column(BigInteger, default=0)
    rules_wanted: Mapped[int] = mapped_column(BigInteger, default=0)
    rules_applied: Mapped[int] = mapped_column(BigInteger, default=0)


class NetworkShare(Base):
    """An account that may use a network that is not its own."""

    __tablename__ = "network_shares"

    network_id: Mapped[str] = mapped_column(ForeignKey("networks.id"), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True, index=True)


class Router(Entity, Base):
    """The virtual router of a network or of a VPC; one living row each. `generation` grows with each placement.

    A redundant one has a second row, which is `standby`, and a NIC for the line between the two besides the gateway's;
    `redundant_state` is what its host last told.
    """

    __tablename__ = "routers"

    number: Mapped[int] = mapped_column(Integer, unique=True)
    name: Mapped[str]
    network_id: Mapped[str | None] = mapped_column(ForeignKey("networks.id"), index=True)
    vpc_id: Mapped[str | None] = mapped_column(ForeignKey("vpcs.id"), index=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    zone_id: Mapped[str] = mapped_column(ForeignKey("zones.id"))
    host_id: Mapped[str | None] = mapped_column(ForeignKey("hosts.id"), index=True)
    service_offering_id: Mapped[str | None] = mapped_column(ForeignKey("service_offerings.id"))
    state: Mapped[str] = mapped_column(STATE, default="Stopped")
    generation: Mapped[int] = mapped_column(BigInteger, default=0)
    standby: Mapped[bool] = mapped_column(default=False)
    redundant_state: Mapped[str] = mapped_column(STATE, default="UNKNOWN")


class RouterHealthCheck(Base):
    """What came of the last look at one part of a router; `detail` is a sentence."""

    __tablename__ = "router_health_checks"

    router_id: Mapped[str] = mapped_column(ForeignKey("routers.id"), primary_key=True)
    name: Mapped[str] = mapped_column(STATE, primary_key=True)
    success: Mapped[bool]
    detail: Mapped[str] = text_column()
    checked: Mapped[dt.datetime] = mapped_column(default=utcnow)


class ServiceProvider(Entity, Base):
    """Who gives services to the tenant networks of a physical network."""

    __tablename__ = "service_providers"

    physical_network_id: Mapped[str] = mapped_column(ForeignKey("physical_networks.id"), index=True)
    name: Mapped[str]
    state: Mapped[str] = mapped_column(STATE, default="Enabled")


class VirtualRouterElement(Entity, Base):
    """The virtual routers of one provider; new ones are made while it is enabled."""

    __tablename__ = "virtual_router_elements"

    provider_id: Mapped[str] = mapped_column(ForeignKey("service_providers.id"), index=True)
    enabled: Mapped[bool] = mapped_column(default=True)


class InternalBalancerElement(Entity, Base):
    """The load balancers inside VPCs of one provider; new ones are made while it is enabled."""

    __tablename__ = "internal_balancer_elements"

    provider_id: Mapped[str] = mapped_column(ForeignKey("service_providers.id"), index=True)
    enabled: Mapped[bool] = mapped_column(default=True)
