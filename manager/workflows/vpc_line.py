"""The line between the redundant routers of a VPC: an overlay of its own, which is no tenant network."""

from __future__ import annotations

import hashlib
from typing import NamedTuple, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from manager.models import Host, Router, Vpc
from manager.workflows.router_pair import Line
from network.types import ROUTER, NetworkView, NicView, OverlayName, Peer

CIDR, NOBODY = "169.254.251.0/24", "169.254.251.254"
ENDS = ("169.254.251.1", "169.254.251.2")
MTU = 1400


def end_id(router_id: str) -> str:
    """What hosts know a router's end of the line by."""
    return f"line-{router_id}"


class VpcLine(NamedTuple):
    """The line, and (agent, underlay address) of the hosts that it joins by their ids."""

    line: Line
    places: dict[str, tuple[str, str]]

    def view(self, vpc: Vpc, host_id: str) -> NetworkView:
        """What the host holds of it, which is nothing where no end of it is."""
        here = host_id in self.line.host_ids
        others = {key: place for key, place in self.places.items() if key != host_id and here}
        return NetworkView(
            id=vpc.id,
            key=int(vpc.line_key or 0),
            generation=vpc.generation,
            cidr=CIDR,
            gateway=NOBODY,
            mtu=MTU,
            peers=tuple(Peer(key, address) for key, (_, address) in others.items()),
            overlay=cast("OverlayName", vpc.line_overlay),
            pair=self.line.ends if here else (),
        )


def line_of_vpc(session: Session, vpc: Vpc) -> VpcLine | None:
    """One statement, where the VPC is redundant; None while it has not two routers."""
    if not vpc.redundant or vpc.line_key is None:
        return None
    query = (
        select(Router.id, Router.host_id, Host.agent_id, Host.underlay_address)
        .outerjoin(Host, Host.id == Router.host_id)
        .where(Router.vpc_id == vpc.id, Router.removed.is_(None))
        .order_by(Router.standby)
    )
    rows = session.execute(query).all()
    if len(rows) != len(ENDS):
        return None
    ends = tuple(
        NicView(end_id(row.id), _mac(row.id), address, row.host_id or "", ROUTER)
        for row, address in zip(rows, ENDS, strict=True)
    )
    places = {row.host_id: (row.agent_id, row.underlay_address) for row in rows if row.host_id}
    return VpcLine(Line(ends, tuple(row.id for row in rows)), places)


def _mac(router_id: str) -> str:
    """Two ends are all that the line has; the router's own name gives one that stays."""
    digits = hashlib.sha256(router_id.encode()).hexdigest()
    return ":".join(("02", *(digits[place : place + 2] for place in range(0, 10, 2))))
