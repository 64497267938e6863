"""What is wrong with a virtual router that should be as its wanted state says: each part is asked, not believed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from network import links
from network.elements import balancer
from network.elements import router_files as files
from network.elements.balancer_files import haproxy_conf
from network.elements.daemons import Daemon
from network.elements.router_files import METADATA_ADDRESS
from network.elements.router_rules import PUBLIC_DEVICE, device_of
from network.elements.state_files import write
from network.errors import CommandFailedError
from network.health import RouterCheck
from network.names import router_guest_device, router_namespace, router_public_device
from network.process import run
from network.types import RouterSpec

PACKAGES = Path(__file__).resolve().parents[2]
MOST_TRACKED = 0.9
"""The part of the connections that the kernel can track from which on new ones are near being refused."""
LISTED, LOADED = "rules.listed", "rules.nft"


def note_rules(namespace: str, home: Path, rules: str) -> None:
    """Keep how nft lists the rules that were just loaded: only that can be compared with a later listing."""
    if write(home / LOADED, rules, mode=0o600) or not (home / LISTED).exists():
        write(home / LISTED, _listing(namespace), mode=0o600)


def _listing(namespace: str) -> str:
    return run(["ip", "netns", "exec", namespace, "nft", "-s", "list", "table", "inet", "pileus"])


def examine(
    spec: RouterSpec, home: Path, ports: Iterable[str], dnsmasq: Daemon, *, is_heard: bool
) -> list[RouterCheck]:
    """All checks that apply to the router; `ports` are the NICs that are plugged into the switch.

    One that waits for another to fail is not `is_heard`.
    """
    namespace = router_namespace(spec.id)
    try:
        devices = links.links(namespace)
    except CommandFailedError:
        return [RouterCheck("interfaces", False, "The router's namespace is not there.")]
    probed = _probe(spec, namespace, is_heard=is_heard)
    checks = [
        _told("interfaces", _wrong_devices(spec, devices, set(ports)), "All devices are up, with their addresses."),
        _told("firewall", _wrong_rules(namespace, home), "The packet rules are those that are wanted."),
        _told("connections", _too_many(probed), f"{probed['connections']} connections are tracked."),
    ]
    if spec.legs:
        checks.append(
            _told("dhcp", _wrong_dhcp(spec, home, dnsmasq), "dnsmasq serves DHCP to the guests of the network.")
        )
        checks.append(_told("dns", probed["names"], "The name server answers."))
        wrong = [*probed["pages"], *_wrong_metadata(spec, home)]
        checks.append(_told("metadata", wrong, "The metadata and password servers answer."))
    if spec.public is not None and is_heard:
        checks.append(_told("gateway", probed["neighbour"], f"The gateway {spec.public.gateway} answers."))
    if any(one.listens for one in spec.balancers):
        checks.append(_told("balancer", _wrong_balancer(spec, home), "haproxy runs with the configuration wanted."))
    return checks


def _told(name: str, wrong: Iterable[str], right: str) -> RouterCheck:
    sentences = list(wrong)
    return RouterCheck(name, not sentences, " ".join(sentences) or right)


def _wrong_devices(spec: RouterSpec, devices: dict[str, links.Link], ports: set[str]) -> Iterator[str]:
    outer = links.links()
    for leg in spec.legs:
        address = f"{leg.nic.address}/{IPv4Network(leg.cidr).prefixlen}"
        yield from _wrong_device(device_of(spec, leg), [address], leg.mtu, devices)
        device = router_guest_device(leg.nic.id)
        if leg.nic.id not in ports:
            yield f"The device {device} is no port of the switch."
        elif device in outer and not outer[device].up:
            yield f"The device {device} is down."
    if spec.public is not None:
        wanted = [f"{spec.public.address}/{spec.public.prefix_length}", *(f"{one}/32" for one in spec.addresses)]
        yield from _wrong_device(PUBLIC_DEVICE, wanted, spec.public.mtu, devices)
        joint = outer.get(router_public_device(spec.id))
        if joint is None or joint.master != spec.public.bridge or not joint.up:
            yield f"The router is not joined to the bridge {spec.public.bridge}."


def _wrong_device(name: str, addresses: list[str], mtu: int, devices: dict[str, links.Link]) -> Iterator[str]:
    device = devices.get(name)
    if device is None:
        yield f"The device {name} is not there."
        return
    if not device.up:
        yield f"The device {name} is down."
    if missing := sorted(set(addresses) - set(device.addresses)):
        yield f"The device {name} has not the address {missing[0]}."
    if device.mtu != mtu:
        yield f"The device {name} has an MTU of {device.mtu}; {mtu} is wanted."


def _wrong_rules(namespace: str, home: Path) -> Iterator[str]:
    try:
        there = _listing(namespace).splitlines()
    except CommandFailedError:
        yield "The packet rules are not there."
        return
    wanted = _text(home / LISTED).splitlines()
    if there == wanted:
        return
    gone = next((line for line in wanted if line not in there), None)
    strange = next((line for line in there if line not in wanted), None)
    if gone is not None:
        yield f"The packet rule {gone.strip()!r} is missing."
    elif strange is not None:
        yield f"The packet rule {strange.strip()!r} is there, and is not wanted."
    else:
        yield "The packet rules stand in another order than wanted."


def _wrong_dhcp(spec: RouterSpec, home: Path, dnsmasq: Daemon) -> Iterator[str]:
    if not dnsmasq.is_running():
        yield "dnsmasq does not run, or does not listen on all ports that it must have."
    if _text(home / "dnsmasq.conf") != files.dnsmasq_conf(spec, home):
        yield "dnsmasq has another configuration than wanted."
    if _text(home / "dhcp-hosts") != files.dhcp_hosts(spec):
        yield "dnsmasq has leases for other guests than those of the network."


def _wrong_metadata(spec: RouterSpec, home: Path) -> Iterator[str]:
    if _text(home / "metadata.json") != files.metadata_state(spec):
        yield "The metadata server tells of other guests than those of the network."


def _wrong_balancer(spec: RouterSpec, home: Path) -> Iterator[str]:
    daemon = balancer.daemon(spec.id, home)
    if not daemon.pids():
        yield "haproxy does not run."
    elif _text(home / balancer.CONF) != haproxy_conf([one for one in spec.balancers if one.listens], home):
        yield "The configuration of haproxy is not the one that is wanted."
    elif not daemon.is_running():
        yield "haproxy does not answer, or has not taken its configuration."


def _too_many(probed: dict[str, Any]) -> Iterator[str]:
    if probed["connections"] >= MOST_TRACKED * probed["most_connections"]:
        yield f"{probed['connections']} of {probed['most_connections']} connections that can be tracked are open."


def _probe(spec: RouterSpec, namespace: str, *, is_heard: bool) -> dict[str, Any]:
    """What the program router_probe found. Of a router that must not be heard, no neighbour is asked."""
    public = spec.public
    asked = {
        "names": [(leg.nic.address, f"data-server.{leg.domain}") for leg in spec.legs],
        "pages": [(address, port) for address in (*(leg.nic.address for leg in spec.legs), METADATA_ADDRESS)
                  for port in (80, 8080)] if spec.legs else [],
        "neighbour": (PUBLIC_DEVICE, public.address, public.gateway) if public is not None and is_heard else None,
    }  # fmt: skip
    program = [sys.executable, "-s", "-S", str(PACKAGES / "network/elements/router_probe.py")]
    found: dict[str, Any] = json.loads(run(["ip", "netns", "exec", namespace, *program], stdin=json.dumps(asked)))
    return found


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
