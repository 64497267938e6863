"""VPN users: people who may use the remote access VPNs of an account."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from manager import access, configuration
from manager.api.call import Call
from manager.api.command import EVERYONE, AccountListRequest, OwnedRequest, Page, command
from manager.api.commands.place import narrowed, with_keyword
from manager.api.errors import ApiError, Invalid
from manager.api.fields import Ref, Text
from manager.api.response import Response, Shown, Str, SuccessResponse
from manager.api.rows import owners_of
from manager.models import VpnUser, WorkflowRow
from manager.models.states import VPN_USER_MOVES
from manager.workflows.vpn import add_user, remove_user, start_for_user

USERNAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9@._-]{2,63}")
PASSWORD = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9@+=._-]{2,31}")
NAMES = "3 to 64 letters, digits and @._-, a letter or digit first"
PASSWORDS = "3 to 32 letters, digits and @+=._-, a letter or digit first"
LIMIT = "remote.access.vpn.user.limit"
LIMIT_REACHED = 535


class VpnUserResponse(Response):
    object_key = "vpnuser"
    shows = VpnUser
    has_jobs = True
    is_owned = True
    id = Str("the user's id")
    username = Str("the name that the user gives")
    state = Str("Add until all routers of the account have it, then Active; Revoke while it is taken away")

    @classmethod
    def render(cls, call: Call, rows: Sequence[VpnUser]) -> list[Shown]:
        owners = owners_of(call, rows, path=True)
        return [{"id": row.id, "username": row.name, "state": row.state, **owners[row.account_id]} for row in rows]


class AddVpnUser(OwnedRequest):
    username = Text(f"the name: {NAMES}", required=True)
    password = Text(f"the password: {PASSWORDS}", required=True)


@command("addVpnUser", AddVpnUser, VpnUserResponse, is_async=True, creates=True, roles=EVERYONE,
         event="VPN.USER.ADD")  # fmt: skip
def add_vpn_user(call: Call, username: str, password: str) -> WorkflowRow:
    """Let somebody use the remote access VPNs of an account, those that are there and those to come."""
    if not USERNAME.fullmatch(username):
        raise Invalid(f"The username has a form that is not possible; it is {NAMES}.")
    if not PASSWORD.fullmatch(password):
        raise Invalid(f"The password has a form that is not possible; it is {PASSWORDS}.")
    owner = call.owner
    # One after the other: each counts those that are there, and knows the VPNs that are made meanwhile.
    call.session.refresh(owner, with_for_update=True)
    limit = configuration.value(call.session, LIMIT, owner)
    living = select(func.count()).select_from(VpnUser)
    if (call.session.scalar(living.filter_by(account_id=owner.id, removed=None)) or 0) >= limit:
        raise ApiError(LIMIT_REACHED, f"The account {owner.name} has {limit} VPN users, as many as {LIMIT} admits.")
    user = VpnUser(account_id=owner.id, name=username, password=password, live=f"{owner.id}/{username}")
    call.add(user, taken=f"The account {owner.name} has a VPN user {username} already.")
    return start_for_user(call.session, add_user, user, call=call)


class RemoveVpnUser(OwnedRequest):
    username = Text("the user's name", required=True)


@command("removeVpnUser", RemoveVpnUser, SuccessResponse, is_async=True, roles=EVERYONE, event="VPN.USER.REMOVE")
def remove_vpn_user(call: Call, username: str) -> WorkflowRow:
    """Let somebody use the remote access VPNs of an account no more; the user's connections end."""
    call.session.refresh(call.owner, with_for_update=True)
    user = call.session.scalar(select(VpnUser).filter_by(account_id=call.owner.id, name=username, removed=None))
    if user is None:
        raise Invalid(f"The account {call.owner.name} has no VPN user {username}.")
    call.subject = user
    VPN_USER_MOVES.move(user, "revoke")
    return start_for_user(call.session, remove_user, user, call=call)


class ListVpnUsers(AccountListRequest):
    id = Ref(VpnUser, "only this user")
    username = Text("only the user of this name")


@command("listVpnUsers", ListVpnUsers, VpnUserResponse, roles=EVERYONE)
def list_vpn_users(call: Call, **filters: Any) -> Page:
    """List VPN users."""
    query = narrowed(select(VpnUser).where(access.visible(call, VpnUser)), filters, {"id": VpnUser.id})
    if filters["username"] is not None:
        query = query.where(VpnUser.name == filters["username"])
    query = with_keyword(query, filters["keyword"], VpnUser.name)
    return call.paged(query.order_by(VpnUser.name, VpnUser.id))
