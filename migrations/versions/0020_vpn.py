"""VPNs: remote access with its users, and tunnels to other sites."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0018"
branch_labels = None
depends_on = None

ID, WORD, TEXT = sa.String(length=36), sa.String(length=32), sa.String(length=255)
TARGETS = {
    "account_id": "accounts",
    "network_id": "networks",
    "vpc_id": "vpcs",
    "address_id": "public_addresses",
    "gateway_id": "vpn_gateways",
    "customer_gateway_id": "vpn_customer_gateways",
}


def upgrade() -> None:
    _table(
        "remote_access_vpns",
        _references("account_id", "address_id") + _references("network_id", "vpc_id", nullable=True),
        _columns(WORD, "first_address", "last_address"),
        _columns(sa.Boolean(), "open_firewall", "display"),
        _columns(sa.Text(), "certificate", "authority", "private_key"),
        _columns(WORD, "state"),
    )
    _table("vpn_users", _references("account_id"), _columns(TEXT, "name"), _columns(sa.Text(), "password"),
           _columns(WORD, "state"))  # fmt: skip
    _table(
        "vpn_customer_gateways",
        _references("account_id"),
        _columns(TEXT, "name", "ike_policy", "esp_policy"),
        _columns(WORD, "gateway", "version"),
        _columns(sa.JSON(), "networks"),
        _columns(sa.Text(), "secret"),
        _columns(sa.Integer(), "ike_lifetime", "esp_lifetime"),
        _columns(sa.Boolean(), "dpd", "force_encapsulation", "split"),
    )
    _table("vpn_gateways", _references("account_id", "vpc_id", "address_id"), _columns(sa.Boolean(), "display"))
    _table(
        "vpn_connections",
        _references("account_id", "vpc_id", "gateway_id", "customer_gateway_id"),
        _columns(sa.Boolean(), "passive", "display"),
        _columns(sa.Integer(), "round"),
        _columns(WORD, "state"),
    )


def _table(name: str, references: list[sa.Column], *columns: list[sa.Column]) -> None:
    keys = [
        sa.ForeignKeyConstraint([column.name], [f"{TARGETS[column.name]}.id"], name=op.f(f"fk_{name}_{column.name}"))
        for column in references
    ]
    op.create_table(
        name,
        sa.Column("id", ID, nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        *references,
        *(column for some in columns for column in some),
        *keys,
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
        sa.UniqueConstraint("live", name=op.f(f"uq_{name}_live")),
    )
    for column in ("removed", *(reference.name for reference in references)):
        op.create_index(op.f(f"ix_{name}_{column}"), name, [column])


def _references(*names: str, nullable: bool = False) -> list[sa.Column]:
    return [sa.Column(name, ID, nullable=nullable) for name in names]


def _columns(kind: sa.types.TypeEngine, *names: str) -> list[sa.Column]:
    return [sa.Column(name, kind, nullable=False) for name in names]


def downgrade() -> None:
    for name in ("vpn_connections", "vpn_gateways", "vpn_customer_gateways", "vpn_users", "remote_access_vpns"):
        op.drop_table(name)
