"""Traits of offerings, who deployed a VM, its lease and protection, what its guest does."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

OFFERINGS = ("service_offerings", "disk_offerings")


def upgrade() -> None:
    for table in OFFERINGS:
        add_filled(table, "provisioning", sa.String(length=32), "thin")
        add_filled(table, "cache_mode", sa.String(length=32), "none")
        add_filled(table, "io_limits", sa.JSON(), "{}")
        add_filled(table, "details", sa.JSON(), "{}")
    add_filled("service_offerings", "bounds", sa.JSON(), "{}")
    op.add_column("service_offerings", sa.Column("network_rate", sa.Integer(), nullable=True))
    op.add_column("service_offerings", sa.Column("planner", sa.String(length=32), nullable=True))
    op.add_column("service_offerings", sa.Column("lease_days", sa.Integer(), nullable=True))
    op.add_column("service_offerings", sa.Column("lease_action", sa.String(length=32), nullable=True))
    if op.get_bind().dialect.name == "sqlite":  # takes a foreign key only together with its column
        op.execute("ALTER TABLE vms ADD COLUMN user_id VARCHAR(36) REFERENCES users (id)")
    else:
        op.add_column("vms", sa.Column("user_id", sa.String(length=36), nullable=True))
        op.create_foreign_key(op.f("fk_vms_user_id"), "vms", "users", ["user_id"], ["id"])
    op.create_index(op.f("ix_vms_user_id"), "vms", ["user_id"])
    add_filled("vms", "delete_protection", sa.Boolean(), sa.false())
    op.add_column("vms", sa.Column("updated", sa.DateTime(), nullable=True))
    op.add_column("vms", sa.Column("lease_ends", sa.DateTime(), nullable=True))
    op.create_index(op.f("ix_vms_lease_ends"), "vms", ["lease_ends"])
    op.add_column("vms", sa.Column("lease_action", sa.String(length=32), nullable=True))
    op.add_column("vms", sa.Column("lease_state", sa.String(length=32), nullable=True))
    op.create_table(
        "vm_figures",
        sa.Column("vm_id", sa.String(length=36), nullable=False),
        sa.Column("placement", sa.String(length=255), nullable=False),
        sa.Column("measured", sa.Double(), nullable=False),
        sa.Column("counters", sa.JSON(), nullable=False),
        sa.Column("recent", sa.JSON(), nullable=False),
        sa.Column("totals", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["vm_id"], ["vms.id"], name=op.f("fk_vm_figures_vm_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("vm_id", name=op.f("pk_vm_figures")),
    )


def add_filled(table: str, name: str, kind: sa.types.TypeEngine, present: object) -> None:
    """A column that holds something, with what the rows that are there have in it."""
    op.add_column(table, sa.Column(name, kind, nullable=False, server_default=present))
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column(table, name, existing_type=kind, existing_nullable=False, server_default=None)


def downgrade() -> None:
    op.drop_table("vm_figures")
    op.drop_index(op.f("ix_vms_lease_ends"), "vms")
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint(op.f("fk_vms_user_id"), "vms", type_="foreignkey")
    op.drop_index(op.f("ix_vms_user_id"), "vms")
    for name in ("user_id", "delete_protection", "updated", "lease_ends", "lease_action", "lease_state"):
        op.drop_column("vms", name)
    for name in ("bounds", "network_rate", "planner", "lease_days", "lease_action"):
        op.drop_column("service_offerings", name)
    for table in OFFERINGS:
        for name in ("provisioning", "cache_mode", "io_limits", "details"):
            op.drop_column(table, name)
