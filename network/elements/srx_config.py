"""The part of an SRX's configuration that serves one tenant network: a pure function of the wanted state.

Each network has a routing instance and a security zone of its own, named after its router; entries in lists that all
share carry that name in front. Destinations are translated only for what an opening lets in, and everything else
that comes to a public address ends at the device: so two addresses that lead to one guest keep their own openings.
A static NAT is a translation of destinations and one of sources, for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network

from lxml import etree

from network.elements import srx_vpn
from network.elements.address_sets import canonical, common, is_everywhere
from network.elements.junos_tree import Entries, Place, below, key_of, leaves, node, place, texts
from network.elements.router_files import check_spec
from network.elements.srx_names import MARK, PREFIX, RULE_SET, SrxSettings, digest_of, name_of, policy_of
from network.errors import InvalidViewError
from network.traffic import span
from network.types import Forwarding, Opening, RouterSpec, StaticNat, Traffic

MOST_SHIFTED = 256
LARGEST_VLAN = 4094
LARGEST_PORT = 65535
HAS_PORTS = ("tcp", "udp")


@dataclass(frozen=True)
class _Way:
    """Connections to a public address that come in: matched as they arrive, and where they then go."""

    address: str
    guest: str
    traffic: Traffic
    guest_port: int | None = None


def places(settings: SrxSettings) -> dict[str, Place]:
    """Where a network has entries, in an order in which each stands behind what it needs."""
    public = settings.public_zone
    return {
        "filter": place("firewall", "filter"),
        "unit": place("interfaces/interface", "unit", interface=settings.guest_port),
        "instance": place("routing-instances", "instance"),
        "zone": place("security/zones", "security-zone"),
        "book": place("security/zones/security-zone/address-book", "address", security_zone=public),
        "source-pool": place("security/nat/source", "pool"),
        "source-rules": place("security/nat/source", "rule-set"),
        "pool": place("security/nat/destination", "pool"),
        "rule": place("security/nat/destination/rule-set", "rule", rule_set=RULE_SET),
        "proxy-arp": place("security/nat/proxy-arp/interface", "address", interface=settings.public_interface),
        "application": place("applications", "application"),
        "policies": place("security/policies", "policy", "from-zone-name", "to-zone-name"),
        **srx_vpn.places(settings),
    }


def held(configuration: etree._Element, router_id: str, settings: SrxSettings) -> Entries:
    """What the device has for the network. Its proxied addresses are those that its rules speak of, and those of the
    public interface those that its VPN ends at.
    """
    name, found = name_of(router_id), {}
    for kind, where in places(settings).items():
        for element in below(configuration, where):
            key = key_of(element, where)
            if kind in ("unit", "tunnel"):
                is_own = element.findtext("description") == MARK + router_id
            else:
                is_own = any(part == name or part.startswith(f"{name}-") for part in key)
            if is_own:
                found[where, key] = element
    spoken = {"proxy-arp": set(_addresses_of(found.values())), srx_vpn.ADDRESSES: srx_vpn.ends(found.values())}
    for kind, names in spoken.items():
        where = places(settings)[kind]
        for element in below(configuration, where):
            if element.findtext("name") in names:
                found[where, key_of(element, where)] = element
    return found


def routers(configuration: etree._Element, settings: SrxSettings) -> list[str]:
    """Identifiers of the routers that the device serves."""
    descriptions = (unit.findtext("description") or "" for unit in below(configuration, places(settings)["unit"]))
    return sorted(text.removeprefix(MARK) for text in descriptions if text.startswith(MARK))


def check_vlan(configuration: etree._Element, spec: RouterSpec, settings: SrxSettings) -> None:
    """:raises InvalidViewError: somebody else has the logical interface of the network's VLAN"""
    vlan = spec.legs[0].vlan
    for unit in below(configuration, places(settings)["unit"]):
        is_own = unit.findtext("description") == MARK + spec.id
        if not is_own and str(vlan) in (unit.findtext("name"), unit.findtext("vlan-id")):
            raise InvalidViewError(f"VLAN {vlan} of router {spec.id} is already used on {settings.guest_port}.")


