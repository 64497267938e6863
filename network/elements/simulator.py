"""Elements without a network: they keep the wanted states in memory, for simulated hosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from network.diagnostics import Tool, ToolOutput
from network.elements.base import RouterState
from network.elements.devices import KINDS
from network.elements.router_files import check_spec
from network.errors import DeviceRefusedError
from network.hardware import Device, DeviceFacts, DevicePart
from network.health import RouterCheck
from network.names import digits
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

    def diagnose(self, router_id: str, tool: Tool, address: str, options: Sequence[str]) -> ToolOutput:  # noqa: ARG002
        """Nothing is sent here."""
        return ToolOutput("", f"{tool}: a simulated router sends no packets.", 1)

    def state(self, router_id: str) -> RouterState:
        return "running" if router_id in self.specs else "absent"


WRONG_PASSWORD = "wrong"  # noqa: S105 - it opens nothing


@dataclass
class MemoryDevices:
    """Hardware devices of any name, that refuse what the drivers would, and logins with WRONG_PASSWORD.

    `parts` are by device and identifier of the router or network.
    """

    parts: dict[tuple[str, str], DevicePart] = field(default_factory=dict)

    def apply(self, part: DevicePart) -> None:
        self._log_in(part.device)
        KINDS[part.device.kind].content(part)
        self.parts[part.device.id, KINDS[part.device.kind].wanted(part).id] = part

    def remove(self, part: DevicePart) -> None:
        self._log_in(part.device)
        self.parts.pop((part.device.id, KINDS[part.device.kind].wanted(part).id), None)

    def look(self, part: DevicePart) -> list[str]:
        self._log_in(part.device)
        kind = KINDS[part.device.kind]
        held = self.parts.get((part.device.id, kind.wanted(part).id))
        if held is None:
            return ["-part"]
        has, wants = (sorted(kind.content(one), key=repr) for one in (held, part))
        return [] if has == wants else ["~part"]

    def strangers(self, parts: Sequence[DevicePart]) -> list[str]:
        known = {KINDS[part.device.kind].wanted(part).id for part in parts}
        return sorted({name for device_id, name in self.parts if device_id == parts[0].device.id} - known)

    def inspect(self, device: Device) -> DeviceFacts:
        self._log_in(device)
        mac = ":".join(digits(device.host, 10)[place : place + 2] for place in range(0, 10, 2))
        return DeviceFacts(f"02:{mac}", device.host, f"simulated {device.kind}", "1")

    @staticmethod
    def _log_in(device: Device) -> None:
        if device.password == WRONG_PASSWORD:
            raise DeviceRefusedError(f"The device {device.host} refuses the login of {device.user}.")
