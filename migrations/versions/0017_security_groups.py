"""Security groups, their members and rules; zones all of whose networks have them."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

KEY = sa.String(length=36)
WORD = sa.String(length=32)


def upgrade() -> None:
    entity(
        "security_groups",
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        reference("security_groups", "account_id", "accounts"),
        indexes=["account_id"],
    )
    op.create_table(
        "security_members",
        sa.Column("id", KEY, nullable=False),
        sa.Column("group_id", KEY, nullable=False),
        sa.Column("vm_id", KEY, nullable=False),
        reference("security_members", "group_id", "security_groups"),
        reference("security_members", "vm_id", "vms"),
        sa.PrimaryKeyConstraint("group_id", "vm_id", name=op.f("pk_security_members")),
        sa.UniqueConstraint("id", name=op.f("uq_security_members_id")),
    )
    op.create_index(op.f("ix_security_members_vm_id"), "security_members", ["vm_id"])
    entity(
        "security_group_rules",
        sa.Column("group_id", KEY, nullable=False),
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("direction", WORD, nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("protocol", WORD, nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=True) for name in ("first_port", "last_port", "icmp_type",
                                                                    "icmp_code")),
        sa.Column("cidr", WORD, nullable=True),
        sa.Column("source_id", KEY, nullable=True),
        sa.Column("batch", KEY, nullable=False),
        reference("security_group_rules", "group_id", "security_groups"),
        reference("security_group_rules", "account_id", "accounts"),
        reference("security_group_rules", "source_id", "security_groups"),
        indexes=["group_id", "account_id", "source_id"],
    )  # fmt: skip
    op.add_column("zones", sa.Column("security_groups", sa.Boolean(), nullable=False, server_default=sa.false()))
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column(
            "zones", "security_groups", existing_type=sa.Boolean(), existing_nullable=False, server_default=None
        )


def entity(name: str, *columns: sa.Column | sa.Constraint, indexes: Sequence[str] = ()) -> None:
    """A table of things with a uuid, as manager.models.base.Entity declares them."""
    op.create_table(
        name,
        *columns,
        sa.Column("id", KEY, nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
        sa.UniqueConstraint("live", name=op.f(f"uq_{name}_live")),
    )
    for column in ("removed", *indexes):
        op.create_index(op.f(f"ix_{name}_{column}"), name, [column])


def reference(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=op.f(f"fk_{table}_{column}"))


def downgrade() -> None:
    op.drop_column("zones", "security_groups")
    for name in ("security_group_rules", "security_members", "security_groups"):
        op.drop_table(name)
