"""Security groups: which virtual machines are in them, and what the rules of each let in and out."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from manager.models.base import ID, STATE, Base, Entity, new_id

PROTOCOLS = {"gre": "47", "esp": "50", "ah": "51"}
"""The numbers of further protocols that rules may name (RFC 5237)."""


class SecurityGroup(Entity, Base):
    """What guests may open is the union of the rules of their groups.

    Its row is locked while it is joined, given a rule, or named in one, so that none of these meets its removal.
    """

    __tablename__ = "security_groups"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(Text, default="")


class SecurityMember(Base):
    """A VM in a group. `id` is that of its joining, which the workflow that tells of it has as its subject."""

    __tablename__ = "security_members"

    id: Mapped[str] = mapped_column(ID, unique=True, default=new_id)
    group_id: Mapped[str] = mapped_column(ForeignKey("security_groups.id"), primary_key=True)
    vm_id: Mapped[str] = mapped_column(ForeignKey("vms.id"), primary_key=True, index=True)


class SecurityGroupRule(Entity, Base):
    """Traffic that a group allows: `direction` is ingress or egress, the other end `cidr` or the group `source_id`.

    `protocol` is tcp, udp, icmp, all, a name of PROTOCOLS or a number. Ports, ICMP type and code are None for any.
    Rules of one call have one `batch`. `state` is as in RULE_MOVES.
    """

    __tablename__ = "security_group_rules"

    group_id: Mapped[str] = mapped_column(ForeignKey("security_groups.id"), index=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    direction: Mapped[str] = mapped_column(STATE)
    state: Mapped[str] = mapped_column(STATE, default="Add")
    protocol: Mapped[str] = mapped_column(STATE, default="all")
    first_port: Mapped[int | None]
    last_port: Mapped[int | None]
    icmp_type: Mapped[int | None]
    icmp_code: Mapped[int | None]
    cidr: Mapped[str | None] = mapped_column(STATE)
    source_id: Mapped[str | None] = mapped_column(ForeignKey("security_groups.id"), index=True)
    batch: Mapped[str] = mapped_column(String(36), default=new_id)
