"""Keys of users: several each, with a time, sources and rules of their own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, select

from manager import access
from manager.api import authentication
from manager.api.call import Call
from manager.api.command import EVERYONE, STAFF, Given, ListRequest, Page, Request, command
from manager.api.commands.role import checked_permission, checked_rule
from manager.api.commands.user import OneUser
from manager.api.errors import Invalid
from manager.api.fields import Date, Flag, ListOf, MapList, Ref, Text
from manager.api.response import Bool, Many, Response, Shown, Str, SuccessResponse, When
from manager.api.rows import by_id
from manager.cidrs import demand_networks
from manager.identity_seed import new_keys
from manager.models import Account, ApiKey, Domain, Role, User, WorkflowRow

MOST_KEYS = 100
MOST_CIDRS = 100
MOST_RULES = 100
ACCOUNT_TYPES = {0: "NORMAL", 1: "ADMIN", 2: "DOMAIN_ADMIN", 3: "RESOURCE_DOMAIN_ADMIN", 5: "PROJECT"}
"""CloudStack's words."""


class KeyRuleResponse(Response):
    object_key = "keypermission"
    rule = Str("the command's name or the pattern")
    permission = Str("allow or deny")
    description = Str("what the rule is for")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[Any]) -> list[Shown]:
        return [dict(row) for row in rows]


class KeyPairResponse(Response):
    object_key = "userapikey"
    shows = ApiKey
    id = Str("the id of the keys")
    name = Str("their name; those that getUserKeys shows have none")
    description = Str("what they are for")
    apikey = Str("the API key, which names the user")
    created = When("when they were made")
    startdate = When("from when on they sign")
    enddate = When("until when they sign")
    state = Str("ENABLED, EXPIRED, or PENDING before the start")
    allowedcidrs = Str("the networks from which they sign; any without")
    permissions = Many("the rules that narrow what they may do", KeyRuleResponse)
    userid = Str("the id of the user")
    username = Str("the user's name")
    accountid = Str("the id of the user's account")
    accountname = Str("the user's account")
    accounttype = Str("the type of the account")
    roleid = Str("the id of the account's role")
    roletype = Str("the type of the role")
    rolename = Str("the account's role")
    domainid = Str("the id of the user's domain")
    domain = Str("the user's domain")
    domainpath = Str("the path of the domain")

    @classmethod
    def render(cls, call: Call, rows: Sequence[ApiKey]) -> list[Shown]:
        users = by_id(call, User, (row.user_id for row in rows))
        accounts = by_id(call, Account, (user.account_id for user in users.values()))
        domains = by_id(call, Domain, (account.domain_id for account in accounts.values()))
        roles = by_id(call, Role, (account.role_id for account in accounts.values()))
        shown = []
        for row in rows:
            user = users[row.user_id]
            account = accounts[user.account_id]
            owner = _owner(user, account, domains[account.domain_id], roles[account.role_id])
            shown.append(_describe(row) | owner)
            if call.parameters.get("permissions"):
                shown[-1]["permissions"] = KeyRuleResponse.render(call, row.rules)
        return shown


def _describe(row: ApiKey) -> Shown:
    return {
        "id": row.id,
        "name": row.name or None,
        "description": row.description or None,
        "apikey": row.api_key,
        "created": row.created,
        "startdate": row.starts,
        "enddate": row.expires,
        "state": _state(row),
        "allowedcidrs": ",".join(row.allowed_cidrs) or None,
    }


def _state(row: ApiKey) -> str:
    if authentication.is_in_force(row):
        return "ENABLED"
    return "EXPIRED" if row.expires is not None and row.expires < dt.datetime.now(dt.UTC) else "PENDING"


def _owner(user: User, account: Account, domain: Domain, role: Role) -> Shown:
    return {
        "userid": user.id,
        "username": user.username,
        "accountid": account.id,
        "accountname": account.name,
        "accounttype": ACCOUNT_TYPES.get(account.type),
        "roleid": role.id,
        "roletype": role.type,
        "rolename": role.name,
        "domainid": domain.id,
        "domain": domain.name,
        "domainpath": domain.shown_path,
    }


class RegisteredKeysResponse(KeyPairResponse):
    object_key = "userkeys"
    secretkey = Str("the secret key, which signs; of named keys it is shown here and never again")

    @classmethod
    def render(cls, call: Call, rows: Sequence[ApiKey]) -> list[Shown]:
        call.parameters["permissions"] = any(row.rules for row in rows)
        shown = super().render(call, rows)
        return [{**entry, "secretkey": row.secret_key} for entry, row in zip(shown, rows, strict=True)]


class RegisterUserKeys(OneUser):
    name = Text("their name, new among the user's; without one they take the place of those that getUserKeys shows")
    description = Text("what they are for", max_length=1024)
    startdate = Date("from when on they sign; at once when absent")
    enddate = Date("until when they sign; for ever when absent", end_of_day=True)
    allowedcidrs = ListOf(
        Text("", max_length=64), "the only networks from which they sign, as CIDRs; any when absent", most=MOST_CIDRS
    )
    rules = MapList(
        "what they may do of what the user may: rules[0].rule, rules[0].permission (allow or deny) and "
        "rules[0].description, tried in the order of their numbers; what none matches is denied; all when absent"
    )


