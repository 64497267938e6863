"""What came of the last look at each part of a router."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0023"
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


def downgrade() -> None:
    op.drop_table("router_health_checks")
