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
HEADER = re.compile(r'HTTP\.REQ\.HEADER\("([A-Za-z0-9-]{1,64})"\)\.EXISTS')
STRING = re.compile(r'"([A-Za-z0-9 /._-]{0,64})"')
SET_COOKIE = re.compile(r'HTTP\.RES\.SET_COOKIE\.COOKIE\("([A-Za-z0-9_.-]{1,64})"\)\.VALUE\("\1"\)')
GLOBAL = """global
  stats socket {socket} mode 600 level admin expose-fd listeners
  server-state-file {state}
  maxconn 1000
  nbthread 1
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


def _number(name: str) -> int:
    """Of a server in its backend, the same in any process: tables of persistence hold it."""
    return 1 + int(short(name)[:7], 16)


def text(configuration: Configuration, folder: str, domain: int, place: Callable[[int], str]) -> str:
    """All but the global part, of the virtual servers with members in the traffic domain; '' for none.

    Certificates lie in `folder`, `place` is the file of a domain's namespace.

    :raises PlaneError: an expression is none that this device evaluates
    """
    services = {entry["name"]: entry for entry in configuration["service"].values() if entry["td"] == domain}
    bound = [key for key in configuration["lbvserver_service_binding"] if key[1] in services]
    named = {name for name, _ in bound}
    servers = [entry for entry in configuration["lbvserver"].values() if entry["name"] in named]
    used = sorted({service for _, service in bound}) if servers else []
    lines = [line for name in used for line in _watched(configuration, services[name])]
    for entry in servers:
        lines += _front(configuration, entry, folder, "" if entry["td"] == domain else place(entry["td"]))
        lines += _back(configuration, entry, services)
    return "".join(f"{line}\n" for line in lines)


def address_of(configuration: Configuration, service: Entry) -> str:
    if "ip" in service:
        return str(service["ip"])
    return str(configuration["server"][service["servername"],]["ipaddress"])


def _watched(configuration: Configuration, service: Entry) -> Iterator[str]:
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
    yield f"  server s {address_of(configuration, service)}:{service['port']} check {counts}"


def _front(configuration: Configuration, entry: Entry, folder: str, inside: str) -> Iterator[str]:
    """`inside` is the file of its namespace, if it is another.

    HAProxy looks for names of namespaces in /run/netns, from where a path leads to any.
    """
    if "ipv46" not in entry or entry.get("state") == "DISABLED":
        return
    certificates = [key[1] for key in configuration["sslvserver_sslcertkey_binding"] if key[0] == entry["name"]]
    if entry["servicetype"] == "SSL" and not certificates:
        return
    tls = "".join(f" ssl crt {folder}/{short(name)}.pem" for name in certificates[:1])
    within = f" namespace ../..{inside}" if inside else ""
    yield f"frontend v_{short(entry['name'])}"
    yield f"  mode {_mode(entry)}"
    yield f"  bind {entry['ipv46']}:{entry['port']}{within}{tls}"
    if entry.get("listenpolicy", "NONE") != "NONE":
        yield f"  tcp-request connection reject unless {{ src {' '.join(_subnets(entry['listenpolicy']))} }}"
    if _mode(entry) == "http":
        yield from _rewritten(configuration, entry)
    yield f"  default_backend b_{short(entry['name'])}"


def _rewritten(configuration: Configuration, entry: Entry) -> Iterator[str]:
    """What policies make of a request, in the order of their priorities, until one that holds says END."""
    bound = [one for key, one in configuration["lbvserver_rewritepolicy_binding"].items() if key[0] == entry["name"]]
    for binding in sorted(bound, key=lambda one: int(one["priority"])):
        policy = configuration["rewritepolicy"][binding["policyname"],]
        action = configuration["rewriteaction"][policy["action"],]
        header, text_given = HEADER.fullmatch(policy["rule"]), STRING.fullmatch(action.get("stringbuilderexpr", '""'))
        is_plain = policy["rule"] == "true" and text_given is not None
        if not (is_plain or header) or binding.get("bindpoint") != "REQUEST" or text_given is None:
            raise PlaneError(f"this device does not evaluate the policy {policy['name']}")
        condition = f" if {{ req.hdr({header[1]}) -m found }}" if header else ""
        if action["type"] == "delete_http_header":
            yield f"  http-request del-header {action['target']}{condition}"
        else:
            yield f'  http-request add-header {action["target"]} "{text_given[1]}"{condition}'
        if is_plain and binding.get("gotopriorityexpression") == "END":
            return


def _subnets(expression: str) -> list[str]:
    found = [SUBNET.fullmatch(part.strip()) for part in expression.split("||")]
    subnets = [one[1] for one in found if one is not None]
    if len(subnets) != len(found):
        raise PlaneError(f"this device does not evaluate the expression {expression}")
    return subnets


def _mode(entry: Entry) -> str:
    return "http" if entry["servicetype"] in HTTP else "tcp"


def _back(configuration: Configuration, entry: Entry, services: dict[str, Entry]) -> Iterator[str]:
    yield f"backend b_{short(entry['name'])}"
    yield f"  mode {_mode(entry)}"
    yield f"  balance {METHODS[entry.get('lbmethod', 'LEASTCONNECTION')]}"
    yield from _persistence(entry)
    is_by_cookie = entry.get("persistencetype") == "COOKIEINSERT"
    bound = [one for one in sorted(configuration["lbvserver_service_binding"].items()) if one[0][0] == entry["name"]]
    headers = {services[key[1]].get("cipheader") for key, _ in bound if services[key[1]].get("cip") == "ENABLED"}
    if _mode(entry) == "http":
        yield from (f"  option forwardfor header {header}" for header in headers - {None})
    for key, binding in bound:
        service = services[key[1]]
        own = short(service["name"])
        where = f"{address_of(configuration, service)}:{service['port']}"
        more = f" id {_number(service['name'])} weight {binding.get('weight', 1)}"
        more += f" cookie {own}" if is_by_cookie else ""
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
