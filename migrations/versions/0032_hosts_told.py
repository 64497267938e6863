"""What hosts of networks were told together."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    kind = sa.BigInteger()
    op.add_column("networks", sa.Column("hosts_told", kind, nullable=False, server_default="0"))
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column("networks", "hosts_told", existing_type=kind, existing_nullable=False, server_default=None)


def downgrade() -> None:
    op.drop_column("networks", "hosts_told")
