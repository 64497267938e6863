"""Overviews of the cloud: how much of everything there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from manager.api.call import Call
from manager.api.command import ListRequest, Page, Request, command
from manager.api.response import Int, Response, Shown, Str
from manager.models import Cluster, Host, ImageStore, ManagementServer, Pod, Router, StoragePool, Zone

COUNTED: dict[str, type[Any]] = {
    "zones": Zone, "pods": Pod, "clusters": Cluster, "hosts": Host, "storagepools": StoragePool,
    "imagestores": ImageStore, "routers": Router, "managementservers": ManagementServer,
}  # fmt: skip


class InfrastructureResponse(Response):
    object_key = "infrastructure"
    zones = Int("the number of zones")
    pods = Int("the number of pods")
    clusters = Int("the number of clusters")
    hosts = Int("the number of hosts")
    storagepools = Int("the number of primary storage pools")
    imagestores = Int("the number of image stores")
    routers = Int("the number of virtual routers")
    managementservers = Int("the number of management servers")
    systemvms = Int("the number of system VMs: none, their work is done by agents")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[Shown]) -> list[Shown]:
        return list(rows)


@command("listInfrastructure", Request, InfrastructureResponse, shape="object")
def list_infrastructure(call: Call) -> Shown:
    """Count what the cloud is made of."""
    counts = [
        select(func.count(model.id)).where(model.removed.is_(None)).scalar_subquery().label(name)
        for name, model in COUNTED.items()
    ]
    row = call.session.execute(select(*counts)).mappings().one()
    return {"infrastructure": {**row, "systemvms": 0}}


class SystemVmResponse(Response):
    object_key = "systemvm"
    id = Str("the system VM's id")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[Shown]) -> list[Shown]:
        return list(rows)


@command("listSystemVms", ListRequest, SystemVmResponse)
def list_system_vms(call: Call, keyword: str | None) -> Page:  # noqa: ARG001 - there is none of any name
    """List system VMs: there are none, since the agents serve storage and the management servers serve consoles."""
    return call.window([])
