"""Keys of users: several each, with a name, a time, sources and rules; whether API keys sign for users and accounts."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KEYS = sa.table(
    "api_keys",
    sa.column("api_key", sa.String),
    sa.column("user_id", sa.String),
    sa.column("created", sa.DateTime),
    sa.column("id", sa.String),
    sa.column("name", sa.String),
    sa.column("description", sa.Text),
    sa.column("allowed_cidrs", sa.JSON),
    sa.column("rules", sa.JSON),
)
NEW = {
    "id": sa.String(length=36),
    "name": sa.String(length=255),
    "description": sa.Text(),
    "allowed_cidrs": sa.JSON(),
    "rules": sa.JSON(),
}


def upgrade() -> None:
    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        for name, kind in NEW.items():
            batch_op.add_column(sa.Column(name, kind, nullable=True))
        batch_op.add_column(sa.Column("starts", sa.DateTime(), nullable=True))
    _fill()
    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        for name, kind in NEW.items():
            batch_op.alter_column(name, existing_type=kind, nullable=False)
        batch_op.drop_constraint(batch_op.f("pk_api_keys"), type_="primary")
        batch_op.create_primary_key(batch_op.f("pk_api_keys"), ["id"])
        batch_op.create_unique_constraint(batch_op.f("uq_api_keys_api_key"), ["api_key"])
        batch_op.create_unique_constraint(batch_op.f("uq_api_keys_user_id_name"), ["user_id", "name"])
    for table in ("users", "accounts"):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.add_column(
                sa.Column("api_key_access", sa.String(length=32), nullable=False, server_default="Inherit")
            )


def _fill() -> None:
    """Give each pair an id; the newest of a user stays the one without a name, which getUserKeys shows."""
    connection = op.get_bind()
    found = connection.execute(
        sa.select(KEYS.c.api_key, KEYS.c.user_id).order_by(KEYS.c.user_id, KEYS.c.created.desc(), KEYS.c.api_key)
    ).all()
    before: dict[str, int] = {}
    for key, user in found:
        number = before[user] = before.get(user, 0) + 1
        values = {
            "id": str(uuid.uuid4()),
            "name": "" if number == 1 else f"earlier {number - 1}",
            "description": "",
            "allowed_cidrs": [],
            "rules": [],
        }
        connection.execute(sa.update(KEYS).where(KEYS.c.api_key == key).values(**values))


def downgrade() -> None:
    for table in ("accounts", "users"):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.drop_column("api_key_access")
    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("uq_api_keys_user_id_name"), type_="unique")
        batch_op.drop_constraint(batch_op.f("uq_api_keys_api_key"), type_="unique")
        batch_op.drop_constraint(batch_op.f("pk_api_keys"), type_="primary")
        batch_op.create_primary_key(batch_op.f("pk_api_keys"), ["api_key"])
        batch_op.drop_column("starts")
        for name in reversed(NEW):
            batch_op.drop_column(name)
