"""Hosts: add, change, let go. What they show is in host_response."""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from typing import Any

from sqlalchemy import select

from manager.api.call import Call
from manager.api.command import Given, Request, command
from manager.api.commands.agent import enrol, let_go
from manager.api.commands.cluster import make_cluster
from manager.api.commands.host_response import HostResponse
from manager.api.commands.place import (
    ALLOCATION_STATES,
    HYPERVISORS,
    demand_within,
    hold,
    named,
    refuse_while,
    split_url,
)
from manager.api.errors import Invalid
from manager.api.fields import Choice, Flag, ListOf, MapOf, Ref, Text
from manager.api.response import SuccessResponse
from manager.models import Cluster, HardwareDevice, Host, Nic, Pod, Router, StoragePool, Vm, Volume, WorkflowRow, Zone
from manager.models.states import ROUTER_MOVES, VM_MOVES
from manager.workflows.maintenance import STATES as MAINTENANCE_STATES

HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*")


class AddHost(Request):
    zoneid = Ref(Zone, "the zone", required=True)
    podid = Ref(Pod, "the pod", required=True)
    clusterid = Ref(Cluster, "the cluster; this or clustername is needed")
    clustername = Text("the name of the cluster, which is made when the pod has none of that name")
    hypervisor = Choice("KVM or Simulator", HYPERVISORS, required=True)
    url = Text("http:// and the host's name or address", required=True)
    hosttags = ListOf(Text("a tag"), "tags that offerings may ask for")
    allocationstate = Choice("Enabled, which it is when absent, or Disabled", ALLOCATION_STATES)
    details = MapOf("publickey: the Ed25519 public key of the host's agent, in base64")


class UpdateHost(Request):
    id = Ref(Host, "the host", required=True)
    name = Text("another name")
    allocationstate = Choice("whether it takes virtual machines: Enable or Disable", ["Enable", "Disable"])
    hosttags = ListOf(Text("a tag"), "other tags instead of those it has; a comma alone for none")


class DeleteHost(Request):
    id = Ref(Host, "the host", required=True)
    forced = Flag("let a host go that is not Up although things are on it; they count as stopped", default=False)


@command("addHost", AddHost, HostResponse, shape="list", creates=True, event="HOST.CREATE")
def add_host(call: Call, given: Given) -> Host:
    """Take a host in. It is Connecting until its agent, which signs with the key of publickey, reports."""
    cluster = _cluster(call, given)
    hold(call, cluster)
    if cluster.hypervisor != given.hypervisor:
        raise Invalid(f"The cluster {cluster.name} takes {cluster.hypervisor} hosts, not {given.hypervisor}.")
    name = _name_in(given.url)
    _refuse_known_name(call, cluster.zone_id, name)
    host = Host(
        zone_id=cluster.zone_id,
        pod_id=cluster.pod_id,
        cluster_id=cluster.id,
        agent_id=enrol(call, "host", given.details).id,
        name=name,
        url=given.url,
        address=name if _is_address(name) else "",
        hypervisor=given.hypervisor,
        resource_state=given.allocationstate or "Enabled",
        tags=_tags(given.hosttags or []),
        live=f"url/{name.lower()}",
    )
    made: Host = call.add(host, taken=f"A host with the url http://{name} is there already.")
    return made


def _cluster(call: Call, given: Given) -> Cluster:
    """:raises Invalid: none is named, or pod and zone are not those that it is in"""
    zone, pod, cluster = given.zoneid, given.podid, given.clusterid
    demand_within("pod", pod, "zone", zone)
    if cluster is not None:
        demand_within("cluster", cluster, "pod", pod)
        found: Cluster = cluster
        return found
    if not given.clustername:
        raise Invalid("The host's cluster must be named, by clusterid or by clustername.")
    query = select(Cluster).where(Cluster.live == f"{pod.id}/{given.clustername.strip().lower()}")
    return call.session.scalar(query) or make_cluster(call, pod, given.clustername, given.hypervisor)


def _name_in(url: str) -> str:
    """The name or address in http://name.

    :raises Invalid: the url has another form
    """
    parts = split_url(url)
    name = parts.netloc
    if parts.scheme not in ("http", "https") or not HOST_NAME.fullmatch(name) or parts.path.strip("/"):
        raise Invalid(f"The url {url} is not that of a host, such as http://host1.")
    return name


def _is_address(name: str) -> bool:
    try:
        return bool(IPv4Address(name))
    except ValueError:
        return False


