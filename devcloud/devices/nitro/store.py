"""The configuration of the device: resources by kind and key, what is in force and what is saved.

Each change is brought into force before it is answered; one that cannot be is not kept.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from devcloud.devices.linux import PlaneError
from devcloud.devices.nitro import domains, schema
from devcloud.devices.nitro.schema import RESOURCES, NitroError, Resource

Key = tuple[str, ...]
Configuration = dict[str, dict[Key, dict[str, Any]]]
SWITCHABLE = ("server", "service", "lbvserver")
FEATURES = ("LB", "REWRITE", "SSL")
BINDINGS_WITH = {
    "vlan": ("vlan_nsip_binding", "vlan_interface_binding"),
    "lbvserver": (
        "lbvserver_service_binding",
        "lbvserver_rewritepolicy_binding",
        "sslvserver_sslcertkey_binding",
    ),
    "service": ("service_lbmonitor_binding",),
    "nstrafficdomain": ("nstrafficdomain_vlan_binding",),
}
"""Bindings that end with the resource that they are made on; others keep what they name."""


class Plane(Protocol):
    """What forwards connections; refuses by PlaneError."""

    def apply(self, configuration: Configuration) -> None: ...
    def statistics(self, name: str) -> dict[str, Any]:
        """Counters and state of a virtual server, in NITRO's names."""

    def interfaces(self) -> dict[str, str]:
        """MAC addresses by interface."""


