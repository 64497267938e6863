"""What every element that serves a tenant network can do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol

from network.diagnostics import Tool, ToolOutput
from network.hardware import BalancedNetwork
from network.health import RouterCheck
from network.redundancy import Role
from network.types import RouterSpec
from network.vpn import TunnelState

RouterState = Literal["running", "degraded", "absent"]


class GuestPorts(Protocol):
    """The part of the switch that an element needs."""

    def plug_device(self, nic_id: str, device: str) -> bool: ...
    def unplug(self, nic_id: str) -> None: ...
    def plug_tagged(self, device: str, bridge: str, vlan: int) -> None: ...
    def unplug_tagged(self, device: str) -> None: ...
    def ports(self) -> Iterable[str]: ...


class RouterElement(Protocol):
    """Serves tenant networks: gateway, source NAT, DHCP, DNS, metadata and passwords.

    Applying twice, or removing what is gone, is no error; what died, also by a restart of the host or by a kill half
    way, is back after the next `apply`. The caller keeps older wanted states away from newer ones.
    """

    def apply(self, spec: RouterSpec) -> None:
        """Make the router as `spec` says.

        :raises InvalidViewError: a value must not reach a configuration
        """

    def remove(self, router_id: str) -> None: ...

    def list(self) -> list[str]:
        """Identifiers of the routers that this host was told to run."""

    def state(self, router_id: str) -> RouterState: ...


class Examined(Protocol):
    """A RouterElement that tells what is wrong with its routers."""

    def check(self, spec: RouterSpec) -> tuple[RouterCheck, ...]:
        """Look at the router that was made as `spec` says; changes nothing."""


class Paired(Protocol):
    """A RouterElement whose routers take turns with others."""

    def join(self, spec: RouterSpec) -> None:
        """Agree with the other router on who forwards; the switch has both routers' flows by now.

        :raises RouterFailedError: the part that decides does not come up
        """

    def role(self, router_id: str) -> Role | None:
        """None for a router of no pair."""


class TunnelEnd(Protocol):
    """A RouterElement whose routers have tunnels to other sites."""

    def keep_tunnels(self, router_id: str) -> None:
        """Begin again, after the last wanted state, what was given up or has died.

        :raises RouterFailedError: the part that encrypts does not come up
        """

    def tunnels(self, router_id: str) -> dict[str, TunnelState]:
        """How each tunnel is, by id."""


class Diagnosable(Protocol):
    """A RouterElement in whose routers tools can be run."""

    def diagnose(self, router_id: str, tool: Tool, address: str, options: Sequence[str]) -> ToolOutput: ...


class BalancerElement(Protocol):
    """A device that balances connections to public addresses over the guests of tenant networks.

    Applying twice, or removing what is gone, is no error, and neither touches what others configured on the device.
    """

    def apply(self, network: BalancedNetwork) -> None:
        """Make what the device does for the network as said.

        :raises InvalidViewError: the device cannot do it
        """

    def remove(self, network_id: str) -> None: ...

    def list(self) -> list[str]:
        """Names that stand for the networks that the device has a leg in."""

    def statistics(self, network_id: str, balancer_id: str) -> dict[str, Any]:
        """Counters and state of one balancer."""
