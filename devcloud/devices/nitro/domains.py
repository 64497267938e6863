"""Which traffic domain a thing of the configuration is in, and what domains forbid; 0 is the one that is always there.

Source: NetScaler product documentation, "Traffic domains" and "Inter traffic domain entity bindings".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devcloud.devices.nitro import schema
from devcloud.devices.nitro.schema import NitroError

Configuration = dict[str, dict[tuple[str, ...], dict[str, Any]]]
BINDING = "nstrafficdomain_vlan_binding"


def of_vlans(configuration: Configuration) -> dict[str, int]:
    """Domains by VLAN, of the VLANs that are in another than 0."""
    return {str(entry["vlan"]): int(entry["td"]) for entry in configuration[BINDING].values()}


def is_default(field: str, value: Any) -> bool:
    """Whether the argument names the domain that nobody makes."""
    return field == "td" and int(value) == 0


def check(configuration: Configuration, kind: str, entry: Mapping[str, Any]) -> None:
    """Refuse a new entry that would lead from one domain to another.

    :raises NitroError: it would
    """
    match kind:
        case "nstrafficdomain_vlan_binding":
            _check_vlan(configuration, entry)
        case "vlan_nsip_binding":
            key = str(entry["ipaddress"]), str(entry["td"])
            if key not in configuration["nsip"]:
                raise NitroError(schema.NO_RESOURCE, f"No such resource [ipaddress, {entry['ipaddress']}]")
            if of_vlans(configuration).get(str(entry["id"]), 0) != entry["td"]:
                _refuse(f"VLAN {entry['id']} is not in the traffic domain {entry['td']} of {entry['ipaddress']}")
        case "service" if "servername" in entry:
            server = configuration["server"][str(entry["servername"]),]
            if server["td"] != entry["td"]:
                _refuse(f"server {entry['servername']} is in the traffic domain {server['td']}, not {entry['td']}")
        case "lbvserver_service_binding":
            services = configuration["service"]
            bound = [key[1] for key in configuration[kind] if key[0] == entry["name"]]
            if len({services[name,]["td"] for name in (*bound, str(entry["servicename"]))}) > 1:
                _refuse(f"services of {entry['name']} would be in several traffic domains")


def _check_vlan(configuration: Configuration, entry: Mapping[str, Any]) -> None:
    held = of_vlans(configuration).get(str(entry["vlan"]))
    if held is not None:
        _refuse(f"VLAN {entry['vlan']} is already in the traffic domain {held}")
    check_empty(configuration, str(entry["vlan"]))


def check_empty(configuration: Configuration, vlan: str) -> None:
    """:raises NitroError: the VLAN has addresses, which are those of its traffic domain"""
    if any(key[0] == vlan for key in configuration["vlan_nsip_binding"]):
        _refuse(f"VLAN {vlan} has addresses of its traffic domain")


def _refuse(reason: str) -> None:
    raise NitroError(schema.NOT_PERMITTED, f"Operation not permitted: {reason}")
