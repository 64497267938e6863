"""Logins by a word of an OAuth provider: which provider, what it proves, and whose user that is."""

from __future__ import annotations

import hashlib

import structlog
from sqlalchemy import Engine, delete, func, select
from sqlalchemy.orm import Session

from manager import configuration, oidc
from manager.api import origin
from manager.api.admission import admitted
from manager.api.errors import CS_PERMISSION, PERMISSION, UNAVAILABLE, ApiError
from manager.api.opening import OpenCall
from manager.cidrs import networks_in
from manager.db import epoch, transaction, write
from manager.models import Account, Domain, OauthCode, OauthProvider, User

REFUSED = "Failed to authenticate by the provider {}; please provide valid credentials"
UNREACHABLE = "The provider {} cannot be asked at the moment"
CODE_SECONDS = 300

log = structlog.get_logger()


def refused(name: str, cause: str) -> ApiError:
    """The one answer to who is not let in, whatever the cause, which only operators learn."""
    log.info("login by a provider is refused", provider=name, cause=cause)
    return ApiError(PERMISSION, REFUSED.format(name), CS_PERMISSION)


def unreachable(name: str, cause: str) -> ApiError:
    log.warning("an OAuth provider cannot be asked", provider=name, cause=cause)
    return ApiError(UNAVAILABLE, UNREACHABLE.format(name))


def email_of(engine: Engine | None, name: str, code: str, flow: oidc.Flow | None = None) -> str:
    """The e-mail address that the provider proves for the code, which is good for this once.

    :raises ApiError: 531, it proves none; 534, it cannot be asked
    """
    with transaction(engine) as session:
        provider = named(session, name)
        kept = None if flow else _take(session, provider, code)
        client = client_of(session, provider)
    if kept is not None:
        return kept
    try:
        return oidc.email_of(client, code, flow)
    except oidc.Unproven as error:
        raise refused(name, str(error)) from error
    except oidc.Unreachable as error:
        raise unreachable(name, str(error)) from error


def named(session: Session, name: str) -> OauthProvider:
    """The enabled provider of that name.

    :raises ApiError: 531, there is none
    """
    query = select(OauthProvider).where(OauthProvider.live == name.lower(), OauthProvider.is_enabled)
    provider = session.scalar(query) if configuration.value(session, "oauth2.enabled") else None
    if provider is None:
        raise refused(name, "there is no such provider, or it is not enabled")
    return provider


def client_of(session: Session, provider: OauthProvider) -> oidc.Client:
    networks = networks_in(configuration.value(session, "oauth2.allowed.networks"))
    return oidc.Client(provider.issuer, provider.client_id, provider.secret_key, provider.redirect_uri, networks)


def keep(session: Session, provider: OauthProvider, code: str, email: str) -> None:
    """Let one login use the code, which the provider redeems once only. Codes that nobody used in time are swept."""
    write(session, delete(OauthCode).where(OauthCode.expires < epoch()))
    row = OauthCode(code_hash=_hash(provider, code), provider_id=provider.id, email=email)
    row.expires = epoch() + CODE_SECONDS  # an SQL expression: by the database's clock
    session.add(row)


def _take(session: Session, provider: OauthProvider, code: str) -> str | None:
    """The e-mail address kept with the code, for whoever takes it first; None for a code that is not kept."""
    mine = (OauthCode.code_hash == _hash(provider, code), OauthCode.expires >= epoch())
    email = session.scalar(select(OauthCode.email).where(*mine))
    return email if email is not None and write(session, delete(OauthCode).where(*mine)) else None


def _hash(provider: OauthProvider, code: str) -> str:
    return hashlib.sha256(f"{provider.id} {code}".encode()).hexdigest()


def user_of(call: OpenCall, name: str, email: str, path: str, domain_id: str | None) -> tuple[User, Account, Domain]:
    """The one user of the domain with that address, in any case of letters, who may log in.

    :raises ApiError: 531, there is none, or more than one, or it may not call from where it is
    """
    session = call.session
    query = admitted(path, domain_id).where(func.lower(User.email) == email.lower())
    # Databases may compare letters with accents as equal to those without.
    rows = [row for row in session.execute(query) if row[0].email.lower() == email.lower()]
    if len(rows) != 1:
        raise refused(name, f"{len(rows)} users of the domain have the e-mail address that the provider tells")
    user, account, domain = rows[0]
    if not origin.may_call(session, account, call.request.source):
        raise refused(name, "the user may not call from this source")
    return user, account, domain
