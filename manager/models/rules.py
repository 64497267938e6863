"""Rules of tenant networks: what their routers let in and out, and where public addresses lead."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import STATE, Base, Entity


def _kind(purpose: str, **options: Any) -> dict[str, Any]:
    return {"polymorphic_identity": purpose, **options}


class NetworkRule(Entity, Base):
    """A rule of a network; `purpose` is its kind, one subclass for each.

    `protocol` is tcp, udp, icmp, all or a number. Ports, ICMP type and code are None for any. `sources` and
    `destinations` are IPv4 networks, none for all. `vm_id`, `guest_address` and `guest_port` say where it leads.
    `related_id` is the rule that it was made with and goes with. A removed rule has no address any more.
    `guest_claim` holds, among living rows, what one guest address can have once.
    """

    __tablename__ = "network_rules"

    purpose: Mapped[str] = mapped_column(STATE)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    network_id: Mapped[str] = mapped_column(ForeignKey("networks.id"), index=True)
    address_id: Mapped[str | None] = mapped_column(ForeignKey("public_addresses.id"), index=True)
    vm_id: Mapped[str | None] = mapped_column(ForeignKey("vms.id"), index=True)
    related_id: Mapped[str | None] = mapped_column(ForeignKey("network_rules.id"), index=True)
    state: Mapped[str] = mapped_column(STATE, default="Add")
    protocol: Mapped[str] = mapped_column(STATE, default="all")
    first_port: Mapped[int | None]
    last_port: Mapped[int | None]
    icmp_type: Mapped[int | None]
    icmp_code: Mapped[int | None]
    guest_address: Mapped[str | None] = mapped_column(STATE)
    guest_port: Mapped[int | None]
    sources: Mapped[list[Any]] = mapped_column(default=list)
    destinations: Mapped[list[Any]] = mapped_column(default=list)
    display: Mapped[bool] = mapped_column(default=True)
    guest_claim: Mapped[str | None] = mapped_column(String(110), unique=True)

    __mapper_args__ = _kind("Rule", polymorphic_on="purpose")

    def remove(self) -> None:
        super().remove()
        self.address_id = self.guest_claim = None


class FirewallRule(NetworkRule):
    """Traffic from outside that may reach a public address."""

    __mapper_args__ = _kind("Firewall")


class EgressRule(NetworkRule):
    """Traffic to the outside that the default policy of the network's offering does not hold for."""

    __mapper_args__ = _kind("Egress")


class PortForwardingRule(NetworkRule):
    """Ports of a public address that lead to ports of a guest."""

    __mapper_args__ = _kind("PortForwarding")


class StaticNatRule(NetworkRule):
    """A public address that stands for a guest, both ways."""

    __mapper_args__ = _kind("StaticNat")


class IpForwardingRule(NetworkRule):
    """Ports of a public address of static NAT; the address leads to its guest with or without."""

    __mapper_args__ = _kind("IpForwarding")
