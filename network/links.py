"""Network devices of the kernel, through `ip`: the caller's namespace, or a named one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from network.errors import CommandFailedError
from network.names import tap_name
from network.process import run


@dataclass(frozen=True, slots=True)
class Link:
    """A device as the kernel shows it; `addresses` are IPv4 with prefix length, `master` the bridge it is in."""

    name: str
    ifindex: int
    mac: str
    mtu: int
    up: bool
    master: str
    addresses: tuple[str, ...]


def links(namespace: str = "") -> dict[str, Link]:
    """All devices by name."""
    return {found["ifname"]: _link(found) for found in _ip("address", "show", namespace=namespace)}


def forwards(device: str) -> bool:
    """Whether the bridge that the device is in lets frames pass there; it does so a moment after the device is up."""
    (shown,) = _ip("-details", "link", "show", "dev", device)
    return bool(shown.get("linkinfo", {}).get("info_slave_data", {}).get("state") == "forwarding")


def routes(device: str) -> list[dict[str, Any]]:
    """The routes through `device` that the kernel did not make by itself."""
    return [route for route in _ip("-4", "route", "show", "dev", device) if route.get("protocol") != "kernel"]


def routes_marked(mark: str, namespace: str) -> list[str]:
    """The destinations of the namespace's routes of this origin."""
    return [str(route["dst"]) for route in _ip("-4", "route", "show", "proto", mark, namespace=namespace)]


def change(lines: Iterable[str], namespace: str = "") -> None:
    """Run lines of `ip -batch`; stops at the first that fails.

    :raises CommandFailedError: a line was refused
    """
    inside = ("-n", namespace) if namespace else ()
    run(["ip", *inside, "-batch", "-"], stdin="".join(f"{line}\n" for line in lines))


def remove(device: str, namespace: str = "") -> None:
    """Remove the device if it is there; it may go by itself, as those of a removed namespace do a moment later."""
    if device in links(namespace):
        try:
            change([f"link del dev {device}"], namespace)
        except CommandFailedError:
            if device in links(namespace):
                raise


def tap_lines(name: str, mtu: int) -> list[str]:
    """A persistent tap for a guest's NIC. Without addrgenmode the host's own IPv6 would speak to the guest."""
    return [
        f"tuntap add dev {name} mode tap",
        f"link set dev {name} addrgenmode none",
        f"link set dev {name} mtu {mtu}",
    ]


def without_checksum_offload(device: str, namespace: str = "") -> None:
    """Make the kernel finish checksums before frames leave `device`: the userspace datapath would not."""
    inside = ("ip", "netns", "exec", namespace) if namespace else ()
    run([*inside, "ethtool", "-K", device, "tx", "off"])


def forget_neighbours(device: str, namespace: str = "") -> None:
    """Make the kernel ask anew who has the addresses beyond `device`."""
    inside = ("-n", namespace) if namespace else ()
    run(["ip", *inside, "-4", "neigh", "flush", "dev", device])


def move_addresses(source: str, target: str) -> None:
    """Give the IPv4 addresses and routes of `source` to `target`."""
    found = links()[source].addresses
    if not found:
        return
    kept = routes(source)
    lines = [f"address replace {address} dev {target}" for address in found]
    lines += [f"address del {address} dev {source}" for address in found]
    lines.append(f"link set dev {target} up")
    lines += [
        f"route replace {route['dst']} via {route['gateway']} dev {target}" for route in kept if "gateway" in route
    ]
    change(lines)


def resize_taps(before: dict[str, int], now: dict[str, int]) -> None:
    """Give the taps of NICs whose network has another MTU by now that one; guests learn it when they ask for it.

    Both are MTUs by NIC id.
    """
    changed = {tap_name(nic_id): mtu for nic_id, mtu in now.items() if before.get(nic_id, mtu) != mtu}
    there = links() if changed else {}
    lines = [f"link set dev {name} mtu {mtu}" for name, mtu in changed.items() if name in there]
    if lines:
        change(lines)


def _ip(*arguments: str, namespace: str = "") -> list[dict[str, Any]]:
    inside = ("-n", namespace) if namespace else ()
    found: list[dict[str, Any]] = json.loads(run(["ip", *inside, "-json", *arguments]) or "[]")
    return [entry for entry in found if entry]


def _link(found: dict[str, Any]) -> Link:
    inet = [entry for entry in found.get("addr_info", ()) if entry.get("family") == "inet"]
    return Link(
        name=found["ifname"],
        ifindex=found["ifindex"],
        mac=found.get("address", ""),
        mtu=found["mtu"],
        up="UP" in found["flags"],
        master=found.get("master", ""),
        addresses=tuple(f"{entry['local']}/{entry['prefixlen']}" for entry in inet),
    )
