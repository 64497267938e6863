"""Load balancer rules with their policies, and certificates; the default offering balances load."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

DEFAULT_OFFERING = "DefaultIsolatedNetworkOfferingWithSourceNatService"
LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
IDENTIFIER = sa.String(length=36)


def upgrade() -> None:
    op.create_table(
        "ssl_certs",
        sa.Column("account_id", IDENTIFIER, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("certificate", LONG_TEXT, nullable=False),
        sa.Column("chain", LONG_TEXT, nullable=True),
        sa.Column("private_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(length=255), nullable=False),
        sa.Column("expires", sa.DateTime(), nullable=False),
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_ssl_certs_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ssl_certs")),
        sa.UniqueConstraint("live", name=op.f("uq_ssl_certs_live")),
    )
    for column in ("account_id", "removed"):
        op.create_index(op.f(f"ix_ssl_certs_{column}"), "ssl_certs", [column])
    with op.batch_alter_table("network_rules") as table:
        table.add_column(sa.Column("name", sa.String(length=255), nullable=True))
        table.add_column(sa.Column("description", sa.Text(), nullable=True))
        table.add_column(sa.Column("options", sa.JSON(), nullable=True))
        table.add_column(sa.Column("certificate_id", IDENTIFIER, nullable=True))
        table.create_foreign_key(
            op.f("fk_network_rules_certificate_id"), "ssl_certs", ["certificate_id"], ["id"]
        )
        table.create_index(op.f("ix_network_rules_certificate_id"), ["certificate_id"])
    _give_default_offering()


def _give_default_offering() -> None:
    """The default offering of a cloud that is there gets what it has in a new one."""
    connection = op.get_bind()
    offerings = sa.table("network_offerings", sa.column("id"), sa.column("live"), sa.column("services", sa.JSON()))
    found = sa.select(offerings.c.id, offerings.c.services).where(offerings.c.live == DEFAULT_OFFERING)
    for row in connection.execute(found).all():
        services = {**row.services, "Lb": "VirtualRouter"}
        connection.execute(offerings.update().where(offerings.c.id == row.id).values(services=services))


def downgrade() -> None:
    connection = op.get_bind()
    connection.execute(sa.text("DELETE FROM network_rules WHERE purpose LIKE 'LoadBalancing%' AND related_id IS NOT NULL"))
    connection.execute(sa.text("DELETE FROM network_rules WHERE purpose = 'LoadBalancing'"))
    with op.batch_alter_table("network_rules") as table:
        table.drop_constraint(op.f("fk_network_rules_certificate_id"), type_="foreignkey")
        table.drop_index(op.f("ix_network_rules_certificate_id"))
        for name in ("certificate_id", "options", "description", "name"):
            table.drop_column(name)
    op.drop_table("ssl_certs")
