"""What hosts show, and their list."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from manager.api.call import Call
from manager.api.command import ListRequest, Page, command
from manager.api.commands.place import narrowed, places_of, shown_number, shown_percentage, with_keyword
from manager.api.commands.placement import need_of_vm
from manager.api.fields import Choice, ListOf, Ref, Text
from manager.api.response import Bool, Int, Long, Map, Response, Shown, Str, When
from manager.api.rows import by_id
from manager.models import Agent, Cluster, Host, Pod, StoragePool, Vm, Zone
from manager.placement import host as placement

DETAILS = ("all", "min", "capacity", "events", "stats")


class HostResponse(Response):
    object_key = "host"
    shows = Host
    id = Str("the host's id")
    name = Str("its name")
    type = Str("always Routing")
    state = Str("Connecting, Up, Disconnected or Down")
    resourcestate = Str("Enabled, Disabled when it takes no more virtual machines, or how far its maintenance is")
    zoneid = Str("the id of its zone")
    zonename = Str("the name of its zone")
    podid = Str("the id of its pod")
    podname = Str("the name of its pod")
    clusterid = Str("the id of its cluster")
    clustername = Str("the name of its cluster")
    clustertype = Str("the type of its cluster")
    hypervisor = Str("KVM or Simulator")
    hypervisorversion = Str("the hypervisor's version")
    ipaddress = Str("its address")
    capabilities = Str("what guests may use: hvm")
    hosttags = Str("its tags, separated by commas")
    explicithosttags = Str("the same")
    hahost = Bool("whether it is kept for virtual machines that are restarted: false")
    created = When("when it was added")
    lastpinged = When("when its agent was last heard")
    disconnected = When("when it was lost")
    islocalstorageactive = Bool("whether it has storage of its own in use")
    cpunumber = Int("how many CPUs it has")
    cpuspeed = Long("the MHz of each")
    cpuwithoverprovisioning = Str("the MHz that can be given out")
    cpuallocated = Str("how much of these is, in per cent")
    cpuallocatedvalue = Long("how much of these is, in MHz")
    cpuallocatedpercentage = Str("the same as cpuallocated")
    cpuallocatedwithoverprovisioning = Str("the same as cpuallocated")
    memorytotal = Long("its memory in bytes")
    memorywithoverprovisioning = Str("the bytes that can be given out")
    memoryallocated = Long("how many of these are")
    memoryallocatedbytes = Long("the same")
    memoryallocatedpercentage = Str("the same in per cent")
    disksizetotal = Long("the size of its own disks in bytes")
    disksizeallocated = Long("how much of its own storage pools is claimed, in bytes")
    hasenoughcapacity = Bool("with virtualmachineid: whether it has room for that one")
    suitableformigration = Bool("with virtualmachineid: whether that one may run on it")
    details = Map("what its agent reported besides")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Host]) -> list[Shown]:
        names = places_of(call, rows, Zone, Pod)
        clusters = by_id(call, Cluster, (row.cluster_id for row in rows))
        seen = _last_seen(call, rows)
        pools = _own_pools(call, rows)
        verdicts = call.parameters.get("verdicts")
        shown = []
        for row in rows:
            one = {**_place(row, names, clusters[row.cluster_id]), **_condition(row), "lastpinged": seen[row.agent_id]}
            one["islocalstorageactive"] = row.id in pools
            if call.parameters.get("capacity", True):
                one |= _capacity(row, clusters[row.cluster_id], pools.get(row.id, (0, 0)))
            if verdicts is not None:
                one["hasenoughcapacity"] = one["suitableformigration"] = row.id in verdicts
            shown.append(one)
        return shown


def _last_seen(call: Call, rows: Sequence[Host]) -> dict[str, dt.datetime | None]:
    """By agent id: when it was last heard; one statement that leaves the agents' secrets where they are."""
    query = select(Agent.id, Agent.last_seen).where(Agent.id.in_([row.agent_id for row in rows]))
    return {agent_id: _time(seen) for agent_id, seen in call.session.execute(query)}


def _own_pools(call: Call, rows: Sequence[Host]) -> dict[str, tuple[int, int]]:
    """By host id: capacity and claimed bytes of the pools that only this host has."""
    query = (
        select(StoragePool.host_id, func.sum(StoragePool.capacity), func.sum(StoragePool.allocated))
        .where(StoragePool.host_id.in_([row.id for row in rows]), StoragePool.removed.is_(None))
        .group_by(StoragePool.host_id)
    )
    return {host_id: (int(total), int(taken)) for host_id, total, taken in call.session.execute(query) if host_id}


