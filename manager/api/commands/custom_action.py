"""Custom actions: what the programs of extensions do on virtual machines when they are asked to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, exists, select

from manager import access
from manager.api.call import Call
from manager.api.command import EVERYONE, Given, ListRequest, Page, Request, SuccessResponse, command
from manager.api.commands.action_parameter import declared
from manager.api.commands.extension import changed_details
from manager.api.commands.place import hold, narrowed, with_keyword
from manager.api.errors import Invalid
from manager.api.fields import Choice, Flag, Integer, ListOf, MapList, MapOf, Ref, Text
from manager.api.response import Bool, Int, Many, Map, Response, Shown, Str, When
from manager.api.rows import by_id
from manager.models import Cluster, CustomAction, Extension, ExtensionResource, Host, Vm
from manager.models.extensions import ROLE_BITS

RESOURCE_TYPES = ("VirtualMachine",)
DEFAULT_SECONDS = 5
MOST_SECONDS = 3600
REPEATABLE = "repeatable"
"""The detail that says, with 'true', that an action may be run again after its management server was lost."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")


class ActionParameterResponse(Response):
    object_key = "parameter"
    name = Str("its name")
    type = Str("STRING, NUMBER, BOOLEAN, UUID or DATE")
    validationformat = Str("NONE, or the form of its values: UUID, EMAIL, PASSWORD, URL, DECIMAL")
    valueoptions = Many("the only values possible, where there are any")
    required = Bool("whether a value must be given")


class CustomActionResponse(Response):
    object_key = "extensioncustomaction"
    shows = CustomAction
    id = Str("the action's id")
    name = Str("its name, which is the program's first argument")
    description = Str("what it does")
    extensionid = Str("the id of its extension")
    extensionname = Str("the name of its extension")
    resourcetype = Str("what it is run on: VirtualMachine")
    allowedroletypes = Many("the types of roles that may run it")
    successmessage = Str("what is told when it succeeds")
    errormessage = Str("what is told when it fails")
    timeout = Int("the seconds after which its program is killed")
    enabled = Bool("whether it may be run")
    details = Map("what the program is told of the action", root_only=True)
    parameters = Many("its parameters", ActionParameterResponse)
    created = When("when it was made")

    @classmethod
    def render(cls, call: Call, rows: Sequence[CustomAction]) -> list[Shown]:
        extensions = by_id(call, Extension, (row.extension_id for row in rows))
        return [
            {
                "id": row.id,
                "name": row.name,
                "description": row.description,
                "extensionid": row.extension_id,
                "extensionname": extensions[row.extension_id].name,
                "resourcetype": row.resource_type,
                "allowedroletypes": [name for name, bit in ROLE_BITS.items() if row.allowed_roles & bit],
                "successmessage": row.success_message or None,
                "errormessage": row.error_message or None,
                "timeout": row.timeout,
                "enabled": row.enabled,
                "details": row.details,
                "parameters": row.parameters,
                "created": row.created,
            }
            for row in rows
        ]


def _roles(names: list[str] | None) -> int:
    """The sum of the bits of these types of roles; administrators may run everything.

    :raises Invalid: there is no such type
    """
    bits = {name.lower(): bit for name, bit in ROLE_BITS.items()}
    found = ROLE_BITS["Admin"]
    for name in names or ():
        if name.lower() not in bits:
            raise Invalid(f"The type of role {name} is none of {', '.join(ROLE_BITS)}.")
        found |= bits[name.lower()]
    return found


class AddCustomAction(Request):
    extensionid = Ref(Extension, "the extension whose program does it", right="manage", required=True)
    name = Text("its name, new in the extension", required=True)
    description = Text("what it does", max_length=4096)
    resourcetype = Choice(
        "what it is run on: only VirtualMachine is possible", RESOURCE_TYPES, default="VirtualMachine"
    )
    allowedroletypes = ListOf(Text(""), "the types of roles that may run it besides Admin")
    parameters = MapList(
        "its parameters: parameters[0].name, type (STRING, NUMBER, BOOLEAN, UUID, DATE), validationformat, required, "
        "valueoptions with commas"
    )
    successmessage = Text("what to tell when it succeeds; may hold {{actionName}}, {{extensionName}}, {{resourceName}}",
                          max_length=1024)  # fmt: skip
    errormessage = Text("as successmessage, for when it fails", max_length=1024)
    timeout = Integer(
        "the seconds after which its program is killed", least=1, most=MOST_SECONDS, default=DEFAULT_SECONDS
    )
    enabled = Flag("whether it may be run", default=False)
    details = MapOf(
        "what the program is told of the action; repeatable=true admits that it is run again after a management "
        "server was lost while it ran",
        max_length=4096,
    )


