"""Packet captures of NICs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

ID = sa.String(length=36)
WORD = sa.String(length=32)
SEALED = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
PLACE = sa.String(length=64)


def upgrade() -> None:
    op.create_table(
        "packet_captures",
        sa.Column("id", ID, nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("nic_id", ID, nullable=False),
        sa.Column("vm_id", ID, nullable=False),
        sa.Column("host_id", ID, nullable=False),
        sa.Column("place", PLACE, nullable=False),
        sa.Column("running", PLACE, nullable=True),
        sa.Column("state", WORD, nullable=False),
        sa.Column("wanted", sa.JSON(), nullable=False),
        sa.Column("ends", sa.DateTime(), nullable=True),
        sa.Column("expires", sa.DateTime(), nullable=True),
        sa.Column("packets", sa.Integer(), nullable=False),
        sa.Column("dropped", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=255), nullable=True),
        sa.Column("content", SEALED, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_packet_captures_account_id")),
        sa.ForeignKeyConstraint(
            ["nic_id"], ["nics.id"], name=op.f("fk_packet_captures_nic_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_packet_captures")),
        sa.UniqueConstraint("place", name=op.f("uq_packet_captures_place")),
        sa.UniqueConstraint("running", name=op.f("uq_packet_captures_running")),
    )
    for name in ("account_id", "nic_id", "vm_id", "expires"):
        op.create_index(op.f(f"ix_packet_captures_{name}"), "packet_captures", [name])


def downgrade() -> None:
    op.drop_table("packet_captures")
