"""Which overlay carries a network."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    kind = sa.String(length=32)
    op.add_column("networks", sa.Column("overlay", kind, nullable=False, server_default="gre"))
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column("networks", "overlay", existing_type=kind, existing_nullable=False, server_default=None)


def downgrade() -> None:
    op.drop_column("networks", "overlay")
