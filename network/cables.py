"""Cables that lead from a host to hardware devices, with one VLAN for each network (IEEE 802.1Q).

Each cable is a port of a bridge of its own. There each network has an access port of its VLAN, which is a wire to the
NIC's port of the integration bridge: frames lose their tag on the way in and get it on the way out, and those of other
VLANs go nowhere. All of it is in the database of Open vSwitch, so it is there again after a restart, and no VLAN device
of the kernel is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from network import links
from network.errors import SwitchRefusedError
from network.names import CABLE_NIC_PREFIX, cable_bridge, cable_ports

CABLE, VLAN, IFINDEX = "pileus-cable", "pileus-vlan", "pileus-ifindex"
LARGEST_VLAN = 4094


@dataclass(frozen=True, slots=True)
class Cable:
    """VLAN `vlan` of the host's interface `device`, for a network whose guests have `mtu`."""

    device: str
    vlan: int
    mtu: int


@dataclass(frozen=True)
class Cables:
    """`database` runs commands of ovs-vsctl as one transaction; `underlay` is the device that leads to other hosts."""

    database: Callable[..., str]
    integration_bridge: str
    datapath_type: str
    underlay: str

    def check(self, device: str, mtu: int = 0) -> links.Link:
        """:raises SwitchRefusedError: the host has no such interface, or uses it for something else"""
        link = links.links().get(device)
        if link is None:
            raise SwitchRefusedError(f"The host has no interface {device}, which a device is to be cabled to.")
        used = [f"has the address {address}" for address in link.addresses]
        used += [f"is a port of {link.master}"] if link.master not in ("", "ovs-system") else []
        used += ["leads to the other hosts"] if device == self.underlay else []
        if used:
            raise SwitchRefusedError(f"Interface {device} {used[0]}; a device needs a cable of its own.")
        if link.mtu < mtu:
            raise SwitchRefusedError(f"Interface {device} has the MTU {link.mtu}; its network needs {mtu}.")
        return link

    def plug(self, nic_id: str, ids: list[str], ofport: int, cable: Cable) -> bool:
        """Make the NIC's port; False if it was plugged already. `ids` are columns of the port, for ovs-vsctl."""
        link = self.check(cable.device, cable.mtu)
        bridge, (inner, outer) = cable_bridge(cable.device), cable_ports(nic_id)
        marks = [f"external_ids:{CABLE}={cable.device}", f"external_ids:{VLAN}={cable.vlan}"]
        marks.append(f"external_ids:{IFINDEX}={link.ifindex}")
        query = ["--format=csv", "--data=bare", "--no-heading", "--columns=name", "find", "Interface"]
        if link.up and self.database(*query, f"name={inner}", f"ofport={ofport}", *marks).split() == [inner]:
            return False
        if self.database(*query, f"name={cable.device}", f"external_ids:{IFINDEX}={link.ifindex}").split() == []:
            # The port of a device that was made anew is dead.
            self.database("--if-exists", "del-port", cable.device)
        links.without_checksum_offload(cable.device)
        self.database(*self._make_bridge(bridge, cable.device, link.ifindex))
        wire = ["ofport_request=" + str(ofport), *ids, *marks]
        self.database(
            *("--if-exists", "del-port", inner, "--", "--if-exists", "del-port", outer, "--"),
            *("add-port", bridge, outer, f"tag={cable.vlan}", "--"),
            *("set", "interface", outer, "type=patch", f"options:peer={inner}", "--"),
            *("add-port", self.integration_bridge, inner, "--"),
            *("set", "interface", inner, "type=patch", f"options:peer={outer}", *wire),
        )
        links.change([f"link set dev {cable.device} up"])
        return True

    def unplug(self, nic_id: str) -> None:
        """Take away what `plug` made, and the bridge with the last network of its cable."""
        inner, outer = cable_ports(nic_id)
        device = self.database("--if-exists", "get", "interface", inner, f"external_ids:{CABLE}").strip().strip('"')
        self.database("--if-exists", "del-port", inner, "--", "--if-exists", "del-port", outer)
        bridge = cable_bridge(device) if device else ""
        if bridge in self.database("list-br").split() and self.database("list-ports", bridge).split() == [device]:
            self.database("--if-exists", "del-br", bridge)

    def difference(self, nic_id: str, cable: Cable) -> str:
        """What is not as `plug` makes it, as a sentence; "" when all is."""
        link = links.links().get(cable.device)
        if link is None or not link.up:
            return f"Interface {cable.device}, the cable, is {'not there' if link is None else 'down'}."
        bridge, (inner, outer) = cable_bridge(cable.device), cable_ports(nic_id)
        bridges = self.database("list-br").split()
        ports = {one: self.database("list-ports", one).split() for one in (bridge, self.integration_bridge)
                 if one in bridges}  # fmt: skip
        for port, on in ((cable.device, bridge), (outer, bridge), (inner, self.integration_bridge)):
            if port not in ports.get(on, ()):
                return f"Bridge {on} has no port {port}."
        tag = self.database("get", "port", outer, "tag").strip()
        if tag != str(cable.vlan):
            return f"Port {outer} has the VLAN {tag}; {cable.vlan} is wanted."
        peers = [self.database("get", "interface", one, "options:peer").strip().strip('"') for one in (inner, outer)]
        return "" if peers == [outer, inner] else f"Port {inner} leads to {peers[0]}, and {outer} to {peers[1]}."

    def devices(self) -> tuple[str, ...]:
        """The interfaces of the host that are cables."""
        query = ("--format=csv", "--data=bare", "--no-heading", "--columns=external_ids", "find", "Bridge")
        words = self.database(*query, f"external_ids:{CABLE}!=none").replace('"', " ").split()
        return tuple(sorted(word.partition("=")[2] for word in words if word.startswith(f"{CABLE}=")))

    def _make_bridge(self, bridge: str, device: str, ifindex: int) -> list[str]:
        kind = [f"datapath_type={self.datapath_type}", "fail_mode=standalone", f"external_ids:{CABLE}={device}"]
        return [
            *("--may-exist", "add-br", bridge, "--", "set", "bridge", bridge, *kind, "--"),
            *("--may-exist", "add-port", bridge, device, "--"),
            *("set", "interface", device, f"external_ids:{IFINDEX}={ifindex}"),
        ]


def is_cabled(port: str) -> bool:
    """Whether the port of the integration bridge leads to a hardware device."""
    return port.startswith(CABLE_NIC_PREFIX)
