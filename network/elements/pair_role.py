"""What keepalived calls when a router of a pair becomes the one that forwards, or does not any more.

A program of its own that needs the standard library only; keepalived adds what changed, its name, the new state and
the priority to the home of the router.
"""

from __future__ import annotations

import sys
from pathlib import Path

from network import links
from network.elements.pair_files import CLOSED, OPEN
from network.elements.state_files import write
from network.process import run

MASTER = "MASTER"
ROLES = {MASTER: "PRIMARY", "BACKUP": "BACKUP", "FAULT": "FAULT"}


def turn(home: Path, state: str) -> None:
    """Open or close the gate, and tell by `home` which it is. Who opens it tells its neighbours who has its addresses.

    The kernel does so for all addresses of a device whose MAC address is set, even to what it is.
    """
    is_primary = state == MASTER
    run(["nft", "-f", "-"], stdin=OPEN if is_primary else CLOSED)
    if is_primary:
        there = links.links()
        links.change([f"link set dev {one.name} address {one.mac}" for one in there.values() if _has_neighbours(one)])
    elif state == "BACKUP":
        # What was missed while this router was away; a primary one that does not answer has none to give.
        run(["conntrackd", "-C", str(home / "conntrackd.conf"), "-n"], ok=(0, 1))
    write(home / "role", ROLES.get(state, "UNKNOWN"))


def _has_neighbours(link: links.Link) -> bool:
    return link.up and link.name.startswith(("eth", "tr-"))


if __name__ == "__main__":
    turn(Path(sys.argv[1]), sys.argv[4])
