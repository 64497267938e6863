"""Table numbers, registers, cookies, and the values that the flow builders share.

metadata = network key; reg0 = 1 when the packet came from another host, 3 from something in the VLAN of a flat network
that is no NIC of it; reg1, reg3 = conntrack zone of the source and of
the destination NIC; reg2, reg4 = their policy classes; reg5 = class of the NIC that a guest sends to, reg6 = class of
the NIC that a guest hears, where rules name security groups; reg7 = output port; ct_mark bit 0 = connection cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from network.names import digits
from network.overlays import VLAN
from network.types import ROUTER, NetworkView, NicView, OverlayName

CLASSIFY = 0
TUNNEL_IN = 1
SOURCE_GUARD = 5
ARP_ANSWER = 10
DHCP = 15
EGRESS_PEER = 19
EGRESS = 20
EGRESS_RULES = 21
FORWARD = 40
INGRESS_PEER = 49
INGRESS = 50
INGRESS_RULES = 51
OUTPUT = 60
CANARY = 63
STAGES = (
    CLASSIFY,
    TUNNEL_IN,
    SOURCE_GUARD,
    ARP_ANSWER,
    DHCP,
    EGRESS_PEER,
    EGRESS,
    EGRESS_RULES,
    FORWARD,
    INGRESS_PEER,
    INGRESS,
    INGRESS_RULES,
    OUTPUT,
)

DROP_COOKIE = 0xDEAD
NIC_KIND = 0x01
NETWORK_KIND = 0x02
HOST_KIND = 0x07
ARP_KIND = 0x0A
CANARY_KIND = 0xCA
RULE_KIND = 0x0B
POLICY_KIND = 0x0C
DHCP_KIND = 0x0D
COOKIE_ID_DIGITS = 14
CLASS_NUMBERS = 16
TRUNK = "trunk/"
TAGGED = 0x1000
"""The bit of vlan_vid that says that there is a tag."""
VLAN_KEYS = 2**32
"""VLANs have keys of their own on each host, above those of tunnels: two trunks may have a VLAN of one number."""
"""Numbers of policy classes up to this one are the same on all hosts."""

DHCP_REPLY = "udp,tp_src=67,tp_dst=68"
DHCP_REQUEST = "udp,tp_src=68,tp_dst=67"


class Flow(NamedTuple):
    table: int
    priority: int
    match: str
    actions: str
    cookie: int = DROP_COOKIE

    def line(self) -> str:
        match = f"{self.match}," if self.match else ""
        head = f"cookie={self.cookie:#x},table={self.table},priority={self.priority}"
        return f"{head},{match}actions={self.actions}"


def cookie(kind: int, identifier: str) -> int:
    """Object kind in the upper 8 bits, 56 bits of the object's identifier below."""
    return kind << 56 | int(digits(identifier, COOKIE_ID_DIGITS), 16)


def tunnel_id(host_id: str, overlay: OverlayName) -> str:
    """What stands for the tunnel to a host: all networks of one overlay share it."""
    return host_id if overlay == "gre" else f"{host_id}/{overlay}"


def trunk_id(bridge: str) -> str:
    """What stands for the port that leads to the VLANs of a bridge, beside the tunnels."""
    return f"{TRUNK}{bridge}"


def ways_of(host_id: str, view: NetworkView) -> list[str]:
    """The tunnels, or the trunk, by which the network leaves the host."""
    if view.overlay == VLAN:
        return [trunk_id(view.trunk)]
    return [tunnel_id(peer.host_id, view.overlay) for peer in view.peers if peer.host_id != host_id]


@dataclass(frozen=True, slots=True)
class LocalNic:
    """Port number on the integration bridge and conntrack zone (16 bits) of a NIC of this host."""

    ofport: int
    zone: int


@dataclass(frozen=True, slots=True)
class LocalNumbers:
    """Numbers that mean something on one host only.

    `nics` by NIC id, `tunnels` gives the port by `tunnel_id` or `trunk_id`, `networks` a number by network id of
    which the group numbers are made, `classes` one by the name of a policy class.
    """

    nics: Mapping[str, LocalNic]
    tunnels: Mapping[str, int]
    networks: Mapping[str, int]
    classes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """One network as seen from one host."""

    host_id: str
    view: NetworkView
    numbers: LocalNumbers

    @cached_property
    def local(self) -> tuple[NicView, ...]:
        return tuple(nic for nic in self.view.nics if nic.host_id == self.host_id)

    @cached_property
    def others(self) -> tuple[str, ...]:
        """The other hosts that hold the network."""
        return tuple(peer.host_id for peer in self.view.peers if peer.host_id != self.host_id)

    @cached_property
    def tunnels(self) -> dict[str, int]:
        """Tunnel port by host id, of the other hosts that hold the network."""
        if self.trunk:
            return {}
        return {host_id: self.numbers.tunnels[tunnel_id(host_id, self.view.overlay)] for host_id in self.others}

    @cached_property
    def trunk(self) -> int:
        """The port that leads to the network's VLAN; 0 for one of tunnels."""
        return self.numbers.tunnels[trunk_id(self.view.trunk)] if self.view.overlay == VLAN else 0

    @property
    def by_trunk(self) -> str:
        """Actions that send a copy into the network's VLAN."""
        tag = f"push_vlan:0x8100,set_field:{TAGGED | self.view.key}->vlan_vid," if self.view.key else ""
        return f"{tag}output:{self.trunk}"

    def way(self, host_ids: Iterable[str], *, onward: bool = False) -> str:
        """Actions that send a copy to each of these hosts that holds the network; "" when none does.

        `onward`: the packet is needed as it was after that.
        """
        held = [host_id for host_id in host_ids if host_id in self.others]
        if not held:
            return ""
        if self.trunk:
            return f"{self.by_trunk},pop_vlan" if onward and self.view.key else self.by_trunk
        return ",".join([f"set_field:{self.key}->tun_id", *(f"output:{self.tunnels[one]}" for one in held)])

    @cached_property
    def routers(self) -> tuple[NicView, ...]:
        return tuple(nic for nic in self.view.nics if nic.role == ROUTER)

    @property
    def router(self) -> NicView | None:
        """The first of the view's: the one that DHCP goes to, and the gateway's where no NIC has that address."""
        return self.routers[0] if self.routers else None

    @property
    def key(self) -> str:
        return f"{VLAN_KEYS + self.numbers.networks[self.view.id] if self.trunk else self.view.key:#x}"

    @property
    def local_group(self) -> int:
        return 2 * self.numbers.networks[self.view.id]

    @property
    def whole_group(self) -> int:
        return self.local_group + 1
