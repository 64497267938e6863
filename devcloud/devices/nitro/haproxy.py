"""The configuration in force as one file of HAProxy: a pure function."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from devcloud.devices.linux import PlaneError
from devcloud.devices.nitro.store import Configuration

Entry = dict[str, Any]
METHODS = {"ROUNDROBIN": "roundrobin", "LEASTCONNECTION": "leastconn", "SOURCEIPHASH": "source"}
HTTP = ("HTTP", "SSL")
DEFAULT_MONITOR = {"type": "TCP", "interval": 5, "resptimeout": 2, "retries": 3, "successretries": 1}
SUBNET = re.compile(r"CLIENT\.IP\.SRC\.IN_SUBNET\(([0-9./]+)\)")
COOKIE = re.compile(r'HTTP\.REQ\.COOKIE\.VALUE\("([A-Za-z0-9_.-]{1,64})"\)')
SET_COOKIE = re.compile(r'HTTP\.RES\.SET_COOKIE\.COOKIE\("([A-Za-z0-9_.-]{1,64})"\)\.VALUE\("\1"\)')
GLOBAL = """global
  stats socket {socket} mode 600 level admin
  server-state-file {state}
  maxconn 1000
defaults
  timeout connect 4s
  timeout client 120s
  timeout server 120s
  retries 2
  option redispatch
  load-server-state-from-file global
"""


def short(name: str) -> str:
    """A name that HAProxy takes, for any of the device."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def text(configuration: Configuration, folder: str, place: Callable[[int], str]) -> str:
    """All but the global part; certificates lie in `folder`, `place` is the file of a traffic domain's namespace.

    :raises PlaneError: an expression is none that this device evaluates
    """
    services = {entry["name"]: entry for entry in configuration["service"].values()}
    used = {entry["servicename"] for entry in configuration["lbvserver_service_binding"].values()}
    lines = [line for name in sorted(used) for line in _watched(configuration, services[name], place)]
    for entry in configuration["lbvserver"].values():
        lines += _front(configuration, entry, folder, place)
        lines += _back(configuration, entry, services, place)
    return "".join(f"{line}\n" for line in lines)


def _within(entry: Entry, place: Callable[[int], str]) -> str:
    """HAProxy looks for names of namespaces in /run/netns, from where a path leads to any."""
    found = place(int(entry["td"]))
    return f" namespace ../..{found}" if found else ""


def address_of(configuration: Configuration, service: Entry) -> str:
    if "ip" in service:
        return str(service["ip"])
    return str(configuration["server"][service["servername"],]["ipaddress"])


def _watched(configuration: Configuration, service: Entry, place: Callable[[int], str]) -> Iterator[str]:
    """Each service is watched once, whatever virtual servers it is bound to."""
    names = [key[1] for key in configuration["service_lbmonitor_binding"] if key[0] == service["name"]]
    monitors = [configuration["lbmonitor"][name,] for name in names] or [DEFAULT_MONITOR]
    if len(monitors) > 1:
        raise PlaneError(f"{service['name']} has {len(monitors)} monitors; this device evaluates one")
    monitor = {**DEFAULT_MONITOR, **monitors[0]}
    yield f"backend s_{short(service['name'])}"
    yield f"  timeout check {monitor['resptimeout']}s"
    if monitor["type"] == "HTTP":
        method, _, path = str(monitor.get("httprequest", "HEAD /")).partition(" ")
        yield "  option httpchk"
        yield f"  http-check send meth {method} uri {path} ver HTTP/1.1 hdr Host {address_of(configuration, service)}"
        yield f"  http-check expect status {','.join(monitor.get('respcode', ['200']))}"
    counts = f"inter {monitor['interval']}s fall {monitor['retries']} rise {monitor['successretries']}"
    where = f"{address_of(configuration, service)}:{service['port']}{_within(service, place)}"
    yield f"  server s {where} check {counts}"


def _front(configuration: Configuration, entry: Entry, folder: str, place: Callable[[int], str]) -> Iterator[str]:
    if "ipv46" not in entry or entry.get("state") == "DISABLED":
        return
    certificates = [key[1] for key in configuration["sslvserver_sslcertkey_binding"] if key[0] == entry["name"]]
    if entry["servicetype"] == "SSL" and not certificates:
        return
    tls = "".join(f" ssl crt {folder}/{short(name)}.pem" for name in certificates[:1])
    yield f"frontend v_{short(entry['name'])}"
    yield f"  mode {_mode(entry)}"
    yield f"  bind {entry['ipv46']}:{entry['port']}{_within(entry, place)}{tls}"
    if entry.get("listenpolicy", "NONE") != "NONE":
        yield f"  tcp-request connection reject unless {{ src {' '.join(_subnets(entry['listenpolicy']))} }}"
    yield f"  default_backend b_{short(entry['name'])}"


def _subnets(expression: str) -> list[str]:
    found = [SUBNET.fullmatch(part.strip()) for part in expression.split("||")]
    subnets = [one[1] for one in found if one is not None]
    if len(subnets) != len(found):
        raise PlaneError(f"this device does not evaluate the expression {expression}")
    return subnets


def _mode(entry: Entry) -> str:
    return "http" if entry["servicetype"] in HTTP else "tcp"


def _back(
    configuration: Configuration, entry: Entry, services: dict[str, Entry], place: Callable[[int], str]
) -> Iterator[str]:
    yield f"backend b_{short(entry['name'])}"
    yield f"  mode {_mode(entry)}"
    yield f"  balance {METHODS[entry.get('lbmethod', 'LEASTCONNECTION')]}"
    yield from _persistence(entry)
    is_by_cookie = entry.get("persistencetype") == "COOKIEINSERT"
    for key, binding in sorted(configuration["lbvserver_service_binding"].items()):
        if key[0] == entry["name"]:
            service = services[key[1]]
            own = short(service["name"])
            where = f"{address_of(configuration, service)}:{service['port']}{_within(service, place)}"
            more = f" weight {binding.get('weight', 1)}" + (f" cookie {own}" if is_by_cookie else "")
            yield f"  server {own} {where} track s_{own}/s{more}{_switched(configuration, service)}"


def _switched(configuration: Configuration, service: Entry) -> str:
    server = configuration["server"].get((service.get("servername", ""),), {})
    return " disabled" if "DISABLED" in (service.get("state"), server.get("state")) else ""


def _persistence(entry: Entry) -> Iterator[str]:
    kind, minutes = entry.get("persistencetype", "NONE"), entry.get("timeout", 2) or 1440
    if kind == "SOURCEIP":
        yield f"  stick-table type ip size 200k expire {minutes}m"
        yield "  stick on src"
    if kind == "COOKIEINSERT":
        yield f"  cookie {entry.get('cookiename', 'NSC_' + short(entry['name'])[:8])} insert indirect"
    if kind == "RULE":
        asked, answered = COOKIE.fullmatch(entry.get("rule", "")), SET_COOKIE.fullmatch(entry.get("resrule", ""))
        if asked is None or answered is None:
            raise PlaneError(f"this device does not evaluate the rule of {entry['name']}")
        yield f"  stick-table type string len 128 size 200k expire {minutes}m"
        yield f"  stick match req.cook({asked[1]})"
        yield f"  stick store-response res.cook({answered[1]})"
