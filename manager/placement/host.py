"""Where a VM may run: every host judged, with the reason; the choice is claimed by one guarded UPDATE."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Executable, and_, bindparam, func, or_, select, update
from sqlalchemy.orm import Session

from manager.db import write
from manager.models import Cluster, Dedication, Host, Pod, StoragePool, Vm
from manager.placement import affinity, dedication, planner

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Need:
    """What a VM asks of its host. `cpu_mhz` is the sum over its CPUs; `memory`, `disk` in bytes; tags by comma.

    `pool_id` pins it to the hosts that reach the pool its volumes lie in already; `host_id`, `cluster_id` and `pod_id`
    to hosts of one place. `storage_type` is local or shared, or empty for either. `groups` are the ids of the affinity
    groups of the VM `vm_id`.
    """

    zone_id: str
    hypervisor: str
    cpus: int
    cpu_mhz: int
    memory: int
    disk: int = 0
    host_tags: str = ""
    storage_tags: str = ""
    storage_type: str = ""
    host_id: str | None = None
    cluster_id: str | None = None
    pod_id: str | None = None
    pool_id: str | None = None
    account_id: str = ""
    vm_id: str = ""
    groups: tuple[str, ...] = ()
    planner: str = planner.DEFAULT


@dataclass(frozen=True, slots=True)
class Ties:
    """What binds a VM to hosts besides room: its affinity groups, and what is dedicated."""

    bonds: Sequence[affinity.Bond] = ()
    kept: dedication.Kept | None = None

    def against(self, host: Any) -> str:
        if self.kept is not None and self.kept.others & _places(host):
            return dedication.TAKEN
        return next((reason for bond in self.bonds if (reason := bond.against(host.id))), "")

    def wishes(self, host: Any) -> tuple[str, ...]:
        found = [wish for bond in self.bonds if (wish := bond.wish(host.id))]
        if self.kept is not None and self.kept.own and not self.kept.own & _places(host):
            found.append(dedication.NOT_OWN)
        return tuple(found)


def _places(host: Any) -> set[str]:
    return {host.id, host.cluster_id, host.pod_id, host.zone_id}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one host: `reason` is empty where it fits.

    Those that do are ordered by how many `wishes` (sentences) speak against them, then as the planner has it: by
    `neighbours`, the VMs of the account that they run, and by `load`, the share of memory in use with the new VM.
    `seen` is the host's claimed (MHz,
    bytes) when it was judged.
    """

    host_id: str
    host_name: str
    reason: str
    load: float = 0.0
    pool_id: str | None = None
    cpu_limit: float = 0.0
    memory_limit: float = 0.0
    neighbours: int = 0
    seen: tuple[int, int] = (0, 0)
    wishes: tuple[str, ...] = ()
    pod_id: str = ""

    @property
    def fits(self) -> bool:
        return not self.reason


def judge(session: Session, need: Need) -> list[Verdict]:
    """All hosts of the zone, the best first; equal ones in an order by chance, so that schedulers do not collide."""
    found: dict[str, list[Any]] = {}
    for row in session.execute(_hosts_query(), {"zone": need.zone_id, "account": need.account_id}):
        found.setdefault(row.id, []).append(row)
    ties = _ties(session, need, any_dedicated=any(rows[0].dedications for rows in found.values()))
    verdicts = [_verdict(rows[0], need, [row for row in rows if row.pool_id], ties) for rows in found.values()]
    random.shuffle(verdicts)
    return sorted(verdicts, key=planner.ranking(need.planner, verdicts))


