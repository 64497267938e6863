"""Remote access at an SRX: IKEv2 with a certificate of the device, and names and passwords of people by EAP.

It ends at an address of the public interface and comes out of a tunnel interface in the network's routing instance, so
equal addresses of two networks do not meet. People are given addresses from a pool of that instance.

Sources: Junos OS CLI reference (security ike, security ipsec, access profile, access address-assignment), YANG models
junos-es-conf-security and junos-es-conf-access.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, summarize_address_range

from lxml import etree

from network.elements.junos_secret import hidden
from network.elements.junos_tree import Element, Entries, Place, below, leaves, node, place, texts
from network.elements.srx_names import MARK, SrxSettings, digest_of, name_of, policy_of
from network.errors import InvalidViewError
from network.traffic import LARGEST_PORT
from network.types import RouterSpec
from network.vpn import RemoteAccess

PORTS = (500, 4500)
IKE = (
    ("aes-256-cbc", "sha-256", "group14"),
    ("aes-256-cbc", "sha-256", "group19"),
    ("aes-128-cbc", "sha-256", "group14"),
    ("aes-256-cbc", "sha1", "group14"),
)
ESP = (("aes-256-gcm", ""), ("aes-128-gcm", ""), ("aes-256-cbc", "hmac-sha-256-128"), ("aes-256-cbc", "hmac-sha1-96"))
"""What people's systems come with; a policy names at most four."""
DPD_SECONDS, DPD_THRESHOLD = 30, 5
TUNNEL_MTU = 1400
INSIDE = "-vpn"
"""Behind the network's name: the zone that people come out of."""
ADDRESSES = "local-address"
LISTS = {
    "access-profile": ("access", "profile"),
    "ike-proposal": ("security/ike", "proposal"),
    "ike-policy": ("security/ike", "policy"),
    "ike-gateway": ("security/ike", "gateway"),
    "ipsec-proposal": ("security/ipsec", "proposal"),
    "ipsec-policy": ("security/ipsec", "policy"),
    "ipsec-vpn": ("security/ipsec", "vpn"),
}
Found = dict[tuple[Place, tuple[str, ...]], Element]


def places(settings: SrxSettings) -> dict[str, Place]:
    """Lists of entries that carry a network's name, but for `tunnel` and the addresses of the public interface."""
    port, _, unit = settings.public_interface.partition(".")
    return {
        "tunnel": place("interfaces/interface", "unit", interface="st0"),
        ADDRESSES: place("interfaces/interface/unit/family/inet", "address", interface=port, unit=unit),
        **{kind: place(*where) for kind, where in LISTS.items()},
    }


def ends(elements: Iterable[etree._Element]) -> set[str]:
    """The addresses, with prefix lengths, that gateways among these entries end at."""
    return {f"{address}/32" for element in elements for address in texts(element, "local-address")}


def is_in(entries: Entries) -> bool:
    return any(where.tag == "gateway" for where, _ in entries)


def lacking(configuration: etree._Element, settings: SrxSettings) -> str:
    """What the operator has not configured, as the end of a sentence; "" when all is."""
    for zone in below(configuration, place("security/zones", "security-zone")):
        for interface in zone.findall("interfaces"):
            if interface.findtext("name") == settings.public_interface:
                services = set(texts(interface, "host-inbound-traffic/system-services/name"))
                services |= set(texts(zone, "host-inbound-traffic/system-services/name"))
                if services & {"ike", "all"}:
                    return ""
    return f"has no system service ike in host-inbound-traffic of {settings.public_interface}"


def check(spec: RouterSpec) -> None:
    """:raises InvalidViewError: there are tunnels to other sites"""
    if spec.vpn is not None and spec.vpn.tunnels:
        raise InvalidViewError(f"Router {spec.id} has tunnels to other sites; a device has remote access alone.")


def certificate_of(spec: RouterSpec) -> tuple[str, str, str] | None:
    """Identifier, certificate and private key, both in PEM; None without remote access."""
    if spec.vpn is None or spec.vpn.remote is None:
        return None
    one = spec.vpn.remote
    name = f"{name_of(spec.id)}-{digest_of((one.certificate, one.private_key))}"
    return name, _pem("CERTIFICATE", one.certificate), _pem("PRIVATE KEY", one.private_key)


