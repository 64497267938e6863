"""Redundant routers of a network: two rows on two hosts, with the gateway's NIC in common and a line between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import select

from manager.models import Network, Nic, Router
from manager.placement.address import add_nic
from manager.workflows.engine import Run
from network.redundancy import FIRST, SECOND
from network.types import ROUTER, NicView, Pair, RouterSpec


class Line(NamedTuple):
    """The NICs by which two routers hear each other, the first router's first; one that is on no host has host ""."""

    ends: tuple[NicView, ...]
    router_ids: tuple[str, ...]

    @property
    def host_ids(self) -> tuple[str, ...]:
        return tuple(end.host_id for end in self.ends if end.host_id)

    def seen_by(self, nics: Sequence[NicView], host_id: str) -> tuple[NicView, ...]:
        """The network's NICs: where the gateway's is here, it is that of this host, and the other one is the copy."""
        if not self.host_ids:
            return tuple(nics)
        mine = host_id if host_id in self.host_ids else self.host_ids[0]
        copies = tuple(other for other in self.host_ids if other != mine)
        return tuple(replace(nic, host_id=mine, also_on=copies) if nic.role == ROUTER else nic for nic in nics)

    def specs(self, spec: RouterSpec) -> dict[str, RouterSpec]:
        """The wanted state of each router, by its host; `spec` is what they have in common."""
        found = {}
        for number, (own, router_id) in enumerate(zip(self.ends, self.router_ids, strict=True)):
            if own.host_id:
                pair = Pair(own, self.ends[1 - number], (FIRST, SECOND)[number])
                legs = tuple(replace(leg, nic=replace(leg.nic, host_id=own.host_id)) for leg in spec.legs)
                found[own.host_id] = replace(spec, id=router_id, legs=legs, pair=pair)
        return found


def line_of(nics: Sequence[Nic], first: Router | None) -> Line | None:
    """Of the network's NICs, those of the line; None for one router."""
    ends = [nic for nic in nics if is_of_line(nic)]
    if first is None or len(ends) != len((FIRST, SECOND)):
        return None
    ends.sort(key=lambda nic: nic.router_id != first.id)
    views = tuple(NicView(nic.id, nic.mac, nic.address or "", nic.host_id or "", ROUTER) for nic in ends)
    return Line(views, tuple(str(nic.router_id) for nic in ends))


def is_of_line(nic: Nic) -> bool:
    return nic.router_id is not None and not nic.is_default


def routers_of(run: Run) -> list[Router]:
    """The network's routers, the first one first."""
    query = select(Router).filter_by(network_id=run.row.subject_id, removed=None)
    return list(run.session.scalars(query.order_by(Router.standby)))


def second_of(run: Run) -> Router | None:
    """The standby one of two."""
    return run.session.scalar(select(Router).filter_by(network_id=run.row.subject_id, removed=None, standby=True))


def add_line_end(run: Run, network: Network, router: Router) -> None:
    """The router's end of the line is where the router is.

    :raises NoAddress: the network has no free address
    """
    query = select(Nic).filter_by(router_id=router.id, is_default=False)
    nic = run.session.scalar(query)
    if nic is None:
        nic_id = add_nic(run.session, network, router_id=router.id, is_default=False)
        nic = run.session.get_one(Nic, nic_id)
    nic.host_id = router.host_id


def leave_host(run: Run, router: Router) -> None:
    """The router's end of the line is nowhere, and the gateway's NIC where the other router is, if anywhere."""
    others = [other for other in routers_of(run) if other.id != router.id]
    for nic in run.session.scalars(select(Nic).filter_by(router_id=router.id, is_default=False)):
        nic.host_id = None
    gateways = [other.id for other in (*others, router)]
    for nic in run.session.scalars(select(Nic).where(Nic.router_id.in_(gateways), Nic.is_default)):
        nic.host_id = next((other.host_id for other in others if other.host_id), None)
