"""Dedicated zones, pods, clusters and hosts: kept for one account, or for a domain and all below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from sqlalchemy import delete, select

from manager import access
from manager.api.call import Call
from manager.api.command import ListRequest, Page, Request, Response, SuccessResponse, command
from manager.api.commands.place import hold, kind_of
from manager.api.errors import Invalid
from manager.api.fields import Ref, Text
from manager.api.response import Shown, Str
from manager.api.rows import by_id
from manager.db import write
from manager.models import Account, Cluster, Dedication, Domain, Host, Pod, Vm, WorkflowRow, Zone, new_id


class DedicatedResponse(Response):
    """`kind` is the dedicated resource's model, `word` what its fields are called by."""

    kind: ClassVar[type[Any]]
    word: ClassVar[str]
    shows = Dedication
    id = Str("the dedication's id")
    accountid = Str("the id of the account that it is kept for")
    domainid = Str("the id of the domain that it is kept for")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Dedication]) -> list[Shown]:
        things = by_id(call, cls.kind, (row.resource_id for row in rows))
        return [
            {
                "id": row.id,
                "accountid": row.account_id,
                "domainid": row.domain_id,
                f"{cls.word}id": row.resource_id,
                f"{cls.word}name": things[row.resource_id].name,
            }
            for row in rows
        ]


class DedicatedZoneResponse(DedicatedResponse):
    kind, word, object_key = Zone, "zone", "dedicatedzone"
    zoneid = Str("the zone's id")
    zonename = Str("its name")


class DedicatedPodResponse(DedicatedResponse):
    kind, word, object_key = Pod, "pod", "dedicatedpod"
    podid = Str("the pod's id")
    podname = Str("its name")


class DedicatedClusterResponse(DedicatedResponse):
    kind, word, object_key = Cluster, "cluster", "dedicatedcluster"
    clusterid = Str("the cluster's id")
    clustername = Str("its name")


class DedicatedHostResponse(DedicatedResponse):
    kind, word, object_key = Host, "host", "dedicatedhost"
    hostid = Str("the host's id")
    hostname = Str("its name")


class DedicateRequest(Request):
    domainid = Ref(Domain, "the domain that it is kept for, with all below it", required=True)
    account = Text("the one account of that domain that it is kept for")


class DedicateZone(DedicateRequest):
    zoneid = Ref(Zone, "the zone", required=True)


class DedicatePod(DedicateRequest):
    podid = Ref(Pod, "the pod", required=True)


class DedicateCluster(DedicateRequest):
    clusterid = Ref(Cluster, "the cluster", required=True)


class DedicateHost(DedicateRequest):
    hostid = Ref(Host, "the host", required=True)


def dedicate(call: Call, thing: Any, domain: Domain, account: str | None) -> WorkflowRow:
    """As `keep`, as a job that is done."""
    return call.job_done(keep(call, thing, domain, account))


def keep(call: Call, thing: Any, domain: Domain, account: str | None) -> Dedication:
    """Keep the thing for the domain or its account, if nothing of others runs there.

    :raises Invalid: something does, or it is dedicated already
    """
    hold(call, thing)
    owner = access.owner(call, account, domain) if account else None
    kind = kind_of(type(thing))
    row = Dedication(
        id=new_id(),
        resource_id=thing.id,
        resource_type=type(thing).__name__,
        domain_id=domain.id,
        account_id=owner.id if owner else None,
    )
    call.add(row, taken=f"The {kind} {thing.name} is dedicated already; release it first.")
    _refuse_others(call, thing, domain, owner)
    return row


def _refuse_others(call: Call, thing: Any, domain: Domain, owner: Account | None) -> None:
    column = {Zone: Host.zone_id, Pod: Host.pod_id, Cluster: Host.cluster_id, Host: Host.id}[type(thing)]
    query = (
        select(Vm.id)
        .join(Host, Host.id == Vm.host_id)
        .join(Account, Account.id == Vm.account_id)
        .join(Domain, Domain.id == Account.domain_id)
        .where(column == thing.id)
    )
    others = Vm.account_id != owner.id if owner is not None else ~access.below(domain)
    found = call.session.scalar(query.where(others).limit(1))
    if found is not None:
        raise Invalid(
            f"The {kind_of(type(thing))} {thing.name} cannot be dedicated: the virtual machine {found} of another "
            "account or domain runs there."
        )


@command("dedicateZone", DedicateZone, DedicatedZoneResponse, is_async=True, event="DEDICATE.RESOURCE", shape="list")
def dedicate_zone(call: Call, zoneid: Zone, domainid: Domain, account: str | None) -> WorkflowRow:
    """Keep a zone for a domain or an account: no virtual machine of others is placed there any more."""
    return dedicate(call, zoneid, domainid, account)


@command("dedicatePod", DedicatePod, DedicatedPodResponse, is_async=True, event="DEDICATE.RESOURCE", shape="list")
def dedicate_pod(call: Call, podid: Pod, domainid: Domain, account: str | None) -> WorkflowRow:
    """Keep a pod for a domain or an account: no virtual machine of others is placed there any more."""
    return dedicate(call, podid, domainid, account)


