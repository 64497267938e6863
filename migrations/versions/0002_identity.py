"""roles with rules in rows, offerings of domains and zones, accounts that go away by a workflow."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "role_permissions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("role_id", sa.String(length=36), nullable=False),
        sa.Column("rule", sa.String(length=255), nullable=False),
        sa.Column("permission", sa.String(length=32), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["role_id"], ["roles.id"], name=op.f("fk_role_permissions_role_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_role_permissions")),
        sa.UniqueConstraint("role_id", "rule", name=op.f("uq_role_permissions_role_id_rule")),
    )
    for name, column in (("domain", "domain_id"), ("zone", "zone_id")):
        table = f"offering_{name}s"
        op.create_table(
            table,
            sa.Column("offering_id", sa.String(length=36), nullable=False),
            sa.Column(column, sa.String(length=36), nullable=False),
            sa.ForeignKeyConstraint([column], [f"{name}s.id"], name=op.f(f"fk_{table}_{column}")),
            sa.PrimaryKeyConstraint("offering_id", column, name=op.f(f"pk_{table}")),
        )
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column], unique=False)
    with op.batch_alter_table("roles") as batch:
        batch.add_column(sa.Column("is_public", sa.Boolean(), nullable=False, server_default=sa.true()))
        batch.add_column(sa.Column("state", sa.String(length=32), nullable=False, server_default="enabled"))
        batch.drop_column("rules")
    with op.batch_alter_table("accounts") as batch:
        batch.add_column(sa.Column("default_zone_id", sa.String(length=36), nullable=True))
        batch.add_column(sa.Column("cleanup_needed", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch.create_foreign_key(op.f("fk_accounts_default_zone_id"), "zones", ["default_zone_id"], ["id"])


def downgrade() -> None:
    with op.batch_alter_table("accounts") as batch:
        batch.drop_constraint(op.f("fk_accounts_default_zone_id"), type_="foreignkey")
        batch.drop_column("cleanup_needed")
        batch.drop_column("default_zone_id")
    with op.batch_alter_table("roles") as batch:
        batch.add_column(sa.Column("rules", sa.JSON(), nullable=True))
        batch.drop_column("state")
        batch.drop_column("is_public")
    op.execute("UPDATE roles SET rules = '[]'")
    op.drop_table("offering_zones")
    op.drop_table("offering_domains")
    op.drop_table("role_permissions")
