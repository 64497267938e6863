"""Storage pools: primary storage, where volumes are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import or_, select

from manager import configuration
from manager.api.call import Call
from manager.api.command import Given, ListRequest, Page, Request, command
from manager.api.commands.place import (
    demand_within,
    hold,
    named,
    narrowed,
    path_of,
    places_of,
    refuse_while,
    rename,
    with_keyword,
)
from manager.api.errors import Invalid
from manager.api.fields import Choice, Flag, ListOf, Long, Ref, Text
from manager.api.response import Bool, Response, Shown, Str, SuccessResponse, When
from manager.api.response import Long as LongOut
from manager.api.rows import by_id
from manager.models import Cluster, Host, Pod, StoragePool, Volume, Zone
from manager.workflows.maintenance import STATES as MAINTENANCE_STATES

DRIVERS = {"file": "local", "simulator": "simulator"}
TYPES = {"local": "Filesystem", "simulator": "Simulator"}
SCOPES = ("HOST", "CLUSTER", "ZONE")
MOST_BYTES = 2**58
"""Of a pool: a zone's sums of some dozen such still are integers of the database."""


class StoragePoolResponse(Response):
    object_key = "storagepool"
    shows = StoragePool
    id = Str("the pool's id")
    name = Str("its name")
    zoneid = Str("the id of its zone")
    zonename = Str("the name of its zone")
    podid = Str("the id of its pod")
    podname = Str("the name of its pod")
    clusterid = Str("the id of its cluster")
    clustername = Str("the name of its cluster")
    scope = Str("who reaches it: one HOST, a CLUSTER, or the whole ZONE")
    type = Str("Filesystem or Simulator")
    ipaddress = Str("the address of its host, where only that has it")
    path = Str("its directory")
    state = Str("Up, or Disabled when it takes no more volumes")
    tags = Str("its tags, separated by commas")
    provider = Str("always DefaultPrimary")
    managed = Bool("always false")
    overprovisionfactor = Str("bytes given out for each byte of it")
    capacitybytes = LongOut("its size in bytes")
    disksizetotal = LongOut("the same")
    disksizeallocated = LongOut("how much is claimed by volumes, in bytes")
    disksizeused = LongOut("how much its host reports as used, in bytes")
    created = When("when it was made")

    @classmethod
    def render(cls, call: Call, rows: Sequence[StoragePool]) -> list[Shown]:
        names = places_of(call, rows, Zone, Pod, Cluster)
        hosts = by_id(call, Host, (row.host_id for row in rows))
        return [{**_place(row, names), **_content(row, hosts.get(row.host_id))} for row in rows]


def _place(pool: StoragePool, names: dict[str | None, str]) -> Shown:
    return {
        "id": pool.id,
        "name": pool.name,
        "zoneid": pool.zone_id,
        "zonename": names[pool.zone_id],
        "podid": pool.pod_id,
        "podname": names.get(pool.pod_id),
        "clusterid": pool.cluster_id,
        "clustername": names.get(pool.cluster_id),
        "scope": pool.scope,
        "created": pool.created,
    }


def _content(pool: StoragePool, host: Host | None) -> Shown:
    return {
        "type": TYPES.get(pool.driver, pool.driver),
        "ipaddress": (host.address or None) if host else None,
        "path": pool.path,
        "state": pool.state,
        "tags": pool.tags or None,
        "provider": "DefaultPrimary",
        "managed": False,
        "overprovisionfactor": str(pool.overprovision),
        "capacitybytes": pool.capacity,
        "disksizetotal": pool.capacity,
        "disksizeallocated": pool.allocated,
        "disksizeused": host.details.get("disk_used") if host else None,
    }


class CreateStoragePool(Request):
    name = Text("its name, new in the zone", required=True)
    zoneid = Ref(Zone, "the zone", required=True)
    url = Text("file:///directory, or simulator:///name", required=True)
    scope = Choice("who reaches it; HOST or CLUSTER where that is named, else ZONE", SCOPES)
    hostid = Ref(Host, "the host, for the scope HOST")
    clusterid = Ref(Cluster, "the cluster, for the scope CLUSTER")
    podid = Ref(Pod, "the pod of host or cluster")
    capacitybytes = Long("its size in bytes; what its host reports when absent", least=1, most=MOST_BYTES)
    tags = Text("tags that offerings may ask for, separated by commas")


class ListStoragePools(ListRequest):
    id = Ref(StoragePool, "only this pool")
    name = Text("only pools of this name")
    zoneid = Ref(Zone, "only pools of this zone")
    podid = Ref(Pod, "only pools of this pod")
    clusterid = Ref(Cluster, "only pools of this cluster")
    hostid = Ref(Host, "only pools that this host reaches")
    path = Text("only pools of this directory")
    scope = Text("only pools of this scope")
    status = Text("only pools in this state")


class UpdateStoragePool(Request):
    id = Ref(StoragePool, "the pool", required=True)
    name = Text("another name")
    tags = ListOf(Text("a tag"), "other tags instead of those it has; a comma alone for none")
    capacitybytes = Long("another size in bytes", least=1, most=MOST_BYTES)
    enabled = Flag("whether it takes volumes")


class DeleteStoragePool(Request):
    id = Ref(StoragePool, "the pool, which must be empty", required=True)


