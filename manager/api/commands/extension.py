"""Extensions: programs of the operator's on the management servers, registered with clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update

from manager.api.call import Call
from manager.api.command import Given, ListRequest, Page, Request, SuccessResponse, command
from manager.api.commands.place import hold, named, narrowed, with_keyword
from manager.api.errors import Invalid
from manager.api.fields import BadParameter, Choice, Flag, MapOf, Ref, Text
from manager.api.response import Bool, Many, Map, Response, Shown, Str, When
from manager.db import epoch, write
from manager.models import Cluster, CustomAction, Extension, ExtensionResource, ExtensionSight, utcnow
from manager.programs import LONGEST_PATH, Unfit, demand_inside, program_at
from manager.workflows.extensions import SIGHT_COUNTS_SECONDS, unfitness

STATES = ("Enabled", "Disabled")
TYPE = "Orchestrator"
CLUSTER = "Cluster"


class ExtensionResourceResponse(Response):
    object_key = "resource"
    shows = ExtensionResource
    id = Str("the cluster's id")
    name = Str("its name")
    type = Str("always Cluster")
    details = Map("the details of the registration")
    created = When("when it was registered")


class ExtensionResponse(Response):
    object_key = "extension"
    shows = Extension
    id = Str("the extension's id")
    name = Str("its name")
    description = Str("what it is for")
    type = Str("always Orchestrator")
    path = Str("the program, relative to the directory of extensions of a management server")
    pathready = Bool("whether every management server can run the program")
    isuserdefined = Bool("always true")
    state = Str("Enabled or Disabled")
    details = Map("what the program is told of itself")
    resources = Many("the clusters that it is registered with", ExtensionResourceResponse)
    created = When("when it was created")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Extension]) -> list[Shown]:
        ids = [row.id for row in rows]
        ready = _readiness(call, ids)
        resources = _resources(call, ids)
        return [
            {
                "id": row.id,
                "name": row.name,
                "description": row.description,
                "type": row.type,
                "path": row.path,
                "pathready": ready[row.id] if row.id in ready else not unfitness(row.path),
                "isuserdefined": True,
                "state": row.state,
                "details": row.details,
                "resources": resources.get(row.id, []),
                "created": row.created,
            }
            for row in rows
        ]


def _readiness(call: Call, ids: list[str]) -> dict[str, bool]:
    """By extension: whether all management servers that looked lately found a program that they can run."""
    query = select(ExtensionSight.extension_id, ExtensionSight.reason).where(
        ExtensionSight.extension_id.in_(ids), ExtensionSight.seen > epoch() - SIGHT_COUNTS_SECONDS
    )
    ready: dict[str, bool] = {}
    for extension_id, reason in call.session.execute(query):
        ready[extension_id] = ready.get(extension_id, True) and not reason
    return ready


def _resources(call: Call, ids: list[str]) -> dict[str, list[Shown]]:
    query = select(ExtensionResource, Cluster.name).join(Cluster, Cluster.id == ExtensionResource.cluster_id)
    living = (ExtensionResource.removed.is_(None), Cluster.removed.is_(None))
    query = query.where(ExtensionResource.extension_id.in_(ids), *living)
    found: dict[str, list[Shown]] = {}
    for row, name in call.session.execute(query.order_by(Cluster.name, Cluster.id)):
        shown = {"id": row.cluster_id, "name": name, "type": CLUSTER, "details": row.details, "created": row.created}
        found.setdefault(row.extension_id, []).append(shown)
    return found


class CreateExtension(Request):
    name = Text("its name", required=True)
    description = Text("what it is for", max_length=4096)
    type = Choice("only Orchestrator is possible", [TYPE], required=True)
    path = Text(
        "the program, relative to the directory of extensions of the management servers; its name when absent",
        max_length=LONGEST_PATH,
    )
    state = Choice("whether its actions may run", STATES, default="Enabled")
    details = MapOf("what the program is told of itself in each payload", max_length=4096)


@command("createExtension", CreateExtension, ExtensionResponse, creates=True, event="EXTENSION.CREATE")
def create_extension(call: Call, given: Given) -> Extension:
    """Make a program of the operator's known: one that only root can write, on each management server."""
    name = named("extension", given.name)
    path = given.path or name
    _demand_fit(path)
    extension = Extension(
        name=name,
        description=given.description or "",
        type=given.type,
        path=path,
        state=given.state,
        details=given.details or {},
        live=name.lower(),
    )
    stored: Extension = call.add(extension, taken=f"There is an extension {name} already.")
    return stored


def _demand_fit(path: str) -> None:
    """:raises Invalid: the path leads outside, or what is there is not for root alone to change"""
    try:
        demand_inside(path)
        program_at(path)
    except Unfit as error:
        if not error.absent:
            raise Invalid(str(error)) from error


