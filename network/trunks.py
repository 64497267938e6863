"""Trunks: wires from the integration bridge to bridges of the underlay, which carry VLANs with their tags."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from network.errors import SwitchRefusedError
from network.flow_tables.layout import TAGGED, TRUNK, trunk_id
from network.names import trunk_ports
from network.types import NetworkView

BRIDGE = "pileus-trunk"
FIND = ("--format=csv", "--data=bare", "--no-heading", "--columns=external_ids,ofport", "find", "Interface")
ALL = "ff" * 6
REVERSE_ARP = "8035"
LEAST_FRAME = 60


@dataclass(frozen=True)
class Trunks:
    """`database` runs commands of ovs-vsctl as one transaction."""

    database: Callable[..., str]
    integration_bridge: str

    def ensure(self, numbers: Mapping[str, int]) -> None:
        """Make the trunks among `numbers`, ports by trunk id.

        :raises SwitchRefusedError: the host has no such bridge
        """
        wanted = {one.removeprefix(TRUNK): port for one, port in numbers.items() if one.startswith(TRUNK)}
        if not wanted:
            return
        there, bridges = self._there(), self.database("list-br").split()
        for bridge, port in wanted.items():
            if bridge not in bridges or bridge == self.integration_bridge:
                raise SwitchRefusedError(
                    f"The host has no bridge {bridge} of Open vSwitch, which leads to the VLANs of its networks; the "
                    "kvmnetworklabel of the traffic type Guest names it."
                )
            if there.get(bridge) != port:
                self._make(bridge, port)

    def remove_all_but(self, numbers: Iterable[str]) -> None:
        kept = set(numbers)
        for bridge in self._there():
            if trunk_id(bridge) not in kept:
                ends = [("--if-exists", "del-port", end) for end in trunk_ports(bridge)]
                self.database(*ends[0], "--", *ends[1])

    def _make(self, bridge: str, port: int) -> None:
        inner, outer = trunk_ports(bridge)
        self.database(
            *("--if-exists", "del-port", inner, "--", "--if-exists", "del-port", outer, "--"),
            *("add-port", bridge, outer, "--", "set", "interface", outer, "type=patch", f"options:peer={inner}", "--"),
            *("add-port", self.integration_bridge, inner, "--"),
            *("set", "interface", inner, "type=patch", f"options:peer={outer}", f"ofport_request={port}"),
            f"external_ids:{BRIDGE}={bridge}",
        )

    def _there(self) -> dict[str, int]:
        """Ports of the trunks that are made, by their bridge."""
        found = {}
        for line in self.database(*FIND, f"external_ids:{BRIDGE}!=none").splitlines():
            ids, _, port = line.rpartition(",")
            words = ids.strip('"').replace(",", " ").split()
            bridge = next((word.partition("=")[2] for word in words if word.startswith(f"{BRIDGE}=")), "")
            if bridge:
                found[bridge] = int(port) if port.isdecimal() else 0
        return found


def announcements(
    host_id: str, views: Sequence[NetworkView], numbers: Mapping[str, int], known: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Packets, for ovs-ofctl packet-out, that tell the bridges of the underlay that NICs are at this host from now on:
    those in VLANs that are not `known` to be in that one. And all of them, by id, with what their VLAN is.

    Reverse ARP (RFC 903) of their MAC addresses, as hypervisors send it. A bridge that last saw a NIC elsewhere would
    send its frames there. Redundant routers tell by themselves which of them has the address.
    """
    packets, segments = [], {}
    for view in views:
        tag = f"push_vlan:0x8100,set_field:{TAGGED | view.key}->vlan_vid," if view.key else ""
        for nic in view.nics if view.trunk else ():
            if nic.host_id != host_id or nic.also_on:
                continue
            segments[nic.id] = f"{view.trunk}/{view.key}"
            if known.get(nic.id) != segments[nic.id]:
                own = nic.mac.replace(":", "")
                body = f"{ALL}{own}{REVERSE_ARP}0001080006040003{own}{'00' * 4}{own}{'00' * 4}"
                frame = body.ljust(2 * LEAST_FRAME, "0")
                packets.append(f"in_port=controller packet={frame} actions={tag}output:{numbers[trunk_id(view.trunk)]}")
    return packets, segments
