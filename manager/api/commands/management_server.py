"""Management servers: what they are, how they live, and how they are prepared for maintenance or shutdown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import select, update

from manager import servers
from manager.api.call import Call
from manager.api.command import Given, ListRequest, Page, Request, command
from manager.api.commands.metrics import gigabytes
from manager.api.commands.place import with_keyword
from manager.api.errors import Invalid
from manager.api.fields import Ref, Text
from manager.api.response import Bool, Int, Response, Shown, Str, SuccessResponse, When
from manager.db import write
from manager.models import ManagementServer, utcnow


class ManagementServerResponse(Response):
    object_key = "managementserver"
    shows = ManagementServer
    id = Str("the server's id")
    name = Str("its name")
    state = Str("Up, Down, PreparingForMaintenance, Maintenance, PreparingForShutDown or ReadyToShutDown")
    version = Str("the version of CloudStack whose API it serves")
    osdistribution = Str("its operating system")
    kernelversion = Str("the version of its kernel")
    lastboottime = When("when its machine started")
    lastserverstart = When("when its workers started last")
    lastserverstop = When("when its workers ended in good order last")
    ipaddress = Str("the address from which it reaches others")
    serviceip = Str("the same address")

    @classmethod
    def render(cls, call: Call, rows: Sequence[ManagementServer]) -> list[Shown]:
        states = _states(call, rows)
        return [{**_describe(row), "state": states[row.id]} for row in rows]


def _states(call: Call, rows: Sequence[ManagementServer]) -> dict[str, str]:
    """By id: the state, by the database's clock."""
    query = select(ManagementServer.id, servers.shown_state()).where(ManagementServer.id.in_([row.id for row in rows]))
    return dict(call.session.execute(query).all())


def _describe(row: ManagementServer) -> Shown:
    return {
        "id": row.id,
        "name": row.name,
        "version": row.version,
        "osdistribution": row.distribution or None,
        "kernelversion": row.kernel,
        "lastboottime": row.booted,
        "lastserverstart": row.started,
        "lastserverstop": row.stopped,
        "ipaddress": row.address or None,
        "serviceip": row.address or None,
    }


class ManagementServerMetricsResponse(ManagementServerResponse):
    availableprocessors = Int("how many processors it has")
    systemmemorytotal = Str("its memory")
    systemmemoryused = Str("what of that is in use")
    systemmemoryfree = Str("what of that is not in use")
    collectiontime = When("when these figures were taken")

    @classmethod
    def render(cls, call: Call, rows: Sequence[ManagementServer]) -> list[Shown]:
        shown = super().render(call, rows)
        return [{**one, **_figures(row)} for one, row in zip(shown, rows, strict=True)]


def _figures(row: ManagementServer) -> Shown:
    """What the last beat told of the machine; nothing where none did."""
    if not row.facts:
        return {}
    total, free = row.facts["memory_total"], row.facts["memory_free"]
    return {
        "availableprocessors": row.facts["processors"],
        "systemmemorytotal": gigabytes(total),
        "systemmemoryused": gigabytes(total - free),
        "systemmemoryfree": gigabytes(free),
        "collectiontime": dt.datetime.fromtimestamp(row.facts["collected"], dt.UTC),
    }


class ListManagementServers(ListRequest):
    id = Ref(ManagementServer, "only this server")
    name = Text("only the server of this name")


@command("listManagementServers", ListManagementServers, ManagementServerResponse)
def list_management_servers(call: Call, given: Given) -> Page:
    """List management servers."""
    query = select(ManagementServer).where(ManagementServer.removed.is_(None))
    if given.id is not None:
        query = query.where(ManagementServer.id == given.id.id)
    if given.name is not None:
        query = query.where(ManagementServer.name == given.name)
    query = with_keyword(query, given.keyword, ManagementServer.name)
    return call.paged(query.order_by(ManagementServer.name, ManagementServer.id))


@command("listManagementServersMetrics", ListManagementServers, ManagementServerMetricsResponse)
def list_management_servers_metrics(call: Call, given: Given) -> Page:
    """List management servers with figures of their machines."""
    page: Page = list_management_servers(call, given)
    return page


