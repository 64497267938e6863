"""Two routers of the same wanted state, of which one forwards: keepalived says which, conntrackd tells it all states.

Both have the same addresses all the time, so that everything that serves guests runs on both alike. The one that
waits is behind a gate: packet rules that let nothing in or out but what the two say to each other. It is closed before
there is any leg, and opened by keepalived alone.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from network import links
from network.elements.daemons import Daemon, arguments_of
from network.elements.pair_files import CLOSED, DEVICE, LINE, OPEN, conntrackd_conf, keepalived_conf
from network.elements.state_files import write
from network.health import RouterCheck
from network.names import router_namespace
from network.process import run
from network.redundancy import Role
from network.types import Pair, RouterSpec

TURN_SECONDS = 5.0
LINE_MTU = 1400
"""Of a line that is no tenant network: bytes that every overlay carries."""
LEFT_BY_KILLED = {"keepalived": ("keepalived.pid", "vrrp.pid"), "conntrackd": ("conntrackd.lock", "conntrackd.ctl")}
"""Files for which each refuses to start."""
PACKAGES = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Keepalived(Daemon):
    """Two processes with the same arguments: one that watches over the other."""

    def is_running(self) -> bool:
        pids = self.pids()
        return len(pids) > 1 and all(tuple(arguments_of(pid)) == self.arguments for pid in pids)


def keepalived(router_id: str, home: Path) -> Daemon:
    files = ("-f", f"{home}/keepalived.conf", "-p", f"{home}/keepalived.pid", "-r", f"{home}/vrrp.pid")
    arguments = ("keepalived", "-n", "-l", *files)
    environment = {"PYTHONPATH": str(PACKAGES)}
    return Keepalived(router_namespace(router_id), "keepalived", arguments, home / "keepalived.log", (), environment)


def conntrackd(router_id: str, home: Path) -> Daemon:
    arguments = ("conntrackd", "-C", f"{home}/conntrackd.conf")
    return Daemon(router_namespace(router_id), "conntrackd", arguments, home / "conntrackd.log", ())


def close_gate(spec: RouterSpec, home: Path) -> None:
    """Before there are legs: who is none of a pair, or is known to it, keeps its gate as it is."""
    if spec.pair is not None and not keepalived(spec.id, home).is_running():
        write(home / "role", "UNKNOWN")
        run(["ip", "netns", "exec", router_namespace(spec.id), "nft", "-f", "-"], stdin=CLOSED)


def ensure(spec: RouterSpec, home: Path) -> None:
    """Take part in the pair, by the device `DEVICE` that is there, until it is known as what.

    :raises RouterFailedError: keepalived or conntrackd does not come up
    """
    if spec.pair is None:
        return
    _ensure_line(spec.pair, router_namespace(spec.id), mtu_of(spec))
    write(home / LINE, f"{spec.pair.nic.address} {spec.pair.peer.address}")
    program = f"{sys.executable} -s -S -m network.elements.pair_role {home}"
    wanted = (
        (
            conntrackd(spec.id, home),
            "conntrackd.conf",
            conntrackd_conf(spec.pair, home, [leg.nic.address for leg in spec.legs]),
        ),
        (keepalived(spec.id, home), "keepalived.conf", keepalived_conf(spec.pair, program)),
    )
    for daemon, name, text in wanted:
        if write(home / name, text) or not daemon.is_running():
            daemon.end()
            for left in LEFT_BY_KILLED[daemon.program]:
                (home / left).unlink(missing_ok=True)
            daemon.restart()
    deadline = time.monotonic() + TURN_SECONDS
    while role(spec.id, home) == "UNKNOWN" and time.monotonic() < deadline:
        time.sleep(0.05)


def mtu_of(spec: RouterSpec) -> int:
    """Of the line, which is in the router's one network, or of its own for that of a VPC."""
    return LINE_MTU if spec.vpc_id else spec.legs[0].mtu


def _ensure_line(pair: Pair, namespace: str, mtu: int) -> None:
    """Who the other is, both are told: nobody on the network answers for it.

    conntrackd fills datagrams up to the device's MTU; what is larger than the network carries would be lost.
    """
    there = links.links(namespace)[DEVICE]
    address = f"{pair.nic.address}/32"
    lines = [f"address add {address} dev {DEVICE}"] if address not in there.addresses else []
    lines += [f"link set dev {DEVICE} mtu {mtu} arp off up"] if not there.up or there.mtu != mtu else []
    lines.append(f"route replace {pair.peer.address}/32 dev {DEVICE} src {pair.nic.address}")
    lines.append(f"neigh replace {pair.peer.address} lladdr {pair.peer.mac} dev {DEVICE} nud permanent")
    links.change(lines, namespace)


def leave(router_id: str, home: Path) -> None:
    """Forward alone from now on."""
    if (home / "keepalived.conf").exists():
        end(router_id, home)
        run(["ip", "netns", "exec", router_namespace(router_id), "nft", "-f", "-"], stdin=OPEN)


def end(router_id: str, home: Path) -> None:
    """Leave the pair: the other router takes over at once. What is here stays behind its closed gate."""
    for daemon in (keepalived(router_id, home), conntrackd(router_id, home)):
        daemon.end()
    for name in ("keepalived.conf", "conntrackd.conf", "role"):
        (home / name).unlink(missing_ok=True)


def role(router_id: str, home: Path) -> Role | None:
    """None for a router of no pair; UNKNOWN when nobody decides on it."""
    if not (home / "keepalived.conf").exists():
        return None
    if not keepalived(router_id, home).is_running():
        return "UNKNOWN"
    return cast("Role", (home / "role").read_text() if (home / "role").exists() else "UNKNOWN")


def check(spec: RouterSpec, home: Path) -> RouterCheck:
    found = role(spec.id, home)
    if found not in ("PRIMARY", "BACKUP"):
        return RouterCheck("redundancy", False, f"The router is {found or 'of no pair'}: keepalived decides nothing.")
    if not conntrackd(spec.id, home).is_running():
        return RouterCheck("redundancy", False, "conntrackd does not run: connections could end with a router.")
    return RouterCheck("redundancy", True, f"The router is {found}.")
