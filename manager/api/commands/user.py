"""Users and their keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select

from manager import access
from manager.api import attempts, second_factor, sessions
from manager.api.administrators import demand_another
from manager.api.call import Call
from manager.api.command import ADMINS, EVERYONE, ROOT, Given, IconListRequest, OwnerListRequest, Page, Request, command
from manager.api.errors import PARAMETER, Denied, Invalid, Kept
from manager.api.fields import Choice, Flag, Integer, Ref, Text
from manager.api.password_policy import demand_good
from manager.api.response import Bool, Int, Response, Shown, Str, SuccessResponse, When
from manager.api.rows import by_id
from manager.models import Account, ApiKey, Domain, Role, SecondFactor, User, WorkflowRow
from manager.models.identity import INHERIT, KEYS_DISABLED, KEYS_ENABLED, RESOURCE_ADMIN
from manager.secrets import hash_password, password_matches, unusable_hash

KEY_ACCESS = (KEYS_ENABLED, KEYS_DISABLED, INHERIT)


class UserResponse(Response):
    object_key = "user"
    shows = User
    id = Str("the user's id")
    username = Str("the user's name")
    firstname = Str("the first name")
    lastname = Str("the last name")
    email = Str("the address for mail")
    created = When("when the user was made")
    state = Str("enabled, disabled or locked")
    accountid = Str("the id of the user's account")
    account = Str("the user's account")
    accounttype = Int("0 user, 1 root administrator, 2 domain administrator, 3 resource administrator")
    usersource = Str("native: the password is kept here; ldap: a directory keeps it")
    roleid = Str("the id of the account's role")
    roletype = Str("the type of the account's role")
    rolename = Str("the account's role")
    domainid = Str("the id of the user's domain")
    domain = Str("the user's domain")
    timezone = Str("the user's time zone")
    apikey = Str("the user's API key")
    apikeyaccess = Str("whether API keys sign for the user: Enabled, Disabled, or Inherit, as its account says")
    iscallerchilddomain = Bool("whether the user's domain stands below the caller's")
    isdefault = Bool("whether the user came with the cloud")
    is2faenabled = Bool("whether the user has a second factor")
    is2famandated = Bool("whether the user must have a second factor")

    @classmethod
    def render(cls, call: Call, rows: Sequence[User]) -> list[Shown]:
        accounts = by_id(call, Account, (row.account_id for row in rows))
        domains = by_id(call, Domain, (account.domain_id for account in accounts.values()))
        roles = by_id(call, Role, (account.role_id for account in accounts.values()))
        ids = [row.id for row in rows]
        keys = call.session.execute(
            select(ApiKey.user_id, ApiKey.api_key).where(ApiKey.user_id.in_(ids), ApiKey.name == "")
        )
        held = {row.user_id: row.api_key for row in keys}
        doubled = SecondFactor.user_id.in_(ids), SecondFactor.verified
        doubly = set(call.session.scalars(select(SecondFactor.user_id).where(*doubled)))
        rules = second_factor.rules_of(call.session, domains.values())
        shown = []
        for row in rows:
            account = accounts[row.account_id]
            domain = domains[account.domain_id]
            shown.append(_describe(row, account, domain, roles[account.role_id]))
            shown[-1]["apikey"] = held.get(row.id)
            shown[-1]["is2faenabled"] = row.id in doubly
            shown[-1]["is2famandated"] = rules[domain.id].binds(row)
            shown[-1]["iscallerchilddomain"] = domain.id != call.domain.id and domain.path.startswith(call.domain.path)
        return shown


def _describe(row: User, account: Account, domain: Domain, role: Role) -> Shown:
    return {
        "id": row.id,
        "username": row.username,
        "firstname": row.first_name,
        "lastname": row.last_name,
        "email": row.email,
        "created": row.created,
        "state": row.state,
        "accountid": account.id,
        "account": account.name,
        "accounttype": account.type,
        "usersource": row.source,
        "roleid": role.id,
        "roletype": role.type,
        "rolename": role.name,
        "domainid": domain.id,
        "domain": domain.name,
        "timezone": row.timezone,
        "apikeyaccess": row.api_key_access,
        "isdefault": row.username == "admin" and domain.parent_id is None,
    }


class NewUser(Request):
    """What making a user takes, alone or with its account."""

    username = Text("the user's name, new in the domain", required=True)
    password = Text("the password", required=True)
    firstname = Text("the first name", required=True)
    lastname = Text("the last name", required=True)
    email = Text("the address for mail", required=True)
    timezone = Text("the time zone, such as Europe/Berlin")


def add_user(call: Call, account: Account, given: Given, source: str = "native") -> User:
    """:raises Invalid: the password, if kept here, breaks the domain's policy, or the domain has such a user"""
    user = User(
        account_id=account.id,
        username=given.username,
        password_hash=_first_hash(call, account, given) if source == "native" else unusable_hash(),
        first_name=given.firstname,
        last_name=given.lastname,
        email=given.email,
        timezone=given.timezone,
        source=source,
        live=f"{account.domain_id}/{given.username.lower()}",
    )
    added: User = call.add(user, taken=f"The account's domain has a user {given.username} already.")
    return added


