"""User data under a name: register, list, delete, link to templates; and the user data that a virtual machine has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from manager import access
from manager.api.call import Call
from manager.api.command import EVERYONE, AccountListRequest, Given, OwnedRequest, Page, Request, command
from manager.api.commands.job_hold import hold_stopped
from manager.api.commands.place import hold, named, narrowed, refuse_while, with_keyword
from manager.api.commands.template_response import TemplateResponse
from manager.api.commands.vm_response import VmResponse
from manager.api.commands.vm_user_data import (
    ALLOW,
    POLICIES,
    checked_user_data,
    details_field,
    id_field,
    take_user_data,
    text_field,
)
from manager.api.errors import Invalid, missing
from manager.api.fields import Choice, Ref, Text
from manager.api.response import Response, Shown, Str, SuccessResponse
from manager.api.rows import owners_of
from manager.models import Template, UserData, Vm

_PARAMETER = re.compile(r"[A-Za-z0-9_.-]{1,255}")


class UserDataResponse(Response):
    object_key = "userdata"
    shows = UserData
    is_owned = True
    id = Str("the user data's id")
    name = Str("its name")
    userdata = Str("its content in base64")
    params = Str("the names of its parameters, with commas")
    accountid = Str("the id of the account that owns it")

    @classmethod
    def render(cls, call: Call, rows: Sequence[UserData]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        return [
            {
                "id": row.id,
                "name": row.name,
                "userdata": row.content,
                "params": row.params or None,
                "accountid": row.account_id,
                **owners[row.account_id],
            }
            for row in rows
        ]


class RegisterUserData(OwnedRequest):
    name = Text("its name, new in the account", required=True)
    userdata = Text("the content in base64; at most 4 KiB of it by GET", max_length=2**21, lines=True, required=True)
    params = Text("the names of its parameters, with commas", max_length=4096)


@command(
    "registerUserData", RegisterUserData, UserDataResponse, creates=True, roles=EVERYONE, event="REGISTER.USER.DATA"
)
def register_user_data(call: Call, name: str, userdata: str, params: str | None) -> UserData:
    """Store user data under a name, to deploy virtual machines with."""
    stripped = named("user data", name)
    names = [part.strip() for part in (params or "").split(",") if part.strip()]
    for one in names:
        if not _PARAMETER.fullmatch(one):
            raise Invalid(f"The parameter name {one} is not made of letters, digits, dots, hyphens, underscores.")
    owner = call.owner
    row = UserData(
        account_id=owner.id,
        name=stripped,
        content=checked_user_data(call, userdata),
        params=",".join(dict.fromkeys(names)),
        live=f"{owner.id}/{stripped.lower()}",
    )
    stored: UserData = call.add(row, taken=f"The account {owner.name} has user data {stripped} already.")
    return stored


class ListUserData(AccountListRequest):
    id = Ref(UserData, "only this user data")
    name = Text("only the user data of this name")


@command("listUserData", ListUserData, UserDataResponse, roles=EVERYONE)
def list_user_data(call: Call, **filters: Any) -> Page:
    """List registered user data."""
    query = narrowed(
        select(UserData).where(access.visible(call, UserData)), filters, {"id": UserData.id, "name": UserData.name}
    )
    return call.paged(with_keyword(query, filters["keyword"], UserData.name).order_by(UserData.name, UserData.id))


class DeleteUserData(Request):
    id = Ref(UserData, "the user data", required=True)


@command("deleteUserData", DeleteUserData, SuccessResponse, roles=EVERYONE, event="USER.DATA.DELETE")
def delete_user_data(call: Call, id: UserData) -> bool:
    """Remove registered user data that no template and no virtual machine has."""
    hold(call, id)
    contents: tuple[tuple[str, type[Any], Any], ...] = (
        ("templates that it is linked to.", Template, Template.user_data_id == id.id),
        ("virtual machines that have it.", Vm, Vm.user_data_id == id.id),
    )
    refuse_while(call, f"The user data {id.name}", contents)
    id.remove()
    return True


class LinkUserData(Request):
    templateid = Ref(Template, "the template", right=access.MANAGE)
    userdataid = Ref(UserData, "the user data; absent to take away the one that is linked")
    userdatapolicy = Choice("how it goes with virtual machines' own user data", POLICIES, default=ALLOW)


@command("linkUserDataToTemplate", LinkUserData, TemplateResponse, roles=EVERYONE, event="TEMPLATE.UPDATE")
def link_user_data(
    call: Call, templateid: Template | None, userdataid: UserData | None, userdatapolicy: str
) -> Template:
    """Give a template user data, which virtual machines get that are deployed of it; or take it away."""
    if templateid is None:
        raise missing(call.command, "templateid")
    templateid.user_data_id = userdataid.id if userdataid else None
    templateid.user_data_policy = userdatapolicy if userdataid else None
    return templateid


class VmUserDataResponse(Response):
    object_key = "virtualmachineuserdata"
    virtualmachineid = Str("the virtual machine's id")
    userdata = Str("its user data in base64")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Vm]) -> list[Shown]:  # noqa: ARG003 - a VM has its user data itself
        return [{"virtualmachineid": row.id, "userdata": row.user_data} for row in rows]


class GetVmUserData(Request):
    virtualmachineid = Ref(Vm, "the VM", required=True)


@command("getVirtualMachineUserData", GetVmUserData, VmUserDataResponse, roles=EVERYONE)
def get_vm_user_data(call: Call, virtualmachineid: Vm) -> Vm:  # noqa: ARG001 - handlers get the call
    """Tell the user data of a VM."""
    return virtualmachineid


class ResetVmUserData(Request):
    id = Ref(Vm, "the Stopped VM", required=True)
    userdata = text_field("its new user data in base64; at most 4 KiB of it by GET")
    userdataid = id_field()
    userdatadetails = details_field()


@command("resetUserDataForVirtualMachine", ResetVmUserData, VmResponse, roles=EVERYONE, event="VM.RESETUSERDATA")
def reset_vm_user_data(call: Call, given: Given) -> Vm:
    """Give a Stopped VM other user data, that of its template when none is given. It is told at the next start."""
    vm: Vm = given.id
    hold_stopped(call, vm, "to get other user data")
    take_user_data(call, vm, call.session.get_one(Template, vm.template_id), given)
    call.flush()
    return vm
