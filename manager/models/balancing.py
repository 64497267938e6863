"""Load balancer rules: rows of rules, as all that a router is told, and the certificates that balancers show."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import ForeignKey, Text
from sqlalchemy.dialects.mysql import MEDIUMTEXT
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import Base, Entity
from manager.models.rules import NetworkRule
from manager.secrets import Sealed

LONG_TEXT = Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")


def _kind(purpose: str) -> dict[str, Any]:
    # Loaded with all rules at once: a statement for each rule would follow otherwise.
    return {"polymorphic_identity": purpose, "polymorphic_load": "inline"}


class LoadBalancerRule(NetworkRule):
    """A port of a public address whose connections are spread over guests.

    `guest_port` is theirs. Inside a VPC it is at `guest_address`, an address of the router in the tier, instead of a
    public one. `options` holds the algorithm and the balanced protocol (tcp, tcp-proxy, ssl). Its members
    and policies are rules of their own, related to it.
    """

    __mapper_args__ = _kind("LoadBalancing")
    name: Mapped[str | None] = mapped_column(use_existing_column=True)
    description: Mapped[str | None] = mapped_column(Text, use_existing_column=True)
    options: Mapped[dict[str, Any] | None] = mapped_column(use_existing_column=True)
    certificate_id: Mapped[str | None] = mapped_column(ForeignKey("ssl_certs.id"), index=True)

    @property
    def inner_address(self) -> str | None:
        """Where it is inside a VPC; None for a rule of a public address."""
        return self.guest_address

    @property
    def balanced_protocol(self) -> str:
        return str((self.options or {}).get("protocol", "tcp"))

    @property
    def algorithm(self) -> str:
        return str((self.options or {}).get("algorithm", "roundrobin"))


class BalancedMember(NetworkRule):
    """A guest's address that the rule `related_id` leads to; `guest_claim` lets a rule have it once."""

    __mapper_args__ = _kind("LoadBalancingMember")


class StickinessPolicy(NetworkRule):
    """How clients of the rule `related_id` come back to the same guest.

    `options` holds its parameters as they were given, and what they mean. A rule has one policy.
    """

    __mapper_args__ = _kind("LoadBalancingStickiness")
    name: Mapped[str | None] = mapped_column(use_existing_column=True)
    description: Mapped[str | None] = mapped_column(Text, use_existing_column=True)
    options: Mapped[dict[str, Any] | None] = mapped_column(use_existing_column=True)

    @property
    def means(self) -> dict[str, Any]:
        """The fields of network.balancing.Stickiness."""
        means: dict[str, Any] = (self.options or {})["means"]
        return means

    @property
    def method(self) -> str:
        return str(self.means["method"])


class HealthPolicy(NetworkRule):
    """How the guests of the rule `related_id` are watched; `options` are those of network.balancing.HealthCheck."""

    __mapper_args__ = _kind("LoadBalancingHealth")
    description: Mapped[str | None] = mapped_column(Text, use_existing_column=True)
    options: Mapped[dict[str, Any] | None] = mapped_column(use_existing_column=True)


class SslCert(Entity, Base):
    """A certificate with its key, which is sealed, and the chain to its root; `fingerprint` is its SHA-256."""

    __tablename__ = "ssl_certs"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    name: Mapped[str]
    certificate: Mapped[str] = mapped_column(LONG_TEXT)
    chain: Mapped[str | None] = mapped_column(LONG_TEXT)
    private_key: Mapped[str] = mapped_column(Sealed)
    fingerprint: Mapped[str]
    expires: Mapped[dt.datetime]
