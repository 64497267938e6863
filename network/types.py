"""Values of the tenant network that cross package borders: what a host must know to build its part of an overlay."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Final, Literal

from network.balancing import Balancer
from network.vpn import Vpn

GUEST: Final = "guest"
ROUTER: Final = "router"
OverlayName = Literal["gre", "vxlan", "vlan"]


@dataclass(frozen=True, slots=True)
class NicView:
    """One network interface of a tenant network, wherever in the zone it lives.

    `mac` is lower-case and colon-separated, `address` is IPv4 without a prefix length, `host_id` names the
    hypervisor host that runs it. A `router` NIC is the virtual router's leg: it may send from any source address.
    `further` are more addresses that a guest may have by itself. `rate` bounds what the NIC sends, and what reaches
    it, in Mbit/s each; 0 for no bound. `groups` are the security groups of a guest, as ids of the view's policies.
    `behind` are networks that a guest leads to: it may send in their name as well.

    A NIC of redundant routers is on the hosts `also_on` as well, with the same addresses: what is sent to it goes to
    all of them, and only the router that is primary takes it.
    """

    id: str
    mac: str
    address: str
    host_id: str
    role: Literal["guest", "router"] = "guest"
    further: tuple[str, ...] = ()
    rate: int = 0
    groups: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    also_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Peer:
    """Another host that holds a NIC of the network, and the underlay address its tunnels end at."""

    host_id: str
    underlay_address: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """Packets that open a connection. `protocol` is tcp, udp, icmp, all, or a protocol number (RFC 5237).

    `first_port`..`last_port` are the destination ports of tcp and udp, `icmp_type` and `icmp_code` those of icmp;
    None stands for any. `sources` and `destinations` are IPv4 networks with prefix lengths; none stand for all.
    """

    protocol: str
    first_port: int | None = None
    last_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    sources: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One rule of a policy: connections to its NICs (`ingress`, by sources) or from them (`egress`, by destinations).

    `group` is a security group: the rule is for the addresses of those NICs of the view that are in it.
    """

    id: str
    direction: Literal["ingress", "egress"]
    traffic: Traffic
    allow: bool = True
    group: str = ""


EVERYTHING_LEAVES = PolicyRule("open-egress", "egress", Traffic("all"))