def _pem(kind: str, text: str) -> str:
    lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    return f"-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----\n"


def add(found: Found, spec: RouterSpec, settings: SrxSettings, where: dict[str, Place]) -> None:
    """Put remote access into the entries of its network."""
    if spec.vpn is not None and spec.vpn.remote is not None:
        builder = _Builder(found, spec, spec.vpn.remote, settings, where)
        builder.gateway()
        builder.tunnel()
        builder.people()
        builder.policies()
        if not spec.vpn.remote.open_to_all:
            builder.closed()


class _Builder:
    def __init__(
        self, found: Found, spec: RouterSpec, remote: RemoteAccess, settings: SrxSettings, where: dict[str, Place]
    ) -> None:
        self._found, self._spec, self._remote, self._settings, self._places = found, spec, remote, settings, where
        self._name = name_of(spec.id)
        self._interface = f"st0.{spec.legs[0].vlan}"
        first, last = IPv4Address(remote.first), IPv4Address(remote.last)
        self._people = list(map(str, summarize_address_range(first, last)))

    def gateway(self) -> None:
        name, address = self._name, self._remote.address
        self._add(ADDRESSES, f"{address}/32")
        certificate = certificate_of(self._spec)
        identifier = certificate[0] if certificate is not None else ""
        policy = [node("mode", "main"), *leaves("proposals", self._proposals("ike-proposal", IKE))]
        self._add("ike-policy", name, *policy, node("certificate", node("local-certificate", identifier)))
        timing = node("interval", str(DPD_SECONDS)), node("threshold", str(DPD_THRESHOLD))
        self._add(
            "ike-gateway",
            name,
            node("ike-policy", name),
            node("dynamic", node("hostname", name), node("ike-user-type", "shared-ike-id")),
            node("dead-peer-detection", node("probe-idle-tunnel"), *timing),
            node("local-identity", node("inet", node("identity-ipv4", address))),
            node("external-interface", self._settings.public_interface),
            node("local-address", address),
            node("aaa", node("access-profile", node("name", name)), node("use-routing-instance-address")),
            node("general-ikeid"),
            node("version", "v2-only"),
        )

    def tunnel(self) -> None:
        name = self._name
        self._add("ipsec-policy", name, *leaves("proposals", self._proposals("ipsec-proposal", ESP)))
        ike = node("ike", node("gateway", name), node("ipsec-policy", name))
        everybody = "0.0.0.0/0"
        selectors = [
            node("traffic-selector", node("name", f"ts{number}"), node("local-ip", near), node("remote-ip", everybody))
            for number, near in enumerate(self._remote.guests)
        ]
        self._add("ipsec-vpn", name, node("bind-interface", self._interface), ike, *selectors)
        inet = node("family", node("inet", node("mtu", str(TUNNEL_MTU))))
        self._add("tunnel", self._interface.partition(".")[2], node("description", MARK + self._spec.id), inet)
        instance = self._found[self._places["instance"], (name,)]
        instance.append(node("interface", node("name", self._interface)))
        static = instance.find("routing-options/static")
        if static is not None:
            # Who is connected has a route of his own; the others' addresses lead nowhere, and never outside.
            static.extend([node("route", node("name", network), node("discard")) for network in self._people])

    def people(self) -> None:
        name, one = self._name, self._remote
        clients = [
            node("client", node("name", user.name), node("firewall-user", node("password", hidden(user.password))))
            for user in sorted(one.users, key=lambda user: user.name)
        ]
        pool = node("address-assignment", node("pool", name))
        self._add("access-profile", name, node("authentication-order", "password"), *clients, pool)
        span = node("range", node("name", "people"), node("low", one.first), node("high", one.last))
        family = node("family", node("inet", node("network", str(_around(one.first, one.last))), span))
        pools = node("address-assignment", node("pool", node("name", name), family))
        self._found[self._places["instance"], (name,)].append(node("access", pools))

    def policies(self) -> None:
        """Guests and people reach each other, whatever else guests may reach."""
        name, outer = self._name, self._name + INSIDE
        zone = node("security-zone", node("name", outer), node("interfaces", node("name", self._interface)))
        zone.append(_book(self._people))
        self._found[self._places["zone"], (outer,)] = zone
        own = self._found[self._places["zone"], (name,)]
        guests, people = [list(map(_address_name, each)) for each in (self._remote.guests, self._people)]
        known = set(texts(own, "address-book/address/name"))
        book = own.find("address-book")
        missing = _book([one for one in self._remote.guests if _address_name(one) not in known])
        if book is None:
            own.append(missing)
        else:
            book.extend(missing)
        for context, sides in (((outer, name), (people, guests)), ((name, outer), (guests, people))):
            zones = node("from-zone-name", context[0]), node("to-zone-name", context[1])
            policy = policy_of(f"{name}-people", sides, "any", "permit")
            self._found[self._places["policies"], context] = node("policy", *zones, policy)

    def closed(self) -> None:
        """Only those whom openings let in come to the gateway; the others' packets end at an address without one.

        The first rule that fits holds, and a new one comes last: so what stands last is named after what is before.
        """
        address, admitted = self._remote.address, sorted(set(self._admitted()))
        for sources, port in admitted:
            then = node("then", node("destination-nat", node("off")))
            self._add(
                "rule", f"{self._name}-{digest_of((address, sources, port))}", _match(address, port, sources), then
            )
        target = node("address", node("ipaddr", f"{self._spec.legs[0].nic.address}/32"))
        self._add("pool", f"{self._name}-shut", node("routing-instance", node("ri-name", self._name)), target)
        then = node("destination-nat", node("pool", node("pool-name", f"{self._name}-shut")))
        for port in PORTS:
            rule = f"{self._name}-{digest_of((address, admitted, port))}"
            self._add("rule", rule, _match(address, port, ()), node("then", _copy(then)))

    def _admitted(self) -> Iterator[tuple[tuple[str, ...], int]]:
        for opening in self._spec.openings:
            traffic = opening.traffic
            if opening.address == self._remote.address and traffic.protocol in ("udp", "all"):
                first, last = traffic.first_port or 0, traffic.last_port or LARGEST_PORT
                yield from ((traffic.sources, port) for port in PORTS if first <= port <= last)

    def _proposals(self, kind: str, wanted: tuple[tuple[str, ...], ...]) -> list[str]:
        """Names of the proposals, which are made."""
        names = []
        for number, parts in enumerate(wanted):
            names.append(f"{self._name}-{kind.partition('-')[0]}{number}")
            first = "authentication-method" if kind == "ike-proposal" else "protocol"
            said = [node(first, "rsa-signatures" if kind == "ike-proposal" else "esp")]
            tags = ("encryption-algorithm", "authentication-algorithm", "dh-group")
            said += [node(tag, part) for tag, part in zip(tags, parts, strict=False) if part]
            self._add(kind, names[-1], *said)
        return names

    def _add(self, kind: str, name: str, *content: etree._Element) -> None:
        self._found[self._places[kind], (name,)] = node(self._places[kind].tag, node("name", name), *content)


def _around(first: str, last: str) -> IPv4Network:
    """The smallest network that holds both."""
    found = IPv4Network(f"{first}/32")
    while IPv4Address(last) not in found:
        found = found.supernet()
    return found


def _address_name(network: str) -> str:
    return f"n-{network.replace('/', '_')}"


def _book(networks: Iterable[str]) -> etree._Element:
    return node(
        "address-book", *(node("address", node("name", _address_name(one)), node("ip-prefix", one)) for one in networks)
    )


def _match(address: str, port: int, sources: tuple[str, ...]) -> etree._Element:
    found = node("dest-nat-rule-match", *leaves("source-address", sources))
    found.append(node("destination-address", node("dst-addr", f"{address}/32")))
    found.append(node("protocol", "udp"))
    found.append(node("destination-port", node("low", str(port))))
    return found


def _copy(element: etree._Element) -> etree._Element:
    return etree.fromstring(etree.tostring(element))
