"""Virtual private networks that end at routers: remote access of people, tunnels to other sites."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import STATE, Base, Entity, text_column
from manager.secrets import Sealed


class RemoteAccessVpn(Entity, Base):
    """People reach the guests of a network, or of a VPC, through one of its public addresses.

    They are given addresses from `first_address` to `last_address`. With `open_firewall` they may come from
    everywhere, else from where firewall rules let them. `certificate` is the router's own, `authority` that of the
    authority which signed it and which clients must know, both in PEM.
    """

    __tablename__ = "remote_access_vpns"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    network_id: Mapped[str | None] = mapped_column(ForeignKey("networks.id"), index=True)
    vpc_id: Mapped[str | None] = mapped_column(ForeignKey("vpcs.id"), index=True)
    address_id: Mapped[str] = mapped_column(ForeignKey("public_addresses.id"), index=True)
    first_address: Mapped[str] = mapped_column(STATE)
    last_address: Mapped[str] = mapped_column(STATE)
    open_firewall: Mapped[bool] = mapped_column(default=True)
    certificate: Mapped[str] = text_column()
    authority: Mapped[str] = text_column()
    private_key: Mapped[str] = mapped_column(Sealed)
    display: Mapped[bool] = mapped_column(default=True)
    state: Mapped[str] = mapped_column(STATE, default="Added")


class VpnUser(Entity, Base):
    """Somebody who may use the remote access of all networks and VPCs of the account."""

    __tablename__ = "vpn_users"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    name: Mapped[str]
    password: Mapped[str] = mapped_column(Sealed)
    state: Mapped[str] = mapped_column(STATE, default="Add")


class VpnCustomerGateway(Entity, Base):
    """The other end of tunnels: its public address `gateway`, the networks behind it, and what was agreed with it.

    Policies are as in `network.vpn.proposals`, lifetimes in seconds; `version` is ike, ikev1 or ikev2.
    """

    __tablename__ = "vpn_customer_gateways"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    name: Mapped[str]
    gateway: Mapped[str] = mapped_column(STATE)
    networks: Mapped[list[Any]] = mapped_column(default=list)
    secret: Mapped[str] = mapped_column(Sealed)
    ike_policy: Mapped[str]
    esp_policy: Mapped[str]
    ike_lifetime: Mapped[int] = mapped_column(default=86400)
    esp_lifetime: Mapped[int] = mapped_column(default=3600)
    dpd: Mapped[bool] = mapped_column(default=False)
    force_encapsulation: Mapped[bool] = mapped_column(default=False)
    split: Mapped[bool] = mapped_column(default=False)
    version: Mapped[str] = mapped_column(STATE, default="ike")


class VpnGateway(Entity, Base):
    """The public address of a VPC that its tunnels begin at; one living row a VPC."""

    __tablename__ = "vpn_gateways"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"), index=True)
    address_id: Mapped[str] = mapped_column(ForeignKey("public_addresses.id"), index=True)
    display: Mapped[bool] = mapped_column(default=True)


class VpnConnection(Entity, Base):
    """A tunnel from a VPN gateway to a customer gateway. `state` is what the router's host told last.

    A `passive` one waits for the other side to begin. `round` grows with each wish to set it up anew.
    """

    __tablename__ = "vpn_connections"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    vpc_id: Mapped[str] = mapped_column(ForeignKey("vpcs.id"), index=True)
    gateway_id: Mapped[str] = mapped_column(ForeignKey("vpn_gateways.id"), index=True)
    customer_gateway_id: Mapped[str] = mapped_column(ForeignKey("vpn_customer_gateways.id"), index=True)
    passive: Mapped[bool] = mapped_column(default=False)
    display: Mapped[bool] = mapped_column(default=True)
    round: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(STATE, default="Pending")
