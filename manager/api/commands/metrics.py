"""Lists with figures: what hosts, clusters, zones, storage pools, virtual machines and volumes have and give out.

Of virtual machines also what they do, as their hosts report it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, case, func, select

from manager.api.call import Call
from manager.api.command import EVERYONE, Given, Page, command
from manager.api.commands.cluster import ClusterResponse, ListClusters, list_clusters
from manager.api.commands.host_response import HostResponse, ListHosts, list_hosts
from manager.api.commands.place import shown_percentage
from manager.api.commands.storage_pool import ListStoragePools, StoragePoolResponse, list_storage_pools
from manager.api.commands.vm import ListVms, list_virtual_machines
from manager.api.commands.vm_response import VmResponse
from manager.api.commands.volume import ListVolumes, VolumeResponse, list_volumes
from manager.api.commands.zone import ListZones, ZoneResponse, list_zones
from manager.api.response import Response, Shown, Str
from manager.models import Cluster, Host, Vm

GIB = 2**30


def ghz(mhz: float) -> str:
    return f"{mhz / 1000:.2f} Ghz"


def gigabytes(size: float) -> str:
    return f"{size / GIB:.2f} GB"


class HostMetricsResponse(HostResponse):
    instances = Str("its running virtual machines, of all that are placed on it")
    cputotalghz = Str("the speed of all its CPUs")
    cpuallocatedghz = Str("what of that is given out")
    memorytotalgb = Str("its memory")
    memoryallocatedgb = Str("what of that is given out")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Host]) -> list[Shown]:
        query = (
            select(Vm.host_id, Vm.state, func.count())
            .where(Vm.host_id.in_([row.id for row in rows]))
            .group_by(Vm.host_id, Vm.state)
        )
        counts: dict[str | None, tuple[int, int]] = {}
        for host_id, state, count in call.session.execute(query):
            running, placed = counts.get(host_id, (0, 0))
            counts[host_id] = (running + (count if state == "Running" else 0), placed + count)
        return [
            {
                **shown,
                "instances": "{} / {}".format(*counts.get(row.id, (0, 0))),
                "cputotalghz": ghz(row.cpus * row.cpu_mhz),
                "cpuallocatedghz": ghz(row.cpu_used),
                "memorytotalgb": gigabytes(row.memory),
                "memoryallocatedgb": gigabytes(row.memory_used),
            }
            for shown, row in zip(super().render(call, rows), rows, strict=True)
        ]


@command("listHostsMetrics", ListHosts, HostMetricsResponse)
def list_hosts_metrics(call: Call, **filters: Any) -> Page:
    """List hosts with what they have and give out."""
    found: Page = list_hosts(call, **filters)
    return found


def _sums(call: Call, column: Any, ids: Sequence[str]) -> dict[str, Any]:
    """By cluster or zone (`column` of Host): hosts in all and enabled, MHz and bytes with what is claimed of them."""
    query = (
        select(
            column.label("place"),
            func.count().label("hosts"),
            func.count(case((and_(Host.resource_state == "Enabled", Host.state == "Up"), 1))).label("enabled"),
            func.sum(Host.cpus * Host.cpu_mhz * Cluster.cpu_overcommit).label("cpu"),
            func.sum(Host.cpu_used).label("cpu_used"),
            func.sum(Host.memory * Cluster.memory_overcommit).label("memory"),
            func.sum(Host.memory_used).label("memory_used"),
        )
        .join(Cluster, Cluster.id == Host.cluster_id)
        .where(column.in_(ids), Host.removed.is_(None))
        .group_by(column)
    )
    return {row.place: row for row in call.session.execute(query)}


class PlaceFigures(Response):
    """What the hosts of a place have and give out together."""

    state = Str("Enabled where a host is Up and takes virtual machines, else Disabled")
    cputotal = Str("the speed of all CPUs, with over-provisioning")
    cpuallocated = Str("what of that is given out")
    memorytotal = Str("the memory, with over-provisioning")
    memoryallocated = Str("what of that is given out")


def _figures(row: Any) -> Shown:
    if row is None:
        return {}
    cpu, memory = float(row.cpu), float(row.memory)
    return {
        "state": "Enabled" if row.enabled else "Disabled",
        "cputotal": ghz(cpu),
        "cpuallocated": f"{shown_percentage(float(row.cpu_used), cpu)}%",
        "memorytotal": gigabytes(memory),
        "memoryallocated": f"{shown_percentage(float(row.memory_used), memory)}%",
    }


class ClusterMetricsResponse(ClusterResponse, PlaceFigures):
    hosts = Str("its hosts that are Up and take virtual machines, of all")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Cluster]) -> list[Shown]:
        sums = _sums(call, Host.cluster_id, [row.id for row in rows])
        return [
            {
                **shown,
                **_figures(sums.get(shown["id"])),
                "hosts": f"{sums[shown['id']].enabled} / {sums[shown['id']].hosts}" if shown["id"] in sums else "0 / 0",
            }
            for shown in super().render(call, rows)
        ]


@command("listClustersMetrics", ListClusters, ClusterMetricsResponse)
def list_clusters_metrics(call: Call, **filters: Any) -> Page:
    """List clusters with what their hosts have and give out."""
    found: Page = list_clusters(call, **filters)
    return found


class ZoneMetricsResponse(ZoneResponse, PlaceFigures):
    clusters = Str("its clusters that are Enabled, of all")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Any]) -> list[Shown]:
        ids = [row.id for row in rows]
        sums = _sums(call, Host.zone_id, ids)
        enabled = func.count(case((Cluster.allocation_state == "Enabled", 1)))
        query = select(Cluster.zone_id, enabled, func.count()).where(
            Cluster.zone_id.in_(ids), Cluster.removed.is_(None)
        )
        found = call.session.execute(query.group_by(Cluster.zone_id))
        counts = {zone_id: f"{some} / {every}" for zone_id, some, every in found}
        return [
            {**shown, **_figures(sums.get(shown["id"])), "clusters": counts.get(shown["id"], "0 / 0")}
            for shown in super().render(call, rows)
        ]


@command("listZonesMetrics", ListZones, ZoneMetricsResponse)
def list_zones_metrics(call: Call, **filters: Any) -> Page:
    """List zones with what their hosts have and give out."""
    found: Page = list_zones(call, **filters)
    return found


class StoragePoolMetricsResponse(StoragePoolResponse):
    disksizetotalgb = Str("its size")
    disksizeusedgb = Str("how much its host reports as used")
    disksizeallocatedgb = Str("how much is claimed by volumes")
    disksizeunallocatedgb = Str("what volumes can still claim, with over-provisioning")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Any]) -> list[Shown]:
        return [
            {
                **shown,
                "disksizetotalgb": gigabytes(row.capacity),
                "disksizeusedgb": gigabytes(shown["disksizeused"]) if shown.get("disksizeused") is not None else None,
                "disksizeallocatedgb": gigabytes(row.allocated),
                "disksizeunallocatedgb": gigabytes(row.capacity * row.overprovision - row.allocated),
            }
            for shown, row in zip(super().render(call, rows), rows, strict=True)
        ]


@command("listStoragePoolsMetrics", ListStoragePools, StoragePoolMetricsResponse)
def list_storage_pools_metrics(call: Call, **filters: Any) -> Page:
    """List storage pools with what they have and give out."""
    found: Page = list_storage_pools(call, **filters)
    return found


class VmMetricsResponse(VmResponse):
    cputotal = Str("the speed of all its CPUs")
    memorytotal = Str("its memory")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Any]) -> list[Shown]:
        return [
            {
                **shown,
                "cputotal": ghz(shown["cpunumber"] * shown["cpuspeed"]),
                "memorytotal": gigabytes(shown["memory"] * 2**20),
            }
            for shown in super().render(call, rows)
        ]


@command("listVirtualMachinesMetrics", ListVms, VmMetricsResponse, roles=EVERYONE)
def list_virtual_machines_metrics(call: Call, given: Given) -> Page:
    """List virtual machines with what they are given and what they do."""
    found: Page = list_virtual_machines(call, Given({**given.values, "details": given.details or ["all"]}))
    return found


class VolumeMetricsResponse(VolumeResponse):
    sizegb = Str("its size")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Any]) -> list[Shown]:
        return [{**shown, "sizegb": gigabytes(shown["size"])} for shown in super().render(call, rows)]


@command("listVolumesMetrics", ListVolumes, VolumeMetricsResponse, roles=EVERYONE)
def list_volumes_metrics(call: Call, given: Given) -> Page:
    """List volumes with their sizes."""
    found: Page = list_volumes(call, given)
    return found