@command("addCustomAction", AddCustomAction, CustomActionResponse, creates=True, event="EXTENSION.CUSTOM.ACTION.ADD")
def add_custom_action(call: Call, given: Given) -> CustomAction:
    """Declare an action of an extension."""
    if not _NAME.fullmatch(given.name):
        raise Invalid(
            f"The name {given.name!r} of an action must be 1 to 64 letters, digits, spaces and . _ -, a letter or "
            "digit first."
        )
    extension = given.extensionid
    hold(call, extension)
    action = CustomAction(
        extension_id=extension.id,
        name=given.name,
        description=given.description or "",
        resource_type=given.resourcetype,
        allowed_roles=_roles(given.allowedroletypes),
        parameters=declared(given.parameters or []),
        success_message=given.successmessage or "",
        error_message=given.errormessage or "",
        timeout=given.timeout,
        enabled=given.enabled,
        details=given.details or {},
        live=f"{extension.id}/{given.name.lower()}",
    )
    taken = f"The extension {extension.name} has an action {given.name} already."
    stored: CustomAction = call.add(action, taken=taken)
    return stored


class ListCustomActions(ListRequest):
    id = Ref(CustomAction, "only this action")
    name = Text("only actions of this name")
    extensionid = Ref(Extension, "only actions of this extension")
    resourcetype = Choice("only actions that are run on this kind of thing", RESOURCE_TYPES)
    resourceid = Ref(Vm, "only actions that can be run on this virtual machine")
    enabled = Flag("only those that may be run, or only those that may not")


@command("listCustomActions", ListCustomActions, CustomActionResponse, roles=EVERYONE)
def list_custom_actions(call: Call, **filters: Any) -> Page:
    """List the actions that the caller may run; administrators see all."""
    query = select(CustomAction).where(access.reach(call, CustomAction, access.READ), CustomAction.removed.is_(None))
    columns = {
        "id": CustomAction.id,
        "name": CustomAction.name,
        "extensionid": CustomAction.extension_id,
        "resourcetype": CustomAction.resource_type,
        "enabled": CustomAction.enabled,
    }
    query = narrowed(query, filters, columns)
    if filters["resourceid"] is not None:
        query = query.where(exists().where(registered_for(filters["resourceid"])))
    query = with_keyword(query, filters["keyword"], CustomAction.name)
    return call.paged(query.order_by(CustomAction.name, CustomAction.id))


def registered_for(vm: Vm) -> ColumnElement[bool]:
    """The registrations of an action's extension that hold for the VM.

    Those with the cluster of its host, or of its last one; for a VM that never ran, with any cluster of its zone.
    """
    host_id = vm.host_id or vm.last_host_id
    if host_id is not None:
        clusters = select(Host.cluster_id).where(Host.id == host_id)
    else:
        clusters = select(Cluster.id).where(Cluster.zone_id == vm.zone_id, Cluster.removed.is_(None))
    found: ColumnElement[bool] = (ExtensionResource.extension_id == CustomAction.extension_id) & (
        ExtensionResource.removed.is_(None) & ExtensionResource.cluster_id.in_(clusters)
    )
    return found


class UpdateCustomAction(Request):
    id = Ref(CustomAction, "the action", required=True)
    description = Text("what it does", max_length=4096)
    resourcetype = Choice("what it is run on: only VirtualMachine is possible", RESOURCE_TYPES)
    allowedroletypes = ListOf(Text(""), "the types of roles that may run it besides Admin")
    enabled = Flag("whether it may be run")
    parameters = MapList("its parameters, in place of those that it has")
    cleanupparameters = Flag("take its parameters away", default=False)
    successmessage = Text("what to tell when it succeeds", max_length=1024)
    errormessage = Text("what to tell when it fails", max_length=1024)
    timeout = Integer("the seconds after which its program is killed", least=1, most=MOST_SECONDS)
    details = MapOf("its details, in place of those that it has", max_length=4096)
    cleanupdetails = Flag("take its details away", default=False)


@command("updateCustomAction", UpdateCustomAction, CustomActionResponse, event="EXTENSION.CUSTOM.ACTION.UPDATE")
def update_custom_action(call: Call, given: Given) -> CustomAction:
    """Change an action; what runs already goes on as it was."""
    action: CustomAction = given.id
    plain = {
        "description": given.description,
        "resource_type": given.resourcetype,
        "enabled": given.enabled,
        "success_message": given.successmessage,
        "error_message": given.errormessage,
        "timeout": given.timeout,
    }
    for name, value in plain.items():
        if value is not None:
            setattr(action, name, value)
    if given.allowedroletypes:
        action.allowed_roles = _roles(given.allowedroletypes)
    if given.cleanupparameters:
        action.parameters = []
    elif given.parameters:
        action.parameters = declared(given.parameters)
    action.details = changed_details(action.details, given)
    call.flush()
    return action


class DeleteCustomAction(Request):
    id = Ref(CustomAction, "the action", required=True)


@command("deleteCustomAction", DeleteCustomAction, SuccessResponse, event="EXTENSION.CUSTOM.ACTION.DELETE")
def delete_custom_action(_call: Call, id: CustomAction) -> bool:
    """Remove an action; what runs already goes on."""
    id.remove()
    return True
