"""Hardware devices and the networks on them; NICs of devices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0023"
branch_labels = None
depends_on = None

ID = sa.String(length=36)
WORD = sa.String(length=32)
TEXT = sa.String(length=255)


def upgrade() -> None:
    op.create_table(
        "hardware_devices",
        sa.Column("id", ID, nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        *(sa.Column(name, WORD, nullable=False) for name in ("kind", "cable", "mac")),
        *(sa.Column(name, ID, nullable=False) for name in ("physical_network_id", "zone_id", "host_id")),
        *(
            sa.Column(name, TEXT, nullable=False)
            for name in ("name", "address", "user", "guest_port", "public_interface", "public_zone")
        ),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("password", "host_key")),
        *(
            sa.Column(name, sa.Integer(), nullable=False)
            for name in ("port", "timeout", "first_vlan", "last_vlan", "capacity", "used")
        ),
        sa.Column("dedicated", sa.Boolean(), nullable=False),
        sa.Column("dedicated_to", ID, nullable=True),
        sa.ForeignKeyConstraint(
            ["physical_network_id"], ["physical_networks.id"], name=op.f("fk_hardware_devices_physical_network_id")
        ),
        sa.ForeignKeyConstraint(["zone_id"], ["zones.id"], name=op.f("fk_hardware_devices_zone_id")),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_hardware_devices_host_id")),
        sa.ForeignKeyConstraint(["dedicated_to"], ["accounts.id"], name=op.f("fk_hardware_devices_dedicated_to")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hardware_devices")),
        sa.UniqueConstraint("live", name=op.f("uq_hardware_devices_live")),
    )
    for name in ("dedicated_to", "host_id", "physical_network_id", "removed"):
        op.create_index(op.f(f"ix_hardware_devices_{name}"), "hardware_devices", [name])
    op.create_table(
        "device_networks",
        sa.Column("network_id", ID, nullable=False),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("device_id", ID, nullable=False),
        sa.Column("vlan", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["network_id"], ["networks.id"], name=op.f("fk_device_networks_network_id")),
        sa.ForeignKeyConstraint(["device_id"], ["hardware_devices.id"], name=op.f("fk_device_networks_device_id")),
        sa.PrimaryKeyConstraint("network_id", "kind", name=op.f("pk_device_networks")),
        sa.UniqueConstraint("device_id", "vlan", name=op.f("uq_device_networks_device_id_vlan")),
    )
    with op.batch_alter_table("nics") as nics:
        nics.add_column(sa.Column("hardware_id", ID, nullable=True))
        nics.create_foreign_key(op.f("fk_nics_hardware_id"), "hardware_devices", ["hardware_id"], ["id"])
    op.create_index(op.f("ix_nics_hardware_id"), "nics", ["hardware_id"])


def downgrade() -> None:
    with op.batch_alter_table("nics") as nics:
        nics.drop_constraint(op.f("fk_nics_hardware_id"), type_="foreignkey")
    op.drop_index(op.f("ix_nics_hardware_id"), "nics")
    op.drop_column("nics", "hardware_id")
    op.drop_table("device_networks")
    op.drop_table("hardware_devices")