def _first_hash(call: Call, account: Account, given: Given) -> str:
    domain = call.session.get_one(Domain, account.domain_id)
    return hash_password(demand_good(call.session, given.password, given.username, domain))


class CreateUser(NewUser):
    account = Text("the account that the user shall belong to", required=True)
    domainid = Ref(Domain, "the domain of that account; the caller's when absent", right=access.USE)


@command("createUser", CreateUser, UserResponse, creates=True, roles=ADMINS, event="USER.CREATE")
def create_user(call: Call, given: Given) -> User:
    """Make a user of an account."""
    return add_user(call, access.owner(call, given.account, given.domainid or call.domain, access.MANAGE), given)


class ListUsers(IconListRequest, OwnerListRequest):
    id = Ref(User, "only this user")
    username = Text("only users of this name")
    accounttype = Integer("only users of accounts of this type", most=RESOURCE_ADMIN)
    state = Choice("only users in this state", ("enabled", "disabled", "locked"))
    usersource = Choice("only users whose password is kept there", ("native", "ldap"))
    apikeyaccess = Choice("only users of whom this is said of API keys", KEY_ACCESS, roles=ROOT)


@command("listUsers", ListUsers, UserResponse, roles=EVERYONE)
def list_users(call: Call, **filters: Any) -> Page:
    """List users."""
    query = select(User).where(access.visible(call, User))
    if filters["id"] is not None:
        query = query.where(User.id == filters["id"].id)
    if filters["username"] is not None:
        query = query.where(User.username == filters["username"])
    if filters["state"] is not None:
        query = query.where(User.state == filters["state"])
    if filters["apikeyaccess"] is not None:
        query = query.where(User.api_key_access == filters["apikeyaccess"])
    if filters["usersource"] is not None:
        query = query.where(User.source == filters["usersource"])
    if filters["accounttype"] is not None:
        query = query.where(User.account_id.in_(select(Account.id).where(Account.type == filters["accounttype"])))
    if filters["keyword"]:
        query = query.where(User.username.contains(filters["keyword"], autoescape=True))
    return call.paged(query.order_by(User.username, User.id))


class GetUser(Request):
    userapikey = Text("the user's API key", required=True)


@command("getUser", GetUser, UserResponse, roles=EVERYONE)
def get_user(call: Call, userapikey: str) -> User:
    """Find a user by its API key."""
    query = select(User).join(ApiKey, ApiKey.user_id == User.id).where(ApiKey.api_key == userapikey)
    user = call.session.scalar(query.where(access.reach(call, User, access.READ), User.removed.is_(None)))
    if user is None:
        raise Invalid("There is no user with that API key.")
    return user


class UpdateUser(Request):
    id = Ref(User, "the user", required=True)
    username = Text("the new name, new in the domain")
    firstname = Text("the new first name")
    lastname = Text("the new last name")
    email = Text("the new address for mail")
    timezone = Text("the new time zone")
    password = Text("the new password; it ends all sessions of the user")
    currentpassword = Text("the present password, which the user's own change of it needs")
    apikeyaccess = Choice(
        "whether API keys sign for the user; with Inherit its account says it", KEY_ACCESS, roles=ROOT
    )
    mandate2fa = Flag("whether the user must set up a second factor; true ends its sessions", roles=ADMINS)


@command("updateUser", UpdateUser, UserResponse, roles=EVERYONE, event="USER.UPDATE")
def update_user(call: Call, given: Given) -> User:
    """Change a user."""
    user: User = given.id
    if given.password is not None:  # first: a wrong present password is remembered, and nothing else of the call
        _change_password(call, user, given)
    columns = {"firstname": "first_name", "lastname": "last_name", "email": "email", "timezone": "timezone",
               "apikeyaccess": "api_key_access"}  # fmt: skip
    for name, column in columns.items():
        if getattr(given, name) is not None:
            setattr(user, column, getattr(given, name))
    if given.mandate2fa is not None:
        _mandate(call, user, mandated=given.mandate2fa)
    if given.username is not None:
        user.username = given.username
        user.live = f"{_account_of(call, user).domain_id}/{given.username.lower()}"
    call.flush(taken=f"The account's domain has a user {given.username} already.")
    return user