@command("listStoragePools", ListStoragePools, StoragePoolResponse)
def list_storage_pools(call: Call, **filters: Any) -> Page:
    """List storage pools."""
    filters["scope"] = (filters["scope"] or "").upper()
    columns = {
        "id": StoragePool.id,
        "name": StoragePool.name,
        "zoneid": StoragePool.zone_id,
        "podid": StoragePool.pod_id,
        "clusterid": StoragePool.cluster_id,
        "path": StoragePool.path,
        "scope": StoragePool.scope,
        "status": StoragePool.state,
    }
    query = narrowed(select(StoragePool).where(StoragePool.removed.is_(None)), filters, columns)
    host: Host | None = filters["hostid"]
    if host is not None:
        query = query.where(
            StoragePool.zone_id == host.zone_id,
            or_(StoragePool.host_id.is_(None), StoragePool.host_id == host.id),
            or_(StoragePool.cluster_id.is_(None), StoragePool.cluster_id == host.cluster_id),
        )
    query = with_keyword(query, filters["keyword"], StoragePool.name)
    return call.paged(query.order_by(StoragePool.name, StoragePool.id))


@command("createStoragePool", CreateStoragePool, StoragePoolResponse, creates=True, event="STORAGE.POOL.CREATE")
def create_storage_pool(call: Call, given: Given) -> StoragePool:
    """Add primary storage that is there already: a directory of a host, or a simulated one."""
    zone: Zone = given.zoneid
    scheme, path = path_of(given.url, DRIVERS)
    scope, place = _scope(given)
    hold(call, place or zone)
    host = place if isinstance(place, Host) else None
    _refuse_known_path(call, zone, host, path)
    name = named("storage pool", given.name)
    pool = StoragePool(
        zone_id=zone.id,
        pod_id=place.pod_id if place else None,
        cluster_id=host.cluster_id if host else place and place.id,
        host_id=host.id if host else None,
        name=name,
        scope=scope,
        driver=DRIVERS[scheme],
        url=given.url,
        path=path,
        tags=_tags((given.tags or "").split(",")),
        capacity=given.capacitybytes or (int(host.details.get("disk_total", 0)) if host else 0),
        overprovision=configuration.value(call.session, "storage.overprovisioning.factor"),
        live=f"{zone.id}/{name.lower()}",
    )
    made: StoragePool = call.add(pool, taken=f"The zone {zone.name} has a storage pool named {name} already.")
    return made


def _scope(given: Given) -> tuple[str, Host | Cluster | None]:
    """The scope, and the host or cluster that it is about; None for the zone.

    :raises Invalid: what the scope needs is not given, or is not in the zone and pod that are
    """
    scope = given.scope or ("HOST" if given.hostid else "CLUSTER" if given.clusterid else "ZONE")
    needed = {"HOST": ("host", given.hostid), "CLUSTER": ("cluster", given.clusterid)}
    if scope == "ZONE":
        return scope, None
    kind, thing = needed[scope]
    if thing is None:
        raise Invalid(f"A storage pool of the scope {scope} needs {kind}id.")
    demand_within(kind, thing, "zone", given.zoneid)
    if given.podid is not None:
        demand_within(kind, thing, "pod", given.podid)
    if scope == "HOST" and given.clusterid is not None:
        demand_within(kind, thing, "cluster", given.clusterid)
    return scope, thing


def _refuse_known_path(call: Call, zone: Zone, host: Host | None, path: str) -> None:
    """Two pools in one directory would give its space out twice."""
    query = select(StoragePool.name).where(
        StoragePool.zone_id == zone.id, StoragePool.path == path, StoragePool.removed.is_(None)
    )
    if host is not None:
        query = query.where(or_(StoragePool.host_id.is_(None), StoragePool.host_id == host.id))
    name = call.session.scalar(query.limit(1))
    if name is not None:
        raise Invalid(f"The directory {path} is the storage pool {name} already.")


def _tags(tags: Sequence[str]) -> str:
    text = ",".join(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    if len(text) > Text.length:
        raise Invalid(f"The tags have {len(text)} characters together; at most {Text.length} are possible.")
    return text


@command("updateStoragePool", UpdateStoragePool, StoragePoolResponse, event="STORAGE.POOL.UPDATE")
def update_storage_pool(call: Call, given: Given) -> StoragePool:
    """Change a storage pool. Volumes that are in it stay, whatever it is set to."""
    pool: StoragePool = given.id
    hold(call, pool)
    if given.name is not None:
        rename(call, pool, given.name, f"{pool.zone_id}/")
    if given.tags is not None:
        pool.tags = _tags(given.tags)
    if given.capacitybytes is not None:
        pool.capacity = given.capacitybytes
    if given.enabled is not None:
        if pool.state in MAINTENANCE_STATES:
            raise Invalid(f"The storage pool {pool.name} is in maintenance ({pool.state}); cancel that first.")
        pool.state = "Up" if given.enabled else "Disabled"
    return pool


@command("deleteStoragePool", DeleteStoragePool, SuccessResponse, event="STORAGE.POOL.DELETE")
def delete_storage_pool(call: Call, id: StoragePool) -> bool:
    """Take away a storage pool that has no volumes; its directory is left as it is."""
    hold(call, id)
    refuse_while(call, f"The storage pool {id.name}", [("volumes", Volume, Volume.pool_id == id.id)])
    id.state = "Disabled"  # a claim that waits for this row's lock now passes it by
    id.remove()
    return True
