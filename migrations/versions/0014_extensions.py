"""extensions, their registrations with clusters, their custom actions and the runs of those."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

ID = sa.String(length=36)
WORD = sa.String(length=32)
NAME = sa.String(length=255)
SEALED = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def made(name: str, *columns: sa.Column | sa.Constraint, indexes: Sequence[str] = ()) -> None:
    """A table of things with a uuid, as manager.models.base.Entity declares them."""
    op.create_table(
        name,
        *columns,
        sa.Column("id", ID, nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
        sa.UniqueConstraint("live", name=op.f(f"uq_{name}_live")),
    )
    index(name, "removed", *indexes)


def index(name: str, *columns: str) -> None:
    for column in columns:
        op.create_index(op.f(f"ix_{name}_{column}"), name, [column])


def reference(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=op.f(f"fk_{table}_{column}"))


def upgrade() -> None:
    made(
        "extensions",
        sa.Column("name", NAME, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("type", WORD, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("details", SEALED, nullable=False),
    )
    made(
        "extension_resources",
        sa.Column("extension_id", ID, nullable=False),
        sa.Column("cluster_id", ID, nullable=False),
        sa.Column("details", SEALED, nullable=False),
        reference("extension_resources", "extension_id", "extensions"),
        reference("extension_resources", "cluster_id", "clusters"),
        indexes=["extension_id", "cluster_id"],
    )
    op.create_table(
        "extension_sights",
        sa.Column("extension_id", ID, nullable=False),
        sa.Column("server", NAME, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("seen", sa.Double(), nullable=False),
        reference("extension_sights", "extension_id", "extensions"),
        sa.PrimaryKeyConstraint("extension_id", "server", name=op.f("pk_extension_sights")),
    )
    made(
        "custom_actions",
        sa.Column("extension_id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("resource_type", WORD, nullable=False),
        sa.Column("allowed_roles", sa.Integer(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("success_message", sa.Text(), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=False),
        sa.Column("timeout", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("details", SEALED, nullable=False),
        reference("custom_actions", "extension_id", "extensions"),
        indexes=["extension_id"],
    )
    make_runs()


def make_runs() -> None:
    op.create_table(
        "action_runs",
        sa.Column("id", ID, nullable=False),
        sa.Column("action_id", ID, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("vm_name", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("timeout", sa.Integer(), nullable=False),
        sa.Column("repeatable", sa.Boolean(), nullable=False),
        sa.Column("payload", SEALED, nullable=False),
        sa.Column("status", WORD, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("server", NAME, nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("answer", SEALED, nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("ended", sa.DateTime(), nullable=True),
        reference("action_runs", "action_id", "custom_actions"),
        reference("action_runs", "account_id", "accounts"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_action_runs")),
    )
    index("action_runs", "action_id", "account_id")
    op.create_index("ix_action_runs_status", "action_runs", ["status", "created"])


def downgrade() -> None:
    for name in ("action_runs", "custom_actions", "extension_sights", "extension_resources", "extensions"):
        op.drop_table(name)
