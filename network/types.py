"""Values of the tenant network that cross package borders: what a host must know to build its part of an overlay."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

GUEST: Final = "guest"
ROUTER: Final = "router"


@dataclass(frozen=True, slots=True)
class NicView:
    """One network interface of a tenant network, wherever in the zone it lives.

    `mac` is lower-case and colon-separated, `address` is IPv4 without a prefix length, `host_id` names the
    hypervisor host that runs it. A `router` NIC is the virtual router's leg: it may send from any source address.
    """

    id: str
    mac: str
    address: str
    host_id: str
    role: Literal["guest", "router"] = "guest"


@dataclass(frozen=True, slots=True)
class Peer:
    """Another host that holds a NIC of the network, and the underlay address its GRE tunnels end at."""

    host_id: str
    underlay_address: str


@dataclass(frozen=True, slots=True)
class NetworkView:
    """The whole of one tenant network as one host must know it; replaces every older view of that network.

    `key` is the GRE key (RFC 2890), 1 to 2**32 - 1, unique in the zone. `generation` grows with every change:
    a host ignores a view older than the one it holds. A view without a NIC on the receiving host takes the
    network off that host. `gateway` is the address that the router NIC answers for; `mtu` is the guests' MTU.
    """

    id: str
    key: int
    generation: int
    cidr: str
    gateway: str
    mtu: int
    nics: tuple[NicView, ...] = ()
    peers: tuple[Peer, ...] = ()
    broadcast: bool = False
    egress_open: bool = True


@dataclass(frozen=True, slots=True)
class PublicLeg:
    """The virtual router's interface on the public physical network; guests leave with `address` as source."""

    address: str
    prefix_length: int
    gateway: str
    mac: str
    bridge: str


@dataclass(frozen=True, slots=True)
class Lease:
    """What the router tells one guest NIC by DHCP and about it by DNS and metadata.

    `user_data` is base64, `password` is handed out once by the password service, `public_keys` is the
    text of an authorized_keys file. `vm_id` is the instance id. `metadata` are further names that the guest may ask
    for.
    """

    nic_id: str
    vm_id: str
    mac: str
    address: str
    hostname: str
    instance_name: str = ""
    service_offering: str = ""
    zone_name: str = ""
    public_keys: str = ""
    user_data: str = ""
    password: str = ""
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RouterSpec:
    """The whole wanted state of one virtual router; replaces every older one. `nameservers` are its upstreams."""

    id: str
    network_id: str
    generation: int
    nic: NicView
    cidr: str
    mtu: int
    domain: str
    public: PublicLeg | None = None
    leases: tuple[Lease, ...] = ()
    nameservers: tuple[str, ...] = ()
    redundant_state: str = ""