@command(
    "dedicateCluster", DedicateCluster, DedicatedClusterResponse, is_async=True, event="DEDICATE.RESOURCE", shape="list"
)
def dedicate_cluster(call: Call, clusterid: Cluster, domainid: Domain, account: str | None) -> WorkflowRow:
    """Keep a cluster for a domain or an account: no virtual machine of others is placed there any more."""
    return dedicate(call, clusterid, domainid, account)


@command("dedicateHost", DedicateHost, DedicatedHostResponse, is_async=True, event="DEDICATE.RESOURCE", shape="list")
def dedicate_host(call: Call, hostid: Host, domainid: Domain, account: str | None) -> WorkflowRow:
    """Keep a host for a domain or an account: no virtual machine of others is placed there any more."""
    return dedicate(call, hostid, domainid, account)


class ListDedicated(ListRequest):
    domainid = Ref(Domain, "only what is kept for this domain")
    account = Text("only what is kept for this account of it")


class ListDedicatedZones(ListDedicated):
    zoneid = Ref(Zone, "only this zone")


class ListDedicatedPods(ListDedicated):
    podid = Ref(Pod, "only this pod")


class ListDedicatedClusters(ListDedicated):
    clusterid = Ref(Cluster, "only this cluster")


class ListDedicatedHosts(ListDedicated):
    hostid = Ref(Host, "only this host")


def listed(call: Call, model: type[Any], thing: Any, filters: dict[str, Any]) -> Page:
    query = select(Dedication).join(model, model.id == Dedication.resource_id).where(model.removed.is_(None))
    if thing is not None:
        query = query.where(Dedication.resource_id == thing.id)
    if filters["domainid"] is not None:
        query = query.where(Dedication.domain_id == filters["domainid"].id)
    if filters["account"]:
        if filters["domainid"] is None:
            raise Invalid("The parameter account needs domainid, which says where the account is.")
        query = query.where(Dedication.account_id == access.owner(call, filters["account"], filters["domainid"]).id)
    if filters["keyword"]:
        query = query.where(model.name.contains(filters["keyword"], autoescape=True))
    return call.paged(query.order_by(model.name, model.id))


@command("listDedicatedZones", ListDedicatedZones, DedicatedZoneResponse)
def list_dedicated_zones(call: Call, zoneid: Zone | None, **filters: Any) -> Page:
    """List dedicated zones."""
    return listed(call, Zone, zoneid, filters)


@command("listDedicatedPods", ListDedicatedPods, DedicatedPodResponse)
def list_dedicated_pods(call: Call, podid: Pod | None, **filters: Any) -> Page:
    """List dedicated pods."""
    return listed(call, Pod, podid, filters)


@command("listDedicatedClusters", ListDedicatedClusters, DedicatedClusterResponse)
def list_dedicated_clusters(call: Call, clusterid: Cluster | None, **filters: Any) -> Page:
    """List dedicated clusters."""
    return listed(call, Cluster, clusterid, filters)


@command("listDedicatedHosts", ListDedicatedHosts, DedicatedHostResponse)
def list_dedicated_hosts(call: Call, hostid: Host | None, **filters: Any) -> Page:
    """List dedicated hosts."""
    return listed(call, Host, hostid, filters)


class ReleaseZone(Request):
    zoneid = Ref(Zone, "the zone", required=True)


class ReleasePod(Request):
    podid = Ref(Pod, "the pod", required=True)


class ReleaseCluster(Request):
    clusterid = Ref(Cluster, "the cluster", required=True)


class ReleaseHost(Request):
    hostid = Ref(Host, "the host", required=True)


def release(call: Call, thing: Any) -> WorkflowRow:
    """:raises Invalid: it is not dedicated"""
    call.subject = thing
    if not write(call.session, delete(Dedication).where(Dedication.resource_id == thing.id)):
        raise Invalid(f"The {kind_of(type(thing))} {thing.name} is not dedicated.")
    return call.job_done(thing)


@command("releaseDedicatedZone", ReleaseZone, SuccessResponse, is_async=True, event="DEDICATE.RESOURCE.RELEASE")
def release_zone(call: Call, zoneid: Zone) -> WorkflowRow:
    """Open a dedicated zone to everyone."""
    return release(call, zoneid)


@command("releaseDedicatedPod", ReleasePod, SuccessResponse, is_async=True, event="DEDICATE.RESOURCE.RELEASE")
def release_pod(call: Call, podid: Pod) -> WorkflowRow:
    """Open a dedicated pod to everyone."""
    return release(call, podid)


@command("releaseDedicatedCluster", ReleaseCluster, SuccessResponse, is_async=True, event="DEDICATE.RESOURCE.RELEASE")
def release_cluster(call: Call, clusterid: Cluster) -> WorkflowRow:
    """Open a dedicated cluster to everyone."""
    return release(call, clusterid)


@command("releaseDedicatedHost", ReleaseHost, SuccessResponse, is_async=True, event="DEDICATE.RESOURCE.RELEASE")
def release_host(call: Call, hostid: Host) -> WorkflowRow:
    """Open a dedicated host to everyone."""
    return release(call, hostid)
