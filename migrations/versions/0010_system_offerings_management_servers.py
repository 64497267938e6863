"""service offerings of virtual routers, management servers, ranges dedicated to accounts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

REFERENCES = (
    ("network_offerings", "service_offering_id", "service_offerings"),
    ("routers", "service_offering_id", "service_offerings"),
)


def upgrade() -> None:
    op.add_column("service_offerings", sa.Column("system_vm_type", sa.String(length=32), nullable=True))
    for table, column, target in REFERENCES:
        add_reference(table, column, target)
    op.add_column("public_addresses", sa.Column("dedication_id", sa.String(length=36), nullable=True))


    op.create_table(
        "management_servers",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("address", sa.String(length=255), nullable=False),
        sa.Column("version", sa.String(length=255), nullable=False),
        sa.Column("kernel", sa.String(length=255), nullable=False),
        sa.Column("distribution", sa.String(length=255), nullable=False),
        sa.Column("booted", sa.DateTime(), nullable=True),
        sa.Column("started", sa.DateTime(), nullable=True),
        sa.Column("stopped", sa.DateTime(), nullable=True),
        sa.Column("last_seen", sa.Double(), nullable=False),
        sa.Column("wanted", sa.String(length=32), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("idle_since", sa.Double(), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_management_servers")),
        sa.UniqueConstraint("live", name=op.f("uq_management_servers_live")),
    )
    op.create_index(op.f("ix_management_servers_removed"), "management_servers", ["removed"])


def add_reference(table: str, column: str, target: str) -> None:
    """SQLite takes a foreign key only together with its column."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"ALTER TABLE {table} ADD COLUMN {column} VARCHAR(36) REFERENCES {target} (id)")
    else:
        op.add_column(table, sa.Column(column, sa.String(length=36), nullable=True))
        op.create_foreign_key(op.f(f"fk_{table}_{column}"), table, target, [column], ["id"])


def downgrade() -> None:
    op.drop_table("management_servers")
    op.drop_column("public_addresses", "dedication_id")
    for table, column, _ in reversed(REFERENCES):
        if op.get_bind().dialect.name != "sqlite":
            op.drop_constraint(op.f(f"fk_{table}_{column}"), table, type_="foreignkey")
        # SQLite drops a column under a constraint of the table only by making the table anew.
        with op.batch_alter_table(table) as batch:
            batch.drop_column(column)
    op.drop_column("service_offerings", "system_vm_type")