@cache
def _hosts_query() -> Executable:
    """Each host of the zone once for each pool that it reaches; its neighbours are the VMs of the account there."""
    of_account = (Vm.host_id == Host.id, Vm.account_id == bindparam("account"))
    neighbours = select(func.count()).where(*of_account).scalar_subquery()
    columns = (
        Host.id, Host.cluster_id, Host.pod_id, Host.zone_id, Host.name, Host.state, Host.resource_state,
        Host.hypervisor, Host.tags, Host.cpus, Host.cpu_mhz, Host.memory, Host.cpu_used, Host.memory_used,
        Cluster.allocation_state.label("cluster_state"), Pod.allocation_state.label("pod_state"),
        Cluster.cpu_overcommit, Cluster.memory_overcommit,
        neighbours.label("neighbours"), StoragePool.id.label("pool_id"), StoragePool.name.label("pool_name"),
        StoragePool.host_id.label("pool_host_id"),
        StoragePool.state.label("pool_state"), StoragePool.tags.label("pool_tags"), StoragePool.capacity,
        StoragePool.allocated, StoragePool.overprovision,
        select(func.count()).select_from(Dedication).scalar_subquery().label("dedications"),
    )  # fmt: skip
    reached = and_(
        StoragePool.zone_id == Host.zone_id,
        StoragePool.removed.is_(None),
        or_(StoragePool.host_id.is_(None), StoragePool.host_id == Host.id),
        or_(StoragePool.cluster_id.is_(None), StoragePool.cluster_id == Host.cluster_id),
    )
    return (
        select(*columns)
        .join(Cluster, Cluster.id == Host.cluster_id)
        .join(Pod, Pod.id == Host.pod_id)
        .outerjoin(StoragePool, reached)
        .where(Host.zone_id == bindparam("zone"), Host.removed.is_(None))
    )


def _ties(session: Session, need: Need, *, any_dedicated: bool) -> Ties:
    bonds = affinity.bonds(session, need.groups, need.vm_id) if need.groups else ()
    return Ties(bonds, dedication.kept(session, need.account_id) if any_dedicated else None)


def _verdict(host: Any, need: Need, pools: Sequence[Any], ties: Ties) -> Verdict:
    cpu_limit = host.cpus * host.cpu_mhz * host.cpu_overcommit
    memory_limit = host.memory * host.memory_overcommit
    pool, pool_reason = _pool_for(need, pools)
    reason = _host_reason(host, need, cpu_limit, memory_limit) or ties.against(host) or pool_reason
    load = (host.memory_used + need.memory) / memory_limit if memory_limit else 1.0
    return Verdict(
        host.id, host.name, reason, load, pool.pool_id if pool else None, cpu_limit, memory_limit, host.neighbours,
        (host.cpu_used, host.memory_used), ties.wishes(host), host.pod_id,
    )  # fmt: skip


def _host_reason(host: Any, need: Need, cpu_limit: float, memory_limit: float) -> str:
    """The first thing that stands against the host, or nothing."""
    missing = tags_in(need.host_tags) - tags_in(host.tags)
    free_mhz, free_memory = cpu_limit - host.cpu_used, memory_limit - host.memory_used
    enabled = host.cluster_state == "Enabled" and host.pod_state == "Enabled"
    against = (
        (need.host_id is not None and host.id != need.host_id, "another host was asked for"),
        (need.cluster_id not in (None, host.cluster_id), "another cluster was asked for"),
        (need.pod_id not in (None, host.pod_id), "another pod was asked for"),
        (host.state != "Up", f"its state is {host.state}"),
        (host.resource_state != "Enabled", f"its resource state is {host.resource_state}"),
        (not enabled, "its cluster or pod is disabled"),
        (host.hypervisor != need.hypervisor, f"its hypervisor is {host.hypervisor}, {need.hypervisor} is needed"),
        (bool(missing), f"it lacks the host tag {', '.join(sorted(missing))}"),
        (host.cpus < need.cpus, f"it has {host.cpus} CPUs, {need.cpus} are needed"),
        (free_mhz < need.cpu_mhz, f"{free_mhz:.0f} MHz of CPU are free, {need.cpu_mhz} are needed"),
        (
            free_memory < need.memory,
            f"{free_memory / MIB:.0f} MiB of memory are free, {need.memory / MIB:.0f} are needed",
        ),
    )
    return next((reason for applies, reason in against if applies), "")


