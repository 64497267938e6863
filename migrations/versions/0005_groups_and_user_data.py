"""user data, instance and affinity groups, dedicated resources, shares of templates."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

REFERENCES = (
    ("vms", "group_id", "instance_groups"),
    ("vms", "user_data_id", "user_data"),
    ("templates", "user_data_id", "user_data"),
)


def entity(name: str, *columns: sa.Column | sa.Constraint, indexes: Sequence[str] = ()) -> None:
    """A table of things with a uuid, as manager.models.base.Entity declares them."""
    op.create_table(
        name,
        *columns,
        sa.Column("id", sa.String(length=36), nullable=False),
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
    owner = ("account_id", sa.String(length=36))
    long_text = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql").with_variant(mysql.MEDIUMTEXT(), "mariadb")
    entity(
        "instance_groups",
        sa.Column(*owner, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        reference("instance_groups", "account_id", "accounts"),
        indexes=["account_id"],
    )
    entity(
        "affinity_groups",
        sa.Column(*owner, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        reference("affinity_groups", "account_id", "accounts"),
        indexes=["account_id"],
    )
    entity(
        "user_data",
        sa.Column(*owner, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("content", long_text, nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        reference("user_data", "account_id", "accounts"),
        indexes=["account_id"],
    )
    op.create_table(
        "affinity_members",
        sa.Column("group_id", sa.String(length=36), nullable=False),
        sa.Column("vm_id", sa.String(length=36), nullable=False),
        reference("affinity_members", "group_id", "affinity_groups"),
        reference("affinity_members", "vm_id", "vms"),
        sa.PrimaryKeyConstraint("group_id", "vm_id", name=op.f("pk_affinity_members")),
    )
    index("affinity_members", "vm_id")
    op.create_table(
        "template_shares",
        sa.Column("template_id", sa.String(length=36), nullable=False),
        sa.Column(*owner, nullable=False),
        reference("template_shares", "template_id", "templates"),
        reference("template_shares", "account_id", "accounts"),
        sa.PrimaryKeyConstraint("template_id", "account_id", name=op.f("pk_template_shares")),
    )
    index("template_shares", "account_id")
    op.create_table(
        "dedications",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("resource_id", sa.String(length=36), nullable=False),
        sa.Column("resource_type", sa.String(length=32), nullable=False),
        sa.Column("domain_id", sa.String(length=36), nullable=False),
        sa.Column(*owner, nullable=True),
        reference("dedications", "domain_id", "domains"),
        reference("dedications", "account_id", "accounts"),
        sa.PrimaryKeyConstraint("resource_id", name=op.f("pk_dedications")),
        sa.UniqueConstraint("id", name=op.f("uq_dedications_id")),
    )
    index("dedications", "resource_type", "domain_id", "account_id")
    for table, column, target in REFERENCES:
        add_reference(table, column, target)
    op.add_column("vms", sa.Column("user_data_details", sa.JSON(), nullable=True))
    op.add_column("templates", sa.Column("user_data_policy", sa.String(length=32), nullable=True))
    make_groups()
    op.drop_column("vms", "group")


def add_reference(table: str, column: str, target: str) -> None:
    """SQLite takes a foreign key only together with its column."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"ALTER TABLE {table} ADD COLUMN {column} VARCHAR(36) REFERENCES {target} (id)")
    else:
        op.add_column(table, sa.Column(column, sa.String(length=36), nullable=True))
        op.create_foreign_key(op.f(f"fk_{table}_{column}"), table, target, [column], ["id"])
    index(table, column)


def make_groups() -> None:
    """The names that VMs had for their groups become groups."""
    columns = [sa.column(name) for name in ("id", "account_id", "group", "group_id", "created", "removed")]
    vms = sa.table("vms", *columns)
    groups = sa.table("instance_groups", *[sa.column(name) for name in ("id", "account_id", "name", "created", "live")])
    connection = op.get_bind()
    query = sa.select(vms.c.account_id, vms.c.group, sa.func.min(vms.c.created)).where(vms.c.removed.is_(None))
    made: dict[str, str] = {}
    for account_id, name, created in connection.execute(
        query.where(vms.c.group != "").group_by(vms.c.account_id, vms.c.group)
    ).all():
        live = f"{account_id}/{name.lower()}"
        if live not in made:
            made[live] = str(uuid.uuid4())
            row = {"id": made[live], "account_id": account_id, "name": name, "created": created, "live": live}
            connection.execute(groups.insert().values(row))
        members = vms.update().where(vms.c.account_id == account_id, vms.c.group == name, vms.c.removed.is_(None))
        connection.execute(members.values(group_id=made[live]))


def downgrade() -> None:
    op.add_column("vms", sa.Column("group", sa.String(length=255), nullable=False, server_default=""))
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column("vms", "group", existing_type=sa.String(length=255), server_default=None)
    op.drop_column("vms", "user_data_details")
    op.drop_column("templates", "user_data_policy")
    for table, column, _ in reversed(REFERENCES):
        if op.get_bind().dialect.name != "sqlite":
            op.drop_constraint(op.f(f"fk_{table}_{column}"), table, type_="foreignkey")
        op.drop_index(op.f(f"ix_{table}_{column}"), table)
        op.drop_column(table, column)
    for name in (
        "dedications",
        "template_shares",
        "affinity_members",
        "user_data",
        "affinity_groups",
        "instance_groups",
    ):
        op.drop_table(name)
