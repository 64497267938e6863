"""The second factor of a login: who must have one, and whether a code is right."""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyotp
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from manager import configuration
from manager.api import attempts
from manager.api.errors import SECOND_FACTOR, Invalid, Kept
from manager.db import write
from manager.models import Domain, SecondFactor, User

ENABLED, MANDATED, DEFAULT_PROVIDER, ISSUER = (
    "enable.user.2fa", "mandate.user.2fa", "user.2fa.default.provider", "user.2fa.issuer",
)  # fmt: skip
PROVIDERS = {"totp": "codes that change with time, of an authenticator application (RFC 6238)"}
LATE_STEPS = 1
"""How many steps of time the clock of an authenticator may be off, either way."""
WRONG_CODE = "two-factor authentication code provided is invalid"


def new_secret() -> str:
    """160 bits in base32, as RFC 4226 recommends them."""
    return pyotp.random_base32()


@dataclass(frozen=True)
class Rule:
    """Whether users of a domain may set up a second factor, and whether all of them must."""

    is_possible: bool
    is_mandated: bool

    def binds(self, user: User) -> bool:
        """Whether the user must have one. Where none can be set up, nobody must."""
        return self.is_possible and (self.is_mandated or user.second_factor_mandated)


def rules_of(session: Session, domains: Iterable[Domain]) -> dict[str, Rule]:
    """By id of the domain, in at most one statement."""
    wanted = list(domains)
    places = {scope for name, scope, _ in configuration.stored(session) if name in (ENABLED, MANDATED)}
    known = _above(session, wanted) if places - {""} else []  # held, so that the settings find them in memory
    found = {
        domain.id: Rule(configuration.value(session, ENABLED, domain), configuration.value(session, MANDATED, domain))
        for domain in wanted
    }
    del known
    return found


def _above(session: Session, domains: Sequence[Domain]) -> Sequence[Domain]:
    """All domains above these."""
    parts = [domain.path.strip("/").split("/") for domain in domains]
    paths = {"/" + "".join(f"{name}/" for name in names[:count]) for names in parts for count in range(len(names))}
    return session.scalars(select(Domain).where(Domain.path.in_(paths))).all()


def factor_of(session: Session, user: User) -> SecondFactor | None:
    """The user's, verified or not, which stays as it is until the transaction ends."""
    return session.scalar(select(SecondFactor).where(SecondFactor.user_id == user.id).with_for_update())


def demand_code(session: Session, factor: SecondFactor, code: str) -> None:
    """Take a code of the factor: each at most once, and few wrong ones in a row.

    :raises Kept: 511, the code is wrong, used, or none is looked at for a while; which of them is not told
    """
    claimed = attempts.claim(session, factor.user_id, attempts.most_codes(session))
    if not (_take_code(session, factor, code) and claimed):
        raise Kept(SECOND_FACTOR, WRONG_CODE)
    attempts.forget(session, factor.user_id)


def _take_code(session: Session, factor: SecondFactor, code: str) -> bool:
    """Whether the code is that of a step of time, near now, which is later than that of any code taken before."""
    generator = pyotp.TOTP(factor.secret)
    now = int(time.time()) // generator.interval
    found = 0
    for step in range(now - LATE_STEPS, now + LATE_STEPS + 1):
        if hmac.compare_digest(generator.generate_otp(step).encode(), code.encode()):
            found = step
    mine = SecondFactor.user_id == factor.user_id
    return write(session, update(SecondFactor).where(mine, SecondFactor.last_step < found).values(last_step=found)) == 1


def known_provider(session: Session, name: str | None, domain: Domain) -> str:
    """:raises Invalid: there is no such kind of second factor"""
    wanted = (name or str(configuration.value(session, DEFAULT_PROVIDER, domain))).lower()
    if wanted not in PROVIDERS:
        raise Invalid(f"There is no provider {name} of second factors; there are {', '.join(PROVIDERS)}.")
    return wanted
