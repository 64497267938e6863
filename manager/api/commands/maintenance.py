"""Hosts and storage pools taken out of service and put back."""

from __future__ import annotations

from manager.api.call import Call
from manager.api.command import Request, command
from manager.api.commands.host_response import HostResponse
from manager.api.commands.job_hold import hold
from manager.api.commands.storage_pool import StoragePoolResponse
from manager.api.errors import Invalid
from manager.api.fields import Ref
from manager.models import Host, StoragePool, WorkflowRow
from manager.workflows.maintenance import (
    FAILED,
    MAINTENANCE,
    STATES,
    maintain_host,
    maintain_pool,
    reconnect_host,
)


class OneHost(Request):
    id = Ref(Host, "the host", required=True)


@command("prepareHostForMaintenance", OneHost, HostResponse, is_async=True, event="MAINT.PREPARE")
def prepare_host(call: Call, id: Host) -> WorkflowRow:
    """Empty a host. Its virtual machines are stopped, since they cannot move while they run.

    Those whose volumes another host reaches are started there; others stay Stopped. Its routers move.
    """
    if id.resource_state in (MAINTENANCE, "PrepareForMaintenance"):
        raise Invalid(f"The host {id.name} is in maintenance, or on the way there: it is {id.resource_state}.")
    if id.state != "Up":
        raise Invalid(f"The host {id.name} is {id.state}; to be emptied it must be Up.")
    return maintain_host.start(call.session, id, call=call)


@command("cancelHostMaintenance", OneHost, HostResponse, is_async=True, event="MAINT.CANCEL")
def cancel_host_maintenance(call: Call, id: Host) -> WorkflowRow:
    """Have a host take virtual machines again. Those that its maintenance stopped stay Stopped."""
    hold(call, id)
    if id.resource_state not in STATES:
        raise Invalid(f"The host {id.name} is not in maintenance: it is {id.resource_state}.")
    id.resource_state = "Enabled"
    return call.job_done(id)


@command("reconnectHost", OneHost, HostResponse, is_async=True, event="HOST.RECONNECT")
def reconnect(call: Call, id: Host) -> WorkflowRow:
    """Tell a host anew what it must hold of the networks, and see that it answers."""
    if id.state != "Up":
        raise Invalid(f"The host {id.name} is {id.state}: its agent connects by itself as soon as it runs.")
    return reconnect_host.start(call.session, id, call=call)


class OnePool(Request):
    id = Ref(StoragePool, "the storage pool", required=True)


@command("enableStorageMaintenance", OnePool, StoragePoolResponse, is_async=True, event="MAINT.PREPARE.PS")
def enable_storage_maintenance(call: Call, id: StoragePool) -> WorkflowRow:
    """Take a storage pool out of service: the virtual machines with volumes on it are stopped, and stay so."""
    if id.state not in ("Up", FAILED):
        raise Invalid(f"The storage pool {id.name} is {id.state}; to go into maintenance it must be Up.")
    return maintain_pool.start(call.session, id, call=call)


@command("cancelStorageMaintenance", OnePool, StoragePoolResponse, is_async=True, event="MAINT.CANCEL.PS")
def cancel_storage_maintenance(call: Call, id: StoragePool) -> WorkflowRow:
    """Put a storage pool back into service. The virtual machines that were stopped for it stay Stopped."""
    hold(call, id)
    if id.state not in STATES:
        raise Invalid(f"The storage pool {id.name} is not in maintenance: it is {id.state}.")
    id.state = "Up"
    return call.job_done(id)
