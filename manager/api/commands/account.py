"""Accounts: who owns things, and what each holds of its limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from manager import access
from manager.api.administrators import demand_another
from manager.api.call import Call
from manager.api.command import (
    ADMINS,
    EVERYONE,
    ROOT,
    DomainListRequest,
    Given,
    IconListRequest,
    Page,
    Request,
    command,
)
from manager.api.commands.domain import check_network_domain, open_domain
from manager.api.commands.user import KEY_ACCESS, NewUser, UserResponse, add_user
from manager.api.errors import Denied, Invalid
from manager.api.fields import Choice, Flag, Integer, ListOf, MapOf, Ref, Text
from manager.api.resource_fields import account_limits, limit_fields
from manager.api.response import Bool, Int, Long, Many, Map, Response, Shown, Str, When
from manager.api.rows import by_id
from manager.models import Account, Domain, NetworkTraffic, ResourceUse, Role, User, Vm
from manager.models.identity import DOMAIN_ADMIN, RESOURCE_ADMIN, ROOT_ADMIN, USER
from manager.roles import DISABLED, known_role
from manager.workflows.account import end_sessions
from manager.workflows.numbers import next_number

TYPES = {"Admin": ROOT_ADMIN, "DomainAdmin": DOMAIN_ADMIN, "ResourceAdmin": RESOURCE_ADMIN}
DETAILS = ("all", "resource", "min")
SYSTEM = "system"


class AccountResponse(Response):
    object_key = "account"
    shows = Account
    fields = limit_fields()
    id = Str("the account's id")
    name = Str("its name")
    accounttype = Int("0 user, 1 root administrator, 2 domain administrator, 3 resource administrator")
    roleid = Str("the id of its role")
    roletype = Str("the type of its role")
    rolename = Str("its role")
    domainid = Str("the id of its domain")
    domain = Str("its domain")
    domainpath = Str("the path of its domain")
    state = Str("enabled, disabled or locked")
    created = When("when it was made")
    networkdomain = Str("the DNS suffix of its networks")
    apikeyaccess = Str("whether API keys sign for its users: Enabled, Disabled, or Inherit, as api.key.access says")
    accountdetails = Map("details of it")
    defaultzoneid = Str("the id of the zone that is meant where none is named")
    iscleanuprequired = Bool("whether it is being deleted, or that could not be finished")
    isdefault = Bool("whether it came with the cloud")
    receivedbytes = Long("what its virtual machines have received, in bytes")
    sentbytes = Long("what its virtual machines have sent, in bytes")
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
        traffic = _traffic_of(call, ids)
        limits = account_limits(call, rows)
        return [
            {
                **_describe(row, domains[row.domain_id], roles[row.role_id]),
                **(limits[row.id] if call.parameters.get("resources", True) else {}),
                **traffic.get(row.id, {"receivedbytes": 0, "sentbytes": 0}),
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
        "apikeyaccess": row.api_key_access,
        "accountdetails": row.details or None,
        "defaultzoneid": row.default_zone_id,
        "iscleanuprequired": row.cleanup_needed,
        "isdefault": row.name in ("admin", SYSTEM) and domain.parent_id is None,
    }


def _traffic_of(call: Call, ids: list[str]) -> dict[str, Shown]:
    """By account id: what the virtual machines in all its networks, also former ones, received and sent."""
    sums = (func.sum(NetworkTraffic.received), func.sum(NetworkTraffic.sent))
    query = select(NetworkTraffic.account_id, *sums).where(NetworkTraffic.account_id.in_(ids))
    rows = call.session.execute(query.group_by(NetworkTraffic.account_id))
    return {account_id: {"receivedbytes": int(received), "sentbytes": int(sent)} for account_id, received, sent in rows}


def machines_of(call: Call, ids: list[str]) -> dict[tuple[str, str], int]:
    """By account id and state: how many virtual machines there are."""
    query = select(Vm.account_id, Vm.state, func.count()).where(Vm.account_id.in_(ids), Vm.removed.is_(None))
    rows = call.session.execute(query.group_by(Vm.account_id, Vm.state))
    return {(account_id, state): count for account_id, state, count in rows}


class CreateAccount(NewUser):
    account = Text("its name; the user's name when absent")
    accounttype = Integer("0 user, 1 root, 2 domain, 3 resource administrator", most=RESOURCE_ADMIN)
    roleid = Ref(Role, "its role, which also gives its type", right=access.USE)
    domainid = Ref(Domain, "its domain; the caller's when absent", right=access.USE)
    networkdomain = Text("the DNS suffix of its networks")
    accountdetails = MapOf("details of it")


@command("createAccount", CreateAccount, AccountResponse, creates=True, roles=ADMINS, event="ACCOUNT.CREATE")
def create_account(call: Call, given: Given) -> Account:
    """Make an account and its first user."""
    return make_account(call, given)


def make_account(call: Call, given: Given, source: str = "native") -> Account:
    """The new account of the parameters of createAccount; `source` says who keeps its user's password."""
    domain = open_domain(call, given.domainid or call.domain)
    role = _role(call, given)
    _check_role(call, role, domain)
    check_network_domain(given.networkdomain)
    name = given.account or given.username
    account = Account(
        number=next_number(call.session, "account"),
        name=name,
        domain_id=domain.id,
        type=TYPES.get(role.type, USER),
        role_id=role.id,
        network_domain=given.networkdomain,
        details=given.accountdetails or {},
        live=f"{domain.id}/{name.lower()}",
    )
    call.add(account, taken=_taken(domain, name))
    call.session.add(ResourceUse(account_id=account.id))
    add_user(call, account, given, source)
    return account


