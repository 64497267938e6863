"""Accounts: who owns things, and what each holds of its limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from manager import access
from manager.api.call import Call
from manager.api.command import ADMINS, EVERYONE, DomainListRequest, Given, Page, Request, command
from manager.api.commands.domain import check_network_domain
from manager.api.commands.user import NewUser, UserResponse, add_user
from manager.api.errors import Denied, Invalid
from manager.api.fields import Choice, Flag, Integer, MapOf, Ref, Text
from manager.api.resource_fields import account_limits, limit_fields
from manager.api.response import Bool, Int, Many, Map, Response, Shown, Str, When
from manager.api.rows import by_id
from manager.models import Account, Domain, ResourceUse, Role, User, Vm, WorkflowRow
from manager.models.identity import DOMAIN_ADMIN, ROOT_ADMIN, USER
from manager.workflows.numbers import next_number

TYPES = {"Admin": ROOT_ADMIN, "DomainAdmin": DOMAIN_ADMIN}


class AccountResponse(Response):
    object_key = "account"
    shows = Account
    fields = limit_fields()
    id = Str("the account's id")
    name = Str("its name")
    accounttype = Int("0 user, 1 root administrator, 2 domain administrator")
    roleid = Str("the id of its role")
    roletype = Str("the type of its role")
    rolename = Str("its role")
    domainid = Str("the id of its domain")
    domain = Str("its domain")
    domainpath = Str("the path of its domain")
    state = Str("enabled, disabled or locked")
    created = When("when it was made")
    networkdomain = Str("the DNS suffix of its networks")
    accountdetails = Map("details of it")
    isdefault = Bool("whether it came with the cloud")
    vmrunning = Int("how many of its virtual machines run")
    vmstopped = Int("how many of its virtual machines are stopped")
    user = Many("its users", UserResponse)

    @classmethod
    def render(cls, call: Call, rows: Sequence[Account]) -> list[Shown]:
        ids = [row.id for row in rows]
        domains = by_id(call, Domain, (row.domain_id for row in rows))
        roles = by_id(call, Role, (row.role_id for row in rows))
        users = call.session.scalars(select(User).where(User.account_id.in_(ids), User.removed.is_(None))).all()
        shown_users = UserResponse.render(call, users)
        machines = machines_of(call, ids)
        limits = account_limits(call, rows)
        return [
            {
                **_describe(row, domains[row.domain_id], roles[row.role_id]),
                **limits[row.id],
                "vmrunning": machines.get((row.id, "Running"), 0),
                "vmstopped": machines.get((row.id, "Stopped"), 0),
                "user": [user for user in shown_users if user["accountid"] == row.id],
            }
            for row in rows
        ]


def _describe(row: Account, domain: Domain, role: Role) -> Shown:
    return {
        "id": row.id,
        "name": row.name,
        "accounttype": row.type,
        "roleid": role.id,
        "roletype": role.type,
        "rolename": role.name,
        "domainid": domain.id,
        "domain": domain.name,
        "domainpath": domain.shown_path,
        "state": row.state,
        "created": row.created,
        "networkdomain": row.network_domain,
        "accountdetails": row.details or None,
        "isdefault": row.name in ("admin", "system") and domain.parent_id is None,
    }


def machines_of(call: Call, ids: list[str]) -> dict[tuple[str, str], int]:
    """By account id and state: how many virtual machines there are."""
    query = select(Vm.account_id, Vm.state, func.count()).where(Vm.account_id.in_(ids), Vm.removed.is_(None))
    rows = call.session.execute(query.group_by(Vm.account_id, Vm.state))
    return {(account_id, state): count for account_id, state, count in rows}


class CreateAccount(NewUser):
    account = Text("its name; the user's name when absent")
    accounttype = Integer("0 user, 1 root administrator, 2 domain administrator", most=2)
    roleid = Ref(Role, "its role, which also gives its type", right=access.USE)
    domainid = Ref(Domain, "its domain; the caller's when absent", right=access.USE)
    networkdomain = Text("the DNS suffix of its networks")
    accountdetails = MapOf("details of it")


@command("createAccount", CreateAccount, AccountResponse, creates=True, roles=ADMINS, event="ACCOUNT.CREATE")
def create_account(call: Call, given: Given) -> Account:
    """Make an account and its first user."""
    domain = given.domainid or call.domain
    role = _role(call, given)
    kind = TYPES.get(role.type, USER)
    if kind == ROOT_ADMIN and (not call.is_root_admin or domain.parent_id is not None):
        raise Denied("A root administrator's account is made by a root administrator, in the domain ROOT.")
    check_network_domain(given.networkdomain)
    name = given.account or given.username
    account = Account(
        number=next_number(call.session, "account"),
        name=name,
        domain_id=domain.id,
        type=kind,
        role_id=role.id,
        network_domain=given.networkdomain,
        details=given.accountdetails or {},
        live=f"{domain.id}/{name.lower()}",
    )
    call.add(account, taken=f"The domain {domain.shown_path} has an account {name} already.")
    call.session.add(ResourceUse(account_id=account.id))
    add_user(call, account, given)
    return account


def _role(call: Call, given: Given) -> Role:
    if given.roleid is not None:
        role: Role = given.roleid
        return role
    if given.accounttype is None:
        raise Invalid("An account needs a roleid or an accounttype.")
    name = {USER: "User", ROOT_ADMIN: "Root Admin", DOMAIN_ADMIN: "Domain Admin"}[given.accounttype]
    return call.session.scalars(select(Role).where(Role.name == name, Role.is_default, Role.removed.is_(None))).one()


class ListAccounts(DomainListRequest):
    id = Ref(Account, "only this account")
    name = Text("only accounts of this name")
    accounttype = Integer("only accounts of this type", most=2)
    state = Choice("only accounts in this state", ("enabled", "disabled", "locked"))


@command("listAccounts", ListAccounts, AccountResponse, roles=EVERYONE)
def list_accounts(call: Call, **filters: Any) -> Page:
    """List accounts with what they hold of their limits."""
    query = select(Account).where(access.visible(call, Account))
    if filters["id"] is not None:
        query = query.where(Account.id == filters["id"].id)
    if filters["name"] is not None:
        query = query.where(Account.name == filters["name"])
    if filters["accounttype"] is not None:
        query = query.where(Account.type == filters["accounttype"])
    if filters["state"] is not None:
        query = query.where(Account.state == filters["state"])
    if filters["keyword"]:
        query = query.where(Account.name.contains(filters["keyword"], autoescape=True))
    return call.paged(query.order_by(Account.name, Account.id))


class OneAccount(Request):
    id = Ref(Account, "the account")


class DisableAccount(OneAccount):
    lock = Flag("only lock it: nobody enters, and what runs stays", required=True)


@command("enableAccount", OneAccount, AccountResponse, roles=ADMINS, event="ACCOUNT.ENABLE")
def enable_account(_call: Call, id: Account | None) -> Account:
    """Let the users of an account in again."""
    account = _demand(id)
    account.state = "enabled"
    return account


@command("disableAccount", DisableAccount, AccountResponse, is_async=True, roles=ADMINS, event="ACCOUNT.DISABLE")
def disable_account(call: Call, id: Account | None, lock: bool) -> WorkflowRow:
    """Keep the users of an account out."""
    account = _demand(id)
    if account.id == call.account.id:
        raise Invalid(f"The account {account.name} is your own; another administrator must disable it.")
    account.state = "locked" if lock else "disabled"
    return call.job_done(account)


def _demand(account: Account | None) -> Account:
    if account is None:
        raise Invalid("The parameter id is needed, which names the account.")
    return account
