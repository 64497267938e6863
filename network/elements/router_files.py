"""The configuration of a virtual router as text: a pure function of its wanted state."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from network.elements.router_rules import GUEST_DEVICE, check_rules
from network.errors import InvalidViewError
from network.types import Lease, RouterSpec

METADATA_ADDRESS = "169.254.169.254"
LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
HOSTNAME = re.compile(LABEL)
DOMAIN = re.compile(rf"{LABEL}(\.{LABEL})*")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
DEVICE = re.compile(r"[a-zA-Z0-9_.-]{1,15}")
PROBLEM = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")
MAY_HAVE_LINES = "public_keys"
LEASE_HOURS = 12
INSIDE = "inside"
"""Marks guests that leave by another NIC; an option of theirs without a value is not sent."""


def check_spec(spec: RouterSpec) -> None:
    """Refuse what must not reach a configuration file.

    :raises InvalidViewError: names the router and the value
    """
    _check_text(spec.id, dataclasses.asdict(spec))
    wanted = [(DOMAIN, spec.domain), (MAC, spec.nic.mac)]
    wanted += [pair for lease in spec.leases for pair in ((HOSTNAME, lease.hostname), (MAC, lease.mac))]
    if spec.public is not None:
        wanted += [(MAC, spec.public.mac), (DEVICE, spec.public.bridge)]
    for pattern, value in wanted:
        if not pattern.fullmatch(value):
            raise InvalidViewError(f"Router {spec.id} has a malformed name or MAC address: {value!r}.")
    try:
        network = IPv4Network(spec.cidr)
        inside = [IPv4Address(spec.nic.address), *(IPv4Address(lease.address) for lease in spec.leases)]
        outside = [spec.public.address, spec.public.gateway] if spec.public is not None else []
        for text in (*outside, *spec.nameservers, spec.gateway or spec.nic.address):
            IPv4Address(text)
        for lease in spec.leases:
            base64.b64decode(lease.user_data, validate=True)
    except ValueError as error:
        raise InvalidViewError(f"Router {spec.id} has a wrong address or user data: {error}.") from error
    if len(set(inside)) != len(inside) or any(address not in network for address in inside):
        raise InvalidViewError(f"The addresses of router {spec.id} are not distinct ones of {spec.cidr}.")
    check_rules(spec)


def _check_text(router_id: str, value: Any, name: str = "") -> None:
    match value:
        case dict():
            for key, item in value.items():
                _check_text(router_id, item, key)
        case list() | tuple():
            for item in value:
                _check_text(router_id, item, name)
        case str():
            text = value.replace("\n", "") if name == MAY_HAVE_LINES else value
            if PROBLEM.search(text):
                raise InvalidViewError(f"Field {name} of router {router_id} holds a control character.")


def dnsmasq_conf(spec: RouterSpec, home: Path) -> str:
    network, router = IPv4Network(spec.cidr), spec.nic.address
    gateway = spec.gateway or router
    # A client that takes classless routes ignores the plain router option, so the default route is in both.
    classless = f"{METADATA_ADDRESS}/32,{router},0.0.0.0/0,{gateway}"
    lines = [
        "keep-in-foreground",
        "user=nobody",
        "group=nogroup",
        f"interface={GUEST_DEVICE}",
        "except-interface=lo",
        "bind-interfaces",
        "no-hosts",
        "no-resolv",
        "no-ping",
        "quiet-dhcp",
        "domain-needed",
        "bogus-priv",
        f"domain={spec.domain}",
        f"local=/{spec.domain}/",
        "expand-hosts",
        f"addn-hosts={home}/hosts",
        f"dhcp-hostsfile={home}/dhcp-hosts",
        f"dhcp-leasefile={home}/leases",
        "dhcp-lease-max=65535",
        f"dhcp-range={network.network_address},static,{network.netmask},{LEASE_HOURS}h",
        "dhcp-authoritative",
        "dhcp-ignore=tag:!known",
        f"dhcp-option=tag:!{INSIDE},option:router,{gateway}",
        f"dhcp-option=tag:{INSIDE},option:router",
        f"dhcp-option=option:dns-server,{router}",
        f"dhcp-option=option:mtu,{spec.mtu}",
        f"dhcp-option=tag:!{INSIDE},option:classless-static-route,{classless}",
        f"dhcp-option=tag:{INSIDE},option:classless-static-route,{METADATA_ADDRESS}/32,{router}",
        *(f"server={address}" for address in spec.nameservers),
    ]
    return "\n".join(lines) + "\n"


def dhcp_hosts(spec: RouterSpec) -> str:
    return "".join(f"{_tagged(lease)},{lease.address},{lease.hostname}\n" for lease in _ordered(spec))


def _tagged(lease: Lease) -> str:
    return lease.mac if lease.leads_out else f"{lease.mac},set:{INSIDE}"


def dns_hosts(spec: RouterSpec) -> str:
    """Names both ways; `data-server` is where CloudStack's guests look for their metadata."""
    own = f"{spec.nic.address} data-server.{spec.domain} data-server\n"
    return own + "".join(f"{e.address} {e.hostname}.{spec.domain} {e.hostname}\n" for e in _ordered(spec))


def metadata_state(spec: RouterSpec) -> str:
    """What the metadata server answers, by the address of the guest that asks."""
    return json.dumps({lease.address: _metadata_of(spec, lease) for lease in _ordered(spec)}, indent=1)


def _metadata_of(spec: RouterSpec, lease: Lease) -> dict[str, Any]:
    public = spec.public.address if spec.public is not None else ""
    return {
        "nic": lease.nic_id,
        "user-data": lease.user_data,
        "password": lease.password,
        "meta-data": {
            **lease.metadata,
            "availability-zone": lease.zone_name,
            "cloud-identifier": f"CloudStack-{{{spec.network_id}}}",
            "instance-id": lease.vm_id,
            "local-hostname": lease.hostname,
            "local-ipv4": lease.address,
            "public-hostname": public,
            "public-ipv4": public,
            "public-keys": lease.public_keys,
            "service-offering": lease.service_offering,
            "vm-id": lease.vm_id,
        },
    }


def _ordered(spec: RouterSpec) -> list[Lease]:
    return sorted(spec.leases, key=lambda lease: IPv4Address(lease.address))
