"""The second factor of logins: set up, verified, taken away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, update

from manager import access, configuration
from manager.api import authentication, second_factor, sessions
from manager.api.call import Call
from manager.api.command import EVERYONE, Given, Page, Request, command
from manager.api.errors import Denied, Invalid
from manager.api.fields import Flag, Ref, Text
from manager.api.response import Response, Shown, Str, SuccessResponse
from manager.db import write
from manager.models import SecondFactor, User


@dataclass(frozen=True)
class SetUp:
    """A user, and the secret of the second factor that it is setting up."""

    user: User
    secret: str | None = None


class SecondFactorResponse(Response):
    object_key = "setup2fa"
    id = Str("the user's id")
    username = Str("the user's name")
    accountid = Str("the id of the user's account")
    secretcode = Str("the secret for the authenticator application, in base32; it is shown this once")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[SetUp]) -> list[Shown]:
        return [
            {
                "id": row.user.id,
                "username": row.user.username,
                "accountid": row.user.account_id,
                "secretcode": row.secret,
            }
            for row in rows
        ]


class SetUpSecondFactor(Request):
    enable = Flag("set one up for yourself, or take it away", default=True)
    provider = Text("the kind of second factor; that of user.2fa.default.provider when absent")
    userid = Ref(User, "an administrator: the user whose second factor to take away", right=access.MANAGE)
    codefor2fa = Text("a code of the second factor, which taking away one's own needs")


@command(
    "setupUserTwoFactorAuthentication",
    SetUpSecondFactor,
    SecondFactorResponse,
    roles=EVERYONE,
    event="USER.UPDATE",
    is_early=True,
)
def set_up_second_factor(call: Call, given: Given) -> SetUp:
    """Begin to set up the second factor of your logins, or take away a user's; the first code ends the setup."""
    user: User = given.userid or call.user
    call.subject = user
    if given.enable:
        if user.id != call.user.id:
            raise Invalid("Users set up their second factors themselves; for others, enable=false takes it away.")
        return _set_up(call, given.provider)
    authentication.demand_verified(call.session, call.login)
    if user.id == call.user.id:
        _demand_own_code(call, given.codefor2fa)
    elif not (call.is_root_admin or call.is_domain_admin):
        raise Denied(f"The second factor of {user.username} is taken away by that user or by an administrator.")
    write(call.session, delete(SecondFactor).where(SecondFactor.user_id == user.id))
    sessions.close_all(call.session, user.id, but=call.login)
    return SetUp(user)


def _set_up(call: Call, provider: str | None) -> SetUp:
    """Store a new secret in place of one that was never verified."""
    session, user = call.session, call.user
    if not configuration.value(session, second_factor.ENABLED, call.domain):
        raise Invalid(f"The setting {second_factor.ENABLED} admits no second factors in {call.domain.shown_path}.")
    kind = second_factor.known_provider(session, provider, call.domain)
    write(session, delete(SecondFactor).where(SecondFactor.user_id == user.id, SecondFactor.verified.is_(False)))
    secret = second_factor.new_secret()
    taken = f"The user {user.username} has a second factor; it must be taken away before another is set up."
    call.add(SecondFactor(user_id=user.id, provider=kind, secret=secret), taken=taken)
    return SetUp(user, secret)


def _demand_own_code(call: Call, code: str | None) -> None:
    """:raises ApiError: the caller has a verified second factor, and `code` is none of it"""
    factor = second_factor.factor_of(call.session, call.user)
    if factor is None or not factor.verified:
        return
    if not code:
        raise Invalid("To take away your own second factor, give a code of it as codefor2fa.")
    second_factor.demand_code(call.session, factor, code)


class ValidateCode(Request):
    codefor2fa = Text("the code that the authenticator application shows now", required=True)


@command(
    "validateUserTwoFactorAuthenticationCode",
    ValidateCode,
    SuccessResponse,
    roles=EVERYONE,
    event="USER.LOGIN",
    is_early=True,
)
def validate_code(call: Call, codefor2fa: str) -> bool:
    """Give the code of your second factor: it verifies the session, and ends the setup of a new second factor."""
    call.subject = call.user
    factor = second_factor.factor_of(call.session, call.user)
    if factor is None:
        raise Invalid("You have no second factor; setupUserTwoFactorAuthentication sets one up.")
    second_factor.demand_code(call.session, factor, codefor2fa)
    if not factor.verified:
        write(call.session, update(SecondFactor).where(SecondFactor.user_id == call.user.id).values(verified=True))
        sessions.close_all(call.session, call.user.id, but=call.login)
    if call.login is not None:
        sessions.verify(call.session, call.login)
    return True


class ListProviders(Request):
    name = Text("only the provider of this name")


class SecondFactorProviderResponse(Response):
    object_key = "providers"
    name = Str("its name")
    description = Str("what it asks for")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[str]) -> list[Shown]:
        return [{"name": name, "description": second_factor.PROVIDERS[name]} for name in rows]


@command(
    "listUserTwoFactorAuthenticatorProviders",
    ListProviders,
    SecondFactorProviderResponse,
    roles=EVERYONE,
    is_early=True,
)
def list_providers(_call: Call, name: str | None) -> Page:
    """List the kinds of second factors."""
    rows = [known for known in second_factor.PROVIDERS if name in (None, known)]
    return Page(rows, len(rows))
