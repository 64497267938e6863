"""Appliances of load balancers inside VPCs, and redundant routers of VPCs."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

ID = sa.String(length=36)
WORD = sa.String(length=32)


def upgrade() -> None:
    owners = ("account", "zone", "network")
    op.create_table(
        "balancer_appliances",
        sa.Column("id", ID, nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.Column("name", sa.String(length=255), nullable=False),
        *(sa.Column(f"{one}_id", ID, nullable=False) for one in owners),
        sa.Column("address", WORD, nullable=False),
        sa.Column("state", WORD, nullable=False),
        *(
            sa.ForeignKeyConstraint([f"{one}_id"], [f"{one}s.id"], name=op.f(f"fk_balancer_appliances_{one}_id"))
            for one in owners
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_balancer_appliances")),
        sa.UniqueConstraint("live", name=op.f("uq_balancer_appliances_live")),
    )
    for name in ("account_id", "network_id", "removed"):
        op.create_index(op.f(f"ix_balancer_appliances_{name}"), "balancer_appliances", [name])
    make_appliances()
    add_filled("vpc_offerings", "redundant_router", sa.Boolean(), sa.false())
    add_filled("vpcs", "redundant", sa.Boolean(), sa.false())
    op.add_column("vpcs", sa.Column("line_key", sa.BigInteger(), nullable=True))
    op.add_column("vpcs", sa.Column("line_overlay", WORD, nullable=True))


def make_appliances() -> None:
    """One, which runs, for each address of load balancers that are there."""
    table = sa.table(
        "balancer_appliances",
        *(
            sa.column(name)
            for name in ("id", "live", "name", "account_id", "zone_id", "network_id", "address", "state")
        ),
        sa.column("created", sa.DateTime()),
    )
    found = op.get_bind().execute(
        sa.text(
            "SELECT DISTINCT n.id, n.account_id, n.zone_id, r.guest_address FROM network_rules r "
            "JOIN networks n ON n.id = r.network_id "
            "WHERE r.purpose = 'LoadBalancing' AND r.guest_address IS NOT NULL AND r.removed IS NULL"
        )
    )
    now = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
    rows = [
        {
            "id": key, "created": now, "live": f"{network_id}/{address}", "name": f"b-{key[:8]}-VM",
            "account_id": account_id, "zone_id": zone_id, "network_id": network_id, "address": address,
            "state": "Running",
        }
        for key, (network_id, account_id, zone_id, address) in ((str(uuid.uuid4()), row) for row in found)
    ]  # fmt: skip
    op.bulk_insert(table, rows)


def add_filled(table: str, name: str, kind: sa.types.TypeEngine, value: object) -> None:
    """A column that is never NULL, with `value` in the rows that are there."""
    op.add_column(table, sa.Column(name, kind, nullable=False, server_default=value))
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column(table, name, existing_type=kind, existing_nullable=False, server_default=None)


def downgrade() -> None:
    for table, name in (
        ("vpcs", "line_overlay"), ("vpcs", "line_key"), ("vpcs", "redundant"), ("vpc_offerings", "redundant_router"),
    ):  # fmt: skip
        op.drop_column(table, name)
    op.drop_table("balancer_appliances")
