"""A hypervisor host as its handlers see it: switch, routers, hypervisor, storage, and the journal."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import structlog

from agents.contract import (
    ApplyNetwork,
    ApplyRouter,
    HostFacts,
    HostInventory,
    NetworkFacts,
    NicTraffic,
    RouterRole,
    RuleHits,
    TunnelFacts,
    VmSpec,
)
from agents.host.devices import HostDevices, check
from agents.journal import Journal
from network.capture import Recording
from network.errors import NetworkError
from network.flows import check_view
from network.names import tap_name
from network.types import NetworkView, RouterSpec
from storage.images import open_store
from storage.images.directory import DirectorySettings
from storage.primary import open_pool
from storage.types import ImageStoreSpec, PoolSpec

log = structlog.get_logger()
VIEW = "network"
ROUTER = "router"
VM = "vm"
POOL = "pool"
STORE = "store"
TURNS = 64


@dataclass
class Host:
    """What the handlers of one host work on; the drivers are those of the agent's settings."""

    id: str
    journal: Journal
    switch: Any
    routers: Any
    hypervisor: Any
    image_sources: DirectorySettings
    device_drivers: Any = None
    disk_path: str = "/"
    underlay_address: str = ""
    hostname: str = ""
    switch_pid_file: str = ""
    recorder: Any = Recording
    captures: dict[str, Any] = field(default_factory=dict)
    devices: HostDevices = field(init=False)
    _turns: list[threading.Lock] = field(init=False, default_factory=lambda: [threading.Lock() for _ in range(TURNS)])

    def __post_init__(self) -> None:
        self.devices = HostDevices(self.journal, self.switch, self.device_drivers)

    def pool(self, spec: PoolSpec) -> Any:
        """The driver of a primary pool; the pool is remembered, so that an inventory looks into it."""
        self.journal.want(POOL, spec.id, 0, spec)
        return open_pool(spec)

    def store(self, spec: ImageStoreSpec) -> Any:
        self.journal.want(STORE, spec.id, 0, spec)
        return self._open_store(spec)

    def _open_store(self, spec: ImageStoreSpec) -> Any:
        return open_store(spec, self.image_sources if spec.driver == "directory" else None)

    def views(self) -> list[NetworkView]:
        """The networks with a NIC or an end of a line here. Others stay in the journal, by their generation, against
        late views.
        """
        held: list[NetworkView] = self.journal.wanted(VIEW, NetworkView)
        return [view for view in held if any(nic.host_id == self.id for nic in (*view.nics, *view.pair))]

    def hold(self, commands: tuple[ApplyNetwork, ...]) -> None:
        """Take newer views and routers, and make the host so: routers first, since flows name their ports.

        A view that is refused is not taken up: it would stand in the way of all other networks of the host.
        """
        for command in commands:
            check_view(command.view)
            check(command.devices)
        for command in commands:
            view = command.view
            if not self.journal.want(VIEW, view.id, view.generation, view):
                continue
            for router in self.journal.wanted(ROUTER, RouterSpec):
                if _is_alone_in(router, view.id) and (command.router is None or command.router.id != router.id):
                    self._end_router(router.id)
            if command.router is not None:
                self.journal.want(ROUTER, command.router.id, command.router.generation, command.router)
            self.devices.want(command)
        self.make_so()
        for command in commands:
            self.devices.bring(command.view.id)

    def hold_router(self, command: ApplyRouter) -> None:
        """Take a newer router of a VPC, or end it."""
        if command.router is None:
            self._end_router(command.router_id)
        else:
            self.journal.want(ROUTER, command.router_id, command.router.generation, command.router)
        self.make_so()

    @contextmanager
    def _turn(self, router_id: str) -> Iterator[RouterSpec | None]:
        """The router as it is wanted now, while nobody else brings or ends it; None for one that has ended.

        Who has read of it before would bring back what has ended since, and nobody would ever remove that.
        """
        with self._turns[hash(router_id) % TURNS]:
            yield self.journal.wanted_one(ROUTER, router_id, RouterSpec)

    def _end_router(self, router_id: str) -> None:
        with self._turn(router_id):
            self.routers.remove(router_id)  # first: what the journal has forgotten nobody would remove
            self.journal.drop(ROUTER, router_id)

    def make_so(self) -> None:
        """Bring routers and flows to the wanted state of the journal."""
        ids = [router.id for router in self.journal.wanted(ROUTER, RouterSpec)]
        for router_id in ids:
            with self._turn(router_id) as router:
                if router is not None:
                    self.routers.apply(router)
        self.switch.apply(self.views())
        for router_id in ids:
            with self._turn(router_id) as router:
                if router is not None and router.pair is not None:
                    self.routers.join(router)

    def keep_tunnels(self) -> None:
        """Begin again what routers have given up, such as after a refusal by the other site, or what has died; tell
        devices the rest.
        """
        self.devices.keep()
        for known in self.journal.wanted(ROUTER, RouterSpec):
            try:
                with self._turn(known.id) as router:
                    if router is not None:
                        self._keep(router)
            except NetworkError as error:
                log.warning("router is not kept", router=known.id, error=str(error))

    def _keep(self, router: RouterSpec) -> None:
        if router.vpn is not None:
            self.routers.keep_tunnels(router.id)
        if router.pair is not None and self.routers.role(router.id) in (None, "UNKNOWN"):
            self.routers.apply(router)
            self.routers.join(router)

    def resume(self) -> None:
        """After a restart of the agent or of the switch alone: plugs, routers and flows as the journal wants them."""
        self.switch.ensure_bridges()
        plugged = self.switch.ports()
        for vm in self.journal.wanted(VM, VmSpec):
            for nic in vm.nics:
                if nic.id not in plugged:
                    self.switch.plug(nic.id, nic.mac)
        self.make_so()
        self.devices.resume()

    def restore(self) -> dict[str, str]:
        """After a reboot of the host: networks, routers and guests come back from the journal, without a manager.

        Gives the ids of the guests that did not start, with the reasons.
        """
        self.switch.ensure_bridges()
        self.make_so()
        self.devices.resume()
        running = {domain.vm_id for domain in self.hypervisor.domains() if domain.state in ("running", "paused")}
        failed: dict[str, str] = {}
        for vm in self.journal.wanted(VM, VmSpec):
            if vm.id not in running:
                try:
                    self.start(vm)
                except Exception as error:  # noqa: BLE001 - one guest's trouble is not that of the others
                    failed[vm.id] = str(error)
        return failed

    def start(self, vm: VmSpec) -> None:
        """Plug the NICs and boot the domain; what this call plugged is unplugged again when the boot fails."""
        plugged = [nic.id for nic in vm.nics if self.switch.plug(nic.id, nic.mac)]
        try:
            disks = [self.pool(disk.pool).disk(disk.volume_id) for disk in vm.disks]
            self.make_so()
            self.hypervisor.start(vm, disks)
        except Exception:
            for nic_id in plugged:
                self.switch.unplug(nic_id)
            raise

    def inventory(self) -> HostInventory:
        """All that Pileus made here, as the host itself shows it."""
        if self.hypervisor is None:
            return HostInventory(images=self.inventory_of_images())
        ports = self.switch.ports()
        here = self.views()
        counted = self.hypervisor.measure()
        return HostInventory(
            domains=tuple(self.hypervisor.domains()),
            volumes=tuple(v for pool in self.journal.wanted(POOL, PoolSpec) for v in open_pool(pool).volumes()),
            networks=tuple(
                NetworkFacts(
                    view.id,
                    view.key,
                    view.generation,
                    tuple(nic.id for nic in (*view.nics, *view.pair) if nic.host_id == self.id and nic.id in ports),
                )
                for view in here
            ),
            routers=tuple(self.routers.list()),
            ports=tuple(sorted(ports)),
            flow_drift=tuple(self.switch.drift(here)),
            traffic=_traffic(counted.taps, ports),
            rule_hits=self._rule_hits(here),
            guests=counted.guests,
            tunnels=tuple(self._tunnels()),
            roles=tuple(self._roles()),
            device_drift=self.devices.drift(),
            unknown=self.devices.strangers(),
        )

    def _rule_hits(self, views: Iterable[NetworkView]) -> tuple[RuleHits, ...]:
        """Those of ACL lists."""
        rule_ids = [rule.id for view in views if view.acl is not None for rule in view.acl.rules]
        return tuple(RuleHits(*pair) for pair in sorted(self.switch.rule_hits(rule_ids).items()))

    def _tunnels(self) -> Iterator[TunnelFacts]:
        """Of two redundant routers, those of the one that forwards."""
        for router in self.journal.wanted(ROUTER, RouterSpec):
            if router.vpn is not None and (router.pair is None or self.routers.role(router.id) == "PRIMARY"):
                yield from (TunnelFacts(key, state) for key, state in self.routers.tunnels(router.id).items())

    def _roles(self) -> Iterator[RouterRole]:
        for router in self.journal.wanted(ROUTER, RouterSpec):
            role = self.routers.role(router.id) if router.pair is not None else None
            if role is not None:
                yield RouterRole(router.id, role)

    def inventory_of_images(self) -> tuple[str, ...]:
        stores = self.journal.wanted(STORE, ImageStoreSpec)
        return tuple(image for store in stores for image in self._open_store(store).images())

    @cached_property
    def boot_mark(self) -> str:
        """Changes when the host (or the container that plays it) was started anew: kernel boot and start of pid 1."""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        started = Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19]
        return f"{boot}-{started}"

    @property
    def switch_mark(self) -> str:
        """Changes when the switch was started anew, and has no flows then; "" while it is down, or has no process."""
        try:
            path = Path(self.switch_pid_file)
            return f"{path.read_text().strip()}-{path.stat().st_mtime_ns}" if self.switch_pid_file else ""
        except FileNotFoundError:
            return ""

    def facts(self) -> HostFacts:
        """What the host can give, as its drivers tell it."""
        disk = shutil.disk_usage(self.disk_path)
        facts: HostFacts = self.hypervisor.facts()
        return replace(
            facts,
            hostname=self.hostname or facts.hostname,
            underlay_address=self.underlay_address,
            boot_id=self.boot_mark,
            disk_total=disk.total,
            disk_used=disk.used,
        )


def _is_alone_in(router: RouterSpec, network_id: str) -> bool:
    """Whether it is the network's own router, and no VPC's."""
    return not router.vpc_id and any(leg.network_id == network_id for leg in router.legs)


def _traffic(counted: dict[str, tuple[int, int]], nic_ids: Iterable[str]) -> tuple[NicTraffic, ...]:
    taps = {nic_id: tap_name(nic_id) for nic_id in sorted(nic_ids)}
    return tuple(NicTraffic(nic_id, *counted[tap]) for nic_id, tap in taps.items() if tap in counted)
