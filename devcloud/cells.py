"""A cell: one emulated hypervisor host in namespaces of its own, with its own libvirtd, Open vSwitch and agent."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from devcloud import cell_files, hardware, underlay
from devcloud.cell_init import write_boot
from devcloud.enrolment import agent_process
from devcloud.paths import REPOSITORY, Site
from devcloud.processes import ProcessGroup, Running, end, output, recorded, wait_until
from devcloud.supervisor import Process, start_time, write_processes

INIT = "devcloud.cell_init"
LONGEST_NAME = 10
NAMESPACES = ("--mount", "--net", "--uts", "--pid", "--cgroup", "--propagation", "private")
SOCKETS = ("run/libvirt/libvirt-sock", "run/openvswitch/db.sock")


@dataclass(frozen=True)
class Cell:
    """Host number `index` (from 1). Its files lie in `directory`; its /run is empty after every boot.

    With `has_hardware` DevCloud's hardware devices are cabled to the host that they are for.
    """

    site: Site
    name: str
    index: int
    has_hardware: bool = False

    def __post_init__(self) -> None:
        if len(self.name) > LONGEST_NAME:
            raise ValueError(f"The name {self.name} of a cell is longer than {LONGEST_NAME} characters.")

    @property
    def directory(self) -> Path:
        return self.site.cell(self.name)

    @property
    def address(self) -> str:
        """Where the tunnels of this host end."""
        return underlay.underlay_address(self.index)

    @property
    def agent_settings(self) -> Path:
        """The agent runs from the moment that this file is there and `up` is called."""
        return self.directory / "agent.json"

    @property
    def pid(self) -> int:
        """Pid 1 of the cell as this machine sees it; 0 when the cell is down."""
        return recorded(self.directory / "pid")[0]

    @property
    def root(self) -> Path:
        """The files of the running cell as it sees them."""
        return Path(f"/proc/{self.pid}/root")

    def is_up(self) -> bool:
        return bool(self.pid) and all(_listens(self.root / path) for path in SOCKETS) and self._switch_runs()

    def up(self) -> None:
        """Bring the host up, or what is missing of it; the underlay must be there."""
        cell_files.prepare(self.directory, self.name)
        write_processes(self.directory, self._processes())
        if self.pid:
            self._reconnect()
            os.kill(self.pid, signal.SIGHUP)
        else:
            self._boot()
        wait_until(self.is_up, f"cell {self.name}, with its logs in {self.directory}/log,")

    def down(self) -> None:
        """Take the host down with all its guests; its files stay."""
        end(*recorded(self.directory / "pid"), grace=15.0)

    def kill(self) -> None:
        """Power failure."""
        end(*recorded(self.directory / "pid"), number=signal.SIGKILL)

    def remove(self) -> None:
        """Take the host away with its files, so in no good order."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def exec(self, argv: list[str]) -> str:
        """What `argv` writes when it runs in the cell. :raises CommandError: it failed."""
        return output(self.enter(argv))

    def enter(self, argv: list[str]) -> list[str]:
        """The command that runs `argv` in the cell."""
        return ["nsenter", f"--target={self.pid}", *self._kinds(), "--wd=/", "--", *argv]

    def states(self) -> list[Running]:
        """Its processes; their pids are those inside the cell."""
        status = self.directory / "status.json"
        if not self.pid or not status.exists():
            return []
        return [Running(name, one["pid"], one["ended"]) for name, one in json.loads(status.read_text()).items()]

    def log(self, name: str) -> Path:
        return ProcessGroup(self.directory).log(name)

    def _boot(self) -> None:
        cables = self._cables().items()
        links = [argv for wire in cables for argv in underlay.cable(self.site, self.name, *wire)]
        write_boot(self.directory, cell_files.boot(self.directory, self.name, links))
        for stale in ("booted", "pid", "status.json"):
            (self.directory / stale).unlink(missing_ok=True)
        log = self.directory / "log" / "boot.log"
        init = [sys.executable, "-m", INIT, str(self.directory)]
        with log.open("ab") as stream:
            subprocess.run(
                ["unshare", *NAMESPACES, "--", *init],
                check=True,
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        wait_until((self.directory / "booted").exists, f"boot of cell {self.name}, with its log in {log},")

    def _reconnect(self) -> None:
        """Plug the cables again that went with a namespace of the underlay."""
        there = {link["ifname"] for link in json.loads(self.exec(["ip", "-json", "link"]))}
        for number, bridge in self._cables().items():
            if f"eth{number}" not in there:
                for argv in underlay.cable(self.site, self.name, number, bridge):
                    output(["nsenter", f"--target={self.pid}", "--net", "--", *argv])
        self.exec(["ip", "link", "set", "eth1", "master", cell_files.PUBLIC_BRIDGE])

    def _cables(self) -> dict[int, str]:
        """What each numbered interface is joined to; those to hardware devices when there are any."""
        found = {0: underlay.UNDERLAY_BRIDGE, 1: underlay.PUBLIC_BRIDGE}
        if self.index == hardware.HOST and self.has_hardware:
            found |= {one.cable: underlay.cable_bridge(one.name) for one in hardware.APPLIANCES}
        return found

    def _processes(self) -> list[Process]:
        processes = cell_files.processes()
        if self.agent_settings.exists():
            processes.append(agent_process("agent", self.agent_settings))
        return processes

    def _switch_runs(self) -> bool:
        return any(map(_listens, (self.root / "run/openvswitch").glob("ovs-vswitchd.*.ctl")))

    @staticmethod
    def _kinds() -> list[str]:
        return ["--mount", "--net", "--uts", "--pid", "--cgroup"]


def end_strays(site: Site) -> None:
    """End cells of `site` that run although their files are gone."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if INIT.encode() in words and words[-2].startswith(f"{site.state}/".encode()):
            end(int(entry.name), start_time(int(entry.name)))


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True
