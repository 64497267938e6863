"""Clusters: hosts of one hypervisor in a pod."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from manager import configuration
from manager.api.call import Call
from manager.api.command import Given, ListRequest, Page, Request, command
from manager.api.commands.capacity import CapacityResponse, capacities_of
from manager.api.commands.place import (
    ALLOCATION_STATES,
    HYPERVISORS,
    demand_within,
    hold,
    named,
    narrowed,
    places_of,
    refuse_while,
    rename,
    with_keyword,
)
from manager.api.fields import Choice, Flag, Ref, Text
from manager.api.response import Many, Response, Shown, Str, SuccessResponse
from manager.models import Cluster, Host, Pod, StoragePool, Zone


class ClusterResponse(Response):
    object_key = "cluster"
    shows = Cluster
    id = Str("the cluster's id")
    name = Str("its name")
    zoneid = Str("the id of its zone")
    zonename = Str("the name of its zone")
    podid = Str("the id of its pod")
    podname = Str("the name of its pod")
    hypervisortype = Str("the hypervisor of its hosts")
    clustertype = Str("always CloudManaged")
    allocationstate = Str("whether new things are placed in it: Enabled or Disabled")
    managedstate = Str("always Managed")
    cpuovercommitratio = Str("MHz given out for each MHz of its hosts")
    memoryovercommitratio = Str("bytes given out for each byte of its hosts")
    capacity = Many("its capacities, where showcapacities asks for them", CapacityResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[Cluster]) -> list[Shown]:
        names = places_of(call, rows, Zone, Pod)
        amounts = capacities_of(call, rows) if call.parameters.get("showcapacities") else {}
        return [
            {
                "id": row.id,
                "name": row.name,
                "zoneid": row.zone_id,
                "zonename": names[row.zone_id],
                "podid": row.pod_id,
                "podname": names[row.pod_id],
                "hypervisortype": row.hypervisor,
                "clustertype": row.cluster_type,
                "allocationstate": row.allocation_state,
                "managedstate": row.managed_state,
                "cpuovercommitratio": str(row.cpu_overcommit),
                "memoryovercommitratio": str(row.memory_overcommit),
                "capacity": amounts.get(row.id),
            }
            for row in rows
        ]


class AddCluster(Request):
    clustername = Text("its name, new in the pod", required=True)
    clustertype = Choice("only CloudManaged is possible", ["CloudManaged"], required=True)
    hypervisor = Choice("the hypervisor of its hosts: KVM or Simulator", HYPERVISORS, required=True)
    podid = Ref(Pod, "the pod", required=True)
    zoneid = Ref(Zone, "the pod's zone", required=True)
    allocationstate = Choice("Enabled, which it is when absent, or Disabled", ALLOCATION_STATES)


class ListClusters(ListRequest):
    id = Ref(Cluster, "only this cluster")
    zoneid = Ref(Zone, "only clusters of this zone")
    podid = Ref(Pod, "only clusters of this pod")
    name = Text("only clusters of this name")
    hypervisor = Text("only clusters of this hypervisor")
    clustertype = Text("only clusters of this type")
    allocationstate = Text("only clusters in this allocation state")
    managedstate = Text("only clusters in this managed state")
    showcapacities = Flag("show the capacities too", default=False)


class UpdateCluster(Request):
    id = Ref(Cluster, "the cluster", required=True)
    clustername = Text("another name")
    allocationstate = Choice("whether new things are placed in it: Enabled or Disabled", ALLOCATION_STATES)


class DeleteCluster(Request):
    id = Ref(Cluster, "the cluster, which must be empty", required=True)


@command("listClusters", ListClusters, ClusterResponse)
def list_clusters(call: Call, **filters: Any) -> Page:
    """List clusters."""
    call.parameters["showcapacities"] = filters["showcapacities"]
    columns = {
        "id": Cluster.id,
        "zoneid": Cluster.zone_id,
        "podid": Cluster.pod_id,
        "name": Cluster.name,
        "hypervisor": Cluster.hypervisor,
        "clustertype": Cluster.cluster_type,
        "allocationstate": Cluster.allocation_state,
        "managedstate": Cluster.managed_state,
    }
    query = narrowed(select(Cluster).where(Cluster.removed.is_(None)), filters, columns)
    return call.paged(with_keyword(query, filters["keyword"], Cluster.name).order_by(Cluster.name, Cluster.id))


@command("addCluster", AddCluster, ClusterResponse, shape="list", creates=True, event="CLUSTER.CREATE")
def add_cluster(call: Call, given: Given) -> Cluster:
    """Make a cluster in a pod."""
    demand_within("pod", given.podid, "zone", given.zoneid)
    return make_cluster(call, given.podid, given.clustername, given.hypervisor, given.allocationstate or "Enabled")


def make_cluster(call: Call, pod: Pod, name: str, hypervisor: str, state: str = "Enabled") -> Cluster:
    """:raises Invalid: the pod has a cluster of that name"""
    hold(call, pod)
    name = named("cluster", name)
    cluster = Cluster(
        zone_id=pod.zone_id,
        pod_id=pod.id,
        name=name,
        hypervisor=hypervisor,
        allocation_state=state,
        cpu_overcommit=configuration.value(call.session, "cpu.overprovisioning.factor"),
        memory_overcommit=configuration.value(call.session, "mem.overprovisioning.factor"),
        live=f"{pod.id}/{name.lower()}",
    )
    made: Cluster = call.add(cluster, taken=f"The pod {pod.name} has a cluster named {name} already.")
    return made


@command("updateCluster", UpdateCluster, ClusterResponse, event="CLUSTER.EDIT")
def update_cluster(call: Call, id: Cluster, clustername: str | None, allocationstate: str | None) -> Cluster:
    """Change a cluster."""
    if clustername is not None:
        rename(call, id, clustername, f"{id.pod_id}/")
    if allocationstate is not None:
        id.allocation_state = allocationstate
    return id


@command("deleteCluster", DeleteCluster, SuccessResponse, event="CLUSTER.DELETE")
def delete_cluster(call: Call, id: Cluster) -> bool:
    """Remove a cluster that has nothing in it."""
    hold(call, id)
    contents = (("hosts", Host), ("storage pools", StoragePool))
    refuse_while(call, f"The cluster {id.name}", [(name, model, model.cluster_id == id.id) for name, model in contents])
    id.remove()
    return True