@command("registerUserKeys", RegisterUserKeys, RegisteredKeysResponse, roles=EVERYONE, event="REGISTER.USER.KEY")
def register_user_keys(call: Call, given: Given) -> ApiKey:
    """Give a user keys: further ones under a name, or without one in place of the old ones."""
    user: User = given.id
    bounds = _bounds(given)
    call.session.refresh(user, with_for_update=True)  # one after the other: each counts and replaces what is there
    if user.removed is not None:
        raise Invalid(f"The user {user.username} has been removed.")
    own = ApiKey.user_id == user.id
    if not given.name:
        call.session.execute(delete(ApiKey).where(own, ApiKey.name == ""))
    if (call.session.scalar(select(func.count()).select_from(ApiKey).where(own)) or 0) >= MOST_KEYS:
        raise Invalid(f"The user {user.username} has {MOST_KEYS} pairs of keys, which is the limit; delete some first.")
    key = new_keys(call.session, user, name=given.name or "", description=given.description or "", **bounds)
    added: ApiKey = call.add(key, taken=f"The user {user.username} has keys named {given.name} already.")
    return added


def _bounds(given: Given) -> dict[str, Any]:
    """:raises Invalid: a date, a network or a rule that cannot be"""
    start, end = given.startdate, given.enddate
    now = dt.datetime.now(dt.UTC)
    if end is not None and end <= max(start or now, now):
        raise Invalid("The parameter enddate must be later than startdate and than now.")
    try:
        if given.allowedcidrs:
            demand_networks(",".join(given.allowedcidrs))
    except ValueError as error:
        raise Invalid(f"The parameter allowedcidrs cannot be read: {error}") from error
    return {"starts": start, "expires": end, "allowed_cidrs": given.allowedcidrs or [], "rules": _rules(given.rules)}


def _rules(given: list[dict[str, str]] | None) -> list[dict[str, str]]:
    if len(given or ()) > MOST_RULES:
        raise Invalid(f"Keys have at most {MOST_RULES} rules.")
    found = []
    for entry in given or ():
        if not entry.get("rule") or not set(entry) <= {"rule", "permission", "description"}:
            raise Invalid("Each of the rules has a rule, a permission and, if wanted, a description.")
        permission = checked_permission(entry.get("permission", ""))
        found.append({"rule": checked_rule(entry["rule"]), "permission": permission})
        if entry.get("description"):
            found[-1]["description"] = entry["description"]
    return found


class UserKeysResponse(Response):
    object_key = "userkeys"
    apikey = Str("the API key, which names the user")
    secretkey = Str("the secret key, which signs")
    apikeyaccess = Bool("whether API keys sign for the user")

    @classmethod
    def render(cls, call: Call, rows: Sequence[ApiKey]) -> list[Shown]:
        users = by_id(call, User, (row.user_id for row in rows))
        accounts = by_id(call, Account, (user.account_id for user in users.values()))
        domains = by_id(call, Domain, (account.domain_id for account in accounts.values()))
        shown = []
        for row in rows:
            user = users[row.user_id]
            account = accounts[user.account_id]
            signs = authentication.signs(call.session, user, account, domains[account.domain_id])
            shown.append({"apikey": row.api_key, "secretkey": row.secret_key, "apikeyaccess": signs})
        return shown


class GetUserKeys(Request):
    id = Ref(User, "the user", required=True, right=access.MANAGE)


@command("getUserKeys", GetUserKeys, UserKeysResponse, roles=EVERYONE)
def get_user_keys(call: Call, id: User) -> ApiKey:
    """Show the keys of a user that have no name."""
    key = call.session.scalar(select(ApiKey).where(ApiKey.user_id == id.id, ApiKey.name == ""))
    if key is None:
        raise Invalid(f"The user {id.username} has no keys; registerUserKeys makes some.")
    return key


class ListUserKeys(ListRequest):
    userid = Ref(User, "only keys of this user; the caller when absent")
    keypairid = Ref(ApiKey, "only these keys")
    apikeyfilter = Text("only the keys with this API key")
    listall = Flag("keys of all users that the caller may see", default=False, roles=STAFF)
    showpermissions = Flag("show their rules", default=False)


@command("listUserKeys", ListUserKeys, KeyPairResponse, roles=EVERYONE)
def list_user_keys(call: Call, **filters: Any) -> Page:
    """List keys of users, without the secret ones."""
    query = select(ApiKey).where(access.visible(call, ApiKey))
    if filters["userid"] is not None:
        query = query.where(ApiKey.user_id == filters["userid"].id)
    elif filters["keypairid"] is None and not filters["listall"]:
        query = query.where(ApiKey.user_id == call.user.id)
    if filters["keypairid"] is not None:
        query = query.where(ApiKey.id == filters["keypairid"].id)
    if filters["apikeyfilter"]:
        query = query.where(ApiKey.api_key == filters["apikeyfilter"])
    if filters["keyword"]:
        query = query.where(ApiKey.name.contains(filters["keyword"], autoescape=True))
    call.parameters["permissions"] = filters["showpermissions"]
    return call.paged(query.order_by(ApiKey.created, ApiKey.id))


class OneKeyPair(Request):
    keypairid = Ref(ApiKey, "the keys", required=True, right=access.MANAGE)


@command("deleteUserKeys", OneKeyPair, SuccessResponse, is_async=True, roles=EVERYONE, event="DELETE.USER.KEY")
def delete_user_keys(call: Call, keypairid: ApiKey) -> WorkflowRow:
    """Delete keys of a user; from now on they sign nothing."""
    call.subject = by_id(call, User, [keypairid.user_id])[keypairid.user_id]
    call.session.delete(keypairid)
    return call.job_done(keypairid)


class ListUserKeyRules(Request):
    keypairid = Ref(ApiKey, "the keys", required=True)


@command("listUserKeyRules", ListUserKeyRules, KeyRuleResponse, roles=EVERYONE)
def list_user_key_rules(_call: Call, keypairid: ApiKey) -> Page:
    """List the rules that narrow what keys may do, in the order in which they are tried."""
    return Page(keypairid.rules, len(keypairid.rules))
