"""A router element without a network: keeps the wanted states in memory, for simulated hosts."""

from __future__ import annotations

from dataclasses import dataclass, field

from network.elements.base import RouterState
from network.elements.router_files import check_spec
from network.health import RouterCheck
from network.redundancy import FIRST, Role
from network.types import RouterSpec
from network.vpn import TunnelState, Vpn


@dataclass
class MemoryRouter:
    specs: dict[str, RouterSpec] = field(default_factory=dict)
    faults: dict[str, RouterCheck] = field(default_factory=dict)
    """By router: what is wrong with it until it is made anew."""

    def apply(self, spec: RouterSpec) -> None:
        if self.specs.get(spec.id) != spec:
            check_spec(spec)
            self.specs[spec.id] = spec

    def remove(self, router_id: str) -> None:
        self.specs.pop(router_id, None)
        self.faults.pop(router_id, None)

    def list(self) -> list[str]:
        return sorted(self.specs)

    def join(self, spec: RouterSpec) -> None:
        """A router that is there takes part."""

    def role(self, router_id: str) -> Role | None:
        """The router of the higher priority is the primary one."""
        spec = self.specs.get(router_id)
        return None if spec is None or spec.pair is None else "PRIMARY" if spec.pair.priority == FIRST else "BACKUP"

    def check(self, spec: RouterSpec) -> tuple[RouterCheck, ...]:
        found = {name: RouterCheck(name, True, "Simulated.") for name in ("dhcp", "dns", "interfaces")}
        fault = self.faults.get(spec.id)
        return tuple((found | ({fault.name: fault} if fault else {})).values())

    def keep_tunnels(self, router_id: str) -> None:
        """Nothing is ever given up here."""

    def tunnels(self, router_id: str) -> dict[str, TunnelState]:
        vpn = self.specs[router_id].vpn if router_id in self.specs else None
        return {tunnel.id: "Connected" for tunnel in (vpn or Vpn()).tunnels}

    def state(self, router_id: str) -> RouterState:
        return "running" if router_id in self.specs else "absent"
