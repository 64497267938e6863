"""Errors of the API: CloudStack's codes, and what our own exceptions become."""

from __future__ import annotations

from collections.abc import Mapping

from manager.models.states import IllegalMove
from manager.placement.address import NoAddress
from manager.placement.limits import LimitReached
from manager.workflows.engine import Busy

PARAMETER, UNSUPPORTED, INTERNAL, PERMISSION = 431, 432, 530, 531
MALFORMED, UNAUTHORIZED, CAPACITY, LIMIT, CONFLICT = 430, 401, 533, 535, 536
TOO_MANY, UNAVAILABLE = 429, 534
SECOND_FACTOR = 511

CS_INVALID, CS_PERMISSION, CS_OTHER, CS_INTERNAL, CS_CONCURRENT = 4350, 4365, 9999, 4250, 4300

_CS_CODES: Mapping[int, int] = {
    431: CS_INVALID,
    530: CS_INTERNAL,
    531: CS_PERMISSION,
    533: 4325,
    534: 4380,
    535: 4370,
    536: CS_CONCURRENT,
    537: 4360,
    432: 4555,
    429: 4545,
}
_OURS: Mapping[type[Exception], int] = {
    IllegalMove: PARAMETER,
    LimitReached: LIMIT,
    NoAddress: CAPACITY,
    Busy: CONFLICT,
}
CODES = frozenset({400, 401, 405, 429, 430, 431, 432, 503, 511, *range(530, 538)})

UNVERIFIED_SIGNED = "unable to verify user credentials and/or request signature"
UNVERIFIED_SESSION = "unable to verify user credentials"
INTERNAL_TEXT = "Internal error executing command, please contact your system administrator"


class ApiError(Exception):
    """A refusal as the caller sees it. `code` is the HTTP status and CloudStack's errorcode; `headers` go with it."""

    headers: Mapping[str, str] = {}

    def __init__(self, code: int, text: str, cserrorcode: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.cserrorcode = cserrorcode if cserrorcode is not None else _CS_CODES.get(code, CS_OTHER)


class Kept(ApiError):  # noqa: N818 - it names what happened
    """A refusal that is remembered: what the call has stored until then stays. Not for commands that create."""


class Gone(ApiError):  # noqa: N818 - it names what happened
    """The identifier is that of a removed thing: a list is then empty, other commands do not know it."""


class Invalid(ApiError):  # noqa: N818 - it names what happened
    """A parameter, or a combination of them, is not acceptable; the text says why."""

    def __init__(self, text: str) -> None:
        super().__init__(PARAMETER, text, CS_INVALID)


class Denied(ApiError):  # noqa: N818 - it names what happened
    """The caller may not do that."""

    def __init__(self, text: str) -> None:
        super().__init__(PERMISSION, text, CS_PERMISSION)


class TooMany(ApiError):  # noqa: N818 - it names what happened
    """The account has made as many calls as it may in this interval; `wait` is in milliseconds."""

    def __init__(self, wait: int) -> None:
        text = f"The given user has reached his/her account api limit, please retry after [{wait}] ms."
        super().__init__(TOO_MANY, text)
        self.headers = {"Retry-After": str(-(-wait // 1000))}


def missing(command: str, name: str) -> ApiError:
    text = f"Unable to execute API command {command.lower()} due to missing parameter {name}"
    return ApiError(PARAMETER, text, CS_OTHER)


def _unknown_text(command: str, name: str, value: str) -> str:
    """Terraform and cloudstack-go look for the middle of this sentence, to learn that a thing is gone."""
    return (
        f"Unable to execute API command {command.lower()} due to invalid value. Invalid parameter {name} "
        f"value={value} due to incorrect long value format, or entity does not exist or due to incorrect parameter "
        "annotation for the field in api cmd class."
    )


def unknown(command: str, name: str, value: str) -> ApiError:
    return ApiError(PARAMETER, _unknown_text(command, name, value), CS_OTHER)


def gone(command: str, name: str, value: str) -> Gone:
    return Gone(PARAMETER, _unknown_text(command, name, value), CS_OTHER)


def bad_value(command: str, name: str, reason: str) -> ApiError:
    text = f"Unable to execute API command {command.lower()} due to invalid value of parameter {name}: {reason}"
    return ApiError(PARAMETER, text, CS_OTHER)


def unverified(*, signed: bool) -> ApiError:
    return ApiError(UNAUTHORIZED, UNVERIFIED_SIGNED if signed else UNVERIFIED_SESSION, 0)


def unproven(*, is_set_up: bool) -> ApiError:
    """The session's user has still to give the code of its second factor, or to set one up."""
    validate = "verify it by validateUserTwoFactorAuthenticationCode before calling other commands."
    if is_set_up:
        return ApiError(SECOND_FACTOR, f"Two factor authentication is enabled but not verified; {validate}")
    setup = "set it up by setupUserTwoFactorAuthentication and"
    return ApiError(SECOND_FACTOR, f"Two factor authentication is mandated by the administrator; {setup} {validate}")


def from_exception(error: Exception) -> ApiError | None:
    """The refusal that `error` means, or None for one that nobody foresaw.

    An exception that carries one of CloudStack's codes as `code` explains itself; its text is for the user.
    """
    if isinstance(error, ApiError):
        return error
    for kind, own in _OURS.items():
        if isinstance(error, kind):
            return ApiError(own, str(error))
    code = getattr(error, "code", None)
    return ApiError(code, str(error)) if isinstance(code, int) and code in CODES else None