class OneServer(Request):
    id = Ref(ManagementServer, "the server", required=True)


@command("removeManagementServer", OneServer, SuccessResponse, event="MANAGEMENT.SERVER.REMOVE")
def remove_management_server(call: Call, id: ManagementServer) -> bool:
    """Take a management server that is Down off the list; it is on it again when it starts."""
    gone = {"removed": utcnow(), "live": None}
    guard = (ManagementServer.id == id.id, ManagementServer.removed.is_(None), servers.is_lost())
    if not write(call.session, update(ManagementServer).where(*guard).values(gone)):
        raise Invalid(f"The management server {id.name} lives; only one that is Down can be removed.")
    return True


class PreparationResponse(Response):
    shows = ManagementServer
    managementserverid = Str("the server's id")
    state = Str("its state")
    maintenanceinitiated = Bool("whether it is being prepared for maintenance")
    shutdowntriggered = Bool("whether it is being prepared for shutdown")
    readyforshutdown = Bool("whether its workers are idle and take nothing more, so that it can be stopped")

    @classmethod
    def render(cls, call: Call, rows: Sequence[ManagementServer]) -> list[Shown]:
        states = _states(call, rows)
        return [
            {
                "managementserverid": row.id,
                "state": states[row.id],
                "maintenanceinitiated": row.wanted == servers.MAINTENANCE,
                "shutdowntriggered": row.wanted == servers.SHUTDOWN,
                "readyforshutdown": states[row.id] in servers.READY.values(),
            }
            for row in rows
        ]


class PreparedServer(Request):
    managementserverid = Ref(ManagementServer, "the server", required=True, right="manage")


@command("readyForShutdown", PreparedServer, PreparationResponse, shape="object", object_key="readyforshutdown")
def ready_for_shutdown(_call: Call, managementserverid: ManagementServer) -> ManagementServer:
    """Tell whether a server that is prepared for maintenance or shutdown can be stopped."""
    return managementserverid


@command(
    "prepareForShutdown",
    PreparedServer,
    PreparationResponse,
    object_key="prepareforshutdown",
    event="MS.SHUTDOWN.PREPARE",
)
def prepare_for_shutdown(call: Call, managementserverid: ManagementServer) -> ManagementServer:
    """Have a server take no new jobs, and no work of others, until it is stopped and started again."""
    return _prepare(call, managementserverid, servers.SHUTDOWN, servers.UP)


@command("cancelShutdown", PreparedServer, PreparationResponse, object_key="cancelshutdown", event="MS.SHUTDOWN.CANCEL")
def cancel_shutdown(call: Call, managementserverid: ManagementServer) -> ManagementServer:
    """Have a server that is prepared for shutdown work again."""
    return _prepare(call, managementserverid, servers.UP, servers.SHUTDOWN)


@command(
    "prepareForMaintenance",
    PreparedServer,
    PreparationResponse,
    object_key="prepareformaintenance",
    event="MS.MAINTENANCE.PREPARE",
)
def prepare_for_maintenance(call: Call, managementserverid: ManagementServer) -> ManagementServer:
    """Have a server take no new jobs, and no work of others, until that is cancelled, also after it is started."""
    if not call.session.scalar(servers.another_is_up(managementserverid.id)):
        raise Invalid("No other management server is Up, so none would carry on with jobs meanwhile.")
    return _prepare(call, managementserverid, servers.MAINTENANCE, servers.UP)


@command(
    "cancelMaintenance",
    PreparedServer,
    PreparationResponse,
    object_key="cancelmaintenance",
    event="MS.MAINTENANCE.CANCEL",
)
def cancel_maintenance(call: Call, managementserverid: ManagementServer) -> ManagementServer:
    """Have a server in maintenance work again."""
    return _prepare(call, managementserverid, servers.UP, servers.MAINTENANCE)


def _prepare(call: Call, server: ManagementServer, wanted: str, present: str) -> ManagementServer:
    changed = servers.prepare(call.session, server, wanted, present)
    call.session.refresh(server)
    if not changed:
        raise Invalid(f"The management server {server.name} is {server.wanted}, not {present}.")
    call.subject = server
    return server
