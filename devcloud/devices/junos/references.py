"""What is looked at when a candidate is committed: statements that need others."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

from lxml import etree

from devcloud.devices.junos import vpn_references
from devcloud.devices.junos.errors import RpcError
from devcloud.devices.junos.tree import Complaint, texts, units

ANY = ("any", "any-ipv4")
SHIPPED_APPLICATIONS = ("any",)
HAS_PORTS = ("tcp", "udp")


def check(configuration: etree._Element) -> None:
    """:raises RpcError: the first statement that refers to nothing, or says what cannot be"""
    own = (_units, _zones, _instances, _source_nat, _static_nat, _destination_nat, _policies, _applications)
    for looks in (*own, *vpn_references.LOOKS):
        for path, element, message in looks(configuration):
            raise RpcError(message, kind="application", path=f"[edit {path}]", element=element)


def _units(configuration: etree._Element) -> Iterator[Complaint]:
    filters = texts(configuration, "firewall/filter/name")
    for interface in configuration.findall("interfaces/interface"):
        name, is_tagged = interface.findtext("name"), interface.find("vlan-tagging") is not None
        tags = texts(interface, "unit/vlan-id")
        for unit in interface.findall("unit"):
            path, tag = f"interfaces {name} unit {unit.findtext('name')}", unit.findtext("vlan-id")
            if is_tagged and tag is None:
                yield path, "vlan-id", "VLAN-ID must be specified on tagged ethernet interfaces"
            if tag is not None and not is_tagged:
                yield path, "vlan-id", "VLAN-ID cannot be specified on untagged interfaces"
            if tag is not None and tags.count(tag) > 1:
                yield path, "vlan-id", f"duplicate VLAN-ID on interface {name}"
            for filter_name in texts(unit, "family/inet/filter/*/filter-name"):
                if filter_name not in filters:
                    yield f"{path} family inet", "filter", f"Referenced filter '{filter_name}' is not defined"


def _zones(configuration: etree._Element) -> Iterator[Complaint]:
    known = {name for name, _ in units(configuration)}
    seen: dict[str, str] = {}
    for zone in configuration.findall("security/zones/security-zone"):
        name = zone.findtext("name") or ""
        path = f"security zones security-zone {name}"
        for interface in texts(zone, "interfaces/name"):
            if interface not in known:
                yield path, "interfaces", f"Interface {interface} must be configured under interfaces"
            if seen.setdefault(interface, name) != name:
                yield path, "interfaces", f"Interface {interface} already assigned to another zone"
        for entry in zone.findall("address-book/address"):
            if entry.find("ip-prefix") is None:
                yield (
                    f"{path} address-book address {entry.findtext('name')}",
                    "ip-prefix",
                    "Missing mandatory statement",
                )


def _instances(configuration: etree._Element) -> Iterator[Complaint]:
    known = {name for name, _ in units(configuration)}
    seen: dict[str, str] = {}
    for instance in configuration.findall("routing-instances/instance"):
        name = instance.findtext("name") or ""
        path = f"routing-instances {name}"
        if instance.find("instance-type") is None:
            yield path, "instance-type", "instance-type must be configured"
        for interface in texts(instance, "interface/name"):
            if interface not in known:
                yield path, "interface", f"interface {interface} is not configured"
            if seen.setdefault(interface, name) != name:
                yield path, "interface", f"interface {interface} is already in another routing instance"
        for table in texts(instance, "routing-options/static/route/next-table"):
            if table != "inet.0":
                yield f"{path} routing-options", "next-table", f"next-table {table} is not defined"


def _rule_sets(configuration: etree._Element, kind: str) -> Iterator[Complaint]:
    """Zones must be there, and no two rule-sets have the same context."""
    zones, seen = set(texts(configuration, "security/zones/security-zone/name")), dict[tuple[str, str], str]()
    for one in configuration.findall(f"security/nat/{kind}/rule-set"):
        name = one.findtext("name") or ""
        path = f"security nat {kind} rule-set {name}"
        froms, tos = texts(one, "from/zone"), texts(one, "to/zone")
        if not froms or (kind == "source" and not tos):
            yield path, "from" if not froms else "to", "Missing mandatory statement: context of the rule-set"
        for zone in (*froms, *tos):
            if zone not in zones:
                yield path, "zone", f"Zone {zone} is not defined"
        for context in [(source, target) for source in froms for target in tos or [""]]:
            if seen.setdefault(context, name) != name:
                yield path, "rule-set", f"Rule-set {name} has the same context as rule-set {seen[context]}"
        for rule in one.findall("rule"):
            if rule.find("then") is None:
                yield f"{path} rule {rule.findtext('name')}", "then", "Missing mandatory statement: 'then'"


def _source_nat(configuration: etree._Element) -> Iterator[Complaint]:
    yield from _rule_sets(configuration, "source")
    yield from _pools(configuration, "source", "source-nat")
    for pool in configuration.findall("security/nat/source/pool"):
        if pool.find("address") is None:
            yield (
                f"security nat source pool {pool.findtext('name')}",
                "address",
                "Missing mandatory statement: 'address'",
            )


def _pools(configuration: etree._Element, kind: str, action: str) -> Iterator[Complaint]:
    known = texts(configuration, f"security/nat/{kind}/pool/name")
    for one in configuration.findall(f"security/nat/{kind}/rule-set"):
        for rule in one.findall("rule"):
            path = f"security nat {kind} rule-set {one.findtext('name')} rule {rule.findtext('name')} then"
            for pool in texts(rule, f"then/{action}/pool/pool-name"):
                if pool not in known:
                    yield path, action, f"Pool {pool} is not defined under [edit security nat {kind}]"


def _static_nat(configuration: etree._Element) -> Iterator[Complaint]:
    yield from _rule_sets(configuration, "static")
    instances = texts(configuration, "routing-instances/instance/name")
    for one in configuration.findall("security/nat/static/rule-set"):
        for rule in one.findall("rule"):
            path = f"security nat static rule-set {one.findtext('name')} rule {rule.findtext('name')}"
            outer = rule.findtext("static-nat-rule-match/destination-address/dst-addr")
            inner = rule.findtext("then/static-nat/prefix/addr-prefix")
            if outer is None or inner is None:
                yield path, "rule", "Missing mandatory statement: destination-address and prefix"
            elif IPv4Network(outer).prefixlen != IPv4Network(inner).prefixlen:
                yield path, "prefix", "Prefix length of destination-address and static-nat prefix must be the same"
            for instance in texts(rule, "then/static-nat/prefix/routing-instance"):
                if instance not in instances:
                    yield path, "routing-instance", f"Routing-instance {instance} is not defined"


def _destination_nat(configuration: etree._Element) -> Iterator[Complaint]:
    yield from _rule_sets(configuration, "destination")
    yield from _pools(configuration, "destination", "destination-nat")
    instances = texts(configuration, "routing-instances/instance/name")
    for pool in configuration.findall("security/nat/destination/pool"):
        path = f"security nat destination pool {pool.findtext('name')}"
        if pool.find("address/ipaddr") is None:
            yield path, "address", "Missing mandatory statement: 'address'"
        for instance in texts(pool, "routing-instance/ri-name"):
            if instance not in instances:
                yield path, "routing-instance", f"Routing-instance {instance} is not defined"
    for rule in configuration.findall("security/nat/destination/rule-set/rule"):
        if rule.find("dest-nat-rule-match/destination-address/dst-addr") is None:
            path = f"security nat destination rule-set rule {rule.findtext('name')}"
            yield path, "destination-address", "Missing mandatory statement: 'destination-address'"


def _policies(configuration: etree._Element) -> Iterator[Complaint]:
    zones = {zone.findtext("name"): zone for zone in configuration.findall("security/zones/security-zone")}
    applications = {*texts(configuration, "applications/application/name"), *SHIPPED_APPLICATIONS}
    for context in configuration.findall("security/policies/policy"):
        ends = context.findtext("from-zone-name"), context.findtext("to-zone-name")
        path = f"security policies from-zone {ends[0]} to-zone {ends[1]}"
        for zone in ends:
            if zone not in zones and zone != "junos-host":
                yield path, "policy", f"Security zone {zone} is not defined"
        for policy in context.findall("policy"):
            yield from _policy(policy, f"{path} policy {policy.findtext('name')}", (zones, ends), applications)


def _policy(
    policy: etree._Element,
    path: str,
    context: tuple[dict[str | None, etree._Element], tuple[str | None, str | None]],
    applications: set[str],
) -> Iterator[Complaint]:
    zones, ends = context
    for name, zone in zip(("source-address", "destination-address"), ends, strict=True):
        book = texts(zones[zone], "address-book/address/name") if zone in zones else []
        given = texts(policy, f"match/{name}")
        if not given:
            yield f"{path} match", name, f"Missing mandatory statement: '{name}'"
        for address in given:
            if address not in (*ANY, *book):
                yield f"{path} match", name, f"Address or address-set {address} not found in zone {zone}"
    given = texts(policy, "match/application")
    if not given:
        yield f"{path} match", "application", "Missing mandatory statement: 'application'"
    for application in given:
        if application not in applications:
            yield f"{path} match", "application", f"Application or application-set {application} must be defined"
    if not any(policy.find(f"then/{action}") is not None for action in ("permit", "deny", "reject")):
        yield path, "then", "Missing mandatory statement: 'then'"


def _applications(configuration: etree._Element) -> Iterator[Complaint]:
    for one in configuration.findall("applications/application"):
        path, protocol = f"applications application {one.findtext('name')}", one.findtext("protocol")
        if protocol is None:
            yield path, "protocol", "Missing mandatory statement: 'protocol'"
        if one.find("destination-port") is not None and protocol not in HAS_PORTS:
            yield path, "destination-port", "Ports need protocol tcp or udp"
        if one.find("icmp-type") is not None and protocol != "icmp":
            yield path, "icmp-type", "ICMP types need protocol icmp"
