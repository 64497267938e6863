"""Runs of custom actions on virtual machines: what the program is told, and what it answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from manager import access
from manager.api.call import Call
from manager.api.command import EVERYONE, Given, Request, command
from manager.api.commands.action_parameter import LONGEST_VALUE, values
from manager.api.commands.custom_action import REPEATABLE, RESOURCE_TYPES, registered_for
from manager.api.commands.vm_response import VmResponse
from manager.api.errors import Invalid
from manager.api.fields import Choice, MapOf, Ref
from manager.api.response import Bool, Map, Response, Shown, Str
from manager.api.rows import by_id
from manager.models import ActionRun, CustomAction, Extension, ExtensionResource, Vm, WorkflowRow, new_id
from manager.models.changes import plain
from manager.workflows.extensions import DONE, due_to_start, run_action

UNTOLD = frozenset({"userdata", "userdatadetails", "jobid", "jobstatus"})
"""What the program is not told of a VM: user data may hold secrets."""
SUCCESS_TEXT = "Successfully completed {{actionName}}"
FAILURE_TEXT = "Failed to complete {{actionName}}"
_ENDINGS = {
    "timeout": "The program did not end within {timeout} s and was killed.",
    "flood": "The program wrote too much and was killed.",
    "exit": "The program ended with exit code {code}.",
}


class ActionResultResponse(Response):
    object_key = "customactionresult"
    shows = ActionRun
    id = Str("the action's id")
    name = Str("its name")
    success = Bool("whether the program ended well")
    result = Map("message, details (what the program wrote) and, where the program says so, printmessage")

    @classmethod
    def render(cls, call: Call, rows: Sequence[ActionRun]) -> list[Shown]:
        actions = by_id(call, CustomAction, (row.action_id for row in rows))
        extensions = by_id(call, Extension, (action.extension_id for action in actions.values()))
        found = []
        for row in rows:
            action = actions[row.action_id]
            success = row.status == DONE and (row.answer.get("ended"), row.answer.get("code")) == ("exit", 0)
            message = (action.success_message or SUCCESS_TEXT) if success else (action.error_message or FAILURE_TEXT)
            names = {"actionName": row.name, "extensionName": extensions[action.extension_id].name}
            for name, text in {**names, "resourceName": row.vm_name}.items():
                message = message.replace("{{" + name + "}}", text)
            result = _result(call, row, message, success=success)
            found.append({"id": row.action_id, "name": row.name, "success": success, "result": result})
        return found


def _result(call: Call, row: ActionRun, message: str, *, success: bool) -> dict[str, str]:
    """What the program wrote, as it is: clients read its JSON themselves. Its errors are for root administrators."""
    told = str(row.answer.get("output", "")).strip()
    if not told and not success:
        told = _ENDINGS.get(str(row.answer.get("ended")), "").format(timeout=row.timeout, code=row.answer.get("code"))
        errors = str(row.answer.get("errors", "")).strip()
        if errors and call.is_root_admin:
            told = f"{told} {errors}"
    result = {"message": message, "details": told}
    try:
        written = json.loads(told)
    except (ValueError, RecursionError):  # it is a text, or nested deeper than any message
        return result
    if isinstance(written, dict) and "printmessage" in written:
        result["printmessage"] = str(written["printmessage"]).lower()
    return result


class RunCustomAction(Request):
    customactionid = Ref(CustomAction, "the action", required=True)
    resourcetype = Choice(
        "the kind of thing: only VirtualMachine is possible", RESOURCE_TYPES, default="VirtualMachine"
    )
    resourceid = Ref(Vm, "the virtual machine", right="manage", required=True)
    parameters = MapOf("the values of the action's parameters", max_length=LONGEST_VALUE, secret=True)


@command(
    "runCustomAction",
    RunCustomAction,
    ActionResultResponse,
    is_async=True,
    roles=EVERYONE,
    event="CUSTOM.ACTION",
)
def run_custom_action(call: Call, given: Given) -> WorkflowRow:
    """Run an action on a virtual machine. Its program is begun once; whether it ended well is in the job's result."""
    action, vm = given.customactionid, given.resourceid
    if action.resource_type != given.resourcetype:
        raise Invalid(f"The action {action.name} is run on a {action.resource_type}, not on a {given.resourcetype}.")
    extension, registration = _in_use(call, action, vm)
    row = ActionRun(
        id=new_id(),
        action_id=action.id,
        account_id=vm.account_id,
        vm_name=vm.display_name or vm.name,
        name=action.name,
        path=extension.path,
        timeout=action.timeout,
        repeatable=action.details.get(REPEATABLE, "").lower() == "true",
        payload=_payload(call, vm, values(action.parameters, given.parameters or {}))
        | {
            "externaldetails": {
                "extension": extension.details,
                "cluster": registration.details,
                "customaction": action.details,
            }
        },
        due_at=due_to_start(),
    )
    call.subject = call.add(row)
    return run_action.start(call.session, row, call=call)


def _in_use(call: Call, action: CustomAction, vm: Vm) -> tuple[Extension, ExtensionResource]:
    """The action's extension and its registration with the cluster of the VM.

    :raises Invalid: the action is not to be run, or not on this VM
    """
    query = select(Extension, CustomAction, ExtensionResource).join(
        CustomAction, CustomAction.extension_id == Extension.id
    )
    query = query.outerjoin(ExtensionResource, registered_for(vm)).where(CustomAction.id == action.id)
    query = query.where(access.reach(call, CustomAction, access.USE)).order_by(ExtensionResource.id).limit(1)
    found = call.session.execute(query).first()
    if found is None:
        raise Invalid(f"The action {action.name} cannot be run any more.")
    extension, _, registration = found
    if extension.state != "Enabled":
        raise Invalid(f"The extension {extension.name} is disabled.")
    if not action.enabled:
        raise Invalid(f"The action {action.name} is disabled.")
    if registration is None:
        raise Invalid(
            f"The extension {extension.name} is not registered with the cluster of the virtual machine {vm.name}."
        )
    return extension, registration


def _payload(call: Call, vm: Vm, parameters: dict[str, Any]) -> dict[str, Any]:
    """What the program is told: of the VM what the caller sees of it, but for secrets."""
    (shown,) = VmResponse.shown(call, [vm])
    details = {name: plain(value) if name == "details" else value for name, value in shown.items()}
    return {
        "virtualmachineid": vm.id,
        "virtualmachinename": vm.name,
        "cloudstack.vm.details": {name: value for name, value in details.items() if name not in UNTOLD},
        "caller": {
            "id": call.user.id,
            "name": call.user.username,
            "accountid": call.account.id,
            "account": call.account.name,
            "roleid": call.role.id,
            "rolename": call.role.name,
            "roletype": call.role.type,
        },
        "parameters": parameters,
    }