def lacking(configuration: etree._Element, settings: SrxSettings) -> str:
    """What of the operator's own configuration is not there, as the end of a sentence; "" when all is."""
    own = settings
    guest = below(configuration, place("interfaces", "interface"))
    if not any(one.findtext("name") == own.guest_port and one.find("vlan-tagging") is not None for one in guest):
        return f"has no interface {own.guest_port} with vlan-tagging"
    zones = {one.findtext("name"): one for one in below(configuration, place("security/zones", "security-zone"))}
    if own.public_zone not in zones:
        return f"has no security zone {own.public_zone}"
    if own.public_interface not in texts(zones[own.public_zone], "interfaces/name"):
        return f"has no interface {own.public_interface} in its security zone {own.public_zone}"
    rule_sets = below(configuration, place("security/nat/destination", "rule-set"))
    froms = {one.findtext("name"): texts(one, "from/zone") for one in rule_sets}
    if own.public_zone not in froms.get(RULE_SET, ()):
        return f"has no rule set {RULE_SET} in security nat destination from zone {own.public_zone}"
    return srx_vpn.lacking(configuration, own)


def _addresses_of(elements: Iterable[etree._Element]) -> Iterator[str]:
    for element in elements:
        yield from texts(element, "dest-nat-rule-match/destination-address/dst-addr")
        if element.tag == "pool":
            yield from texts(element, "address/name")


def wanted(spec: RouterSpec, settings: SrxSettings) -> Entries:
    """:raises InvalidViewError: the device cannot do it, or a value must not reach a configuration"""
    _check(spec)
    builder = _Builder(spec, settings)
    builder.legs()
    if spec.public is not None:
        builder.sources()
        builder.destinations()
        builder.egress()
        srx_vpn.add(builder.found, spec, settings, places(settings))
        builder.proxies()
    return builder.found


def _check(spec: RouterSpec) -> None:
    check_spec(spec)
    srx_vpn.check(spec)
    if len(spec.legs) != 1:
        raise InvalidViewError(f"Router {spec.id} has {len(spec.legs)} networks; a device serves the router of one.")
    if not 0 < spec.legs[0].vlan <= LARGEST_VLAN:
        raise InvalidViewError(f"Router {spec.id} has no VLAN that leads from the device into the network.")
    if PREFIX not in name_of(spec.id) or not spec.id.replace("-", "").isalnum():
        raise InvalidViewError(f"The identifier {spec.id!r} cannot be that of a router.")
    both = {nat.address for nat in spec.static_nats} & {one.address for one in spec.forwardings}
    if both:
        raise InvalidViewError(f"{both.pop()} of router {spec.id} has both a static NAT and forwarded ports.")
    for one in spec.forwardings:
        if one.guest_port != one.first_port and one.last_port - one.first_port >= MOST_SHIFTED:
            raise InvalidViewError(
                f"An SRX moves at most {MOST_SHIFTED} ports of {one.address} to other ones; forward them unchanged."
            )


