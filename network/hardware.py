"""Values of hardware devices: what one of them is to do for a tenant network."""

from __future__ import annotations

from dataclasses import dataclass

from network.balancing import Balancer
from network.types import Opening


@dataclass(frozen=True, slots=True)
class BalancedNetwork:
    """The whole wanted state of one tenant network on a load balancer; replaces every older one.

    `address` is the balancer's own in the network `cidr`, which `vlan` leads to. Only what `openings` let in reaches
    one of the balancers.
    """

    id: str
    vlan: int
    address: str
    cidr: str
    balancers: tuple[Balancer, ...] = ()
    openings: tuple[Opening, ...] = ()