class ListExtensions(ListRequest):
    id = Ref(Extension, "only this extension")
    name = Text("only the extension of this name")


@command("listExtensions", ListExtensions, ExtensionResponse)
def list_extensions(call: Call, **filters: Any) -> Page:
    """List extensions."""
    query = select(Extension).where(Extension.removed.is_(None))
    query = narrowed(query, filters, {"id": Extension.id, "name": Extension.name})
    query = with_keyword(query, filters["keyword"], Extension.name)
    return call.paged(query.order_by(Extension.name, Extension.id))


class UpdateExtension(Request):
    id = Ref(Extension, "the extension", required=True)
    description = Text("what it is for", max_length=4096)
    state = Choice("whether its actions may run", STATES)
    details = MapOf("its details, in place of those that it has", max_length=4096)
    cleanupdetails = Flag("take its details away", default=False)


@command("updateExtension", UpdateExtension, ExtensionResponse, event="EXTENSION.UPDATE")
def update_extension(call: Call, given: Given) -> Extension:
    """Change an extension; what runs already goes on."""
    extension: Extension = given.id
    if given.description is not None:
        extension.description = given.description
    if given.state is not None:
        extension.state = given.state
    extension.details = changed_details(extension.details, given)
    call.flush()
    return extension


def changed_details(details: dict[str, Any], given: Given) -> dict[str, Any]:
    """The details after an update by the parameters details and cleanupdetails."""
    if given.cleanupdetails:
        return {}
    return given.details or details


class DeleteExtension(Request):
    id = Ref(Extension, "the extension", required=True)


@command("deleteExtension", DeleteExtension, SuccessResponse, event="EXTENSION.DELETE")
def delete_extension(call: Call, id: Extension) -> bool:
    """Remove an extension and its actions; its program stays where it is."""
    hold(call, id)
    for shown in _resources(call, [id.id]).get(id.id, []):
        raise Invalid(
            f"The extension {id.name} is registered with the cluster {shown['name']}; unregister it there first."
        )
    ended = {"removed": utcnow(), "live": None}
    for model in (CustomAction, ExtensionResource):
        write(call.session, update(model).where(model.extension_id == id.id, model.removed.is_(None)).values(ended))
    id.remove()
    return True


class ClusterOnly(Choice):
    """The kind of resource that an extension can be registered with."""

    def __init__(self) -> None:
        super().__init__("only Cluster is possible", [CLUSTER], required=True)

    def read(self, name: str, value: str) -> str:
        if value.lower() not in self.values:
            raise BadParameter(
                name,
                f"extensions are registered with clusters only, not with a {value}: they run custom actions, and do "
                "not orchestrate virtual machines or networks of their own.",
            )
        return super().read(name, value)


class RegisterExtension(Request):
    extensionid = Ref(Extension, "the extension", right="manage", required=True)
    resourceid = Ref(Cluster, "the cluster", right="manage", required=True)
    resourcetype = ClusterOnly()
    details = MapOf("what the program is told of the cluster in each payload", max_length=4096)


@command("registerExtension", RegisterExtension, ExtensionResponse, event="EXTENSION.RESOURCE.REGISTER")
def register_extension(call: Call, given: Given) -> Extension:
    """Let the actions of an extension run on the virtual machines of a cluster."""
    extension, cluster = given.extensionid, given.resourceid
    hold(call, extension)
    registration = ExtensionResource(
        extension_id=extension.id,
        cluster_id=cluster.id,
        details=given.details or {},
        live=f"{extension.id}/{cluster.id}",
    )
    call.add(registration, taken=f"The extension {extension.name} is registered with the cluster {cluster.name}.")
    call.subject = extension
    return extension  # type: ignore[no-any-return]


class UnregisterExtension(Request):
    extensionid = Ref(Extension, "the extension", right="manage", required=True)
    resourceid = Ref(Cluster, "the cluster", right="manage", required=True)
    resourcetype = ClusterOnly()


@command("unregisterExtension", UnregisterExtension, ExtensionResponse, event="EXTENSION.RESOURCE.UNREGISTER")
def unregister_extension(call: Call, extensionid: Extension, resourceid: Cluster, resourcetype: str) -> Extension:
    """Let the actions of an extension not run any more on the virtual machines of a cluster."""
    here = (ExtensionResource.extension_id == extensionid.id, ExtensionResource.cluster_id == resourceid.id)
    ended = update(ExtensionResource).where(*here, ExtensionResource.removed.is_(None))
    if not write(call.session, ended.values(removed=utcnow(), live=None)):
        raise Invalid(
            f"The extension {extensionid.name} is not registered with the {resourcetype.lower()} {resourceid.name}."
        )
    call.subject = extensionid
    return extensionid
