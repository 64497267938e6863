"""Projects, limits of domains, counters of more resources, settings for one zone, domain or account."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COUNTED = (
    ("vms", sa.Integer), ("cpus", sa.Integer), ("memory", sa.BigInteger), ("volumes", sa.Integer),
    ("primary_storage", sa.BigInteger), ("networks", sa.Integer), ("public_addresses", sa.Integer),
    ("templates", sa.Integer),
)
COUNTED_NOW = (
    ("snapshots", sa.Integer), ("vpcs", sa.Integer), ("projects", sa.Integer), ("secondary_storage", sa.BigInteger),
    ("backups", sa.Integer), ("backup_storage", sa.BigInteger), ("buckets", sa.Integer),
    ("object_storage", sa.BigInteger), ("gpus", sa.Integer),
)


def _entity() -> list[sa.Column]:
    return [
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
    ]


def _part(table: str, *more: sa.Column) -> None:
    op.create_table(
        table,
        *more,
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("project_role_id", sa.String(length=36), nullable=True),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f(f"fk_{table}_project_id")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f(f"fk_{table}_account_id")),
        sa.ForeignKeyConstraint(["project_role_id"], ["project_roles.id"], name=op.f(f"fk_{table}_project_role_id")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint(
            "project_id", "account_id", "user_id", name=op.f(f"uq_{table}_project_id_account_id_user_id")
        ),
    )
    op.create_index(op.f(f"ix_{table}_account_id"), table, ["account_id"], unique=False)
    op.create_index(op.f(f"ix_{table}_project_role_id"), table, ["project_role_id"], unique=False)


def _projects() -> None:
    op.create_table(
        "projects",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("display_text", sa.String(length=255), nullable=False),
        sa.Column("domain_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("owner_id", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        *_entity(),
        sa.ForeignKeyConstraint(["domain_id"], ["domains.id"], name=op.f("fk_projects_domain_id")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_projects_account_id")),
        sa.ForeignKeyConstraint(["owner_id"], ["accounts.id"], name=op.f("fk_projects_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("account_id", name=op.f("uq_projects_account_id")),
        sa.UniqueConstraint("live", name=op.f("uq_projects_live")),
    )
    for column in ("domain_id", "owner_id", "removed"):
        op.create_index(op.f(f"ix_projects_{column}"), "projects", [column], unique=False)
    op.create_table(
        "project_roles",
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        *_entity(),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_project_roles_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_roles")),
        sa.UniqueConstraint("live", name=op.f("uq_project_roles_live")),
    )
    for column in ("project_id", "removed"):
        op.create_index(op.f(f"ix_project_roles_{column}"), "project_roles", [column], unique=False)
    op.create_table(
        "project_role_permissions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("role_id", sa.String(length=36), nullable=False),
        sa.Column("rule", sa.String(length=255), nullable=False),
        sa.Column("permission", sa.String(length=32), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["role_id"], ["project_roles.id"], name=op.f("fk_project_role_permissions_role_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_role_permissions")),
        sa.UniqueConstraint("role_id", "rule", name=op.f("uq_project_role_permissions_role_id_rule")),
    )
    _part("project_members")
    _part(
        "project_invitations",
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("expires", sa.DateTime(), nullable=False),
    )


def _limits() -> None:
    op.create_table(
        "domain_limits",
        sa.Column("domain_id", sa.String(length=36), nullable=False),
        sa.Column("resource", sa.String(length=32), nullable=False),
        sa.Column("maximum", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["domain_id"], ["domains.id"], name=op.f("fk_domain_limits_domain_id")),
        sa.PrimaryKeyConstraint("domain_id", "resource", name=op.f("pk_domain_limits")),
    )
    op.create_table(
        "domain_use",
        sa.Column("domain_id", sa.String(length=36), nullable=False),
        *[sa.Column(name, kind(), nullable=False) for name, kind in (*COUNTED, *COUNTED_NOW)],
        sa.ForeignKeyConstraint(["domain_id"], ["domains.id"], name=op.f("fk_domain_use_domain_id")),
        sa.PrimaryKeyConstraint("domain_id", name=op.f("pk_domain_use")),
    )
    with op.batch_alter_table("resource_use") as table:
        for name, kind in COUNTED_NOW:
            table.add_column(sa.Column(name, kind(), nullable=False, server_default="0"))


def _count() -> None:
    """Counters of what was not counted before, and of all domains but ROOT."""
    op.execute(
        "UPDATE resource_use SET public_addresses = (SELECT count(*) FROM public_addresses p"
        " WHERE p.account_id = resource_use.account_id), secondary_storage = (SELECT coalesce(sum(t.physical_size), 0)"
        " FROM templates t WHERE t.account_id = resource_use.account_id AND t.removed IS NULL)"
    )
    names = [name for name, _ in (*COUNTED, *COUNTED_NOW)]
    length = "length" if op.get_bind().dialect.name == "sqlite" else "char_length"
    sums = ", ".join(f"coalesce(sum(u.{name}), 0)" for name in names)
    op.execute(
        f"INSERT INTO domain_use (domain_id, {', '.join(names)}) SELECT d.id, {sums} FROM domains d"
        f" LEFT JOIN domains i ON substr(i.path, 1, {length}(d.path)) = d.path LEFT JOIN accounts a ON a.domain_id = i.id"
        " LEFT JOIN resource_use u ON u.account_id = a.id WHERE d.parent_id IS NOT NULL GROUP BY d.id"
    )


def upgrade() -> None:
    _projects()
    _limits()
    _count()
    op.create_table(
        "scoped_settings",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("scope", sa.String(length=32), nullable=False),
        sa.Column("scope_id", sa.String(length=36), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", "scope", "scope_id", name=op.f("pk_scoped_settings")),
    )


def downgrade() -> None:
    op.drop_table("scoped_settings")
    with op.batch_alter_table("resource_use") as table:
        for name, _ in COUNTED_NOW:
            table.drop_column(name)
    for table in (
        "domain_use", "domain_limits", "project_invitations", "project_members", "project_role_permissions",
        "project_roles", "projects",
    ):
        op.drop_table(table)