def _pool_for(need: Need, pools: Sequence[Any]) -> tuple[Any, str]:
    """The emptiest of the pools that a host reaches and that can take the disks, or why there is none."""
    reason = "it reaches no storage pool"
    best = None
    for pool in pools:
        if need.pool_id and pool.pool_id != need.pool_id:
            reason = "it does not reach the pool that holds the volumes"
        elif pool.pool_state != "Up":
            reason = f"its storage pool {pool.pool_name} is {pool.pool_state}"
        elif not need.pool_id and need.storage_type not in ("", _type(pool)):
            reason = f"its storage pool {pool.pool_name} is {_type(pool)}, {need.storage_type} storage is needed"
        elif not tags_in(need.storage_tags) <= tags_in(pool.pool_tags):
            reason = f"its storage pool {pool.pool_name} lacks the tag {need.storage_tags}"
        elif not need.pool_id and pool.allocated + need.disk > pool.capacity * pool.overprovision:
            free = (pool.capacity * pool.overprovision - pool.allocated) / MIB
            reason = f"its storage pool {pool.pool_name} has {free:.0f} MiB free, {need.disk / MIB:.0f} are needed"
        elif best is None or pool.allocated < best.allocated:
            best = pool
    return best, "" if best is not None else reason


def _type(pool: Any) -> str:
    return "local" if pool.pool_host_id else "shared"


def tags_in(text: str) -> set[str]:
    return {tag.strip() for tag in text.split(",") if tag.strip()}


def claim(session: Session, need: Need, verdict: Verdict, *, as_judged: bool = False) -> bool:
    """Take the host's CPU and memory; False when another took them in between. No schedulers can overcommit it.

    `as_judged` wants the host's claims to be what they were when it was judged: the choice is then still the best.
    What was dedicated in between is held against it. Affinity groups need no such guard: their rows are locked from
    before the judgement on.
    """
    guards = [
        Host.id == verdict.host_id,
        Host.state == "Up",
        Host.resource_state == "Enabled",
        Host.cpu_used + need.cpu_mhz <= verdict.cpu_limit,
        Host.memory_used + need.memory <= verdict.memory_limit,
        dedication.admits(need.account_id),
    ]
    if as_judged:
        guards += [Host.cpu_used == verdict.seen[0], Host.memory_used == verdict.seen[1]]
    values = {"cpu_used": Host.cpu_used + need.cpu_mhz, "memory_used": Host.memory_used + need.memory}
    return bool(write(session, update(Host).where(*guards).values(values)))


def confirm(session: Session, need: Need, verdict: Verdict) -> bool:
    """Take room for the disks of the need, on a host that is claimed; False when that is gone, or the host dedicated.

    A claim that had to wait for a dedication to be committed did not see it yet. This statement does, and as long as
    the host's row is locked by the claim no other dedication goes past it.
    """
    admitted = (Host.id == verdict.host_id, dedication.admits(need.account_id))
    if not need.disk:
        return session.scalar(select(Host.id).where(*admitted)) is not None
    fits = and_(
        StoragePool.id == verdict.pool_id,
        StoragePool.state == "Up",
        StoragePool.allocated + need.disk <= StoragePool.capacity * StoragePool.overprovision,
        select(Host.id).where(*admitted).exists(),
    )
    taken = write(session, update(StoragePool).where(fits).values(allocated=StoragePool.allocated + need.disk))
    return bool(taken)


def release(session: Session, host_id: str, cpu_mhz: int, memory: int) -> None:
    write(
        session,
        update(Host)
        .where(Host.id == host_id)
        .values(cpu_used=Host.cpu_used - cpu_mhz, memory_used=Host.memory_used - memory),
    )


def release_pool(session: Session, pool_id: str, size: int) -> None:
    write(session, update(StoragePool).where(StoragePool.id == pool_id).values(allocated=StoragePool.allocated - size))
