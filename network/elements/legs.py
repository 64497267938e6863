"""The devices of a virtual router: each joins its namespace to the host, and its neighbours know where it is."""

from __future__ import annotations

import json
import time
from pathlib import Path

from network import links
from network.elements.router_rules import PUBLIC_DEVICE, device_of
from network.elements.state_files import read_json, write
from network.names import private_device, router_public_device
from network.types import RouterSpec

ANNOUNCED = "announced.json"
BRIDGE_SECONDS = 2.0


def _ensure_veth(device: str, inner: str, namespace: str, mac: str) -> bool:
    """Join the host and the namespace; True if the pair was made by this call."""
    is_whole = device in links.links() and inner in links.links(namespace)
    if not is_whole:
        links.remove(device)
        links.remove(inner, namespace)
        links.change([f"link add {device} type veth peer name {inner} address {mac} netns {namespace}"])
    elif links.links(namespace)[inner].mac != mac:
        links.change([f"link set dev {inner} down", f"link set dev {inner} address {mac}"], namespace)
    return not is_whole


def ensure_switched_veth(device: str, inner: str, namespace: str, mac: str, mtu: int) -> None:
    """As `_ensure_veth`, of one whose end on the host is a port of the switch."""
    if _ensure_veth(device, inner, namespace, mac):
        links.without_checksum_offload(device)
    links.without_checksum_offload(inner, namespace)
    links.change([f"link set dev {device} addrgenmode none", f"link set dev {device} mtu {mtu}"])


def ensure_addresses(namespace: str, device: str, address: str, mtu: int, *, more: tuple[str, ...] = ()) -> None:
    """Give the device just `address`, before it comes up, so that coming up announces it, and then those of `more`.

    The kernel announces all addresses of a device again when its MAC address is set, even to what it is.
    """
    there = links.links(namespace)[device]
    wanted = [address, *(f"{one}/32" for one in more)]
    lines = [f"address del {old} dev {device}" for old in there.addresses if old not in wanted]
    lines += [f"address add {one} dev {device}" for one in wanted[1:] if one not in there.addresses]
    if lines:
        lines.append(f"link set dev {device} address {there.mac}")
    if address not in there.addresses:
        lines += [f"link set dev {device} down", f"address add {address} dev {device}"]
    if lines or not there.up or there.mtu != mtu:
        links.change([*lines, f"link set dev {device} mtu {mtu} up"], namespace)


def ensure_public_leg(spec: RouterSpec, namespace: str) -> None:
    device, public = router_public_device(spec.id), spec.public
    if public is None:
        links.remove(device)
        ways = [
            f"route replace default via {leg.gateway} dev {device_of(spec, leg)}" for leg in spec.legs if leg.gateway
        ]
        if ways:
            links.change(ways, namespace)
        return
    _ensure_veth(device, PUBLIC_DEVICE, namespace, public.mac)
    lines = [f"link set dev {device} addrgenmode none", f"link set dev {device} master {public.bridge}"]
    links.change([*lines, f"link set dev {device} mtu {public.mtu} up"])
    own = f"{public.address}/{public.prefix_length}"
    ensure_addresses(namespace, PUBLIC_DEVICE, own, public.mtu, more=spec.addresses)
    links.change([f"route replace default via {public.gateway} dev {PUBLIC_DEVICE}"], namespace)


def announce(spec: RouterSpec, home: Path, namespace: str) -> None:
    """Tell the networks outside where the router is, once for each device that it has there.

    They may still send to the host that it was on. What a device tells by itself when it comes up is lost, for the
    bridge does not let it pass yet.
    """
    there, outside = links.links(namespace), [private_device(leg.id) for leg in spec.private_legs]
    if spec.public is not None:
        outside.append(PUBLIC_DEVICE)
    new = {device: there[device].ifindex for device in outside}
    if read_json(home / ANNOUNCED) == new:
        return
    if spec.public is not None:
        _await_bridge(router_public_device(spec.id))
    links.change([f"link set dev {device} address {there[device].mac}" for device in outside], namespace)
    write(home / ANNOUNCED, json.dumps(new))


def _await_bridge(device: str) -> None:
    """The bridge takes a device up a moment after both its ends are; who waits in vain goes on."""
    deadline = time.monotonic() + BRIDGE_SECONDS
    while not links.forwards(device) and time.monotonic() < deadline:
        time.sleep(0.01)
