"""Brings a configuration into force in the network namespace that the device runs in.

Ports are devices named as they are with dashes for slashes (ge-0-0-1), logical interfaces those of them with a number
(ge-0-0-1.100). Whoever cables the device makes them; tagged ones are made here when their port is there. One without
its device is down, as without a cable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lxml import etree

from devcloud.devices.junos import load
from devcloud.devices.junos.charon import Charons
from devcloud.devices.junos.layout import Layout, Unit, device_of, layout_of, plain_address
from devcloud.devices.junos.packets import counter_name, counters_of, nft
from devcloud.devices.junos.pki import Pki
from devcloud.devices.junos.remote_access import Gateway, gateways_of
from devcloud.devices.junos.tree import texts
from devcloud.devices.linux import address_lines, addresses, batch, run, show
from devcloud.devices.trunk import Trunks

PORTS = ("ge-", "xe-", "reth", "st0.")
PORT = re.compile(r"(ge|xe)-(\d+)-(\d+)-(\d+)(\.0)?")
SETTINGS = {
    "net/ipv4/ip_forward": "1",
    # Answers of the device itself, such as those to pings, leave by the routing instance that asked.
    "net/ipv4/fwmark_reflect": "1",
    "net/ipv4/conf/all/arp_ignore": "1",
    "net/ipv4/conf/all/arp_announce": "2",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
}
INSTANCE_TABLES = 1000
"""Routing table of an instance: its number on top of this."""
INSTANCE_RULES = 100
LOCAL_RULE = 200
LAST = 240
"""Metric of routes that yield to those of who is connected."""
PROTOCOL = 240
"""Marks our routes; a number that iproute2 gives to nobody."""


class Kernel:
    """The plane of `device.Device`."""

    def __init__(self, home: Path) -> None:
        for setting, value in SETTINGS.items():
            Path("/proc/sys", setting).write_text(value)
        batch([f"rule add pref {LOCAL_RULE} lookup local", "rule del pref 0"], force=True)
        self._configuration = load.empty()
        self._trunks = Trunks()
        self._charons = Charons(home / "ipsec", Pki(home / "pki").pair)

    def apply(self, configuration: etree._Element) -> None:
        layout = layout_of(configuration)
        gateways = gateways_of(configuration, layout)
        rules = nft(configuration, layout, self.counters(), gateways)
        self._trunks.serve(layout.trunks)
        self._charons.serve(gateways)
        there = addresses(PORTS)
        for device in there:
            # A machine's own default may look for the sender in the default instance.
            Path(f"/proc/sys/net/ipv4/conf/{device}/rp_filter").write_text("0")
        batch(_address_lines(configuration, layout, there))
        batch(_route_lines(configuration, layout, set(there), gateways))
        batch(_rule_lines(layout, gateways))
        run(["nft", "-f", "-"], rules)
        self._configuration = configuration

    def counters(self) -> dict[tuple[str, str], tuple[int, int]]:
        wanted = {counter_name(*one): one for one in counters_of(self._configuration)}
        if not wanted:
            return {}
        found = json.loads(run(["nft", "-j", "list", "counters", "table", "ip", "junos"]))["nftables"]
        counted = [entry["counter"] for entry in found if "counter" in entry]
        return {wanted[one["name"]]: (one["packets"], one["bytes"]) for one in counted if one["name"] in wanted}

    def ports(self) -> dict[str, str]:
        cabled = ((PORT.fullmatch(link["ifname"]), link["address"]) for link in show("link", "show"))
        return {"{}-{}/{}/{}".format(*match.groups()): mac for match, mac in cabled if match}


def _address_lines(configuration: etree._Element, layout: Layout, there: dict[str, set[str]]) -> Iterable[str]:
    """Proxied addresses are the device's own ones: the kernel proxies none that lie in a connected network."""
    wanted: dict[str, dict[str, str]] = {device: {} for device in there}
    for unit in layout.units:
        for address in unit.addresses if unit.device in there else ():
            wanted[unit.device][str(address)] = "noprefixroute" if unit.instance else ""
    for entry in configuration.findall("security/nat/proxy-arp/interface"):
        own = wanted.get(device_of(entry.findtext("name") or ""), {})
        held = {address.partition("/")[0] for address in own}
        own.update(
            {f"{plain_address(one)}/32": "" for one in texts(entry, "address/name") if plain_address(one) not in held}
        )
    lines = [f"link set dev {unit.device} addrgenmode none up" for unit in layout.units if unit.device in there]
    return [*lines, *address_lines(there, wanted)]


