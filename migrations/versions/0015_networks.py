"""Ranges, resolvers, MTUs and visibility of networks, tags of their offerings, what their guests sent; icons."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

WORD = sa.String(length=32)
ADDRESSES = ("guest_cidr", "first_address", "last_address", "dns1", "dns2")


def upgrade() -> None:
    add_filled("networks", "public_mtu", sa.Integer(), "1500")
    for name in ADDRESSES:
        op.add_column("networks", sa.Column(name, WORD, nullable=True))
    op.add_column("networks", sa.Column("external_id", sa.String(length=255), nullable=True))
    add_filled("networks", "display", sa.Boolean(), sa.true())
    add_filled("networks", "hide_address_usage", sa.Boolean(), sa.false())
    add_filled("network_offerings", "tags", sa.String(length=255), "")
    add_filled("network_offerings", "details", sa.JSON(), "{}")
    add_filled("usage_records", "hidden", sa.Boolean(), sa.false())
    op.create_table(
        "network_traffic",
        sa.Column("network_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_network_traffic_account_id")),
        sa.PrimaryKeyConstraint("network_id", name=op.f("pk_network_traffic")),
    )
    op.create_index(op.f("ix_network_traffic_account_id"), "network_traffic", ["account_id"])
    op.create_table(
        "resource_icons",
        sa.Column("resource_id", sa.String(length=36), nullable=False),
        sa.Column("resource_type", WORD, nullable=False),
        sa.Column("image", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"), nullable=False),
        sa.PrimaryKeyConstraint("resource_id", name=op.f("pk_resource_icons")),
    )


def add_filled(table: str, name: str, kind: sa.types.TypeEngine, present: object) -> None:
    """A column that holds something, with what the rows that are there have in it."""
    op.add_column(table, sa.Column(name, kind, nullable=False, server_default=present))
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column(table, name, existing_type=kind, existing_nullable=False, server_default=None)


def downgrade() -> None:
    op.drop_table("resource_icons")
    op.drop_table("network_traffic")
    op.drop_column("usage_records", "hidden")
    for name in ("tags", "details"):
        op.drop_column("network_offerings", name)
    for name in ("public_mtu", *ADDRESSES, "external_id", "display", "hide_address_usage"):
        op.drop_column("networks", name)