class _Builder:
    """Collects the entries of one network."""

    def __init__(self, spec: RouterSpec, settings: SrxSettings) -> None:
        self._spec, self._settings, self._places = spec, settings, places(settings)
        self._leg = spec.legs[0]
        self._name = name_of(spec.id)
        self._guest_book: dict[str, etree._Element] = {}
        self._zone = node("security-zone", node("name", self._name))
        self.found: dict[tuple[Place, tuple[str, ...]], etree._Element] = {}

    def legs(self) -> None:
        leg, name = self._leg, self._name
        interface = f"{self._settings.guest_port}.{leg.vlan}"
        for way in ("in", "out"):
            then = node("then", node("count", f"{name}-{way}"), node("accept"))
            self._add("filter", f"{name}-{way}", node("term", node("name", "all"), then))
        filters = node("filter", *(node(way, node("filter-name", f"{name}-{end}")) for way, end in FILTER_ENDS))
        prefix = f"{leg.nic.address}/{IPv4Network(leg.cidr).prefixlen}"
        inet = node("family", node("inet", filters, node("address", node("name", prefix))))
        marked = (node("description", MARK + self._spec.id), node("vlan-id", str(leg.vlan)))
        self._add("unit", str(leg.vlan), *marked, inet)
        way_out = node("route", node("name", "0.0.0.0/0"), node("next-table", "inet.0"))
        options = node("routing-options", node("static", way_out))
        member = node("interface", node("name", interface))
        self._add("instance", name, node("instance-type", "virtual-router"), member, options)
        ping = node("host-inbound-traffic", node("system-services", node("name", "ping")))
        self._zone.append(node("interfaces", node("name", interface), ping))
        self.found[self._places["zone"], (name,)] = self._zone

    def sources(self) -> None:
        """Guests leave by their static NAT's address, the others by that of the network."""
        spec, name = self._spec, self._name
        rules = []
        for nat in sorted(spec.static_nats, key=repr):
            pool = self._source_pool(f"{name}-{digest_of(nat.address)}", nat.address)
            rules.append(_source_rule(f"{name}-{digest_of(nat)}", f"{nat.guest}/32", pool))
        public = spec.public.address if spec.public is not None else ""
        rules.append(_source_rule(f"{name}-all", self._leg.cidr, self._source_pool(name, public)))
        ends = (node("from", node("zone", name)), node("to", node("zone", self._settings.public_zone)))
        self._add("source-rules", name, *ends, *rules)

    def destinations(self) -> None:
        """Where an opening meets what an address leads to, and a policy for just that."""
        policies: dict[str, etree._Element] = {}
        for way in _ways(self._spec):
            name = f"{self._name}-{digest_of(way)}"
            pool = f"{self._name}-{digest_of((way.guest, way.guest_port))}"
            port = [node("port", str(way.guest_port))] if way.guest_port is not None else []
            instance = node("routing-instance", node("ri-name", self._name))
            self._add("pool", pool, instance, node("address", node("ipaddr", f"{way.guest}/32"), *port))
            then = node("then", node("destination-nat", node("pool", node("pool-name", pool))))
            self._add("rule", name, _match(way), then)
            policies.setdefault(name, self._inward(name, way))
        if policies:
            self._context(self._settings.public_zone, self._name, list(policies.values()))

    def egress(self) -> None:
        leg = self._leg
        public = self._settings.public_zone
        verdict = "deny" if leg.egress_open else "permit"
        policies = []
        for traffic in sorted(set(leg.egress), key=repr):
            sources = self._guests(traffic.sources or (leg.cidr,))
            ends = sources, self._outside(traffic.destinations)
            policies.append(policy_of(f"{self._name}-{digest_of(traffic)}", ends, self._application(traffic), verdict))
        if leg.egress_open:
            policies.append(policy_of(f"{self._name}-all", (self._guests((leg.cidr,)), ["any"]), "any", "permit"))
        if policies:
            self._context(self._name, public, policies)

    def proxies(self) -> None:
        """Of what the device must answer for, but for addresses of its own."""
        entries = self.found.values()
        for address in sorted(set(_addresses_of(entries)) - srx_vpn.ends(entries)):
            self._add("proxy-arp", address)

    def _inward(self, name: str, way: _Way) -> etree._Element:
        traffic = way.traffic
        if way.guest_port is not None:
            traffic = Traffic(traffic.protocol, way.guest_port, way.guest_port, sources=traffic.sources)
        ends = self._outside(traffic.sources), self._guests((f"{way.guest}/32",))
        return policy_of(name, ends, self._application(traffic), "permit")

    def _add(self, kind: str, name: str, *content: etree._Element) -> None:
        self.found[self._places[kind], (name,)] = node(self._places[kind].tag, node("name", name), *content)

    def _source_pool(self, name: str, address: str) -> str:
        self._add("source-pool", name, node("address", node("name", f"{address}/32")))
        return name

    def _context(self, source: str, target: str, policies: list[etree._Element]) -> None:
        ends = node("from-zone-name", source), node("to-zone-name", target)
        self.found[self._places["policies"], (source, target)] = node("policy", *ends, *policies)

    def _guests(self, networks: tuple[str, ...]) -> list[str]:
        """Names in the address book of the network's own zone."""
        found = []
        for network in map(IPv4Network, networks):
            if network.prefixlen == 0:
                return ["any"]
            found.append(f"n-{str(network).replace('/', '_')}")
            if found[-1] not in self._guest_book:
                book = self._zone.find("address-book")
                if book is None:
                    book = etree.SubElement(self._zone, "address-book")
                entry = node("address", node("name", found[-1]), node("ip-prefix", str(network)))
                self._guest_book[found[-1]] = entry
                book.append(entry)
        return found

    def _outside(self, networks: tuple[str, ...]) -> list[str]:
        """Names in the address book of the public zone, which all networks share."""
        found = []
        for network in map(IPv4Network, networks):
            if network.prefixlen == 0:
                return ["any"]
            found.append(f"{self._name}-{str(network).replace('/', '_')}")
            self._add("book", found[-1], node("ip-prefix", str(network)))
        return found or ["any"]

    def _application(self, traffic: Traffic) -> str:
        if traffic.protocol == "all":
            return "any"
        parts = [node("protocol", traffic.protocol)]
        if traffic.protocol in HAS_PORTS and traffic.first_port is not None:
            parts.append(node("destination-port", span(*_ports(traffic))))
        if traffic.protocol == "icmp":
            pairs = ("icmp-type", traffic.icmp_type), ("icmp-code", traffic.icmp_code)
            parts += [node(tag, str(number)) for tag, number in pairs if number is not None]
        name = f"{self._name}-{digest_of([etree.tostring(part) for part in parts])}"
        self._add("application", name, *parts)
        return name