def _route_lines(
    configuration: etree._Element, layout: Layout, there: set[str], gateways: tuple[Gateway, ...] = ()
) -> Iterable[str]:
    """Those that are there and not wanted go last."""
    wanted = {
        f"{route.findtext('name')} via {hop} table main"
        for route in configuration.findall("routing-options/static/route")
        for hop in texts(route, "next-hop")
    }
    for unit in layout.units:
        if unit.instance and unit.device in there:
            wanted |= set(_instance_routes(unit))
    for instance in configuration.findall("routing-instances/instance"):
        table = INSTANCE_TABLES + layout.instances[instance.findtext("name") or ""]
        wanted |= set(_static_routes(instance, table))
    for gateway in gateways:
        wanted.add(f"{gateway.address} dev {gateway.wire} table {gateway.mark}")
        inner = INSTANCE_TABLES + gateway.instance if gateway.instance else "main"
        wanted |= {f"{people} dev {gateway.tunnel} table {inner}" for people in gateway.people}
    held = {_spelled(route) for route in show("-4", "route", "show", "table", "all") if _is_ours(route)}
    yield from (f"route add {line} protocol {PROTOCOL}" for line in sorted(wanted - held))
    yield from (f"route del {line} protocol {PROTOCOL}" for line in sorted(held - wanted))


def _static_routes(instance: etree._Element, table: int) -> Iterable[str]:
    for route in instance.findall("routing-options/static/route"):
        if route.find("discard") is not None:
            name = (route.findtext("name") or "").removesuffix("/32")
            yield f"blackhole {name} metric {LAST} table {table}"
    # Without a way into the default instance the search ends here.
    if not texts(instance, "routing-options/static/route/next-table"):
        yield f"unreachable default table {table}"


def _instance_routes(unit: Unit) -> Iterable[str]:
    table = INSTANCE_TABLES + unit.instance
    for address in unit.addresses:
        yield f"{address.network} dev {unit.device} table {table}"
        yield f"local {address.ip} dev {unit.device} table {table}"


def _is_ours(route: dict[str, Any]) -> bool:
    return str(route.get("protocol")) == str(PROTOCOL)


def _spelled(route: dict[str, Any]) -> str:
    kind = route.get("type", "unicast")
    start = route["dst"] if kind == "unicast" else f"{kind} {route['dst']}"
    start = start.replace("default", "0.0.0.0/0") if kind == "unicast" else start
    way = f" via {route['gateway']}" if "gateway" in route else f" dev {route.get('dev')}"
    way = f" metric {route['metric']}" if kind == "blackhole" else way
    return f"{start}{'' if kind == 'unreachable' else way} table {route.get('table', 'main')}"


def _rule_lines(layout: Layout, gateways: tuple[Gateway, ...] = ()) -> Iterable[str]:
    """Packets from an instance's interfaces, and marked ones to it, are routed by its table before any other."""
    wanted = {
        f"pref {INSTANCE_RULES} iif {unit.device} lookup {INSTANCE_TABLES + unit.instance}"
        for unit in layout.units
        if unit.instance
    }
    wanted |= {
        f"pref {INSTANCE_RULES} fwmark {one:#x} lookup {INSTANCE_TABLES + one}" for one in layout.instances.values()
    }
    wanted |= {f"pref {INSTANCE_RULES} fwmark {one.mark:#x} lookup {one.mark}" for one in gateways}
    held = set()
    for rule in show("-4", "rule", "show"):
        if rule["priority"] == INSTANCE_RULES:
            match = f"iif {rule['iif']}" if "iif" in rule else f"fwmark {rule['fwmark']}"
            held.add(f"pref {INSTANCE_RULES} {match} lookup {rule['table']}")
    yield from (f"rule add {line}" for line in sorted(wanted - held))
    yield from (f"rule del {line}" for line in sorted(held - wanted))
