"""Static routes and private gateways of VPCs, and the elements of load balancing inside them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

ID, WORD = sa.String(length=36), sa.String(length=32)
OWNERS = {"account_id": "accounts", "vpc_id": "vpcs"}


def upgrade() -> None:
    op.create_table(
        "private_gateways",
        *_entity("private_gateways", {**OWNERS, "physical_network_id": "physical_networks"}),
        sa.Column("vlan", sa.Integer(), nullable=False),
        *(sa.Column(name, WORD, nullable=False) for name in ("address", "gateway", "netmask", "mac", "state")),
        sa.Column("source_nat", sa.Boolean(), nullable=False),
        sa.Column("acl_id", ID, nullable=False),
        sa.UniqueConstraint("mac", name=op.f("uq_private_gateways_mac")),
    )
    op.create_table(
        "static_routes",
        *_entity("static_routes", OWNERS),
        sa.Column("gateway_id", ID, nullable=True),
        *(sa.Column(name, WORD, nullable=False) for name in ("cidr", "next_hop", "state")),
        sa.ForeignKeyConstraint(["gateway_id"], ["private_gateways.id"], name=op.f("fk_static_routes_gateway_id")),
    )
    op.create_table(
        "internal_balancer_elements",
        *_entity("internal_balancer_elements", {"provider_id": "service_providers"}),
        sa.Column("enabled", sa.Boolean(), nullable=False),
    )
    for table, names in (
        ("internal_balancer_elements", ("provider_id", "removed")),
        ("private_gateways", ("account_id", "vpc_id", "physical_network_id", "acl_id", "removed")),
        ("static_routes", ("account_id", "vpc_id", "gateway_id", "removed")),
    ):
        for name in names:
            op.create_index(op.f(f"ix_{table}_{name}"), table, [name])


def _entity(table: str, owners: dict[str, str]) -> list[sa.schema.SchemaItem]:
    """What all entities have, and the columns that name their owners."""
    return [
        sa.Column("id", ID, nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        *(sa.Column(name, ID, nullable=False) for name in owners),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("live", name=op.f(f"uq_{table}_live")),
        *(
            sa.ForeignKeyConstraint([name], [f"{other}.id"], name=op.f(f"fk_{table}_{name}"))
            for name, other in owners.items()
        ),
    ]


def downgrade() -> None:
    op.drop_table("internal_balancer_elements")
    op.drop_table("static_routes")
    op.drop_table("private_gateways")
