"""Capacity: what zones, pods and clusters have of each kind, and how much of it is taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from manager.api.call import Call
from manager.api.command import ListRequest, Page, command
from manager.api.commands.place import places_of, shown_percentage
from manager.api.errors import Invalid
from manager.api.fields import Choice, Integer, Ref
from manager.api.response import Int, Long, Response, Shown, Str
from manager.models import Cluster, Host, ImageStore, Pod, PublicAddress, StoragePool, Template, Vm, Zone

MEMORY, CPU, STORAGE, STORAGE_ALLOCATED, PUBLIC_IP, SECONDARY_STORAGE, CPU_CORE = 0, 1, 2, 3, 4, 6, 90
NAMES = {
    MEMORY: "MEMORY",
    CPU: "CPU",
    STORAGE: "STORAGE",
    STORAGE_ALLOCATED: "STORAGE_ALLOCATED",
    PUBLIC_IP: "VIRTUAL_NETWORK_PUBLIC_IP",
    SECONDARY_STORAGE: "SECONDARY_STORAGE",
    CPU_CORE: "CPU_CORE",
}
COLUMNS: dict[type[Any], str] = {Zone: "zone_id", Pod: "pod_id", Cluster: "cluster_id"}


@dataclass(frozen=True)
class Amount:
    """How much there is of one kind, and how much of that is used: bytes, MHz, addresses or cores."""

    total: int
    used: int


Amounts = dict[str, dict[int, Amount]]


class CapacityResponse(Response):
    object_key = "capacity"
    type = Int("the kind: 0 memory, 1 CPU, 2 storage, 3 allocated storage, 4 public IP, 6 secondary storage, 90 cores")
    name = Str("the name of the kind")
    zoneid = Str("the zone's id")
    zonename = Str("its name")
    podid = Str("the pod's id")
    podname = Str("its name")
    clusterid = Str("the cluster's id")
    clustername = Str("its name")
    capacitytotal = Long("how much there is, over-provisioning included")
    capacityused = Long("how much of it is used or claimed")
    percentused = Str("the same in per cent")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Shown]) -> list[Shown]:  # noqa: ARG003 - the rows are what is shown
        return list(rows)


class ListCapacity(ListRequest):
    zoneid = Ref(Zone, "only this zone")
    podid = Ref(Pod, "the capacity of this pod")
    clusterid = Ref(Cluster, "the capacity of this cluster")
    type = Integer("only this kind")
    sortby = Choice("usage: the fullest first", ["usage"])


@command("listCapacity", ListCapacity, CapacityResponse)
def list_capacity(call: Call, **filters: Any) -> Page:
    """List the capacities of zones, of a pod or of a cluster, and what is used of them."""
    kind = filters["type"]
    if kind is not None and kind not in NAMES:
        raise Invalid(f"There is no capacity of type {kind}; it is one of {', '.join(map(str, NAMES))}.")
    rows = [row for row in _rows(call, _asked(call, filters)) if kind in (None, row["type"])]
    if filters["keyword"]:
        rows = [row for row in rows if filters["keyword"].lower() in row["name"].lower()]
    if filters["sortby"]:
        rows.sort(key=lambda row: -float(row["percentused"]))
    return call.window(rows)


def _asked(call: Call, filters: dict[str, Any]) -> list[Any]:
    """The places of one kind whose capacities are wanted, the narrowest that is named."""
    narrowest = filters["clusterid"] or filters["podid"] or filters["zoneid"]
    if narrowest is None:
        return list(call.session.scalars(select(Zone).where(Zone.removed.is_(None)).order_by(Zone.name, Zone.id)))
    wider = (("zone", filters["zoneid"]), ("pod", filters["podid"]))
    for kind, place in wider:
        if place is not None and getattr(narrowest, f"{kind}_id", place.id) != place.id:
            raise Invalid(f"{narrowest.name} is not in the {kind} {place.name}.")
    return [narrowest]


def _rows(call: Call, places: Sequence[Any]) -> list[Shown]:
    if not places:
        return []
    shown = capacities_of(call, places)
    model = type(places[0])
    kind = model.__name__.lower()
    outer = [one for one in (Zone, Pod) if one is not model and hasattr(places[0], COLUMNS[one])]
    names = places_of(call, places, *outer)
    found = []
    for place in places:
        where = {f"{kind}id": place.id, f"{kind}name": place.name}
        for one in outer:
            identifier = getattr(place, COLUMNS[one])
            where |= {f"{one.__name__.lower()}id": identifier, f"{one.__name__.lower()}name": names.get(identifier)}
        found += [{**where, **amount} for amount in shown[place.id]]
    return found


def capacities_of(call: Call, places: Sequence[Any]) -> dict[str, list[Shown]]:
    """By place id: the capacities of the zones, pods or clusters (all of one kind), as responses show them."""
    amounts = amounts_of(call.session, places)
    return {place_id: [_shown(kind, kinds[kind]) for kind in sorted(kinds)] for place_id, kinds in amounts.items()}


def amounts_of(session: Session, places: Sequence[Any]) -> Amounts:
    """By place id and kind: the capacities of the zones, pods or clusters (all of one kind)."""
    amounts: Amounts = {place.id: {} for place in places}
    if not amounts:
        return {}
    model = type(places[0])
    column = COLUMNS[model]
    _add_hosts(session, column, amounts)
    _add_pools(session, column, amounts)
    if model is Zone:
        _add_addresses(session, amounts)
        _add_image_stores(session, amounts)
    return amounts


def _shown(kind: int, amount: Amount) -> Shown:
    return {
        "type": kind,
        "name": NAMES[kind],
        "capacitytotal": amount.total,
        "capacityused": amount.used,
        "percentused": shown_percentage(amount.used, amount.total),
    }


def reported(model: type[Any], key: str) -> ColumnElement[float]:
    """What an agent reported under `key`, in bytes; 0 where it did not."""
    return func.coalesce(model.details[key].as_float(), 0.0)


def _sums(session: Session, query: Any, place: Any, ids: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """By place id: the sums that `query` selects after it."""
    found = session.execute(query.where(place.in_(ids)).group_by(place))
    return {row[0]: tuple(int(value or 0) for value in row[1:]) for row in found}


def _add_hosts(session: Session, column: str, amounts: Amounts) -> None:
    """Memory, CPU and cores of hosts that are Enabled, as far as their clusters over-provision them."""
    place = getattr(Host, column)
    mhz = Host.cpus * Host.cpu_mhz
    enabled = (Host.removed.is_(None), Host.resource_state == "Enabled")
    hosts = (
        select(place, func.sum(Host.memory * Cluster.memory_overcommit), func.sum(Host.memory_used),
               func.sum(mhz * Cluster.cpu_overcommit), func.sum(Host.cpu_used), func.sum(Host.cpus))
        .join(Cluster, Cluster.id == Host.cluster_id)
        .where(*enabled)
    )  # fmt: skip
    vms = select(place, func.sum(Vm.cpus)).join(Vm, Vm.host_id == Host.id).where(*enabled, Vm.removed.is_(None))
    cores_used = _sums(session, vms, place, amounts)
    sums = _sums(session, hosts, place, amounts)
    for place_id, kinds in amounts.items():
        memory, memory_used, cpu, cpu_used, cores = sums.get(place_id, (0, 0, 0, 0, 0))
        kinds[MEMORY] = Amount(memory, memory_used)
        kinds[CPU] = Amount(cpu, cpu_used)
        kinds[CPU_CORE] = Amount(cores, *cores_used.get(place_id, (0,)))


def _add_pools(session: Session, column: str, amounts: Amounts) -> None:
    """Storage as the hosts report it, and storage as it is claimed."""
    place = getattr(StoragePool, column)
    pools = (
        select(place, func.sum(StoragePool.capacity), func.sum(reported(Host, "disk_used")),
               func.sum(StoragePool.capacity * StoragePool.overprovision), func.sum(StoragePool.allocated))
        .outerjoin(Host, Host.id == StoragePool.host_id)
        .where(StoragePool.removed.is_(None))
    )  # fmt: skip
    sums = _sums(session, pools, place, amounts)
    for place_id, kinds in amounts.items():
        capacity, used, limit, allocated = sums.get(place_id, (0, 0, 0, 0))
        kinds[STORAGE] = Amount(capacity, used)
        kinds[STORAGE_ALLOCATED] = Amount(limit, allocated)


def _add_addresses(session: Session, amounts: Amounts) -> None:
    place = PublicAddress.zone_id
    query = select(place, func.count(), func.count(PublicAddress.account_id))
    sums = _sums(session, query, place, amounts)
    for zone_id, kinds in amounts.items():
        kinds[PUBLIC_IP] = Amount(*sums.get(zone_id, (0, 0)))


def _add_image_stores(session: Session, amounts: Amounts) -> None:
    """Secondary storage: what the stores are said to have, and what their templates take."""
    place = ImageStore.zone_id
    living = ImageStore.removed.is_(None)
    totals = _sums(session, select(place, func.sum(reported(ImageStore, "disk_total"))).where(living), place, amounts)
    held = select(place, func.sum(Template.physical_size)).join(Template, Template.image_store_id == ImageStore.id)
    used = _sums(session, held.where(living, Template.removed.is_(None)), place, amounts)
    for zone_id, kinds in amounts.items():
        kinds[SECONDARY_STORAGE] = Amount(*totals.get(zone_id, (0,)), *used.get(zone_id, (0,)))
