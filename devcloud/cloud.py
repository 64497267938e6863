"""A whole DevCloud: its underlay, management server, cells and seed, brought up and taken down step by step."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from devcloud import enrolment, hardware, outside, underlay
from devcloud.cell_files import PUBLIC_BRIDGE, SWITCH_RUN, UNDERLAY_DEVICE
from devcloud.cells import Cell, end_strays
from devcloud.management import Keys, Management, write_secret
from devcloud.paths import REPOSITORY, Site
from devcloud.processes import CommandError
from devcloud.seed import PublicRange, Seed
from devcloud.setup import step
from devcloud.supervisor import Process

ZONE = "devcloud"
TEMPLATE = "tiny"
PUBLIC = PublicRange(underlay.PUBLIC_GATEWAY, underlay.PUBLIC_NETMASK, underlay.PUBLIC_FIRST, underlay.PUBLIC_LAST)
POD = PublicRange("192.0.2.1", "255.255.255.0", "192.0.2.230", "192.0.2.250")


@dataclass
class DevCloud:
    """The cloud of one site with hosts host1 to host<hosts>.

    `pace` holds heartbeat_seconds and inventory_seconds, when they shall differ from the agents' own.
    """

    site: Site
    hosts: int = 2
    pace: dict[str, float] = field(default_factory=dict)
    guest_build: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @cached_property
    def management(self) -> Management:
        return Management(self.site.state, self.site.api_port, extra=self._extra())

    @property
    def cells(self) -> list[Cell]:
        """The wanted ones; `existing_cells` are those that have been made."""
        return [Cell(self.site, f"host{index}", index, has_hardware=True) for index in range(1, self.hosts + 1)]

    @property
    def existing_cells(self) -> list[Cell]:
        names = sorted(path.parent.name for path in self.site.state.glob("host*/boot.json"))
        return [Cell(self.site, name, int(name.removeprefix("host")), has_hardware=True) for name in names]

    @property
    def store_settings(self) -> Path:
        return self.site.state / "store" / "agent.json"

    @property
    def root_keys_file(self) -> Path:
        return self.site.secrets / "root.json"

    def up(self) -> None:
        """Bring everything up, or what is missing of it; each step leaves alone what is as it should be."""
        self.site.state.mkdir(parents=True, exist_ok=True)
        with self._alone():
            self._begin_guest_build()
            with step("underlay, public network and internet"):
                underlay.ensure(self.site)
            with step("firewall and load balancer"):
                hardware.ensure(self.site)
                self.management.extra = self._extra()
            keys = self._start_management()
            with step(f"{self.hosts} hosts with libvirtd and Open vSwitch"):
                for cell in sorted({*self.cells, *self.existing_cells}, key=lambda one: one.index):
                    cell.up()
            self._seed(Seed(self.management.endpoint, keys, "KVM"))

    def down(self) -> None:
        """End everything and remove every trace but the cache."""
        self.site.state.mkdir(parents=True, exist_ok=True)
        with self._alone():
            with step("processes"):
                self.management.group.stop()
            with step("hosts and their guests"):
                for cell in self.existing_cells:
                    cell.remove()
                end_strays(self.site)
            with step("namespaces"):
                hardware.remove(self.site)
                underlay.remove(self.site)
            with step("files"):
                for path in self.site.state.iterdir():
                    if path != self.site.cache:
                        _remove(path)

    def _start_management(self) -> Keys:
        management = self.management
        with step("PostgreSQL and Redis"):
            management.start_services()
        with step("database schema"):
            management.migrate()
        with step("root administrator"):
            keys = management.bootstrap()
            write_secret(self.root_keys_file, f'{{"apikey": "{keys.apikey}", "secretkey": "{keys.secretkey}"}}')
        with step("API and orchestrator"):
            management.start_servers()
        return keys

    def _seed(self, seed: Seed) -> None:
        with step("zone, networks, pod and cluster"):
            zone = seed.zone(ZONE, underlay.PUBLIC_GATEWAY)
            network = seed.physical_network(zone, PUBLIC_BRIDGE)
            seed.public_range(zone, network, PUBLIC)
            pod = seed.pod(zone, POD)
            place = {"zoneid": zone, "podid": pod, "clusterid": seed.cluster(zone, pod)}
        with step("image store and its agent"):
            self._join_store(seed, zone)
        with step("hosts join and report"):
            share = shutil.disk_usage(self.site.state).free // self.hosts
            for cell in self.cells:
                host = seed.host(cell.name, place, enrolment.public_key(cell.directory / "agent"))
                self._join_cell(cell, host)
                seed.pool(f"{cell.name}-local", host, place, f"file://{cell.directory / 'primary'}", share)
            seed.wait_for_hosts(zone, len(self.cells))
            self._join_hardware(seed, zone, network)
        with step("service offerings and tenants"):
            seed.offerings()
            seed.tenants(self.site.seeded)
            seed.enable_zone(zone)
        with step("guest image is built"):
            self._finish_guest_build()
        with step("template is ready"):
            image = self.site.guest_image
            checksum = hashlib.sha256(image.read_bytes()).hexdigest()
            seed.template(TEMPLATE, zone, f"file://{image}", checksum)
            seed.wait_for_template(TEMPLATE, zone)

    def _join_store(self, seed: Seed, zone: str) -> None:
        directory = self.store_settings.parent
        key = enrolment.public_key(directory)
        self.site.secondary.mkdir(exist_ok=True)
        store = seed.image_store(zone, f"file://{self.site.secondary}", key)
        local = {**_own_files(directory), **self.pace, "file_roots": [str(self.site.cache)]}
        enrolment.write_settings(self.store_settings, store, self.management.join_document, local)
        self.management.extra = self._extra()
        self.management.apply()

    def _join_cell(self, cell: Cell, host_id: str) -> None:
        directory = cell.directory / "agent"
        local = {
            **_own_files(directory),
            **self.pace,
            "hypervisor": "libvirt",
            "libvirt_uri": "qemu:///system",
            "ovs_rundir": SWITCH_RUN,
            "datapath": "netdev",
            "integration_bridge": "br-int",
            "underlay_address": cell.address,
            "underlay_device": UNDERLAY_DEVICE,
            "cpu_shares": False,  # a cell has no cgroups
            "hostname": cell.name,
            "disk_path": str(cell.directory / "primary"),
            "image_cache": str(cell.directory / "cache"),
        }
        enrolment.write_settings(cell.agent_settings, host_id, self.management.join_document, local)
        cell.up()

    def _join_hardware(self, seed: Seed, zone: str, network: str) -> None:
        host = seed.find("listHosts", "host", "name", f"host{hardware.HOST}", zoneid=zone)
        for one in hardware.APPLIANCES:
            place = {"physicalnetworkid": network, "hostid": (host or {})["id"], "hostinterface": f"eth{one.cable}"}
            login = {"username": one.user, "password": one.password_file(self.site).read_text()}
            seed.device(one.name, f"https://{one.address}", {**place, **login, "hostkey": one.key(self.site)})

    def _extra(self) -> list[Process]:
        extra = [*outside.processes(self.site), *hardware.processes(self.site)]
        if self.store_settings.exists():
            extra.append(enrolment.agent_process("image-store", self.store_settings))
        return extra

    def _begin_guest_build(self) -> None:
        """Build the guest's disk beside the other steps; it takes its time only once, for it stays in the cache."""
        self.site.cache.mkdir(exist_ok=True)
        work = self.site.cache / "guest-build"
        argv = [sys.executable, "-m", "devcloud.guest.build", str(self.site.guest_image), "--work", str(work)]
        with (self.site.cache / "guest-build.log").open("wb") as log:
            self.guest_build = subprocess.Popen(argv, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _finish_guest_build(self) -> None:
        if self.guest_build is not None and self.guest_build.wait():
            raise CommandError(f"The guest was not built; see {self.site.cache / 'guest-build.log'}.")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no other run of `up` or `down` works on this site."""
        lock = os.open(self.site.state, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _own_files(directory: Path) -> dict[str, Any]:
    return {
        "private_key_file": str(directory / enrolment.PRIVATE_KEY),
        "journal": str(directory / "journal.db"),
        "state_dir": str(directory),
    }


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