class Store:
    def __init__(self, home: Path, plane: Plane) -> None:
        self._saved, self.plane = home / "ns.conf", plane
        self._lock = threading.RLock()
        self.features: set[str] = set()
        self.running: Configuration = {name: {} for name in RESOURCES}
        if self._saved.exists():
            held = json.loads(self._saved.read_text())
            self.features = set(held["features"])
            for kind, entries in held["resources"].items():
                checked = [schema.check(RESOURCES[kind], entry) for _, entry in entries]
                self.running[kind] = {key_of(RESOURCES[kind], entry): entry for entry in checked}
        plane.apply(self.in_force)

    @property
    def in_force(self) -> Configuration:
        """Without load balancing the virtual servers are there and do not listen; without rewriting no policy holds."""
        idle = {"LB": "lbvserver", "REWRITE": "lbvserver_rewritepolicy_binding"}
        return self.running | {kind: {} for feature, kind in idle.items() if feature not in self.features}

    def save(self) -> None:
        resources = {kind: [[list(key), entry] for key, entry in held.items()] for kind, held in self.running.items()}
        fresh = self._saved.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps({"features": sorted(self.features), "resources": resources}))
        fresh.replace(self._saved)

    def enable(self, wanted: list[str], *, on: bool) -> None:
        for feature in wanted:
            if feature not in FEATURES:
                raise NitroError(schema.BAD_VALUE, f"Invalid argument value [feature, {feature}]")
        with self._lock:
            before = self.features
            self.features = before | set(wanted) if on else before - set(wanted)
            try:
                self._force(self.running)
            except NitroError:
                self.features = before
                raise

    def add(self, kind: str, given: Mapping[str, Any]) -> None:
        resource = RESOURCES[kind]
        entry = schema.check(resource, given)
        key = key_of(resource, entry)
        with self._lock:
            if key in self.running[kind]:
                raise NitroError(schema.EXISTS, f"Resource already exists [{resource.needs[0]}, {key[0]}]")
            self._check_references(resource, entry)
            domains.check(self.running, kind, entry)
            self._check_unique(kind, entry)
            changed = copy.deepcopy(self.running)
            changed[kind][key] = entry
            self._force(changed)

    def update(self, kind: str, given: Mapping[str, Any]) -> None:
        resource = RESOURCES[kind]
        entry = schema.check(resource, given, is_update=True)
        with self._lock:
            there = self.one(kind, str(entry[resource.needs[0]]))
            fixed = [name for name in entry if name in resource.fixed]
            if fixed:
                raise NitroError(schema.UNKNOWN_ARGUMENT, f"Invalid argument [{fixed[0]}]")
            changed = copy.deepcopy(self.running)
            changed[kind][key_of(resource, there)].update(entry)
            self._force(changed)

    def switch(self, kind: str, name: str, *, on: bool) -> None:
        if kind not in SWITCHABLE:
            raise NitroError(schema.NOT_PERMITTED, "Operation not permitted")
        self.update(kind, {RESOURCES[kind].needs[0]: name, "state": "ENABLED" if on else "DISABLED"})

    def delete(self, kind: str, name: str, arguments: Mapping[str, str]) -> None:
        resource = RESOURCES[kind]
        with self._lock:
            gone = self._named(resource, name, {"td": "0", **arguments} if resource.scoped else arguments)
            changed = copy.deepcopy(self.running)
            for key in gone:
                self._check_unused(resource, key)
                del changed[kind][key]
            self._check_domains(kind, name, gone)
            for binding in BINDINGS_WITH.get(kind, ()):
                changed[binding] = {key: entry for key, entry in changed[binding].items() if key[0] != name}
            self._force(changed)

    def one(self, kind: str, name: str) -> dict[str, Any]:
        found = [entry for key, entry in self.running[kind].items() if key[0] == name]
        if not found:
            raise NitroError(schema.NO_RESOURCE, f"No such resource [{RESOURCES[kind].needs[0]}, {name}]")
        return found[0]

    def every(self, kind: str, name: str = "") -> list[dict[str, Any]]:
        return [copy.copy(entry) for key, entry in self.running[kind].items() if name in ("", key[0])]

    def _named(self, resource: Resource, name: str, arguments: Mapping[str, str]) -> list[Key]:
        """Bindings are told apart by arguments; without any, all on `name` are meant."""
        found = [
            key
            for key, entry in self.running[resource.name].items()
            if key[0] == name and all(str(entry.get(field)) == value for field, value in arguments.items())
        ]
        if not found:
            kind = schema.NO_SERVICE if resource.name == "service" else schema.NO_RESOURCE
            raise NitroError(kind, f"No such resource [{resource.needs[0]}, {name}]")
        return found

    def _check_references(self, resource: Resource, entry: Mapping[str, Any]) -> None:
        for field, kind in (resource.refers or {}).items():
            if field not in entry or domains.is_default(field, entry[field]):
                continue
            if not any(key[0] == str(entry[field]) for key in self.running[kind]):
                code = schema.NO_SERVICE if kind == "service" else schema.NO_RESOURCE
                raise NitroError(
                    code, f"No such {'service' if kind == 'service' else 'resource'} [{field}, {entry[field]}]"
                )
        if resource.name == "service" and ("servername" in entry) == ("ip" in entry):
            raise NitroError(schema.MISSING_ARGUMENT, "Required argument missing [servername, ip]")
        if resource.name == "sslcertkey":
            files = {key[0] for key in self.running["systemfile"]}
            for name in (entry["cert"], entry["key"]):
                if name not in files:
                    raise NitroError(schema.NO_RESOURCE, f"Certificate or key file does not exist [{name}]")

    def _check_unique(self, kind: str, entry: Mapping[str, Any]) -> None:
        """No two services have one address, port and type; no two virtual servers one address and port."""
        spot = self._spot(kind, entry)
        if spot is not None and any(self._spot(kind, other) == spot for other in self.running[kind].values()):
            raise NitroError(schema.EXISTS, f"Resource already exists [{kind}, {':'.join(map(str, spot))}]")
        if kind == "vlan_interface_binding":
            bound = [one for one in self.running[kind].values() if one["ifnum"] == entry["ifnum"]]
            if not is_tagged(entry) and any(not is_tagged(one) for one in bound):
                raise NitroError(
                    schema.INTERFACE_BOUND, f"Interface is already bound to another VLAN [{entry['ifnum']}]"
                )

    def _spot(self, kind: str, entry: Mapping[str, Any]) -> tuple[Any, ...] | None:
        if kind == "service":
            address = entry.get("ip") or self.one("server", entry["servername"])["ipaddress"]
            return address, entry["port"], entry["servicetype"], entry["td"]
        if kind == "lbvserver" and "ipv46" in entry:
            return entry["ipv46"], entry.get("port"), entry["td"]
        return None

    def _check_unused(self, resource: Resource, key: Key) -> None:
        for other in RESOURCES.values():
            for field, kind in (other.refers or {}).items():
                if kind != resource.name or other.name in BINDINGS_WITH.get(resource.name, ()):
                    continue
                users = list(self.running[other.name].values())
                if resource.scoped:
                    users = [entry for entry in users if str(entry["td"]) == key[1]]
                if any(str(entry.get(field)) == key[0] for entry in users):
                    raise NitroError(
                        schema.NOT_PERMITTED, f"Operation not permitted: {key[0]} is in use by a {other.name}"
                    )

    def _check_domains(self, kind: str, name: str, gone: list[Key]) -> None:
        """A VLAN leaves its traffic domain, itself or with the domain, only when it has no address there."""
        if kind == domains.BINDING:
            left = [key[1] for key in gone]
        else:
            left = [vlan for vlan, td in domains.of_vlans(self.running).items() if kind == "nstrafficdomain"
                    and str(td) == name]  # fmt: skip
        for vlan in left:
            domains.check_empty(self.running, vlan)

    def _force(self, changed: Configuration) -> None:
        before, self.running = self.running, changed
        try:
            self.plane.apply(self.in_force)
        except PlaneError as error:
            self.running = before
            raise NitroError(schema.INTERNAL, f"Internal error: {error}") from error


def key_of(resource: Resource, entry: Mapping[str, Any]) -> Key:
    names = resource.needs if resource.is_binding else resource.needs[:1] + ("td",) * resource.scoped
    return tuple(str(entry[name]) for name in names)


def is_tagged(entry: Mapping[str, Any]) -> bool:
    return str(entry.get("tagged", "")).lower() == "true"