def _taken(domain: Domain, name: str) -> str:
    return f"The domain {domain.shown_path} has an account {name} already."


def _role(call: Call, given: Given) -> Role:
    if given.roleid is not None:
        role: Role = given.roleid
        return role
    if given.accounttype is None:
        raise Invalid("An account needs a roleid or an accounttype.")
    kind = next((kind for kind, number in TYPES.items() if number == given.accounttype), "User")
    name = {"User": "User", "Admin": "Root Admin", "DomainAdmin": "Domain Admin", "ResourceAdmin": "Resource Admin"}
    query = select(Role).where(Role.name == name[kind], Role.is_default, Role.removed.is_(None))
    return call.session.scalars(query).one()


def _check_role(call: Call, role: Role, domain: Domain) -> None:
    """Whether the caller may give the role, which stays as it is until the call has ended, to an account there.

    :raises ApiError: it may not
    """
    call.session.refresh(role, with_for_update={"read": True})
    if role.removed is not None or role.state == DISABLED:
        raise Invalid(f"The role {role.name} is disabled or gone; no account can be given it.")
    if role.type == "Admin" and (not call.is_root_admin or domain.parent_id is not None):
        raise Denied("A root administrator's account is made by a root administrator, in the domain ROOT.")
    access.demand_no_excess(call, known_role(call.session, role.id))


class OneAccount(Request):
    id = Ref(Account, "the account, unless its name and domainid are given")
    account = Text("the account's name; needs domainid")
    domainid = Ref(Domain, "the account's domain", right=access.USE)


def one_account(call: Call, given: Given) -> Account:
    """The account that the call names by its id, or by its name and domain.

    :raises ApiError: neither is given, or the account is the cloud's own
    """
    found: Account | None = given.id
    if found is None and (given.account is None or given.domainid is None):
        raise Invalid("Give the account's id, or its account and domainid.")
    if found is None:
        found = access.owner(call, given.account, given.domainid, access.MANAGE)
    if found.type == ROOT_ADMIN and found.name == SYSTEM:
        raise Denied(f"The account {SYSTEM} is the cloud's own and stays as it is.")
    call.subject = found
    return found


class UpdateAccount(OneAccount):
    newname = Text("its new name, new in the domain")
    networkdomain = Text("the DNS suffix of its new networks; empty for that of its domain")
    accountdetails = MapOf("new details in place of the old ones")
    roleid = Ref(Role, "its new role, which also gives its type; sessions of its users end", right=access.USE)
    apikeyaccess = Choice(
        "whether API keys sign for its users; with Inherit api.key.access says it", KEY_ACCESS, roles=ROOT
    )


@command("updateAccount", UpdateAccount, AccountResponse, roles=ADMINS, event="ACCOUNT.UPDATE")
def update_account(call: Call, given: Given) -> Account:
    """Change an account."""
    account = one_account(call, given)
    check_network_domain(given.networkdomain)
    domain = by_id(call, Domain, [account.domain_id])[account.domain_id]
    if given.roleid is not None and given.roleid.id != account.role_id:
        _change_role(call, account, given.roleid, domain)
    if given.newname:
        account.name, account.live = given.newname, f"{domain.id}/{given.newname.lower()}"
    if given.networkdomain is not None:
        account.network_domain = given.networkdomain or None
    if given.accountdetails is not None:
        account.details = given.accountdetails
    if given.apikeyaccess is not None:
        account.api_key_access = given.apikeyaccess
    call.flush(taken=_taken(domain, account.name))
    return account


def _change_role(call: Call, account: Account, role: Role, domain: Domain) -> None:
    if account.id == call.account.id:
        raise Invalid(f"The account {account.name} is your own; another administrator must change its role.")
    _check_role(call, role, domain)
    demand_another(call, Account.id == account.id)
    account.role_id, account.type = role.id, TYPES.get(role.type, USER)
    end_sessions(call.session, Account.id == account.id)


class ListAccounts(IconListRequest, DomainListRequest):
    id = Ref(Account, "only this account")
    name = Text("only accounts of this name")
    accounttype = Integer("only accounts of this type", most=RESOURCE_ADMIN)
    state = Choice("only accounts in this state", ("enabled", "disabled", "locked"))
    iscleanuprequired = Flag("only those that are to be cleaned up, or only others")
    apikeyaccess = Choice("only accounts of which this is said of API keys", KEY_ACCESS, roles=ROOT)
    details = ListOf(Choice("", DETAILS), "what to show: min leaves out what is held and its limits", default=["all"])


@command("listAccounts", ListAccounts, AccountResponse, roles=EVERYONE)
def list_accounts(call: Call, **filters: Any) -> Page:
    """List accounts with what they hold of their limits."""
    query = select(Account).where(access.visible(call, Account))
    if filters["id"] is not None:
        query = query.where(Account.id == filters["id"].id)
    columns = {"name": Account.name, "accounttype": Account.type, "state": Account.state,
               "iscleanuprequired": Account.cleanup_needed, "apikeyaccess": Account.api_key_access}  # fmt: skip
    for name, column in columns.items():
        if filters[name] is not None:
            query = query.where(column == filters[name])
    call.parameters["resources"] = filters["details"] != ["min"]
    if filters["keyword"]:
        query = query.where(Account.name.contains(filters["keyword"], autoescape=True))
    return call.paged(query.order_by(Account.name, Account.id))
