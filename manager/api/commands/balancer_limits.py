"""What load balancing by a device cannot do, although that by a virtual router can."""

from __future__ import annotations

from collections.abc import Mapping

from manager.api.call import Call
from manager.api.errors import Invalid
from manager.models import Network, NetworkOffering
from network import catalog
from network.balancer_catalog import NETSCALER_STICKINESS

INSERTED = "insert"


def is_apart(offering: NetworkOffering) -> bool:
    """Whether load balancing has a public side of its own, so that its addresses are for nothing else."""
    return offering.services.get("Lb") in catalog.WITHOUT_GATEWAY


def refuse_protocol(call: Call, network: Network, protocol: str) -> None:
    """:raises Invalid: the network's load balancer does not speak it"""
    if protocol == "tcp-proxy" and _is_netscaler(call, network):
        raise Invalid(f"The load balancer of network {network.name} is a NetScaler, which balances tcp and ssl and "
                      "does not speak the PROXY protocol.")  # fmt: skip


def refuse_stickiness(call: Call, network: Network, method: str, params: Mapping[str, str]) -> None:
    """:raises Invalid: the network's load balancer does not know a parameter, or not that value of it"""
    if not _is_netscaler(call, network):
        return
    known = NETSCALER_STICKINESS[method]
    strange = sorted(params.keys() - known)
    where = f"The load balancer of network {network.name} is a NetScaler"
    if strange:
        raise Invalid(f"{where}; of the method {method} it does not know {strange[0]}, but {', '.join(sorted(known))}.")
    if params.get("mode", INSERTED) != INSERTED:
        raise Invalid(f"{where}, which makes its own cookie: the mode is {INSERTED}, not {params['mode']}.")


def _is_netscaler(call: Call, network: Network) -> bool:
    offering = call.session.get_one(NetworkOffering, network.offering_id)
    return offering.services.get("Lb") == catalog.NETSCALER
