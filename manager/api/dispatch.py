"""One call from parameters to answer: who calls, may they, load, handle in one transaction, and say what came of it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import cache
from typing import Any

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from manager import access, configuration, servers
from manager.api import authentication, dry_run, loading, origin, record, throttle
from manager.api.call import Call
from manager.api.command import COMMANDS, OPEN_COMMANDS, Page
from manager.api.errors import (
    CS_OTHER,
    INTERNAL,
    INTERNAL_TEXT,
    UNSUPPORTED,
    ApiError,
    Gone,
    Invalid,
    Kept,
    from_exception,
    unverified,
)
from manager.api.opening import OpenCall
from manager.api.record import Asked
from manager.api.wire import Incoming, Reply, unpack_maps
from manager.db import transaction
from manager.models import WorkflowRow, changes

ATTEMPTS = 4
LONGEST_TOKEN = 128
LEAVING = "Maintenance or Shutdown has been initiated on this management server. Can not accept new jobs"
_RETRY_STATES = frozenset({"40001", "40P01"})
_RETRY_NUMBERS = frozenset({1205, 1213, 1020})

log = structlog.get_logger()


def answer(request: Incoming, engine: Engine | None = None) -> Reply:
    """The reply to a request; never raises."""
    name = request.names.get("command", "")
    reached: list[Asked] = []
    spend = cache(throttle.spend)  # a call counts once, however often its transaction is tried
    opened = OPEN_COMMANDS.get(name.lower())
    try:
        learned = opened.ahead(request, engine) if opened and opened.ahead else None
        return _retrying(lambda: _answer(request, engine, reached, spend, learned))
    except Exception as error:  # noqa: BLE001 - the caller must get an answer
        refusal = _refusal(error, name, reached)
    if reached and reached[0].event and not dry_run.is_wanted(request):
        _note_failure(engine, reached[0], refusal)
    return failed(refusal, name)


def _retrying(work: Callable[[], Reply]) -> Reply:
    """`work`, again when the database chose it as the victim of a deadlock or another took the same client token."""
    for attempt in range(1, ATTEMPTS):
        try:
            return work()
        except (DBAPIError, TokenTaken) as error:
            if isinstance(error, DBAPIError) and not _is_transient(error):
                raise
            log.info("call is tried again", attempt=attempt, cause=type(error).__name__)
    return work()


class TokenTaken(Exception):  # noqa: N818 - never leaves this module
    """Another call holds the client token; its answer is there at the next look."""


def _is_transient(error: DBAPIError) -> bool:
    original: Any = error.orig
    if getattr(original, "sqlstate", None) in _RETRY_STATES:
        return True
    return bool(original.args) and original.args[0] in _RETRY_NUMBERS


def _answer(
    request: Incoming, engine: Engine | None, reached: list[Asked], spend: throttle.Spend, learned: object
) -> Reply:
    reached.clear()
    try:
        with transaction(engine) as session:
            try:
                return _answer_in(session, origin.located(session, request), reached, spend, learned)
            except Kept as refusal:  # the transaction ends without an exception, and so with a commit
                kept = refusal
    except dry_run.Rehearsed as done:  # the transaction has taken all back
        return Reply(200, {COMMANDS[request.names["command"]].wrapper: done.body})
    raise kept


def _answer_in(
    session: Session, request: Incoming, reached: list[Asked], spend: throttle.Spend, learned: object
) -> Reply:
    opened = OPEN_COMMANDS.get(request.names.get("command", "").lower())
    if opened is not None:
        open_call = OpenCall(session, request, learned)
        return Reply(200, {opened.wrapper: opened.handler(open_call)}, cookies=open_call.cookies)
    caller = _caller(session, request)
    throttle.demand(session, caller.account, spend)
    call = _call(session, caller, request, reached)
    _demand_post(call, request)
    return Reply(200, {call.api.wrapper: _run(call, request)})


def _caller(session: Session, request: Incoming) -> authentication.Caller:
    """:raises ApiError: 401"""
    if "signature" in request.names and "apikey" in request.names:
        return authentication.by_signature(session, request)
    if "sessionkey" in request.names or "JSESSIONID" in request.cookies:
        return authentication.by_session(session, request)
    raise unverified(signed=True)


def _call(session: Session, caller: authentication.Caller, request: Incoming, reached: list[Asked]) -> Call:
    """The call of a command that the caller's role and key allow; `reached` learns of it even when refused."""
    name = request.names.get("command", "")
    if not name:
        raise ApiError(400, "The parameter command is missing.", CS_OTHER)
    api = COMMANDS.get(name)
    if api is None or not api.is_early:
        authentication.demand_verified(session, caller.login)
    if api is None and caller.key is not None:
        raise unverified(signed=True)
    known = (session, caller.user, caller.account, caller.domain, caller.role)
    call = None
    if api is not None:
        call = Call(*known, api, request.source, request.user_agent, request.names, by_get=request.method == "GET")
        call.key, call.login = caller.key, caller.login
    if call is not None:
        reached.append(Asked.by(call))
    if call is None or not _may(call):
        text = f"The API [{name}] does not exist or is not available for the account {caller.account.name}."
        raise ApiError(UNSUPPORTED, text)
    if call.api.is_async and servers.is_leaving():
        raise ApiError(503, LEAVING)
    if call.api.event:
        changes.watch(session)
    return call


