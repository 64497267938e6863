"""service offerings of virtual routers, management servers, ranges dedicated to accounts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0006"
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


def add_reference(table: str, column: str, target: str) -> None:
    """SQLite takes a foreign key only together with its column."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"ALTER TABLE {table} ADD COLUMN {column} VARCHAR(36) REFERENCES {target} (id)")
    else:
        op.add_column(table, sa.Column(column, sa.String(length=36), nullable=True))
        op.create_foreign_key(op.f(f"fk_{table}_{column}"), table, target, [column], ["id"])


def downgrade() -> None:
    for table, column, _ in reversed(REFERENCES):
        if op.get_bind().dialect.name != "sqlite":
            op.drop_constraint(op.f(f"fk_{table}_{column}"), table, type_="foreignkey")
        op.drop_column(table, column)
    op.drop_column("service_offerings", "system_vm_type")
