"""What a committed configuration means for packets: interfaces, routing instances, zones and public addresses."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network

from lxml import etree

from devcloud.devices.junos.tree import networks_of, texts, units
from devcloud.devices.linux import PlaneError

MOST_NUMBERS = 60000


@dataclass(frozen=True)
class Unit:
    """A logical interface; `device` is the kernel's name of it, `instance` 0 for the default routing instance.

    `vlan` is that of its frames on the port, 0 for frames without a tag.
    """

    name: str
    device: str
    addresses: tuple[IPv4Interface, ...]
    instance: int
    inputs: str
    outputs: str
    answers_pings: bool
    vlan: int = 0


@dataclass(frozen=True)
class Layout:
    """`zones` maps names to devices, `zone_numbers` and `instances` names to numbers that stay from commit to commit.

    `owners` are the routing instances that public addresses lead to.
    """

    units: tuple[Unit, ...]
    zones: dict[str, tuple[str, ...]]
    zone_numbers: dict[str, int]
    instances: dict[str, int]
    owners: dict[str, int]

    @property
    def trunks(self) -> dict[str, dict[str, int]]:
        """Devices of tagged interfaces with their VLANs, by port."""
        found: dict[str, dict[str, int]] = {}
        for unit in self.units:
            if unit.vlan:
                found.setdefault(unit.device.rpartition(".")[0], {})[unit.device] = unit.vlan
        return found

    def devices(self, zones: Iterable[str]) -> list[str]:
        return sorted(device for zone in zones for device in self.zones.get(zone, ()))


def device_of(name: str) -> str:
    """Devices of the kernel have no slashes in their names."""
    return name.replace("/", "-")


def layout_of(configuration: etree._Element) -> Layout:
    """:raises PlaneError: a public address leads to several routing instances, which this device cannot forward"""
    instances = _numbers(texts(configuration, "routing-instances/instance/name"))
    inside = {
        interface: instances[instance.findtext("name") or ""]
        for instance in configuration.findall("routing-instances/instance")
        for interface in texts(instance, "interface/name")
    }
    zones = {zone.findtext("name") or "": zone for zone in configuration.findall("security/zones/security-zone")}
    pinged = {name for zone in zones.values() for name in _pinged(zone)}
    found = tuple(
        Unit(
            name=name,
            device=device_of(name),
            addresses=tuple(networks_of(unit)),
            instance=inside.get(name, 0),
            inputs=unit.findtext("family/inet/filter/input/filter-name") or "",
            outputs=unit.findtext("family/inet/filter/output/filter-name") or "",
            answers_pings=name in pinged,
            vlan=int(unit.findtext("vlan-id") or 0),
        )
        for name, unit in units(configuration)
    )
    members = {name: texts(zone, "interfaces/name") for name, zone in zones.items()}
    devices = {name: tuple(map(device_of, interfaces)) for name, interfaces in members.items()}
    sides = {name: {inside.get(one, 0) for one in interfaces} for name, interfaces in members.items()}
    return Layout(found, devices, _numbers(zones), instances, _owners(configuration, instances, sides))


def _pinged(zone: etree._Element) -> list[str]:
    return [
        entry.findtext("name") or ""
        for entry in zone.findall("interfaces")
        if {"ping", "all"} & set(texts(entry, "host-inbound-traffic/system-services/name"))
    ]


def _numbers(names: Iterable[str]) -> dict[str, int]:
    """A number for each name that does not depend on the others, so that connections keep theirs."""
    found: dict[str, int] = {}
    for name in sorted(names):
        number = 1 + zlib.crc32(name.encode()) % MOST_NUMBERS
        while number in found.values():
            number += 1
        found[name] = number
    return found


def _owners(configuration: etree._Element, instances: dict[str, int], sides: dict[str, set[int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for address, instance in _led(configuration, instances, sides):
        if found.setdefault(address, instance) != instance:
            raise PlaneError(f"{address} leads to two routing instances")
    return {address: instance for address, instance in found.items() if instance}


def _led(configuration: etree._Element, instances: dict[str, int], sides: dict[str, set[int]]) -> list[tuple[str, int]]:
    nat = configuration.find("security/nat")
    if nat is None:
        return []
    pools = {
        pool.findtext("name"): instances.get(pool.findtext("routing-instance/ri-name") or "", 0)
        for pool in nat.findall("destination/pool")
    }
    found = [
        (plain_address(rule.findtext("dest-nat-rule-match/destination-address/dst-addr") or ""), pools[name])
        for rule in nat.findall("destination/rule-set/rule")
        if (name := rule.findtext("then/destination-nat/pool/pool-name"))
    ]
    found += [
        (
            plain_address(rule.findtext("static-nat-rule-match/destination-address/dst-addr") or ""),
            instances.get(rule.findtext("then/static-nat/prefix/routing-instance") or "", 0),
        )
        for rule in nat.findall("static/rule-set/rule")
    ]
    sources = {pool.findtext("name"): texts(pool, "address/name") for pool in nat.findall("source/pool")}
    for rule_set in nat.findall("source/rule-set"):
        inner = {side for zone in texts(rule_set, "from/zone") for side in sides[zone]}
        for name in texts(rule_set, "rule/then/source-nat/pool/pool-name"):
            found += [(plain_address(prefix), side) for prefix in sources[name] for side in inner]
    return found


def plain_address(prefix: str) -> str:
    """:raises PlaneError: it is more than one address"""
    network = IPv4Network(prefix)
    if network.num_addresses != 1:
        raise PlaneError(f"{prefix}: this device translates single addresses only")
    return str(network.network_address)
