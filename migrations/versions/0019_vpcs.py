"""VPCs: their offerings, tiers, public addresses and routers."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0015"
branch_labels = None
depends_on = None

ID, WORD, TEXT = sa.String(length=36), sa.String(length=32), sa.String(length=255)
PARTS = ("networks", "public_addresses", "routers")
"""The tables of what a VPC has."""


def upgrade() -> None:
    op.create_table(
        "vpc_offerings",
        *_entity("vpc_offerings"),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("display_text", TEXT, nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("services", sa.JSON(), nullable=False),
        sa.Column("service_offering_id", ID, nullable=True),
        sa.Column("sort_key", sa.Integer(), nullable=False),
        _reference("vpc_offerings", "service_offering_id", "service_offerings"),
    )
    op.create_table(
        "vpcs",
        *_entity("vpcs"),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("display_text", TEXT, nullable=False),
        *(sa.Column(name, ID, nullable=False) for name in ("account_id", "zone_id", "offering_id")),
        sa.Column("cidr", TEXT, nullable=False),
        sa.Column("network_domain", TEXT, nullable=False),
        sa.Column("public_mtu", sa.Integer(), nullable=False),
        sa.Column("dns1", WORD, nullable=True),
        sa.Column("dns2", WORD, nullable=True),
        sa.Column("display", sa.Boolean(), nullable=False),
        sa.Column("state", WORD, nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("generation", "rules_wanted", "rules_applied")),
        _reference("vpcs", "account_id", "accounts"),
        _reference("vpcs", "zone_id", "zones"),
        _reference("vpcs", "offering_id", "vpc_offerings"),
    )
    for table, column in (("vpc_offerings", "removed"), ("vpcs", "removed"), ("vpcs", "account_id"),
                          ("vpcs", "zone_id")):  # fmt: skip
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])
    for table in PARTS:
        add_reference(table, "vpc_id", "vpcs")
        op.create_index(op.f(f"ix_{table}_vpc_id"), table, ["vpc_id"])
    op.add_column("networks", sa.Column("acl_id", ID, nullable=True))
    op.create_index(op.f("ix_networks_acl_id"), "networks", ["acl_id"])
    with op.batch_alter_table("routers") as batch:
        batch.alter_column("network_id", existing_type=ID, nullable=True)


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


def add_reference(table: str, column: str, target: str) -> None:
    """SQLite takes a foreign key only together with its column."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"ALTER TABLE {table} ADD COLUMN {column} VARCHAR(36) REFERENCES {target} (id)")
    else:
        op.add_column(table, sa.Column(column, ID, nullable=True))
        op.create_foreign_key(op.f(f"fk_{table}_{column}"), table, target, [column], ["id"])


def downgrade() -> None:
    """Routers of VPCs cannot be told from those of networks any more, so they go; their hosts keep none of it."""
    op.execute("DELETE FROM nics WHERE router_id IN (SELECT id FROM routers WHERE network_id IS NULL)")
    op.execute("DELETE FROM routers WHERE network_id IS NULL")
    with op.batch_alter_table("routers") as batch:
        batch.alter_column("network_id", existing_type=ID, nullable=False)
    op.drop_index(op.f("ix_networks_acl_id"), "networks")
    op.drop_column("networks", "acl_id")
    for table in PARTS:
        if op.get_bind().dialect.name != "sqlite":
            op.drop_constraint(op.f(f"fk_{table}_vpc_id"), table, type_="foreignkey")
        op.drop_index(op.f(f"ix_{table}_vpc_id"), table)
        drop_column(table, "vpc_id")
    op.drop_table("vpcs")
    op.drop_table("vpc_offerings")


def drop_column(table: str, column: str) -> None:
    """With what refers to it: SQLite drops a column under a constraint only by making the table anew."""
    with op.batch_alter_table(table) as batch:
        batch.drop_column(column)
