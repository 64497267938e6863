"""How many calls an account has made and may make: getApiLimit, resetApiLimit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from manager import configuration
from manager.access import MANAGE
from manager.api import throttle
from manager.api.call import Call
from manager.api.command import EVERYONE, Request, command
from manager.api.fields import Ref
from manager.api.response import Int, Long, Response, Shown, Str, SuccessResponse
from manager.models import Account

MILLISECONDS = 1000


class ApiLimitResponse(Response):
    object_key = "apilimit"
    accountid = Str("the id of the caller's account")
    account = Str("the caller's account")
    apiIssued = Int("the calls that it has made in this interval")  # noqa: N815 - CloudStack's spelling
    apiAllowed = Int("the calls that it may still make in it")  # noqa: N815 - as above
    expireAfter = Long("milliseconds until the next interval")  # noqa: N815 - as above

    @classmethod
    def render(cls, _call: Call, rows: Sequence[Any]) -> list[Shown]:
        return list(rows)


@command("getApiLimit", Request, ApiLimitResponse, roles=EVERYONE)
def get_api_limit(call: Call) -> dict[str, Any]:
    """Show how many calls the caller's account has made and may make; nothing is counted without a limit."""
    most = configuration.value(call.session, "api.throttling.max", call.account)
    interval = configuration.value(call.session, "api.throttling.interval")
    spent = throttle.spent(call.account.id) or throttle.Spent(0, interval * MILLISECONDS)
    shown = {
        "accountid": call.account.id,
        "account": call.account.name,
        "apiIssued": spent.calls,
        "apiAllowed": max(most - spent.calls, 0),
        "expireAfter": spent.left,
    }
    return {"apilimit": ApiLimitResponse.shown(call, [shown])[0]}


class ResetApiLimit(Request):
    account = Ref(Account, "the account; all when absent", right=MANAGE)


@command("resetApiLimit", ResetApiLimit, SuccessResponse, event="API.LIMIT.RESET")
def reset_api_limit(call: Call, account: Account | None) -> bool:
    """Let the interval of an account, or of all, begin anew."""
    call.subject = account
    throttle.forget(account.id if account else None)
    return True
