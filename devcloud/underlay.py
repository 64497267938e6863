"""The wires between the hosts: one namespace with the underlay and the public network, one with the internet.

No interface is ever in the machine's own network namespace. Addresses are those reserved for documentation (RFC 5737).
"""

from __future__ import annotations

from pathlib import Path

from devcloud.paths import Site
from devcloud.processes import CommandError, output

MTU = 1600
UNDERLAY_NETWORK = "192.0.2.0/24"
UNDERLAY_BRIDGE = "underlay"
PUBLIC_BRIDGE = "public"
PUBLIC_GATEWAY = "198.51.100.1"
PUBLIC_NETMASK = "255.255.255.0"
PUBLIC_FIRST, PUBLIC_LAST = "198.51.100.10", "198.51.100.250"
INTERNET_HOST = "203.0.113.10"
INTERNET_NAME = "www.internet.test"
NAMESPACES = Path("/run/netns")


def underlay_address(index: int) -> str:
    """Address of host `index` (1 to 200) on the underlay."""
    return f"192.0.2.{10 + index}"


def switch_port(cell: str, number: int) -> str:
    """Name of the switch's end of the cable to eth<number> of `cell`, at most 15 characters."""
    return f"pl-{cell}-{number}"


def ensure(site: Site) -> None:
    """Make the namespaces, switches and the internet host; what is there is left alone."""
    ensure_namespace(site.underlay)
    for bridge in (UNDERLAY_BRIDGE, PUBLIC_BRIDGE):
        ensure_bridge(site, bridge)
    if ensure_namespace(site.outside) or not has_link(site.outside, "eth0"):
        _connect_outside(site)


def ensure_bridge(site: Site, bridge: str) -> None:
    if not has_link(site.underlay, bridge):
        _ip(site.underlay, f"link add {bridge} mtu {MTU} type bridge forward_delay 0")
        _ip(site.underlay, f"link set {bridge} up")


def cable_bridge(device: str) -> str:
    """What joins a hardware device's port for tenants to its host: it stays when one of both is gone for a while."""
    return f"to-{device}"


def cable(site: Site, cell: str, number: int, bridge: str, device: str = "") -> list[list[str]]:
    """Commands that join eth<number> of the network namespace that they run in to `bridge` of the underlay.

    The interface is called `device` if that is given.

    Checksums are computed by the kernel, for the userspace switch passes frames on as they are.
    """
    device, port = device or f"eth{number}", switch_port(cell, number)
    peer = f"peer name {port} mtu {MTU} netns {site.underlay}"
    return [
        f"ip link add name {device} mtu {MTU} type veth {peer}".split(),
        f"ip -n {site.underlay} link set {port} master {bridge} up".split(),
        f"ip netns exec {site.underlay} ethtool -K {port} tx off".split(),
        f"ethtool -K {device} tx off".split(),
        f"ip link set {device} up".split(),
    ]


def remove(site: Site) -> None:
    """Take the namespaces away; those that are gone are no error."""
    for namespace in (site.outside, site.underlay):
        remove_namespace(namespace)
    _unmount_when_empty()


def remove_namespace(namespace: str) -> None:
    if (NAMESPACES / namespace).exists():
        output(["ip", "netns", "delete", namespace])


def enter(namespace: str, argv: list[str]) -> list[str]:
    """`argv` run in the network of a namespace, with the files and processes of the machine."""
    return ["nsenter", f"--net={NAMESPACES / namespace}", "--", *argv]


def _connect_outside(site: Site) -> None:
    for argv in cable(site, "outside", 0, PUBLIC_BRIDGE):
        output(enter(site.outside, argv))
    _ip(site.outside, f"address add {PUBLIC_GATEWAY}/24 dev eth0")
    _ip(site.outside, f"address replace {INTERNET_HOST}/32 dev lo")


def ensure_namespace(name: str) -> bool:
    """False if it was there already."""
    if (NAMESPACES / name).exists():
        try:
            output(["ip", "-n", name, "link", "show", "lo"])
        except CommandError:
            output(["ip", "netns", "delete", name])
        else:
            return False
    output(["ip", "netns", "add", name])
    for setting in ("all", "default"):
        path = f"/proc/sys/net/ipv6/conf/{setting}/disable_ipv6"
        if Path(path).exists():
            output(["ip", "netns", "exec", name, "sh", "-c", f"echo 1 > {path}"])
    _ip(name, "link set lo up")
    return True


def has_link(namespace: str, device: str) -> bool:
    try:
        _ip(namespace, f"link show {device}")
    except CommandError:
        return False
    return True


def _ip(namespace: str, words: str) -> None:
    output(["ip", "-n", namespace, *words.split()])


def _unmount_when_empty() -> None:
    """`ip netns add` mounts its directory onto itself and leaves that behind."""
    while _is_mounted(NAMESPACES) and not any(NAMESPACES.iterdir()):
        output(["umount", str(NAMESPACES)])


def _is_mounted(path: Path) -> bool:
    """Source: proc_pid_mountinfo(5), field 5; comparing devices does not see a directory mounted onto itself."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return str(path) in {line.split()[4] for line in mounts}
