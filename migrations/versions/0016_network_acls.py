"""Network ACL lists and their items."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0019"
branch_labels = None
depends_on = None

ID, WORD, TEXT = sa.String(length=36), sa.String(length=32), sa.String(length=255)
INDEXED = {"network_acl_lists": ("removed", "account_id", "vpc_id"),
           "network_acl_items": ("removed", "account_id", "list_id")}  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "network_acl_lists",
        *_entity("network_acl_lists"),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("account_id", ID, nullable=True),
        sa.Column("vpc_id", ID, nullable=True),
        sa.Column("display", sa.Boolean(), nullable=False),
        sa.Column("items_wanted", sa.BigInteger(), nullable=False),
        sa.Column("items_applied", sa.BigInteger(), nullable=False),
        _reference("network_acl_lists", "account_id", "accounts"),
        _reference("network_acl_lists", "vpc_id", "vpcs"),
    )
    op.create_table(
        "network_acl_items",
        *_entity("network_acl_items"),
        sa.Column("list_id", ID, nullable=False),
        sa.Column("account_id", ID, nullable=True),
        sa.Column("number", sa.Integer(), nullable=False),
        *(sa.Column(name, WORD, nullable=False) for name in ("state", "direction", "protocol")),
        sa.Column("allow", sa.Boolean(), nullable=False),
        *(sa.Column(name, sa.Integer()) for name in ("first_port", "last_port", "icmp_type", "icmp_code")),
        sa.Column("networks", sa.JSON(), nullable=False),
        sa.Column("reason", TEXT, nullable=True),
        sa.Column("display", sa.Boolean(), nullable=False),
        _reference("network_acl_items", "account_id", "accounts"),
        _reference("network_acl_items", "list_id", "network_acl_lists"),
    )
    for table, columns in INDEXED.items():
        for column in columns:
            op.create_index(op.f(f"ix_{table}_{column}"), table, [column])


def _entity(table: str) -> list[Any]:
    return [
        sa.Column("id", ID, nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("live", name=op.f(f"uq_{table}_live")),
    ]


def _reference(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=op.f(f"fk_{table}_{column}"))


def downgrade() -> None:
    op.drop_table("network_acl_items")
    op.drop_table("network_acl_lists")
