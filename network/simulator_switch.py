"""A switch without packets, for simulated hosts: the methods of network.ovs.Switch, kept in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from network.cables import Cable
from network.flow_preview import stand_in
from network.flows import FlowSet, LocalNumbers, check_view, desired, here
from network.names import tap_name
from network.ovs import Port
from network.switch_record import NIC_PORTS, Numbers
from network.types import NetworkView


@dataclass
class SimulatedSwitch:
    host_id: str
    views: dict[str, NetworkView] = field(default_factory=dict)
    hits: dict[str, int] = field(default_factory=dict)
    _ports: dict[str, Port] = field(default_factory=dict)
    _numbers: Numbers = field(default_factory=lambda: Numbers(50000))

    def ensure_bridges(self) -> None:
        """Nothing to make."""

    def apply(self, views: Sequence[NetworkView], *, whole: bool = False) -> None:  # noqa: ARG002  (as Switch has it)
        held = here(self.host_id, views)
        for view in held:
            if self.views.get(view.id) != view:
                check_view(view)
        self.views = {view.id: view for view in held}

    def plug(self, nic_id: str, mac: str) -> bool:  # noqa: ARG002  (as Switch has it)
        return self.plug_device(nic_id, tap_name(nic_id))

    def plug_device(self, nic_id: str, device: str) -> bool:
        if nic_id in self._ports:
            return False
        number = self._numbers.take(nic_id)
        self._ports[nic_id] = Port(device, NIC_PORTS + number, number)
        return True

    def check_cable(self, device: str) -> None:
        """Every interface is there."""

    def plug_cable(self, nic_id: str, cable: Cable) -> bool:
        return self.plug_device(nic_id, f"{cable.device}.{cable.vlan}")

    def cable_difference(self, nic_id: str, cable: Cable) -> str:
        name = f"{cable.device}.{cable.vlan}"
        return "" if self._ports.get(nic_id, Port("", 0, 0)).name == name else f"The switch has no port {name}."

    def plug_tagged(self, device: str, bridge: str, vlan: int) -> None:
        """Nothing is sent here."""

    def unplug_tagged(self, device: str) -> None:
        """One that is gone is no error."""

    def unplug(self, nic_id: str) -> None:
        self._ports.pop(nic_id, None)
        self._numbers.give_back_all_but(self._ports)

    def ports(self) -> dict[str, Port]:
        return dict(self._ports)

    def drift(self, views: Sequence[NetworkView]) -> list[str]:
        """The ids of the networks that differ from what was applied, with '-' for missing and '+' for one too many."""
        wanted = {view.id: view for view in here(self.host_id, views)}
        missing = [f"-{key}" for key, view in sorted(wanted.items()) if self.views.get(key) != view]
        return missing + [f"+{key}" for key in sorted(self.views.keys() - wanted.keys())]

    def rule_hits(self, rule_ids: Sequence[str]) -> dict[str, int]:
        return {rule_id: count for rule_id, count in self.hits.items() if rule_id in rule_ids}

    def sets(self, views: Sequence[NetworkView]) -> tuple[FlowSet, FlowSet, LocalNumbers]:
        """The flows that `views` make, those of what was applied, and the numbers that both are made with."""
        wanted = {view.id: view for view in here(self.host_id, views)}
        numbers = stand_in(self.host_id, list({**self.views, **wanted}.values()))
        sets = (desired(self.host_id, list(held.values()), numbers) for held in (wanted, self.views))
        return next(sets), next(sets), numbers

    def versions(self) -> dict[str, str]:
        return {"openvswitch": "simulator", "datapath": "simulator"}
