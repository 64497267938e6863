"""What came of the last look at each part of a router; redundant routers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "router_health_checks",
        sa.Column("router_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("success", sa.Boolean(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("checked", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["router_id"], ["routers.id"], name=op.f("fk_router_health_checks_router_id")),
        sa.PrimaryKeyConstraint("router_id", "name", name=op.f("pk_router_health_checks")),
    )


    add_filled("network_offerings", "redundant_router", sa.Boolean(), sa.false())
    add_filled("routers", "standby", sa.Boolean(), sa.false())
    add_filled("routers", "redundant_state", sa.String(length=32), "UNKNOWN")


def add_filled(table: str, name: str, kind: sa.types.TypeEngine, value: object) -> None:
    """A column that is never NULL, with `value` in the rows that are there."""
    op.add_column(table, sa.Column(name, kind, nullable=False, server_default=value))
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column(table, name, existing_type=kind, existing_nullable=False, server_default=None)


def downgrade() -> None:
    op.drop_column("routers", "redundant_state")
    op.drop_column("routers", "standby")
    op.drop_column("network_offerings", "redundant_router")
    op.drop_table("router_health_checks")
