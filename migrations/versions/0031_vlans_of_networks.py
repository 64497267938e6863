"""VLANs of physical networks that tenant networks are, and ranges of guests' addresses in flat zones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0029"
branch_labels = None
depends_on = None

ID = sa.String(length=36)
REFERENCES = {"network_id": "networks", "pod_id": "pods"}


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
    with op.batch_alter_table("vlan_ip_ranges") as ranges:
        for name, table in REFERENCES.items():
            ranges.add_column(sa.Column(name, ID, nullable=True))
            ranges.create_foreign_key(op.f(f"fk_vlan_ip_ranges_{name}"), table, [name], ["id"])
    for name in REFERENCES:
        op.create_index(op.f(f"ix_vlan_ip_ranges_{name}"), "vlan_ip_ranges", [name])


def downgrade() -> None:
    # MariaDB uses the index for the foreign key, and lets go of it only after that.
    with op.batch_alter_table("vlan_ip_ranges") as ranges:
        for name in REFERENCES:
            ranges.drop_constraint(op.f(f"fk_vlan_ip_ranges_{name}"), type_="foreignkey")
    for name in REFERENCES:
        op.drop_index(op.f(f"ix_vlan_ip_ranges_{name}"), "vlan_ip_ranges")
    with op.batch_alter_table("vlan_ip_ranges") as ranges:
        for name in REFERENCES:
            ranges.drop_column(name)
    op.drop_table("vlan_keys")
