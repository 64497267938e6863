"""A packet that is thought of, to ask what would become of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Frame:
    """The packet that opens a connection, on its way between two NICs of one tenant network.

    `protocol` is a number (RFC 5237). Ports are those of tcp and udp, `icmp_type` and `icmp_code` those of icmp.
    """

    source_mac: str
    target_mac: str
    source: str
    target: str
    protocol: int
    source_port: int = 0
    target_port: int = 0
    icmp_type: int = 8
    icmp_code: int = 0


@dataclass(frozen=True, slots=True)
class FlowStep:
    """A flow that a packet met: the line, and whose it is by its cookie ("" where it is nobody's)."""

    table: int
    line: str
    kind: str = ""
    object_id: str = ""


@dataclass(frozen=True, slots=True)
class TraceFacts:
    """What one host's switch does with a frame that a NIC of it sends, or that a tunnel of a peer brings.

    `generation` is that of the network which the host holds, 0 for none. `steps` are the flows that the frame met
    among those installed. `nic_ids` and `host_ids` are where it left to; `wanted_nic_ids` and `wanted_host_ids` where
    it would with the flows of the view that came with the question. `difference` is the first flow on its way that is
    not what that view makes it.
    """

    generation: int
    steps: tuple[FlowStep, ...] = ()
    nic_ids: tuple[str, ...] = ()
    host_ids: tuple[str, ...] = ()
    wanted_nic_ids: tuple[str, ...] = ()
    wanted_host_ids: tuple[str, ...] = ()
    difference: str = ""


@dataclass(frozen=True, slots=True)
class DeviceTrace:
    """A hardware device beside what it should do: what is first found to be otherwise with its `cable`, and with what
    the `device` itself has; "" where all is as wanted. `silent` is why the device could not be asked, "" if it was.
    """

    cable: str = ""
    device: str = ""
    silent: str = ""