def _may(call: Call) -> bool:
    """Whether the role allows the command. What proves who the caller is needs no role: else none could be verified."""
    proving = call.api.is_early and call.login is not None and not call.login.verified
    return proving or access.allows(call, call.api)


def _demand_post(call: Call, request: Incoming) -> None:
    if call.api.reads or not configuration.value(call.session, "enforce.post.requests.and.timestamps"):
        return
    if request.method != "POST":
        raise ApiError(400, f"The command {call.command} changes something and must be sent by POST.", CS_OTHER)
    if "signature" in request.names and request.names.get("signatureversion") != "3":
        raise ApiError(400, "Requests must have signature version 3 and an expiry.", CS_OTHER)


def _run(call: Call, request: Incoming) -> dict[str, Any]:
    if dry_run.is_wanted(request):
        dry_run.demand_possible(call.api)
        if call.api.rehearses:
            dry_run.rehearse(call, lambda: _handled(call, request))
    token = request.names.get("clienttoken") if call.api.creates else None
    if not token:
        return _handle(call, request)
    if len(token) > LONGEST_TOKEN:
        raise Invalid(f"The parameter clienttoken has at most {LONGEST_TOKEN} characters.")
    wanted = record.digest(call.command, request.names)
    account_id = call.account.id
    known = record.known_answer(call.session, account_id, token, wanted)
    if known is not None:
        return known
    try:
        row = record.claim(call.session, account_id, token, wanted)
    except IntegrityError as error:
        raise TokenTaken from error
    body = _handle(call, request)
    record.keep(row, body)
    return body


def _handle(call: Call, request: Incoming) -> dict[str, Any]:
    try:
        result = _handled(call, request)
    except Gone:
        if call.api.shape == "list" and call.api.reads:
            return {}
        raise
    body = shown(call, result)
    record.change(call, result)
    return body


def _handled(call: Call, request: Incoming) -> Any:
    """What the handler returns."""
    api = call.api
    arguments = loading.load(call, unpack_maps(request.names))
    call.subject = arguments.get("id")
    result = api.handler(call, loading.given(arguments)) if api.takes_given else api.handler(call, **arguments)
    if call.subject is None and hasattr(result, "__tablename__") and not isinstance(result, WorkflowRow):
        call.subject = result
    return result


def shown(call: Call, result: Any) -> dict[str, Any]:
    """What stands under the wrapper, by what the handler returned."""
    api = call.api
    if isinstance(result, WorkflowRow) and api.is_async:
        made = (result.memory or {}).get("result_id", result.subject_id)
        return {"jobid": result.id, "id": made} if api.creates else {"jobid": result.id}
    if isinstance(result, Page):
        return _shown_page(call, result)
    if result is True or isinstance(result, str):
        return {"success": True} | ({} if result is True else {"displaytext": result})
    if isinstance(result, dict):
        return result
    (row,) = api.response.shown(call, [result])
    if api.shape == "flat":
        return row
    return {"count": 1, api.object_key: [row]} if api.shape == "list" else {api.object_key: row}


def _shown_page(call: Call, page: Page) -> dict[str, Any]:
    """An empty list is an empty object; a page past the end has the count alone."""
    if not page.count:
        return {}
    rows = call.api.response.shown(call, page.rows)
    return {"count": page.count, call.api.object_key: rows} if rows else {"count": page.count}


def _refusal(error: Exception, name: str, reached: list[Asked]) -> ApiError:
    known = from_exception(error)
    if known is not None:
        return known
    reference = uuid.uuid4().hex[:12]
    log.error("call failed", reference=reference, command=name, exc_info=error)
    if reached and reached[0].by_root_admin:
        detail = error.orig if isinstance(error, DBAPIError) else error
        return ApiError(INTERNAL, f"{type(error).__name__}: {detail} (reference {reference})")
    return ApiError(INTERNAL, f"{INTERNAL_TEXT} (reference {reference})")


def _note_failure(engine: Engine | None, asked: Asked, refusal: ApiError) -> None:
    try:
        with transaction(engine) as session:
            record.failure(session, asked, refusal)
    except DBAPIError as error:
        log.warning("event of a refused call is not stored", command=asked.command, error=str(error))


def failed(error: ApiError, name: str) -> Reply:
    """The reply that tells the error, under the wrapper of the command where that is known."""
    api = COMMANDS.get(name) or OPEN_COMMANDS.get(name.lower())
    known = api is not None and error.code != UNSUPPORTED
    body: dict[str, Any] = {"uuidList": [], "errorcode": error.code}
    if error.cserrorcode:
        body["cserrorcode"] = error.cserrorcode
    body["errortext"] = error.text
    wrapper = api.wrapper if known and api else "errorresponse"
    return Reply(error.code, {wrapper: body}, error_text=error.text, headers=error.headers)
