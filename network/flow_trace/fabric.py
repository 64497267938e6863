"""Several hosts with their bridges and the tunnels between them: a packet's whole way from NIC to NIC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from network.flow_tables.layout import TRUNK
from network.flow_trace.bridge import Bridge, Packet, Row, Walk
from network.flow_trace.connections import REQUESTS, Connections
from network.flow_trace.words import ICMP, IP_TYPE, TCP, UDP, UnknownFlowError, number
from network.flows import FlowSet, LocalNumbers, desired
from network.probe import Frame
from network.types import NetworkView

MOST_TUNNELS = 8
OF_WAYS = frozenset({"tun_id", "vlan_tci"})
"""What a packet bears between hosts alone."""


def packet_of(frame: Frame) -> Packet:
    """The frame's fields as flows look at them."""
    packet = {
        "dl_src": number(frame.source_mac), "dl_dst": number(frame.target_mac), "dl_type": IP_TYPE,
        "nw_src": number(frame.source), "nw_dst": number(frame.target), "nw_proto": frame.protocol,
    }  # fmt: skip
    if frame.protocol in (TCP, UDP):
        packet |= {"tp_src": frame.source_port, "tp_dst": frame.target_port}
    elif frame.protocol == ICMP:
        packet |= {"icmp_type": frame.icmp_type, "icmp_code": frame.icmp_code}
    return packet


@dataclass
class Site:
    """A host: its bridge, whose its ports are, and what it remembers of connections.

    `nics` are NIC ids by port, `tunnels` tunnel ids and trunk ids (layout.ways_of).
    """

    bridge: Bridge
    nics: Mapping[int, str]
    tunnels: Mapping[int, str]
    connections: Connections = field(default_factory=Connections)

    @classmethod
    def of(cls, flows: FlowSet, numbers: LocalNumbers) -> Site:
        nics = {nic.ofport: nic_id for nic_id, nic in numbers.nics.items()}
        return cls(Bridge(flows), nics, {port: one for one, port in numbers.tunnels.items()})

    def port_of(self, nic_id: str) -> int | None:
        return next((port for port, held in self.nics.items() if held == nic_id), None)

    def port_to(self, tunnel_id: str) -> int | None:
        return next((port for port, held in self.tunnels.items() if held == tunnel_id), None)

    def enter(self, packet: Packet, port: int) -> Walk:
        return self.bridge.run({**packet, "in_port": port}, self.connections)


@dataclass
class Trace:
    """`rows` are the flows that the packet met, each with its host; `heard` the NICs that got it, with what they got.

    `drops` are the rows at which a copy of it was gone.
    """

    rows: list[tuple[str, Row]] = field(default_factory=list)
    heard: list[tuple[str, Packet]] = field(default_factory=list)
    drops: list[tuple[str, Row]] = field(default_factory=list)

    def hearers(self) -> set[str]:
        return {nic_id for nic_id, _ in self.heard}


@dataclass
class Fabric:
    sites: dict[str, Site]

    @classmethod
    def of(cls, views: Iterable[NetworkView], numbers: Mapping[str, LocalNumbers]) -> Fabric:
        """The hosts of `numbers` with the flows that they should hold."""
        held = list(views)
        return cls({host_id: Site.of(desired(host_id, held, own), own) for host_id, own in numbers.items()})

    def send(self, nic_id: str, packet: Packet) -> Trace:
        """What becomes of a packet that the NIC sends.

        :raises UnknownFlowError: no host has the NIC, or a packet goes around between hosts
        """
        ports = ((host_id, site.port_of(nic_id)) for host_id, site in self.sites.items())
        host_id, port = next(((host_id, port) for host_id, port in ports if port is not None), ("", 0))
        if not host_id:
            raise UnknownFlowError(f"No host has a port for the NIC {nic_id}.")
        trace = Trace()
        self._enter(host_id, port, packet, trace, 0)
        return trace

    def _enter(self, host_id: str, port: int, packet: Packet, trace: Trace, tunnels: int) -> None:
        if tunnels > MOST_TUNNELS:
            raise UnknownFlowError(f"A packet goes around between hosts, and again through {host_id}.")
        site = self.sites[host_id]
        walk = site.enter(packet, port)
        packet = {name: value for name, value in packet.items() if name not in OF_WAYS}
        trace.rows += [(host_id, row) for row in walk.rows]
        trace.drops += [(host_id, row) for row in walk.drops]
        for out, copy in walk.outputs:
            plain = {name: copy[name] for name in packet}
            if out in site.nics:
                trace.heard.append((site.nics[out], plain))
            elif site.tunnels.get(out, "").startswith(TRUNK):
                self._spread(host_id, site.tunnels[out], plain | {"vlan_tci": copy["vlan_tci"]}, trace, tunnels)
            elif out in site.tunnels:
                self._cross(host_id, site.tunnels[out], plain | {"tun_id": copy["tun_id"]}, trace, tunnels)
            else:
                raise UnknownFlowError(f"A flow of {host_id} sends a packet to port {out}, which nobody has.")

    def _spread(self, source: str, trunk: str, packet: Packet, trace: Trace, tunnels: int) -> None:
        """Into a VLAN: what a bridge of the underlay does not know goes to all hosts that it leads to."""
        for target, site in self.sites.items():
            port = site.port_to(trunk)
            if port is not None and target != source:
                self._enter(target, port, packet, trace, tunnels + 1)

    def _cross(self, source: str, tunnel: str, packet: Packet, trace: Trace, tunnels: int) -> None:
        """Through the tunnel, if the other host has an end of it; else the packet is lost."""
        target, slash, overlay = tunnel.partition("/")
        site = self.sites.get(target)
        port = site.port_to(f"{source}{slash}{overlay}") if site else None
        if port is not None:
            self._enter(target, port, packet, trace, tunnels + 1)


def answer_to(packet: Packet) -> Packet:
    """What the receiver sends back."""
    turned = {
        **packet, "dl_src": packet["dl_dst"], "dl_dst": packet["dl_src"], "nw_src": packet["nw_dst"],
        "nw_dst": packet["nw_src"],
    }  # fmt: skip
    if "tp_src" in packet:
        turned |= {"tp_src": packet["tp_dst"], "tp_dst": packet["tp_src"]}
    if "icmp_type" in packet:
        turned["icmp_type"] = REQUESTS.get(packet["icmp_type"], packet["icmp_type"])
    return turned
