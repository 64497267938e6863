"""Shared networks and who may use them, networks of layer 2; quarantine of public addresses, portable ones; kept keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0024"
branch_labels = None
depends_on = None

ID = sa.String(length=36)
WORD = sa.String(length=32)
TEXT = sa.String(length=255)


def upgrade() -> None:
    add_filled("networks", "guest_type", WORD, "Isolated")
    add_filled("networks", "subdomain_access", sa.Boolean(), sa.true())
    with op.batch_alter_table("networks") as networks:
        networks.add_column(sa.Column("router_address", WORD, nullable=True))
        networks.add_column(sa.Column("domain_id", ID, nullable=True))
        networks.create_foreign_key(op.f("fk_networks_domain_id"), "domains", ["domain_id"], ["id"])
    op.create_index(op.f("ix_networks_domain_id"), "networks", ["domain_id"])
    op.create_table(
        "network_shares",
        sa.Column("network_id", ID, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.ForeignKeyConstraint(["network_id"], ["networks.id"], name=op.f("fk_network_shares_network_id")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_network_shares_account_id")),
        sa.PrimaryKeyConstraint("network_id", "account_id", name=op.f("pk_network_shares")),
    )
    op.create_index(op.f("ix_network_shares_account_id"), "network_shares", ["account_id"])
    for name in ("specify_ip_ranges", "persistent"):
        add_filled("network_offerings", name, sa.Boolean(), sa.false())
    with op.batch_alter_table("nics") as nics:
        nics.alter_column("address", existing_type=WORD, nullable=True)
    op.add_column("public_addresses", sa.Column("quarantined_until", sa.DateTime(), nullable=True))
    op.add_column("public_addresses", sa.Column("quarantined_for", ID, nullable=True))
    op.create_table(
        "quarantines",
        sa.Column("id", ID, nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("address_id", ID, nullable=False),
        sa.Column("address", WORD, nullable=False),
        sa.Column("current", ID, nullable=True),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("ends", sa.DateTime(), nullable=False),
        sa.Column("lifted", sa.DateTime(), nullable=True),
        sa.Column("reason", sa.String(length=255), nullable=True),
        sa.Column("remover_id", ID, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_quarantines_account_id")),
        sa.ForeignKeyConstraint(["remover_id"], ["accounts.id"], name=op.f("fk_quarantines_remover_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantines")),
        sa.UniqueConstraint("current", name=op.f("uq_quarantines_current")),
    )
    for name in ("account_id", "address_id"):
        op.create_index(op.f(f"ix_quarantines_{name}"), "quarantines", [name])


    op.create_table(
        "key_ranges",
        sa.Column("id", ID, nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("physical_network_id", ID, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["physical_network_id"], ["physical_networks.id"], name=op.f("fk_key_ranges_physical_network_id")
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_key_ranges_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key_ranges")),
    )
    for name in ("account_id", "physical_network_id"):
        op.create_index(op.f(f"ix_key_ranges_{name}"), "key_ranges", [name])
    op.create_table(
        "portable_ranges",
        sa.Column("id", ID, nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.Column("region_id", sa.Integer(), nullable=False),
        sa.Column("vlan", TEXT, nullable=False),
        sa.Column("gateway", TEXT, nullable=False),
        sa.Column("netmask", TEXT, nullable=False),
        sa.Column("start_ip", TEXT, nullable=False),
        sa.Column("end_ip", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["region_id"], ["regions.id"], name=op.f("fk_portable_ranges_region_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_portable_ranges")),
        sa.UniqueConstraint("live", name=op.f("uq_portable_ranges_live")),
    )
    for name in ("region_id", "removed"):
        op.create_index(op.f(f"ix_portable_ranges_{name}"), "portable_ranges", [name])
    op.create_table(
        "portable_addresses",
        sa.Column("id", ID, nullable=False),
        sa.Column("range_id", ID, nullable=False),
        sa.Column("address", WORD, nullable=False),
        sa.Column("mac", WORD, nullable=False),
        sa.Column("taken", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["range_id"], ["portable_ranges.id"], name=op.f("fk_portable_addresses_range_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_portable_addresses")),
        sa.UniqueConstraint("address", name=op.f("uq_portable_addresses_address")),
        sa.UniqueConstraint("mac", name=op.f("uq_portable_addresses_mac")),
    )
    op.create_index(op.f("ix_portable_addresses_range_id"), "portable_addresses", ["range_id"])
    add_filled("public_addresses", "portable", sa.Boolean(), sa.false())
    with op.batch_alter_table("vlan_ip_ranges") as ranges:
        ranges.add_column(sa.Column("portable_range_id", ID, nullable=True))
        ranges.create_foreign_key(
            op.f("fk_vlan_ip_ranges_portable_range_id"), "portable_ranges", ["portable_range_id"], ["id"]
        )
    op.create_index(op.f("ix_vlan_ip_ranges_portable_range_id"), "vlan_ip_ranges", ["portable_range_id"])


def add_filled(table: str, name: str, kind: sa.types.TypeEngine, present: object) -> None:
    """A column that holds something, with what the rows that are there have in it."""
    op.add_column(table, sa.Column(name, kind, nullable=False, server_default=present))
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column(table, name, existing_type=kind, existing_nullable=False, server_default=None)


def downgrade() -> None:
    op.drop_table("key_ranges")
    with op.batch_alter_table("vlan_ip_ranges") as ranges:
        ranges.drop_constraint(op.f("fk_vlan_ip_ranges_portable_range_id"), type_="foreignkey")
    op.drop_index(op.f("ix_vlan_ip_ranges_portable_range_id"), "vlan_ip_ranges")
    op.drop_column("vlan_ip_ranges", "portable_range_id")
    op.drop_column("public_addresses", "portable")
    op.drop_table("portable_addresses")
    op.drop_table("portable_ranges")
    op.drop_table("quarantines")
    for name in ("quarantined_for", "quarantined_until"):
        op.drop_column("public_addresses", name)
    with op.batch_alter_table("nics") as nics:
        nics.alter_column("address", existing_type=WORD, nullable=False)
    for name in ("persistent", "specify_ip_ranges"):
        op.drop_column("network_offerings", name)
    op.drop_table("network_shares")
    with op.batch_alter_table("networks") as networks:
        networks.drop_constraint(op.f("fk_networks_domain_id"), type_="foreignkey")
    op.drop_index(op.f("ix_networks_domain_id"), "networks")
    with op.batch_alter_table("networks") as networks:
        for name in ("domain_id", "router_address"):
            networks.drop_column(name)
    for name in ("subdomain_access", "guest_type"):
        op.drop_column("networks", name)