def _change_password(call: Call, user: User, given: Given) -> None:
    own = user.id == call.user.id
    if user.source != "native":
        raise Invalid(f"The password of the user {user.username} is kept by {user.source}, and is changed there.")
    if own and given.currentpassword is None:
        raise Invalid("To change your own password, give the present one as currentpassword.")
    if not own and not (call.is_root_admin or call.is_domain_admin):
        raise Denied(f"The password of the user {user.username} is changed by that user or by an administrator.")
    domain = call.session.get_one(Domain, _account_of(call, user).domain_id)
    password = demand_good(call.session, given.password, given.username or user.username, domain)
    if own:
        _demand_present(call, user, given.currentpassword)
    else:
        attempts.forget(call.session, user.id)
    user.password_hash = hash_password(password)
    sessions.close_all(call.session, user.id)


def _demand_present(call: Call, user: User, password: str) -> None:
    """Whoever is at a session left open guesses no more often than at the login.

    :raises Kept: it is not the present password, or none is looked at for a while
    """
    claimed = attempts.claim(call.session, user.id, attempts.most_passwords(call.session))
    if not (password_matches(user.password_hash, password) and claimed):
        raise Kept(PARAMETER, "The parameter currentpassword is not the present password.")
    attempts.take_back(call.session, user.id)


def _mandate(call: Call, user: User, *, mandated: bool) -> None:
    account = _account_of(call, user)
    domain = call.session.get_one(Domain, account.domain_id)
    if mandated and not second_factor.rules_of(call.session, [domain])[domain.id].is_possible:
        raise Invalid(f"The setting {second_factor.ENABLED} admits no second factors in {domain.shown_path}.")
    if not mandated and user.id == call.user.id:
        raise Invalid("What mandates your own second factor is lifted by another administrator.")
    if mandated and not user.second_factor_mandated:
        sessions.close_all(call.session, user.id)
    user.second_factor_mandated = mandated


class OneUser(Request):
    id = Ref(User, "the user", required=True)


@command("deleteUser", OneUser, SuccessResponse, roles=ADMINS, event="USER.DELETE")
def delete_user(call: Call, id: User) -> bool:
    """Remove a user with its keys and second factor."""
    _demand_dispensable(call, id)
    id.remove()
    for model in (ApiKey, SecondFactor):
        call.session.execute(delete(model).where(model.user_id == id.id))
    sessions.close_all(call.session, id.id)
    return True


@command("disableUser", OneUser, UserResponse, is_async=True, roles=ADMINS, event="USER.DISABLE")
def disable_user(call: Call, id: User) -> WorkflowRow:
    """Keep a user out."""
    return call.job_done(_keep_out(call, id, "disabled"))


@command("lockUser", OneUser, UserResponse, roles=ADMINS, event="USER.LOCK")
def lock_user(call: Call, id: User) -> User:
    """Keep a user out for a while."""
    if id.state == "disabled":
        raise Invalid(f"The user {id.username} is disabled; only an enabled user can be locked.")
    return _keep_out(call, id, "locked")


@command("enableUser", OneUser, UserResponse, roles=ADMINS, event="USER.ENABLE")
def enable_user(call: Call, id: User) -> User:
    """Let a user in again, also one that wrong passwords keep out; no earlier session comes back."""
    id.state = "enabled"
    attempts.forget(call.session, id.id)
    sessions.close_all(call.session, id.id)
    return id


def _keep_out(call: Call, user: User, state: str) -> User:
    _demand_dispensable(call, user)
    user.state = state  # first: a login under way holds the user's row, and its session is there to be ended
    sessions.close_all(call.session, user.id)
    return user


def _demand_dispensable(call: Call, user: User) -> None:
    """:raises Invalid: the user is the caller, or the last one that can administer the cloud"""
    if user.id == call.user.id:
        raise Invalid(f"The user {user.username} is yourself; another administrator must do that.")
    demand_another(call, User.id == user.id)


class MoveUser(Request):
    id = Ref(User, "the user", required=True)
    account = Text("the name of the account in the same domain, unless accountid is given")
    accountid = Ref(Account, "the account in the same domain", right=access.MANAGE)


@command("moveUser", MoveUser, SuccessResponse, roles=ROOT, event="USER.MOVE")
def move_user(call: Call, id: User, account: str | None, accountid: Account | None) -> bool:
    """Move a user, with its keys, to another account of the same domain; its sessions end."""
    if (account is None) == (accountid is None):
        raise Invalid("Give either the account's name or its accountid, and not both.")
    _demand_dispensable(call, id)
    (domain,) = by_id(call, Domain, [_account_of(call, id).domain_id]).values()
    target = accountid or access.owner(call, account, domain, access.MANAGE)
    if target.domain_id != domain.id:
        raise Invalid(f"The account {target.name} is not in {domain.shown_path}, the domain of {id.username}.")
    id.account_id = target.id
    sessions.close_all(call.session, id.id)
    return True


def _account_of(call: Call, user: User) -> Account:
    found: Account = by_id(call, Account, [user.account_id])[user.account_id]
    return found