@dataclass(frozen=True, slots=True)
class Policy:
    """What guests may open: the rules of a security group, in which order is nothing and all of them allow, or those
    of a network ACL list, of which the first that fits holds. What no rule allows is denied, both ways.
    """

    id: str
    rules: tuple[PolicyRule, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkView:
    """The whole of one tenant network as one host must know it; replaces every older view of that network.

    `key` is the key of its tunnels, unique in the zone: of GRE (RFC 2890) or VXLAN, as `overlay` says. `generation`
    grows with every change: a host ignores a view older than the one it holds. A view without a NIC on the receiving
    host takes the network off that host. `gateway` is the address that the router NIC answers for; `mtu` is that
    of its guests.

    With an `acl` all guests are held to it where they meet other networks, and may do all inside their own. With
    `has_groups` guests are held to the security groups that they are in, inside the network as well; `groups` are
    those of its NICs. A network has one or the other, or neither: then `egress_open` alone says what guests may do.

    With `gateway_outside` the gateway is no address of the router: nobody answers for it but a NIC that has it. A
    `bare` network is of layer 2 alone: its NICs have no addresses, and what they send is held against their MAC alone.

    `pair` are the NICs by which two redundant routers hear each other: nobody else reaches them, nor they anybody else.

    With the overlay "vlan", `key` is a VLAN of the underlay (IEEE 802.1Q), 0 that of frames without a tag, and `trunk`
    the bridge of every host that leads to it. It takes in what bears the MAC of one of its NICs, and no other frame.
    With `is_flat` it is one segment with the things outside that are in the VLAN, such as its gateway: its policy alone
    says what passes between them and its guests.
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
    overlay: OverlayName = "gre"
    acl: Policy | None = None
    has_groups: bool = False
    groups: tuple[Policy, ...] = ()
    gateway_outside: bool = False
    bare: bool = False
    pair: tuple[NicView, ...] = ()
    trunk: str = ""
    is_flat: bool = False


@dataclass(frozen=True, slots=True)
class PublicLeg:
    """The virtual router's interface on the public physical network; guests leave with `address` as source."""

    address: str
    prefix_length: int
    gateway: str
    mac: str
    bridge: str
    mtu: int = 1500


@dataclass(frozen=True, slots=True)
class Lease:
    """What the router tells one guest NIC by DHCP and about it by DNS and metadata.

    `user_data` is base64, `password` is handed out once by the password service, `public_keys` is the
    text of an authorized_keys file. `vm_id` is the instance id. A guest gets its default route from the one NIC
    that `leads_out`. `metadata` are further names that the guest may ask for.
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
    leads_out: bool = True
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Opening:
    """Traffic from outside that may reach what the public `address` leads to."""

    address: str
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class Forwarding:
    """Ports of the public `address` that lead to as many ports of `guest`, the first to `guest_port`.

    Only for `sources` (as in Traffic). Nothing of it comes in that no Opening allows.
    """

    address: str
    protocol: Literal["tcp", "udp"]
    first_port: int
    last_port: int
    guest: str
    guest_port: int
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StaticNat:
    """The public `address` stands for `guest`, both ways; what may come in, Openings say."""

    address: str
    guest: str


@dataclass(frozen=True, slots=True)
class GuestLeg:
    """A router's interface in one tenant network, and what it does for the guests there.

    `nameservers` are the upstreams of those guests' names. Guests may reach all that is outside but `egress` when
    `egress_open`, else nothing but that. Nobody opens a connection through the router to guests of a `closed` leg.
    Guests leave by `gateway` where that is not the router.
    `vlan` leads from a hardware device into the network; 0 for a virtual router, which needs none. `further` of its
    NIC are addresses that balancers are at; what other legs may open to those, ingress items of `acl` say.
    """

    network_id: str
    nic: NicView
    cidr: str
    mtu: int
    domain: str
    leases: tuple[Lease, ...] = ()
    nameservers: tuple[str, ...] = ()
    egress: tuple[Traffic, ...] = ()
    egress_open: bool = True
    closed: bool = False
    vlan: int = 0
    gateway: str = ""
    acl: Policy | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """The network `cidr` is reached by `next_hop`, an address in a leg's network."""

    cidr: str
    next_hop: str


@dataclass(frozen=True, slots=True)
class PrivateLeg:
    """A VPC router's interface in a VLAN of the underlay's `bridge`, where `gateway` leads further.

    Connections go by it as `acl` says, in order: ingress items are for what comes in by it, egress items for what
    leaves. With `source_nat` what leaves bears `address`.
    """

    id: str
    address: str
    prefix_length: int
    gateway: str
    mac: str
    vlan: int
    acl: Policy
    bridge: str = "br-phy"
    source_nat: bool = False
    mtu: int = 1500

    @property
    def network(self) -> str:
        """The network of its address, with the prefix length."""
        return str(IPv4Network((self.address, self.prefix_length), strict=False))


@dataclass(frozen=True, slots=True)
class Pair:
    """How a router agrees with another one of the same wanted state on which of them forwards.

    `nic` is its own NIC of the view's `pair`, and `peer` the other's. While neither forwards, the higher `priority`
    (1 to 254) begins.
    """

    nic: NicView
    peer: NicView
    priority: int


@dataclass(frozen=True, slots=True)
class RouterSpec:
    """The whole wanted state of one virtual router; replaces every older one.

    That of an isolated network has one leg. That of a VPC has `vpc_id` and a leg for each tier, of which there may be
    none; `inside` is the range of the VPC, which is never outside. Guests of legs that are not closed reach one
    another through it, and what `routes` and `private_legs` of a VPC lead to. `addresses` are the public addresses that
    it has besides that of `public`.
    """

    id: str
    generation: int
    legs: tuple[GuestLeg, ...] = ()
    vpc_id: str = ""
    inside: str = ""
    public: PublicLeg | None = None
    redundant_state: str = ""
    addresses: tuple[str, ...] = ()
    openings: tuple[Opening, ...] = ()
    forwardings: tuple[Forwarding, ...] = ()
    static_nats: tuple[StaticNat, ...] = ()
    balancers: tuple[Balancer, ...] = ()
    vpn: Vpn | None = None
    routes: tuple[Route, ...] = ()
    private_legs: tuple[PrivateLeg, ...] = ()
    pair: Pair | None = None
