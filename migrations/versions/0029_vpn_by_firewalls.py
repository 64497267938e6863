"""The default offering platinum has its VPN on the firewall."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

PLATINUM = "aecdb444-babd-5294-898c-19cc2b451afd"
OFFERINGS = sa.table("network_offerings", sa.column("id"), sa.column("services", sa.JSON()))


def upgrade() -> None:
    """The offering of a cloud that is there gets what it has in a new one."""
    _give({"Vpn": "JuniperSRX"})


def downgrade() -> None:
    _give({})


def _give(vpn: dict[str, str]) -> None:
    connection = op.get_bind()
    found = sa.select(OFFERINGS.c.id, OFFERINGS.c.services).where(OFFERINGS.c.id == PLATINUM)
    for row in connection.execute(found).all():
        kept = {service: provider for service, provider in row.services.items() if service != "Vpn"}
        connection.execute(OFFERINGS.update().where(OFFERINGS.c.id == row.id).values(services={**kept, **vpn}))
