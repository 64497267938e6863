"""Brings a configuration into force in the network namespace that the device runs in.

What is in no VLAN is the device `public`, the interface 1/1; interface 1/2 is the device 1-2. VLAN n is the device
vlan<n>. Whoever cables the device makes them; VLANs are made here when the interface that they are bound to is there.
A VLAN of a traffic domain is in the network namespace of that domain.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

from devcloud.devices.linux import address_lines, addresses, batch, show
from devcloud.devices.nitro import domains
from devcloud.devices.nitro.haproxy import short, text
from devcloud.devices.nitro.namespaces import Namespaces
from devcloud.devices.nitro.process import Haproxy, end_leftovers
from devcloud.devices.nitro.store import Configuration, is_tagged
from devcloud.devices.trunk import Trunks

PUBLIC, VLAN, DOMAIN_HOME = "public", "vlan", "lo"
LOOPBACK = "127.0.0.1/8"
PUBLIC_INTERFACE = "1/1"
INTERFACE = re.compile(r"(\d+)-(\d+)")
PROTOCOL = "241"
COUNTED = {"tothits": "stot", "totalrequestbytes": "bin", "totalresponsebytes": "bout", "curclntconnections": "scur"}


class Kernel:
    """The plane of `store.Store`."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._balancers: dict[int, Haproxy] = {}
        self._trunks, self._domains = Trunks(), Namespaces()
        (home / "ssl").mkdir(mode=0o700, exist_ok=True)
        end_leftovers(home)
        self._led: tuple[Any, ...] = ()
        for setting in ("rp_filter", "send_redirects"):
            Path(f"/proc/sys/net/ipv4/conf/all/{setting}").write_text("0")

    def apply(self, configuration: Configuration) -> None:
        present = {int(entry["td"]) for entry in configuration["nstrafficdomain"].values()}
        self._domains.ensure(present)
        self._trunks.serve(_trunks(configuration))
        self._lead(configuration, present)
        self._write_certificates(configuration)
        self._balance(configuration, present)
        self._domains.keep(present)

    def _balance(self, configuration: Configuration, present: set[int]) -> None:
        """Have each traffic domain served from within: a process of HAProxy that is leaving enters no namespace."""
        texts = {one: text(configuration, str(self._home / "ssl"), one, self._domains.file) for one in (0, *present)}
        for domain, wanted in texts.items():
            balancer = self._balancers.setdefault(domain, Haproxy(self._home, domain))
            if wanted or balancer.runs:
                balancer.serve(wanted, self._domains.path(domain))
        for domain in self._balancers.keys() - texts.keys():
            self._balancers.pop(domain).stop()

    def _lead(self, configuration: Configuration, present: set[int]) -> None:
        """Bring devices, addresses and routes to their places, unless all are there since the last time."""
        servers = [(one.get("ipv46"), one["td"]) for one in configuration["lbvserver"].values()]
        kinds = ("nsip", "vlan_nsip_binding", domains.BINDING, "nstrafficdomain", "route")
        wanted = repr(([configuration[kind] for kind in kinds], servers))
        if self._led == (wanted, _devices()):
            return
        self._domains.place({f"{VLAN}{vlan}": td for vlan, td in domains.of_vlans(configuration).items()})
        for domain in (0, *sorted(present)):
            _address(configuration, domain, self._domains.path(domain))
        self._led = (wanted, _devices())

    def stop(self) -> None:
        for one in self._balancers.values():
            one.stop()

    def statistics(self, name: str) -> dict[str, Any]:
        rows = {key: row for one in self._balancers.values() for key, row in one.rows().items()}
        front, back = rows.get((f"v_{short(name)}", "FRONTEND")), f"b_{short(name)}"
        members = [row for (group, one), row in rows.items() if group == back and one != "BACKEND"]
        up = sum(row["status"].startswith("UP") for row in members)
        found: dict[str, Any] = {field: int(front[column] or 0) if front else 0 for field, column in COUNTED.items()}
        found["state"] = "UP" if up and front else "DOWN"
        found["vslbhealth"] = 100 * up // len(members) if members else 0
        return {**found, "actsvcs": up, "inactsvcs": len(members) - up}

    def interfaces(self) -> dict[str, str]:
        there = {link["ifname"]: link["address"] for link in show("link", "show")}
        found = {f"{match[1]}/{match[2]}": there[match[0]] for match in map(INTERFACE.fullmatch, there) if match}
        return found | ({PUBLIC_INTERFACE: there[PUBLIC]} if PUBLIC in there else {})

    def _write_certificates(self, configuration: Configuration) -> None:
        files = {key[0]: entry["filecontent"] for key, entry in configuration["systemfile"].items()}
        for entry in configuration["sslcertkey"].values():
            content = b"\n".join(base64.b64decode(files[entry[part]]) for part in ("cert", "key"))
            path = self._home / "ssl" / f"{short(entry['certkey'])}.pem"
            path.touch(mode=0o600)
            path.write_bytes(content)


