"""What a DevCloud leaves on this machine: processes, namespaces, devices, mounts, sockets, files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from devcloud.cloud import DevCloud

KINDS = ("net", "pid", "mnt")


def namespaces_of(pid: int) -> set[str]:
    """The namespaces of the process that are not this machine's own."""
    found = set()
    for kind in KINDS:
        try:
            own = Path(f"/proc/{pid}/ns/{kind}").readlink()
        except OSError:
            continue
        if own != Path(f"/proc/self/ns/{kind}").readlink():
            found.add(str(own))
    return found


def processes(cloud: DevCloud, namespaces: set[str]) -> set[str]:
    """Those that name the cloud's directory in their arguments or environment, or live in one of `namespaces`."""
    mark = str(cloud.site.state).encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes()
            named = mark in words or mark in (entry / "environ").read_bytes()
        except OSError:
            continue
        if named or namespaces_of(int(entry.name)) & namespaces:
            found.add(f"{entry.name} {words.replace(bytes(1), b' ').decode(errors='replace')}")
    return found


def left(cloud: DevCloud, namespaces: set[str] | None = None) -> dict[str, set[str]]:
    """All marks of the cloud on this machine, and every device in the machine's own network namespace."""
    mark = str(cloud.site.state)
    links = json.loads(subprocess.run(["ip", "-json", "link"], check=True, capture_output=True).stdout)
    files = {str(path) for path in cloud.site.state.iterdir()} if cloud.site.state.exists() else set()
    return {
        "processes": processes(cloud, namespaces or set()),
        "namespaces": {path.name for path in Path("/run/netns").glob(f"{cloud.site.prefix}-*")},
        "devices": {link["ifname"] for link in links},
        "mounts": {line for line in Path("/proc/self/mountinfo").read_text().splitlines() if mark in line},
        "sockets": {line for line in Path("/proc/net/unix").read_text().splitlines() if mark in line},
        "files": files - {str(cloud.site.cache)},
    }


def pids(cloud: DevCloud) -> dict[str, int]:
    """Every process under supervision and the supervisors, by name."""
    found = {"supervisor": cloud.management.group.pid}
    found |= {one.name: one.pid for one in cloud.management.group.states()}
    for cell in cloud.existing_cells:
        found[cell.name] = cell.pid
        found |= {f"{cell.name} {one.name}": one.pid for one in cell.states()}
    return found
