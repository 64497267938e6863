"""public addresses and rules of isolated networks."""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NETWORK_COLUMNS = ("shared_generation", "rules_wanted", "rules_applied")
PUBLISHING = ("Firewall", "PortForwarding", "StaticNat")
DEFAULT_OFFERING = "DefaultIsolatedNetworkOfferingWithSourceNatService"
ROUTER = "VirtualRouter"


def upgrade() -> None:
    with op.batch_alter_table("networks") as table:
        for name in NETWORK_COLUMNS:
            table.add_column(sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE networks SET shared_generation = generation")
    with op.batch_alter_table("public_addresses") as table:
        table.add_column(sa.Column("allocated", sa.DateTime(), nullable=True))
        table.add_column(sa.Column("releasing", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("display", sa.Boolean(), nullable=False, server_default=sa.true()))
    _make_rules()
    _make_nic_addresses()
    _make_providers()
    _fill()


def _entity(*columns: Any) -> list[Any]:
    return [
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        *columns,
    ]


def _make_rules() -> None:
    text, identifier = sa.String(length=32), sa.String(length=36)
    op.create_table(
        "network_rules",
        *_entity(
            sa.Column("purpose", text, nullable=False),
            sa.Column("account_id", identifier, nullable=False),
            sa.Column("network_id", identifier, nullable=False),
            sa.Column("address_id", identifier, nullable=True),
            sa.Column("vm_id", identifier, nullable=True),
            sa.Column("related_id", identifier, nullable=True),
            sa.Column("state", text, nullable=False),
            sa.Column("protocol", text, nullable=False),
            sa.Column("first_port", sa.Integer(), nullable=True),
            sa.Column("last_port", sa.Integer(), nullable=True),
            sa.Column("icmp_type", sa.Integer(), nullable=True),
            sa.Column("icmp_code", sa.Integer(), nullable=True),
            sa.Column("guest_address", text, nullable=True),
            sa.Column("guest_port", sa.Integer(), nullable=True),
            sa.Column("sources", sa.JSON(), nullable=False),
            sa.Column("destinations", sa.JSON(), nullable=False),
            sa.Column("display", sa.Boolean(), nullable=False),
            sa.Column("guest_claim", sa.String(length=110), nullable=True),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_network_rules_account_id")),
        sa.ForeignKeyConstraint(["network_id"], ["networks.id"], name=op.f("fk_network_rules_network_id")),
        sa.ForeignKeyConstraint(["address_id"], ["public_addresses.id"], name=op.f("fk_network_rules_address_id")),
        sa.ForeignKeyConstraint(["vm_id"], ["vms.id"], name=op.f("fk_network_rules_vm_id")),
        sa.ForeignKeyConstraint(["related_id"], ["network_rules.id"], name=op.f("fk_network_rules_related_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_network_rules")),
        sa.UniqueConstraint("live", name=op.f("uq_network_rules_live")),
        sa.UniqueConstraint("guest_claim", name=op.f("uq_network_rules_guest_claim")),
    )
    for column in ("account_id", "network_id", "address_id", "vm_id", "related_id", "removed"):
        op.create_index(op.f(f"ix_network_rules_{column}"), "network_rules", [column], unique=False)


def _make_nic_addresses() -> None:
    op.create_table(
        "nic_addresses",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("nic_id", sa.String(length=36), nullable=False),
        sa.Column("network_id", sa.String(length=36), nullable=False),
        sa.Column("address", sa.String(length=32), nullable=False),
        sa.Column("removing", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["nic_id"], ["nics.id"], name=op.f("fk_nic_addresses_nic_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["network_id"], ["networks.id"], name=op.f("fk_nic_addresses_network_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nic_addresses")),
        sa.UniqueConstraint("network_id", "address", name=op.f("uq_nic_addresses_network_id_address")),
    )
    op.create_index(op.f("ix_nic_addresses_nic_id"), "nic_addresses", ["nic_id"], unique=False)


def _make_providers() -> None:
    op.create_table(
        "service_providers",
        *_entity(
            sa.Column("physical_network_id", sa.String(length=36), nullable=False),
            sa.Column("name", sa.String(length=255), nullable=False),
            sa.Column("state", sa.String(length=32), nullable=False),
        ),
        sa.ForeignKeyConstraint(
            ["physical_network_id"], ["physical_networks.id"], name=op.f("fk_service_providers_physical_network_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_providers")),
        sa.UniqueConstraint("live", name=op.f("uq_service_providers_live")),
    )
    op.create_table(
        "virtual_router_elements",
        *_entity(
            sa.Column("provider_id", sa.String(length=36), nullable=False),
            sa.Column("enabled", sa.Boolean(), nullable=False),
        ),
        sa.ForeignKeyConstraint(
            ["provider_id"], ["service_providers.id"], name=op.f("fk_virtual_router_elements_provider_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_virtual_router_elements")),
        sa.UniqueConstraint("live", name=op.f("uq_virtual_router_elements_live")),
    )
    for table, column in (
        ("service_providers", "physical_network_id"),
        ("service_providers", "removed"),
        ("virtual_router_elements", "provider_id"),
        ("virtual_router_elements", "removed"),
    ):
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column], unique=False)


def _fill() -> None:
    """What a new cloud has from its start: the services of the default offering, and a provider in each zone.

    Addresses that networks hold already are counted from now on.
    """
    connection = op.get_bind()
    offerings = sa.table("network_offerings", sa.column("id"), sa.column("live"), sa.column("services", sa.JSON()))
    found = sa.select(offerings.c.id, offerings.c.services).where(offerings.c.live == DEFAULT_OFFERING)
    for row in connection.execute(found).all():
        services = {**row.services, **dict.fromkeys(PUBLISHING, ROUTER)}
        connection.execute(offerings.update().where(offerings.c.id == row.id).values(services=services))
    connection.execute(
        sa.text(
            "UPDATE resource_use SET public_addresses = (SELECT COUNT(*) FROM public_addresses"
            " WHERE public_addresses.account_id = resource_use.account_id)"
        )
    )
    networks = sa.table("physical_networks", sa.column("id"), sa.column("created"), sa.column("removed"))
    for row in connection.execute(sa.select(networks).where(networks.c.removed.is_(None))).all():
        provider, element = str(uuid.uuid4()), str(uuid.uuid4())
        columns = [sa.column(name) for name in ("id", "created", "live", "physical_network_id", "name", "state")]
        values = (provider, row.created, f"{row.id}/{ROUTER.lower()}", row.id, ROUTER, "Enabled")
        _insert(connection, sa.table("service_providers", *columns), values)
        columns = [sa.column(name) for name in ("id", "created", "live", "provider_id", "enabled")]
        _insert(
            connection,
            sa.table("virtual_router_elements", *columns),
            (element, row.created, provider, provider, sa.true()),
        )


def _insert(connection: Any, table: Any, values: tuple[Any, ...]) -> None:
    connection.execute(table.insert().values(dict(zip(table.c.keys(), values, strict=True))))


def downgrade() -> None:
    for table in ("virtual_router_elements", "service_providers", "nic_addresses", "network_rules"):
        op.drop_table(table)
    with op.batch_alter_table("public_addresses") as table:
        for name in ("display", "releasing", "allocated"):
            table.drop_column(name)
    with op.batch_alter_table("networks") as table:
        for name in NETWORK_COLUMNS:
            table.drop_column(name)