FILTER_ENDS = (("input", "in"), ("output", "out"))


def _source_rule(name: str, source: str, pool: str) -> etree._Element:
    match = node("src-nat-rule-match", node("source-address", source))
    return node(
        "rule", node("name", name), match, node("then", node("source-nat", node("pool", node("pool-name", pool))))
    )


def _match(way: _Way) -> etree._Element:
    found = node("dest-nat-rule-match", *leaves("source-address", way.traffic.sources))
    found.append(node("destination-address", node("dst-addr", f"{way.address}/32")))
    if way.traffic.protocol != "all":
        found.append(node("protocol", way.traffic.protocol))
    if way.traffic.protocol in HAS_PORTS and way.traffic.first_port is not None:
        first, last = _ports(way.traffic)
        high = [node("to", node("high", str(last)))] if last != first else []
        found.append(node("destination-port", node("low", str(first)), *high))
    return found


def _ways(spec: RouterSpec) -> Iterator[_Way]:
    for opening in sorted(set(spec.openings), key=repr):
        for nat in sorted(spec.static_nats, key=repr):
            if nat.address == opening.address:
                yield _static_way(nat, opening)
        for one in sorted(spec.forwardings, key=repr):
            if one.address == opening.address:
                yield from _forwarded_ways(one, opening)


def _static_way(nat: StaticNat, opening: Opening) -> _Way:
    sources = () if is_everywhere(opening.traffic.sources) else canonical(opening.traffic.sources)
    found = opening.traffic
    traffic = Traffic(found.protocol, found.first_port, found.last_port, found.icmp_type, found.icmp_code, sources)
    return _Way(nat.address, nat.guest, traffic)


def _forwarded_ways(one: Forwarding, opening: Opening) -> Iterator[_Way]:
    """The ports and sources that both let in; each port by itself when it becomes another one."""
    traffic = opening.traffic
    sources = common(one.sources, traffic.sources)
    first, last = one.first_port, one.last_port
    if traffic.protocol in HAS_PORTS and traffic.first_port is not None:
        opened = _ports(traffic)
        first, last = max(first, opened[0]), min(last, opened[1])
    if traffic.protocol not in ("all", one.protocol) or first > last or sources is None:
        return
    if one.guest_port == one.first_port:
        yield _Way(one.address, one.guest, Traffic(one.protocol, first, last, sources=sources))
        return
    for port in range(first, last + 1):
        shifted = one.guest_port + port - one.first_port
        yield _Way(one.address, one.guest, Traffic(one.protocol, port, port, sources=sources), shifted)


def _ports(traffic: Traffic) -> tuple[int, int]:
    """Junos has no port 0."""
    first, last = traffic.first_port, traffic.last_port
    return max(first or 1, 1), LARGEST_PORT if last is None else last
