"""What is looked at of VPNs when a candidate is committed."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from lxml import etree

from devcloud.devices.junos.tree import Complaint, named, networks_of, texts, units

MOST_PROPOSALS = 4
GATEWAY_NEEDS = ("ike-policy", "external-interface")


def _policies(configuration: etree._Element) -> Iterator[Complaint]:
    for kind in ("ike", "ipsec"):
        known = named(configuration, f"security/{kind}/proposal")
        for name, policy in named(configuration, f"security/{kind}/policy").items():
            path, given = f"security {kind} policy {name}", texts(policy, "proposals")
            if not given:
                yield path, "proposals", "Missing mandatory statement: 'proposals'"
            if len(given) > MOST_PROPOSALS:
                yield path, "proposals", f"Number of proposals exceeds the maximum of {MOST_PROPOSALS}"
            for proposal in given:
                if proposal not in known:
                    yield path, "proposals", f"Proposal {proposal} is not defined"
            methods = {known[one].findtext("authentication-method") for one in given if one in known}
            if kind == "ike" and methods - {"pre-shared-keys"} and not texts(policy, "certificate/local-certificate"):
                yield path, "certificate", "local-certificate must be configured for authentication by signatures"


def _gateways(configuration: etree._Element) -> Iterator[Complaint]:
    known = {
        "ike-policy": ("IKE policy", named(configuration, "security/ike/policy")),
        "aaa/access-profile/name": ("Access profile", named(configuration, "access/profile")),
    }
    for name, gateway in named(configuration, "security/ike/gateway").items():
        path = f"security ike gateway {name}"
        for needed in GATEWAY_NEEDS:
            if gateway.find(needed) is None:
                yield path, needed, f"Missing mandatory statement: '{needed}'"
        for tag, (title, entries) in known.items():
            for other in texts(gateway, tag):
                if other not in entries:
                    yield path, tag.partition("/")[0], f"{title} {other} is not defined"


def _ends(configuration: etree._Element) -> Iterator[Complaint]:
    """Where gateways listen."""
    interfaces, taken = dict(units(configuration)), set[str]()
    for name, gateway in named(configuration, "security/ike/gateway").items():
        path, interface = f"security ike gateway {name}", gateway.findtext("external-interface") or ""
        if interface not in interfaces:
            yield path, "external-interface", f"Interface {interface} must be configured under interfaces"
            continue
        own = {str(one.ip) for one in networks_of(interfaces[interface])}
        for address in texts(gateway, "local-address"):
            if address not in own:
                yield path, "local-address", f"Address {address} is not configured on {interface}"
            if address in taken:
                yield path, "local-address", f"Another gateway ends at {address}"
            taken.add(address)


def _vpns(configuration: etree._Element) -> Iterator[Complaint]:
    gateways = named(configuration, "security/ike/gateway")
    policies = named(configuration, "security/ipsec/policy")
    interfaces, bound = dict(units(configuration)), dict[str, str]()
    for name, vpn in named(configuration, "security/ipsec/vpn").items():
        path = f"security ipsec vpn {name}"
        for tag, known in (("gateway", gateways), ("ipsec-policy", policies)):
            for other in texts(vpn, f"ike/{tag}") or [""]:
                if other not in known:
                    yield f"{path} ike", tag, f"{tag} {other} is not defined"
        for interface in texts(vpn, "bind-interface"):
            if not interface.startswith("st0.") or interface not in interfaces:
                yield path, "bind-interface", f"Tunnel interface {interface} must be configured under interfaces"
            if bound.setdefault(interface, name) != name:
                yield path, "bind-interface", f"Interface {interface} is bound to another VPN"


def _access(configuration: etree._Element) -> Iterator[Complaint]:
    pools = set(texts(configuration, "access/address-assignment/pool/name"))
    pools |= set(texts(configuration, "routing-instances/instance/access/address-assignment/pool/name"))
    for name, profile in named(configuration, "access/profile").items():
        path = f"access profile {name}"
        for pool in texts(profile, "address-assignment/pool"):
            if pool not in pools:
                yield path, "address-assignment", f"Address pool {pool} is not defined"
    for start in ("", "routing-instances/instance/"):
        for one in configuration.findall(f"{start}access/address-assignment/pool"):
            yield from _pool(f"access address-assignment pool {one.findtext('name')}", one)


def _pool(path: str, pool: etree._Element) -> Iterator[Complaint]:
    network = pool.findtext("family/inet/network")
    if network is None:
        yield path, "network", "Missing mandatory statement: 'network'"
        return
    for span in pool.findall("family/inet/range"):
        low, high = span.findtext("low"), span.findtext("high")
        if low is None or high is None:
            yield path, "range", "Missing mandatory statement: 'low' and 'high'"
        elif not IPv4Address(low) <= IPv4Address(high) or not _holds(network, low, high):
            yield path, "range", f"Range {low} to {high} does not lie in {network}"


def _holds(network: str, *addresses: str) -> bool:
    return all(IPv4Address(one) in IPv4Network(network) for one in addresses)


def _proxied(configuration: etree._Element) -> Iterator[Complaint]:
    interfaces = dict(units(configuration))
    for entry in configuration.findall("security/nat/proxy-arp/interface"):
        name = entry.findtext("name") or ""
        own = {str(one.ip) for one in networks_of(interfaces[name])} if name in interfaces else set()
        for address in texts(entry, "address/name"):
            if address.partition("/")[0] in own:
                path = f"security nat proxy-arp interface {name}"
                yield path, "address", f"Proxy ARP address {address} overlaps with an address of the interface"


LOOKS = (_policies, _gateways, _ends, _vpns, _access, _proxied)