def _time(seconds: float) -> dt.datetime | None:
    return dt.datetime.fromtimestamp(int(seconds), dt.UTC) if seconds else None


def _place(host: Host, names: dict[str | None, str], cluster: Cluster) -> Shown:
    return {
        "id": host.id,
        "name": host.name,
        "type": "Routing",
        "zoneid": host.zone_id,
        "zonename": names[host.zone_id],
        "podid": host.pod_id,
        "podname": names[host.pod_id],
        "clusterid": cluster.id,
        "clustername": cluster.name,
        "clustertype": cluster.cluster_type,
        "created": host.created,
    }


def _condition(host: Host) -> Shown:
    reported = {"virttype": host.virt_type, "underlayaddress": host.underlay_address, **host.details}
    return {
        "state": host.state,
        "resourcestate": host.resource_state,
        "hypervisor": host.hypervisor,
        "hypervisorversion": host.hypervisor_version or None,
        "ipaddress": host.address or None,
        "capabilities": "hvm",
        "hosttags": host.tags or None,
        "explicithosttags": host.tags or None,
        "hahost": False,
        "disconnected": _time(host.disconnected) if host.state in ("Disconnected", "Down") else None,
        "details": {name: str(value) for name, value in reported.items() if value not in ("", None)},
    }


def _capacity(host: Host, cluster: Cluster, pool: tuple[int, int]) -> Shown:
    """CloudStack's figures: percentages and what over-provisioning gives are texts, the others numbers."""
    cpu = host.cpus * host.cpu_mhz * cluster.cpu_overcommit
    memory = host.memory * cluster.memory_overcommit
    cpu_share = f"{shown_percentage(host.cpu_used, cpu)}%"
    return {
        "cpunumber": host.cpus,
        "cpuspeed": host.cpu_mhz,
        "cpuwithoverprovisioning": shown_number(cpu),
        "cpuallocated": cpu_share,
        "cpuallocatedvalue": host.cpu_used,
        "cpuallocatedpercentage": cpu_share,
        "cpuallocatedwithoverprovisioning": cpu_share,
        "memorytotal": host.memory,
        "memorywithoverprovisioning": shown_number(memory),
        "memoryallocated": host.memory_used,
        "memoryallocatedbytes": host.memory_used,
        "memoryallocatedpercentage": f"{shown_percentage(host.memory_used, memory)}%",
        "disksizetotal": int(host.details.get("disk_total", 0)) or pool[0],
        "disksizeallocated": pool[1],
    }


class ListHosts(ListRequest):
    id = Ref(Host, "only this host")
    name = Text("only the host of this name")
    type = Text("only hosts of this type: all are Routing")
    state = Text("only hosts in this state")
    resourcestate = Text("only hosts in this resource state")
    zoneid = Ref(Zone, "only hosts of this zone")
    podid = Ref(Pod, "only hosts of this pod")
    clusterid = Ref(Cluster, "only hosts of this cluster")
    hypervisor = Text("only hosts of this hypervisor")
    virtualmachineid = Ref(Vm, "the other hosts of its zone, and whether each is fit for this virtual machine")
    details = ListOf(Choice("a part", DETAILS), "min: without the capacities; all, which it is when absent")


@command("listHosts", ListHosts, HostResponse)
def list_hosts(call: Call, **filters: Any) -> Page:
    """List hosts."""
    if (filters["type"] or "Routing").lower() != "routing":
        return Page([], 0)
    call.parameters["capacity"] = filters["details"] != ["min"]
    columns = {
        "id": Host.id,
        "name": Host.name,
        "state": Host.state,
        "resourcestate": Host.resource_state,
        "zoneid": Host.zone_id,
        "podid": Host.pod_id,
        "clusterid": Host.cluster_id,
        "hypervisor": Host.hypervisor,
    }
    query = narrowed(select(Host).where(Host.removed.is_(None)), filters, columns)
    vm: Vm | None = filters["virtualmachineid"]
    if vm is not None:
        call.parameters["verdicts"] = _fit_for(call, vm)
        query = query.where(Host.zone_id == vm.zone_id)
        query = query.where(Host.id != vm.host_id) if vm.host_id is not None else query
    return call.paged(with_keyword(query, filters["keyword"], Host.name).order_by(Host.name, Host.id))


def _fit_for(call: Call, vm: Vm) -> set[str]:
    """Ids of the hosts that have room for the virtual machine and reach its volumes."""
    verdicts = placement.judge(call.session, need_of_vm(call, vm, None))
    return {verdict.host_id for verdict in verdicts if verdict.fits}