def _devices() -> list[str]:
    return sorted(link["ifname"] for link in show("link", "show"))


def _trunks(configuration: Configuration) -> dict[str, dict[str, int]]:
    """Devices of tagged VLANs with their numbers, by the device of their interface."""
    found: dict[str, dict[str, int]] = {}
    for entry in configuration["vlan_interface_binding"].values():
        if is_tagged(entry):
            port = str(entry["ifnum"]).replace("/", "-")
            found.setdefault(port, {})[f"{VLAN}{entry['id']}"] = int(entry["id"])
    return found


def _address(configuration: Configuration, domain: int, inside: str) -> None:
    """Addresses and routes of a traffic domain, in the namespace whose file is `inside`."""
    # What is in no VLAN of another domain than 0 has no device of its own.
    home = DOMAIN_HOME if domain else PUBLIC
    there = addresses((home, VLAN), inside=inside)
    there = {device: held - {LOOPBACK} for device, held in there.items()}
    wanted = _addresses_of(configuration, domain, home, there)
    batch(
        [*(f"link set dev {device} addrgenmode none up" for device in there), *address_lines(there, wanted)],
        inside=inside,
    )
    routes = {
        f"{IPv4Interface(entry['network'] + '/' + entry['netmask'])} via {entry['gateway']}"
        for entry in configuration["route"].values()
        if entry["td"] == domain
    }
    ours = [one for one in show("-4", "route", "show", inside=inside) if str(one.get("protocol")) == PROTOCOL]
    held_routes = {f"{one['dst'].replace('default', '0.0.0.0/0')} via {one['gateway']}" for one in ours}
    batch((f"route add {line} protocol {PROTOCOL}" for line in sorted(routes - held_routes)), inside=inside)
    batch((f"route del {line} protocol {PROTOCOL}" for line in sorted(held_routes - routes)), inside=inside)


def _addresses_of(
    configuration: Configuration, domain: int, home: str, devices: Iterable[str]
) -> dict[str, dict[str, str]]:
    """What `linux.address_lines` wants, for the devices of a traffic domain."""
    vlans = {
        key[1]: f"{VLAN}{key[0]}" for key, entry in configuration["vlan_nsip_binding"].items() if entry["td"] == domain
    }
    wanted: dict[str, dict[str, str]] = {device: {} for device in devices}
    for entry in configuration["nsip"].values():
        prefix = IPv4Interface(f"{entry['ipaddress']}/{entry['netmask']}")
        device = vlans.get(entry["ipaddress"], home)
        if device in wanted and entry["td"] == domain:
            wanted[device][str(prefix)] = ""
    held = {address.partition("/")[0] for own in wanted.values() for address in own}
    servers = [entry for entry in configuration["lbvserver"].values() if entry["td"] == domain]
    for entry in servers:
        if home in wanted and entry.get("ipv46", "0.0.0.0") not in {*held, "0.0.0.0"}:  # noqa: S104 - none
            wanted[home][f"{entry['ipv46']}/32"] = ""
    return wanted
