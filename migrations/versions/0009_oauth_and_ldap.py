"""OAuth providers, LDAP servers, where passwords of users are kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "oauth_providers",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("client_id", sa.String(length=255), nullable=False),
        sa.Column("secret_key", sa.Text(), nullable=False),
        sa.Column("redirect_uri", sa.Text(), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_oauth_providers")),
        sa.UniqueConstraint("live", name=op.f("uq_oauth_providers_live")),
    )
    with op.batch_alter_table("oauth_providers", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_oauth_providers_removed"), ["removed"], unique=False)

    op.create_table(
        "oauth_codes",
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("provider_id", sa.String(length=36), nullable=False),
        sa.Column("email", sa.String(length=255), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["provider_id"], ["oauth_providers.id"], name=op.f("fk_oauth_codes_provider_id")),
        sa.PrimaryKeyConstraint("code_hash", name=op.f("pk_oauth_codes")),
    )
    with op.batch_alter_table("oauth_codes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_oauth_codes_expires"), ["expires"], unique=False)

    op.create_table(
        "ldap_servers",
        sa.Column("hostname", sa.String(length=255), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("domain_id", sa.String(length=36), nullable=True),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(["domain_id"], ["domains.id"], name=op.f("fk_ldap_servers_domain_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ldap_servers")),
        sa.UniqueConstraint("live", name=op.f("uq_ldap_servers_live")),
    )
    with op.batch_alter_table("ldap_servers", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_ldap_servers_domain_id"), ["domain_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_ldap_servers_removed"), ["removed"], unique=False)

    op.create_table(
        "ldap_links",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("linked", sa.String(length=36), nullable=False),
        sa.Column("domain_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=True),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("account_type", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_ldap_links_account_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domains.id"], name=op.f("fk_ldap_links_domain_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ldap_links")),
        sa.UniqueConstraint("linked", name=op.f("uq_ldap_links_linked")),
    )
    with op.batch_alter_table("ldap_links", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_ldap_links_account_id"), ["account_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_ldap_links_domain_id"), ["domain_id"], unique=False)

    with op.batch_alter_table("users", schema=None) as batch_op:
        batch_op.add_column(sa.Column("source", sa.String(length=32), nullable=False, server_default="native"))


def downgrade() -> None:
    with op.batch_alter_table("users", schema=None) as batch_op:
        batch_op.drop_column("source")
    op.drop_table("ldap_links")
    op.drop_table("ldap_servers")
    op.drop_table("oauth_codes")
    op.drop_table("oauth_providers")
