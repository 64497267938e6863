"""What a DevCloud has on this machine besides its cache: nothing of it may be there once it is down."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from devcloud.cloud import DevCloud
from devcloud.processes import output
from devcloud.supervisor import start_time
from devcloud.underlay import NAMESPACES

DEVICES = ("pl-", "pt-", "pr-", "pp-", "pg-", "pc-", "br-int", "br-phy", "br-public", "underlay", "public")
LISTENING = "0A"


def devices() -> set[str]:
    """Network devices of the machine's own namespace that are called as those of a cloud."""
    names = {link["ifname"] for link in json.loads(output(["ip", "-json", "link"]))}
    return {name for name in names if name.startswith(DEVICES)}


def namespace_of(pid: int | str) -> str:
    """The process namespace that `pid` is in."""
    return str(Path(f"/proc/{pid}/ns/pid").readlink())


@dataclass
class Traces:
    """How to tell the things of one cloud: by its site, by its hosts' namespaces, by what was there before it."""

    cloud: DevCloud
    devices_before: set[str] = field(default_factory=devices)
    host_namespaces: set[str] = field(default_factory=set)

    def note_hosts(self) -> None:
        """Remember the process namespaces of the hosts that run, for a process may name its site nowhere."""
        self.host_namespaces |= {namespace_of(cell.pid) for cell in self.cloud.existing_cells}

    def found(self) -> list[str]:
        """A line for each thing of the cloud that is there now, beginning with its kind."""
        site = self.cloud.site
        files = [path.name for path in site.state.iterdir() if path != site.cache]
        return [
            *(f"process {one}" for one in self._processes()),
            *(f"namespace {path.name}" for path in NAMESPACES.glob(f"{site.prefix}-*")),
            *(f"mount {one}" for one in self._lines("/proc/self/mountinfo")),
            *(f"socket {one}" for one in self._lines("/proc/net/unix")),
            *(f"socket {one}" for one in self._listeners()),
            *(f"device {name}" for name in devices() - self.devices_before),
            *(f"file {name}" for name in files),
        ]

    def _processes(self) -> list[str]:
        mark = f"{self.cloud.site.state}/".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                words = (entry / "cmdline").read_bytes()
                named = mark in words or mark in (entry / "environ").read_bytes()
                inside = namespace_of(entry.name) in self.host_namespaces
            except OSError:
                continue
            if (named or inside) and start_time(int(entry.name)):
                found.append(f"{entry.name} {words[:120]!r}")
        return found

    def _lines(self, table: str) -> list[str]:
        site = self.cloud.site
        marks = (f"{site.state}/", f"{NAMESPACES}/{site.prefix}-")
        return [line for line in Path(table).read_text().splitlines() if any(mark in line for mark in marks)]

    def _listeners(self) -> list[str]:
        """Source: proc(5), /proc/net/tcp: the local address and the state are the second and the fourth field."""
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        port = f":{self.cloud.site.api_port:04X}"
        return [f"tcp {row[1]}" for row in rows if row[1].endswith(port) and row[3] == LISTENING]
