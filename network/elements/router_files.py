"""The configuration of a virtual router as text: a pure function of its wanted state."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from network.elements.router_rules import check_rules, device_of
from network.errors import InvalidViewError
from network.types import GuestLeg, Lease, RouterSpec

METADATA_ADDRESS = "169.254.169.254"
LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
HOSTNAME = re.compile(LABEL)
DOMAIN = re.compile(rf"{LABEL}(\.{LABEL})*")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
DEVICE = re.compile(r"[a-zA-Z0-9_.-]{1,15}")
PROBLEM = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")
MAY_HAVE_LINES = ("public_keys", "certificate", "chain", "key")
LEASE_HOURS = 12
INSIDE = "inside"
"""Marks guests that leave by another NIC; an option of theirs without a value is not sent."""


def check_spec(spec: RouterSpec) -> None:
    """Refuse what must not reach a configuration file.

    :raises InvalidViewError: names the router and the value
    """
    _check_text(spec.id, dataclasses.asdict(spec))
    wanted = [pair for leg in spec.legs for pair in ((DOMAIN, leg.domain), (MAC, leg.nic.mac))]
    wanted += [pair for lease in leases_of(spec) for pair in ((HOSTNAME, lease.hostname), (MAC, lease.mac))]
    wanted += [pair for leg in spec.private_legs for pair in ((MAC, leg.mac), (DEVICE, leg.bridge))]
    if spec.public is not None:
        wanted += [(MAC, spec.public.mac), (DEVICE, spec.public.bridge)]
    for pattern, value in wanted:
        if not pattern.fullmatch(value):
            raise InvalidViewError(f"Router {spec.id} has a malformed name or MAC address: {value!r}.")
    try:
        if spec.inside:
            IPv4Network(spec.inside)
        outside = [spec.public.address, spec.public.gateway] if spec.public is not None else []
        for text in (*outside, *nameservers_of(spec), *(leg.gateway for leg in spec.legs if leg.gateway)):
            IPv4Address(text)
        for lease in leases_of(spec):
            base64.b64decode(lease.user_data, validate=True)
        for leg in spec.legs:
            _check_addresses(spec, leg)
    except ValueError as error:
        raise InvalidViewError(f"Router {spec.id} has a wrong address or user data: {error}.") from error
    if len(spec.legs) > 1 and not spec.vpc_id:
        raise InvalidViewError(f"Router {spec.id} has {len(spec.legs)} legs, and is none of a VPC.")
    check_rules(spec)


def _check_addresses(spec: RouterSpec, leg: GuestLeg) -> None:
    network = IPv4Network(leg.cidr)
    inside = [IPv4Address(leg.nic.address), *(IPv4Address(lease.address) for lease in leg.leases)]
    if len(set(inside)) != len(inside) or any(address not in network for address in inside):
        raise InvalidViewError(f"The addresses of router {spec.id} are not distinct ones of {leg.cidr}.")
    if any(other is not leg and network.overlaps(IPv4Network(other.cidr)) for other in spec.legs):
        raise InvalidViewError(f"The legs of router {spec.id} overlap in {leg.cidr}.")


def leases_of(spec: RouterSpec) -> list[Lease]:
    """Those of all legs."""
    return [lease for leg in spec.legs for lease in leg.leases]


def nameservers_of(spec: RouterSpec) -> list[str]:
    """The upstreams of all legs, each once."""
    return list(dict.fromkeys(address for leg in spec.legs for address in leg.nameservers))


def _check_text(router_id: str, value: Any, name: str = "") -> None:
    match value:
        case dict():
            for key, item in value.items():
                _check_text(router_id, item, key)
        case list() | tuple():
            for item in value:
                _check_text(router_id, item, name)
        case str():
            text = value.replace("\n", "") if name in MAY_HAVE_LINES else value
            if PROBLEM.search(text):
                raise InvalidViewError(f"Field {name} of router {router_id} holds a control character.")


def dnsmasq_conf(spec: RouterSpec, home: Path) -> str:
    domains = dict.fromkeys(leg.domain for leg in spec.legs)
    lines = [
        "keep-in-foreground",
        "user=nobody",
        "group=nogroup",
        *(f"interface={device_of(spec, leg)}" for leg in spec.legs),
        "except-interface=lo",
        "bind-interfaces",
        "no-hosts",
        "no-resolv",
        "no-ping",
        "quiet-dhcp",
        "domain-needed",
        "bogus-priv",
        # Names that stand for each gateway are answered with that of the asking guest.
        "localise-queries",
        *(f"domain={leg.domain},{leg.cidr}" for leg in spec.legs),
        *(f"local=/{domain}/" for domain in domains),
        "expand-hosts",
        f"addn-hosts={home}/hosts",
        f"dhcp-hostsfile={home}/dhcp-hosts",
        f"dhcp-leasefile={home}/leases",
        "dhcp-lease-max=65535",
        "dhcp-authoritative",
        "dhcp-ignore=tag:!known",
        *(line for leg in spec.legs for line in _dhcp_of(leg, device_of(spec, leg))),
        *(f"server={address}" for address in nameservers_of(spec)),
    ]
    return "\n".join(lines) + "\n"


def _dhcp_of(leg: GuestLeg, tag: str) -> list[str]:
    """The range of the leg and what its guests are told; `tag` marks them."""
    network, router = IPv4Network(leg.cidr), leg.nic.address
    gateway = leg.gateway or router
    # A client that takes classless routes ignores the plain router option, so the default route is in both.
    classless = f"{METADATA_ADDRESS}/32,{router},0.0.0.0/0,{gateway}"
    outside, inside = f"tag:{tag},tag:!{INSIDE}", f"tag:{tag},tag:{INSIDE}"
    return [
        f"dhcp-range=set:{tag},{network.network_address},static,{network.netmask},{LEASE_HOURS}h",
        f"dhcp-option={outside},option:router,{gateway}",
        f"dhcp-option={inside},option:router",
        f"dhcp-option=tag:{tag},option:dns-server,{router}",
        f"dhcp-option=tag:{tag},option:mtu,{leg.mtu}",
        f"dhcp-option={outside},option:classless-static-route,{classless}",
        f"dhcp-option={inside},option:classless-static-route,{METADATA_ADDRESS}/32,{router}",
    ]


def dhcp_hosts(spec: RouterSpec) -> str:
    return "".join(f"{_tagged(lease)},{lease.address},{lease.hostname}\n" for lease in _ordered(leases_of(spec)))


def _tagged(lease: Lease) -> str:
    return lease.mac if lease.leads_out else f"{lease.mac},set:{INSIDE}"


def dns_hosts(spec: RouterSpec) -> str:
    """Names both ways; `data-server` is where CloudStack's guests look for their metadata."""
    own = [f"{leg.nic.address} data-server.{leg.domain} data-server\n" for leg in spec.legs]
    return "".join(own) + "".join(
        f"{lease.address} {lease.hostname}.{leg.domain} {lease.hostname}\n"
        for leg in spec.legs
        for lease in _ordered(leg.leases)
    )


def metadata_state(spec: RouterSpec) -> str:
    """What the metadata server answers, by the address of the guest that asks."""
    found = {one.address: _metadata_of(spec, leg, one) for leg in spec.legs for one in _ordered(leg.leases)}
    return json.dumps(found, indent=1)


def _metadata_of(spec: RouterSpec, leg: GuestLeg, lease: Lease) -> dict[str, Any]:
    public = spec.public.address if spec.public is not None else ""
    return {
        "nic": lease.nic_id,
        "user-data": lease.user_data,
        "password": lease.password,
        "meta-data": {
            **lease.metadata,
            "availability-zone": lease.zone_name,
            "cloud-identifier": f"CloudStack-{{{leg.network_id}}}",
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


def _ordered(leases: Iterable[Lease]) -> list[Lease]:
    return sorted(leases, key=lambda lease: IPv4Address(lease.address))