def _refuse_known_name(call: Call, zone_id: str, name: str) -> None:
    query = select(Host.id).where(Host.zone_id == zone_id, Host.name == name, Host.removed.is_(None))
    if call.session.scalar(query.limit(1)) is not None:
        raise Invalid(f"The zone has a host named {name} already.")


def _tags(tags: list[str]) -> str:
    text = ",".join(dict.fromkeys(tags))
    if len(text) > Text.length:
        raise Invalid(f"The host tags have {len(text)} characters together; at most {Text.length} are possible.")
    return text


@command("updateHost", UpdateHost, HostResponse, event="HOST.EDIT")
def update_host(call: Call, given: Given) -> Host:
    """Change a host. A disabled one keeps its virtual machines and takes no more."""
    host: Host = given.id
    if given.name is not None:
        name = named("host", given.name)
        if name != host.name:
            _refuse_known_name(call, host.zone_id, name)
            host.name = name
    if given.allocationstate is not None:
        if host.resource_state in MAINTENANCE_STATES:
            raise Invalid(f"The host {host.name} is in maintenance ({host.resource_state}); cancel that first.")
        host.resource_state = {"Enable": "Enabled", "Disable": "Disabled"}[given.allocationstate]
    if given.hosttags is not None:
        host.tags = _tags(given.hosttags)
    return host


@command("deleteHost", DeleteHost, SuccessResponse, event="HOST.DELETE")
def delete_host(call: Call, id: Host, forced: bool) -> bool:
    """Let a host go. Its guests are never touched: it goes when nothing is on it, or by force when it is not Up."""
    hold(call, id)
    if forced and id.state != "Up":
        _count_as_stopped(call, id)
    else:
        _refuse_in_use(call, id, forced=forced)
    for pool in call.session.scalars(
        select(StoragePool).where(StoragePool.host_id == id.id, StoragePool.removed.is_(None))
    ):
        pool.state = "Disabled"
        if not forced or _is_empty(call, pool):
            pool.remove()
    id.resource_state = "Disabled"  # a placement that waits for this row's lock now passes it by
    id.remove()
    let_go(call, id.agent_id, f"The host {id.name} was removed.")
    return True


def _is_empty(call: Call, pool: StoragePool) -> bool:
    query = select(Volume.id).where(Volume.pool_id == pool.id, Volume.removed.is_(None))
    return call.session.scalar(query.limit(1)) is None


def _refuse_in_use(call: Call, host: Host, *, forced: bool) -> None:
    hint = " It is Up, so force does not help: stop them first." if forced else ""
    own = select(StoragePool.id).where(StoragePool.host_id == host.id, StoragePool.removed.is_(None))
    contents: tuple[tuple[str, type[Any], Any], ...] = (
        (f"virtual machines.{hint}", Vm, Vm.host_id == host.id),
        (f"virtual routers.{hint}", Router, Router.host_id == host.id),
        ("volumes in its storage pools.", Volume, Volume.pool_id.in_(own)),
        ("hardware devices cabled to it.", HardwareDevice, HardwareDevice.host_id == host.id),
    )
    refuse_while(call, f"The host {host.name}", contents)


def _count_as_stopped(call: Call, host: Host) -> None:
    """Free what is placed on a host that is gone for good.

    :raises Invalid: a job is under way with something of it
    """
    vms = call.session.scalars(select(Vm).where(Vm.host_id == host.id, Vm.removed.is_(None))).all()
    routers = call.session.scalars(select(Router).where(Router.host_id == host.id, Router.removed.is_(None))).all()
    held = [f"vms:{vm.id}" for vm in vms]
    held += [f"vpcs:{one.vpc_id}" if one.vpc_id else f"networks:{one.network_id}" for one in routers]
    job = call.session.scalar(select(WorkflowRow.id).where(WorkflowRow.holds.in_(held)).limit(1))
    if job is not None:
        raise Invalid(f"The host {host.name} cannot be removed: the job {job} works on something of it.")
    for vm in vms:
        VM_MOVES.move(vm, "stop")
        VM_MOVES.move(vm, "stopped")
        vm.host_id, vm.reason = None, f"Its host {host.name} was removed."
    for router in routers:
        ROUTER_MOVES.move(router, "stop")
        ROUTER_MOVES.move(router, "stopped")
        router.host_id = None
    for nic in call.session.scalars(select(Nic).where(Nic.host_id == host.id)):
        nic.host_id = None
    call.session.flush()
