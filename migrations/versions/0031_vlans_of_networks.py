"""VLANs of physical networks that tenant networks are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0028"
branch_labels = None
depends_on = None

ID = sa.String(length=36)


def upgrade() -> None:
    op.create_table(
        "vlan_keys",
        sa.Column("physical_network_id", ID, nullable=False),
        sa.Column("vlan", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("network_id", ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["physical_network_id"], ["physical_networks.id"], name=op.f("fk_vlan_keys_physical_network_id")
        ),
        sa.PrimaryKeyConstraint("physical_network_id", "vlan", name=op.f("pk_vlan_keys")),
        sa.UniqueConstraint("network_id", name=op.f("uq_vlan_keys_network_id")),
    )


def downgrade() -> None:
    op.drop_table("vlan_keys")
