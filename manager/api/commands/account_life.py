"""Accounts that are locked, disabled, enabled again and deleted, and the zone that each means."""

from __future__ import annotations

from sqlalchemy import select

from manager import access
from manager.api.administrators import demand_another
from manager.api.call import Call
from manager.api.command import ADMINS, Given, Request, command
from manager.api.commands.account import AccountResponse, OneAccount, one_account
from manager.api.errors import Invalid
from manager.api.fields import Flag, Ref, Text
from manager.api.response import SuccessResponse
from manager.models import Account, Domain, WorkflowRow, Zone
from manager.workflows import account as work
from manager.workflows.engine import Busy


class DisableAccount(OneAccount):
    lock = Flag("only lock it: nobody enters, and what runs stays", required=True)


class LockAccount(Request):
    account = Text("the account's name", required=True)
    domainid = Ref(Domain, "the account's domain", required=True, right=access.USE)


class DeleteAccount(Request):
    id = Ref(Account, "the account", required=True)


class MarkDefaultZone(Request):
    account = Text("the account's name", required=True)
    domainid = Ref(Domain, "the account's domain", required=True, right=access.USE)
    zoneid = Ref(Zone, "the zone that is meant where none is named", required=True)


@command("enableAccount", OneAccount, AccountResponse, roles=ADMINS, event="ACCOUNT.ENABLE")
def enable_account(call: Call, given: Given) -> Account:
    """Let the users of an account in again."""
    account = one_account(call, given)
    holds = f"accounts:{account.id}"
    if call.session.scalar(select(WorkflowRow.id).filter_by(holds=holds)) is not None:
        call.session.rollback()
        raise Busy(holds)
    account.state, account.cleanup_needed = "enabled", False
    work.end_sessions(call.session, Account.id == account.id)  # one that a login opened meanwhile does not come back
    return account


@command("disableAccount", DisableAccount, AccountResponse, is_async=True, roles=ADMINS, event="ACCOUNT.DISABLE")
def disable_account(call: Call, given: Given) -> WorkflowRow:
    """Keep the users of an account out, and stop its virtual machines unless it is only locked."""
    account = one_account(call, given)
    _demand_dispensable(call, account, "disable")
    if given.lock:
        _lock(call, account)
        return call.job_done(account)
    _keep_out(call, account, "disabled")
    return work.disable_account.start(call.session, account, call=call)


@command("lockAccount", LockAccount, AccountResponse, roles=ADMINS, event="ACCOUNT.DISABLE")
def lock_account(call: Call, account: str, domainid: Domain) -> Account:
    """Keep the users of an account out; what runs stays."""
    found = _named(call, account, domainid)
    _demand_dispensable(call, found, "lock")
    _lock(call, found)
    return found


def _named(call: Call, account: str, domain: Domain) -> Account:
    return one_account(call, Given({"id": None, "account": account, "domainid": domain}))


def _lock(call: Call, account: Account) -> None:
    if account.state == "disabled":
        raise Invalid(f"The account {account.name} is disabled; only an enabled account can be locked.")
    _keep_out(call, account, "locked")


def _keep_out(call: Call, account: Account, state: str) -> None:
    account.state = state
    work.end_sessions(call.session, Account.id == account.id)


def _demand_dispensable(call: Call, account: Account, purpose: str) -> None:
    """:raises Invalid: the account is the caller's, or the last one that can administer the cloud"""
    if account.id == call.account.id:
        raise Invalid(f"The account {account.name} is your own; another administrator must {purpose} it.")
    demand_another(call, Account.id == account.id)


@command("deleteAccount", DeleteAccount, SuccessResponse, is_async=True, roles=ADMINS, event="ACCOUNT.DELETE")
def delete_account(call: Call, id: Account) -> WorkflowRow:
    """Remove an account with all that it holds; asked again, a deletion that failed goes on where it stopped."""
    account = one_account(call, Given({"id": id}))
    _demand_dispensable(call, account, "delete")
    _keep_out(call, account, "disabled")
    account.cleanup_needed = True
    return work.delete_account.start(call.session, account, call=call)


@command(
    "markDefaultZoneForAccount",
    MarkDefaultZone,
    AccountResponse,
    is_async=True,
    roles=ADMINS,
    event="ACCOUNT.MARK.DEFAULT.ZONE",
)
def mark_default_zone(call: Call, account: str, domainid: Domain, zoneid: Zone) -> WorkflowRow:
    """Note the zone that an account means where it names none."""
    found = _named(call, account, domainid)
    found.default_zone_id = zoneid.id
    return call.job_done(found)
